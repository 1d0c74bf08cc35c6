"""`tunesmith optuna-server`: the studies of a database for Optuna workers on other machines."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import DataDir, Json
from tunesmith.cli.output import console, hint, print_json_line
from tunesmith.errors import InvalidSettings, TunesmithError
from tunesmith.journal import log_to_stderr
from tunesmith.settings import Settings, load_settings

if TYPE_CHECKING:
    from tunesmith.optuna.server import OptunaServer

PORT = 13000
"""The port that Optuna's own client asks unless told otherwise."""


def optuna_server(
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address to listen on; beyond loopback only with a key.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: a free one.")] = PORT,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="sqlite:///FILE or postgresql://...; without it: the platform's (TUNESMITH_DATABASE_URL, or the "
            "SQLite file in the data directory).",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="PEM file with the server's certificate: switches TLS on.", show_default=False),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", help="PEM file with its private key, without a password.", show_default=False),
    ] = None,
    lease: Annotated[
        float,
        typer.Option(
            "--lease",
            min=1,
            metavar="SECONDS",
            help="A worker that is silent for so long loses its trial to another one: longer than any evaluation is "
            "between two calls. Workers of tunesmith.optuna.connect send heartbeats and have a minute at most.",
        ),
    ] = 3600,
    parent: Annotated[
        int | None, typer.Option("--parent", help="End when this process, which started it, has ended.", hidden=True)
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Serve the studies of a database to Optuna workers, over Optuna's own gRPC protocol.

    On this machine, unmodified scripts use it: study = optuna.load_study(study_name=...,
    storage=optuna.storages.GrpcStorageProxy(host="localhost", port=13000)).

    With TUNESMITH_API_KEY set, every call needs that key or a user's token, and workers elsewhere use
    storage=tunesmith.optuna.connect("host:13000", token=..., ca="server.pem"), which also sends heartbeats.

    A study is an experiment: `tunesmith experiments` lists it, and the service's API shows its trials. Ctrl-C stops
    the server in order; open trials go on when it is back.
    """
    settings = load_settings(host=host, database_url=database, data_dir=data_dir)
    log_to_stderr()
    server = _server(settings, port, _tls(tls_cert, tls_key), lease)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    server.start()
    try:
        _show(server, as_json)
        _wait(over, parent)
    finally:
        server.stop()
    hint("stopped")


def _server(settings: Settings, port: int, tls: tuple[Path, Path] | None, lease_s: float) -> OptunaServer:
    try:
        from tunesmith.optuna.server import OptunaServer
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is older than the code that was generated for it
        raise TunesmithError(
            f"The Optuna server needs gRPC, which cannot be imported here ({error}): "
            "pip install 'grpcio>=1.68.1' 'protobuf>=5.28.1'"
        ) from error
    return OptunaServer(
        settings.database,
        settings.host,
        port,
        settings.api_key,
        tls,
        lease_s,
        container=settings.container,
        required=settings.mode == "prod",
    )


def _tls(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing = "--tls-key" if key is None else "--tls-cert"
        raise InvalidSettings(
            f"{missing} is missing: TLS needs a certificate and its private key ({cert or key} is one)"
        )
    return cert, key


def _show(server: OptunaServer, as_json: bool) -> None:
    if as_json:
        print_json_line({"status": "running", "pid": os.getpid(), "host": server.host, "port": server.port})
        return
    console().print(f"Optuna server listens on {server.host}:{server.port} (Ctrl-C stops it)", markup=False)


def _wait(over: threading.Event, parent: int | None) -> None:
    while not over.wait(None if parent is None else 1.0):
        if os.getppid() != parent:
            return
