"""The head process: Ray (its own, or a cluster that it joins), the Serve application, and an orderly end."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tunesmith import __version__
from tunesmith.domain import render_time, utcnow
from tunesmith.journal import keep_journal, log_to_stderr
from tunesmith.settings import PREFIX, SECRET, Settings, load_settings

log = logging.getLogger("tunesmith.head")
APP = "tunesmith"


def main() -> None:
    """Serve until TERM or INT; started by `serve_app.up`, which prepared the environment."""
    log_to_stderr()
    settings = load_settings()
    keep_journal(settings, "head")
    stop = threading.Event()
    supervisor = os.getppid()
    _forget_secrets()
    _on_signal(stop)
    dashboard = _start_ray(settings, Path(sys.argv[1]))
    _on_signal(stop)  # again: Ray put its own handlers in their place
    try:
        _serve(settings)
        _write_run_file(settings, dashboard)
        while not stop.wait(1.0):
            _check()
            if os.getppid() != supervisor:
                log.error("the supervisor is gone; stopping, as nobody could stop this platform any more")
                break
    finally:
        _stop()
        if os.getppid() != supervisor:
            settings.run_file.unlink(missing_ok=True)
            shutil.rmtree(Path(sys.argv[1]).parent, ignore_errors=True)


def _forget_secrets() -> None:
    """Take them out of the environment, which every process of Ray gets; who needs them is handed the settings."""
    for name in SECRET:
        os.environ.pop(PREFIX + name.upper(), None)


def _on_signal(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def _start_ray(settings: Settings, scratch: Path) -> str | None:
    import ray

    common: dict[str, Any] = {"namespace": "tunesmith", "log_to_driver": False, "logging_level": logging.WARNING}
    if settings.ray_address is not None:
        ray.init(address=settings.ray_address, **common)
        return None
    context = ray.init(
        address="local",
        num_cpus=settings.num_cpus,
        include_dashboard=settings.dashboard,
        dashboard_host=settings.dashboard_host,
        object_store_memory=settings.object_store_bytes,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(scratch / "ray"),
        **common,
    )
    return f"http://{context.dashboard_url}" if settings.dashboard and context.dashboard_url else None


def _serve(settings: Settings) -> None:
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serve_app.deployment import app

    serve.start(http_options=HTTPOptions(host=settings.host, port=settings.port))
    serve.run(app({"environment": json.dumps(settings.environment())}), name=APP, route_prefix="/")


def _write_run_file(settings: Settings, dashboard: str | None) -> None:
    import ray

    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # nosec B104  # compared
    record = {
        "pid": os.getppid(),
        "head": os.getpid(),
        "url": f"{'https' if settings.tls_cert else 'http'}://{host}:{settings.port}",
        "tls_cert": str(settings.tls_cert.absolute()) if settings.tls_cert else None,
        "ray_address": ray.get_runtime_context().gcs_address,
        "dashboard_url": dashboard,
        "optuna": None if settings.optuna_port is None else f"{host}:{settings.optuna_port}",
        "started_at": render_time(utcnow()),
        "version": __version__,
    }
    partial = settings.run_file.with_suffix(".partial")
    partial.write_text(json.dumps(record))
    partial.replace(settings.run_file)


def _check() -> None:
    """Raise when the cluster is gone, so that the supervisor starts a new one."""
    import ray

    if not ray.is_initialized():
        raise RuntimeError("Ray is gone")


def _stop() -> None:
    """Give the jobs back, then end Serve and Ray."""
    import ray
    from ray import serve

    from serve_app.dispatcher import stop_work

    started = time.monotonic()
    try:
        serve.shutdown()  # first the dispatcher, which would take up again what the runner gives back
        stop_work()
    except Exception:
        log.exception("not everything ended in order; jobs go on from the database at the next start")
    ray.shutdown()
    log.info("stopped in %.1f s", time.monotonic() - started)


if __name__ == "__main__":
    main()
