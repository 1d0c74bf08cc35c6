"""`python -m serve_app.up`: checks, migrates, then starts the head process and starts it again when it dies.

The supervisor itself imports no Ray, so that nothing that Ray does to a process can take it down.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve_app import isolating
from serve_app.locking import take_lock
from serve_app.optuna_child import optuna_server
from serve_app.plugin_check import check_plugins
from serve_app.ports import free_ports, is_free
from serve_app.ray_environment import ray_environment
from tunesmith import channels
from tunesmith.errors import InvalidSettings, TunesmithError
from tunesmith.journal import keep_journal, log_to_stderr
from tunesmith.services.identity import keep_admin
from tunesmith.services.notifications import check_settings
from tunesmith.settings import KEY_VARIABLES, PREFIX, Settings, load_settings
from tunesmith.storage import Storage
from tunesmith.store import Store, open_store

log = logging.getLogger("tunesmith.up")

ADMIN_VARIABLE = PREFIX + "ADMIN_PASSWORD"
STOP_S = 40.0
"""Seconds that the head has to stop in order."""
HEALTHY_S = 60.0
"""A head that lived this long is restarted at once; one that dies sooner, after a growing pause."""
MAX_PAUSE_S = 60.0


def main() -> int:
    """Serve until TERM or INT. Exit code 0 after an orderly stop, 2 when the settings forbid to start."""
    log_to_stderr()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = _with_ports(load_settings())
        os.environ.pop(ADMIN_VARIABLE, None)
        check(settings)
        with _locked(settings) as lock, _scratch() as scratch:
            if settings.trial_user is not None:
                isolating.close_to_others(settings)
            _prepare(settings)
            settings = settings.model_copy(update={"admin_password": None})  # nobody that is started needs it
            try:
                with optuna_server(settings):
                    return Supervisor(settings, Path(scratch), lock).run()
            finally:
                settings.run_file.unlink(missing_ok=True)
    except TunesmithError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2


def check(settings: Settings) -> None:
    """Raise InvalidSettings when the service may not or cannot listen where it should."""
    open_to_all = not settings.container and not _is_loopback(settings.host)
    if settings.mode == "dev" and open_to_all:
        raise InvalidSettings(
            f"TUNESMITH_HOST={settings.host!r}: without authentication the service listens on loopback only, because "
            "whoever reaches it can run commands. Use --host 127.0.0.1, or --prod with a key or users."
        )
    _check_certificate(settings)
    check_settings(settings)
    check_plugins(settings)
    isolating.check(settings)
    for option, port in (("port", settings.port), ("optuna-port", settings.optuna_port)):
        if port is not None and not is_free(settings.host, port):
            variable = "TUNESMITH_" + option.replace("-", "_").upper()
            raise InvalidSettings(
                f"{variable}={port}: another program listens on {settings.host}:{port}; "
                f"choose another --{option} (0 takes a free one)."
            )


def _check_certificate(settings: Settings) -> None:
    if settings.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ValueError) as error:
        raise InvalidSettings(
            f"TUNESMITH_TLS_CERT={str(settings.tls_cert)!r} with TUNESMITH_TLS_KEY={str(settings.tls_key)!r} cannot be "
            f"used: {error}. Both are PEM files, the key without a passphrase."
        ) from error


class Supervisor:
    """Keeps a head process alive until it is told to stop."""

    def __init__(self, settings: Settings, scratch: Path, lock: int) -> None:
        self.settings, self.scratch, self.lock = settings, scratch, lock
        self.head: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self.starts = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self) -> int:
        """Start the head, and start it again whenever it dies by itself."""
        pause = 1.0
        while not self.stopping:
            started = time.monotonic()
            code = self._run_head()
            if self.stopping:
                return 0
            pause = 1.0 if time.monotonic() - started > HEALTHY_S else min(MAX_PAUSE_S, pause * 2)
            log.error("the head process ended with %s; a new one starts in %.0f s", code, pause)
            self._sleep(pause)
        return 0

    def _run_head(self) -> int:
        self.starts += 1
        generation = self.scratch / str(self.starts)
        generation.mkdir()
        # Keys and channels travel as settings, which trials do not get; other services' variables they would.
        secret = {*channels.VARIABLES, *KEY_VARIABLES}
        inherited = {name: value for name, value in os.environ.items() if name not in secret}
        environment = {**inherited, **self.settings.environment(), **ray_environment(self.settings, generation)}
        self.head = subprocess.Popen(
            [sys.executable, "-m", "serve_app.head", str(generation)],
            env=environment,
            pass_fds=[self.lock],  # the data directory is taken for as long as either of the two lives
            start_new_session=True,
        )
        code = self.head.wait()
        _end_proxy(generation)
        shutil.rmtree(generation, ignore_errors=True)
        return code

    def _stop(self, _signal: int, _frame: object) -> None:
        if self.stopping:
            return
        self.stopping = True
        if self.head is not None and self.head.poll() is None:
            self.head.terminate()
            signal.signal(signal.SIGALRM, self._kill)
            signal.setitimer(signal.ITIMER_REAL, STOP_S)

    def _kill(self, _signal: int, _frame: object) -> None:
        if self.head is not None and self.head.poll() is None:
            log.error("the head did not stop within %.0f s; killing it. Jobs go on at the next start.", STOP_S)
            os.killpg(self.head.pid, signal.SIGKILL)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < end:
            time.sleep(0.1)


def _end_proxy(generation: Path) -> None:
    """End the HAProxy of a head that was killed with all of Ray: nobody else would, and it holds the port."""
    mark = f"{generation}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"haproxy" in words[0] and any(word.startswith(mark) for word in words):
                os.kill(int(process.name), signal.SIGKILL)


def _prepare(settings: Settings) -> None:
    """Bring the database up to date and make sure that results can be kept, before anything is started."""
    store = open_store(settings.database)
    try:
        store.upgrade()
        with store.write() as tx:
            tx.default_workspace()
            if settings.embedded and settings.ray_address is None:
                # The lock on the data directory says that nobody else runs these jobs.
                tx.recover_jobs(everyone=True)
        if settings.admin_password is not None:
            keep_admin(store, settings.admin_password)
        check_somebody(settings, store)
    finally:
        store.close()
    Storage(settings.artifacts).check()
    keep_journal(settings, "supervisor")


def check_somebody(settings: Settings, store: Store) -> None:
    """Raise InvalidSettings in mode `prod` where nobody could ever ask for anything."""
    if settings.mode != "prod" or settings.api_key or settings.oidc_issuer or settings.jwt_issuers:
        return
    with store.read() as tx:
        if not tx.any_user():
            raise InvalidSettings(
                "--prod needs somebody who may sign in: set TUNESMITH_ADMIN_PASSWORD, or TUNESMITH_API_KEY (for "
                'instance to: python3 -c "import secrets; print(secrets.token_urlsafe(32))"), or configure '
                "TUNESMITH_OIDC_ISSUER or TUNESMITH_JWT_ISSUERS, or add a user: tunesmith user add NAME"
            )


@contextmanager
def _locked(settings: Settings) -> Iterator[int]:
    """Hold the data directory, by the descriptor of its lock file.

    Raises InvalidSettings when another platform holds it, or it cannot be written.
    """
    try:
        lock = take_lock(settings.data_dir.absolute())
    except OSError as error:
        raise InvalidSettings(f"TUNESMITH_DATA_DIR={str(settings.data_dir)!r} cannot be written: {error}") from error
    if lock is None:
        raise InvalidSettings(
            f"TUNESMITH_DATA_DIR={str(settings.data_dir)!r} is used by another platform that runs; "
            "`tunesmith down` stops it, another --data-dir runs beside it."
        )
    with lock:
        yield lock.fileno()


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory with a short path: sockets lie in it."""
    return tempfile.TemporaryDirectory(prefix="ts-", dir="/tmp", ignore_cleanup_errors=True)  # nosec B108  # made anew, for its owner alone


def _with_ports(settings: Settings) -> Settings:
    wanted = [name for name in ("port", "optuna_port") if getattr(settings, name) == 0]
    if not wanted:
        return settings
    host = settings.host if _is_loopback(settings.host) else "0.0.0.0"  # nosec B104  # where the service will listen too
    ports = dict(zip(wanted, free_ports(len(wanted), host), strict=True))
    return load_settings(**{**settings.model_dump(exclude_unset=True), **ports})


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
