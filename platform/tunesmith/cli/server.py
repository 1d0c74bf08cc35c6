"""Commands on the platform itself: up, down, status."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli import launch
from tunesmith.cli.options import DataDir, Json, Url
from tunesmith.cli.output import console, hint, print_fields, print_json, warn
from tunesmith.client import Client, RunFile, read_run_file
from tunesmith.errors import TunesmithError
from tunesmith.settings import Settings, load_settings


def up(
    dev: Annotated[
        bool | None,
        typer.Option("--dev/--prod", help="Without sign-in and on loopback only, or with sign-in.", show_default="dev"),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default=False)] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: a free one.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    num_cpus: Annotated[
        int | None, typer.Option("--num-cpus", min=1, help="CPU slots of the Ray that it starts.", show_default=False)
    ] = None,
    optuna_port: Annotated[
        int | None,
        typer.Option(
            "--optuna-port",
            min=0,
            max=65535,
            help="Serve Optuna workers too, on this port (0: a free one); see `tunesmith optuna-server --help`.",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Listen by TLS with this certificate (PEM).", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="The certificate's private key (PEM).", show_default=False)
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="MODULE:OBJECT",
            help="A plugin with algorithms, KPIs, schemas or models, of a module that is installed or lies in this "
            "directory; may be given several times.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Run in the background; return when ready.")] = False,
    as_json: Json = False,
) -> None:
    """Start the platform: Ray, the database and the REST service.

    In the foreground it prints its own lines, and Ctrl-C stops it; its jobs go on at the next start.
    """
    mode = None if dev is None else "dev" if dev else "prod"
    settings = load_settings(
        mode=mode,
        host=host,
        port=port,
        data_dir=data_dir,
        num_cpus=num_cpus,
        optuna_port=optuna_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        plugins=tuple(plugin) if plugin else None,
    )
    running = _running(settings)
    if running is not None:
        _show_running(running, as_json, "already running")
    elif detach:
        _show_running(launch.start(settings, quiet=as_json), as_json, "running")
    else:
        _become(settings, as_json)


def down(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Stop the platform; its jobs go on at the next start."""
    settings = load_settings(data_dir=data_dir)
    running = _running(settings)
    killed = False
    if running is not None and not launch.stop(running.pid, lambda: not running.alive):
        warn(
            f"process {running.pid} did not stop in {launch.STOP_S:g} s and was killed; `tunesmith up` resumes its jobs"
        )
        settings.run_file.unlink(missing_ok=True)
        killed = True
    if as_json:
        print_json({"stopped": running is not None, "killed": killed, "pid": running.pid if running else None})
    else:
        hint(f"nothing runs in {settings.data_dir}" if running is None else f"stopped {running.url}")


def status(url: Url = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show whether the platform runs, where, and how many jobs it has."""
    run_file = None if url else _running(load_settings(data_dir=data_dir))
    certificate = run_file.tls_cert if run_file else None
    with Client(url or (run_file.url if run_file else None), certificate=certificate) as client:
        found: dict[str, Any] = {"url": client.url, "health": client.health().status}
        if run_file is not None:
            found |= run_file.model_dump(mode="json", exclude={"url"})
        found["jobs"] = {word: len(client.jobs(word)) for word in ("running", "queued")}
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def _running(settings: Settings) -> RunFile | None:
    found = read_run_file(settings.run_file)
    return found if found is not None and found.alive else None


def _show_running(running: RunFile, as_json: bool, word: str) -> None:
    places = {
        "url": running.url, "docs": f"{running.url}/docs", "dashboard": running.dashboard_url, "optuna": running.optuna
    }  # fmt: skip
    if as_json:
        print_json({"status": word, "pid": running.pid, **places})
        return
    console().print(f"tunesmith is {word} at {running.url} (process {running.pid})", markup=False)
    print_fields({name: places[name] for name in ("docs", "dashboard", "optuna")} | {"stop": "tunesmith down"})


def _become(settings: Settings, as_json: bool) -> None:
    if as_json:
        print_json({"status": "starting", "pid": os.getpid(), "data_dir": str(settings.data_dir.absolute())})
        sys.stdout.flush()
        os.dup2(2, 1)  # what the server prints is no JSON
    try:
        os.execve(launch.COMMAND[0], launch.COMMAND, launch.environment(settings))
    except OSError as error:
        raise TunesmithError(f"{launch.COMMAND[0]} cannot be run: {error.strerror}") from error
