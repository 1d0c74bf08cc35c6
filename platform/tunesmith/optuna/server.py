"""The Optuna server: our storage behind Optuna's gRPC protocol, with a token, TLS, and leases for what it hands out."""

from __future__ import annotations

import ipaddress
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from optuna.storages._grpc.auto_generated.api_pb2_grpc import add_StorageServiceServicer_to_server

from tunesmith.errors import InvalidSettings
from tunesmith.optuna.heartbeat import BEAT
from tunesmith.optuna.server_guard import Guard
from tunesmith.optuna.server_leases import Leases
from tunesmith.optuna.server_service import LeasedService
from tunesmith.optuna.storage import Storage
from tunesmith.services.audit_log import AuditLog
from tunesmith.services.recognizing import Recognizer
from tunesmith.store import open_store

DEFAULT_PORT = 13000
"""The port that Optuna's own proxy listens on, and that its client asks."""
THREADS = 32
"""Calls that are answered at once; one that waits for the database keeps its thread."""
GRACE_S = 5.0
"""Seconds that calls have to end when the server stops."""
OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, and no silent half of the calls
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class OptunaServer:
    """A server that listens from `start` to `stop`."""

    def __init__(
        self,
        database: str,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        token: str | None = None,
        tls: tuple[Path, Path] | None = None,
        lease_s: float = 3600.0,
        container: bool = False,
        required: bool = False,
    ) -> None:
        """`database`: SQLAlchemy URL, its tables up to date; `port` 0: a free one.

        `token`: the platform's key; every call must carry it or a user's token, as also where that is `required`.

        `tls`: the PEM files of a certificate and of its private key, which must have no password.
        `lease_s`: seconds until the trial of a worker that was not heard of goes to another one.
        `container`: this process is in one whose ports are published on loopback: the token is not needed then.

        Raises:
            InvalidSettings: the address, the certificate or the database cannot be used.
            DatabaseUnavailable: the database does not answer.
        """
        required = required or token is not None
        if not container:
            check_address(host, required)
        self._store = open_store(database)
        self._log = AuditLog(self._store)
        self._grpc = grpc.server(
            ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="tunesmith-optuna"),
            interceptors=[Guard(self._store, Recognizer(self._store, token, required), self._log)],
            options=OPTIONS,
        )
        self.host, self.port = host, self._listen(host, port, tls)
        self._storage = Storage(database)
        self._leases = Leases(self._store, self._storage, lease_s)
        service = LeasedService(self._storage, self._leases)
        add_StorageServiceServicer_to_server(service, self._grpc)
        name, _, method = BEAT.strip("/").partition("/")
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.unary_unary_rpc_method_handler(service.beat)
        }
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))

    def start(self) -> None:
        """Take up the leases and answer calls. Raises DatabaseUnavailable."""
        self._leases.start()
        self._grpc.start()

    def stop(self) -> None:
        """Let running calls end, write what was held back, and close the database."""
        self._grpc.stop(GRACE_S).wait()
        self._leases.stop()
        self._log.close()
        self._storage.close()
        self._store.close()

    def _listen(self, host: str, port: int, tls: tuple[Path, Path] | None) -> int:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                return self._grpc.add_insecure_port(address)
            return self._grpc.add_secure_port(address, credentials(*tls))
        except RuntimeError as error:
            raise InvalidSettings(
                f"{address} cannot be listened on: another program may have it; choose another --port (0: a free one)"
            ) from error


def check_address(host: str, required: bool) -> None:
    """Raise InvalidSettings where a server that requires no token would be open to others than this machine."""
    if not required and not _is_loopback(host):
        raise InvalidSettings(
            f"--host {host}: without TUNESMITH_API_KEY the server listens on loopback only, because whoever reaches it "
            "can change and delete every study. Set the key (16 characters or more), or use --host 127.0.0.1."
        )


def credentials(cert: Path, key: Path) -> grpc.ServerCredentials:
    """The certificate and its private key. Raises InvalidSettings where they cannot be read, or are no pair."""
    where = f"--tls-cert {cert} --tls-key {key}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: b"")
        pair = key.read_bytes(), cert.read_bytes()
    except ssl.SSLError as error:
        raise InvalidSettings(
            f"{where}: no certificate and its private key, both as PEM and the key without a password ({error})"
        ) from error
    except OSError as error:
        raise InvalidSettings(f"{where}: cannot be read: {error.strerror}") from error
    return grpc.ssl_server_credentials([pair])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
