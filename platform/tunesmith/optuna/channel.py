"""`connect()`: a study's storage behind a Tunesmith server, with a token, TLS and heartbeats for its open trials."""

from __future__ import annotations

import functools
import json
import os
import socket
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc.auto_generated import api_pb2_grpc
from optuna.storages._grpc.client import GrpcClientCache
from optuna.trial import FrozenTrial, TrialState

from tunesmith.errors import (
    ConnectionFailed,
    Forbidden,
    InvalidSettings,
    TunesmithError,
    Unauthenticated,
    WorkspaceNotFound,
)
from tunesmith.optuna.heartbeat import Heartbeat

CLIENT = "tunesmith-client"
"""Metadata that tells the processes apart which use the same address."""
SERVER = "tunesmith-server"
"""Metadata that says which server has everything that was set on the open trials."""
REFUSALS: dict[grpc.StatusCode, type[TunesmithError]] = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: WorkspaceNotFound,
}
"""What a server has against a sign of life."""
PATIENCE_S = 120.0
"""Seconds that a call may take: it waits for a server that starts again, instead of failing."""
SAFE = (
    "CreateNewTrial", "GetAllStudies", "GetStudyDirections", "GetStudyIdFromName", "GetStudyNameFromId",
    "GetStudySystemAttributes", "GetStudyUserAttributes", "GetTrial", "GetTrialIdFromStudyIdTrialNumber", "GetTrials",
    "SetStudySystemAttribute", "SetStudyUserAttribute", "SetTrialIntermediateValue", "SetTrialParameter",
    "SetTrialSystemAttribute", "SetTrialUserAttribute",
)  # fmt: skip
"""Calls that are made again when the server went away under them: to do them twice does no harm (a trial that was
created twice goes to somebody else when its lease ends)."""
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    (
        "grpc.service_config",
        json.dumps({
            "methodConfig": [{
                "name": [{"service": "optuna.StorageService", "method": method} for method in SAFE],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "5s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }]
        }),
    ),
)  # fmt: skip


def connect(
    address: str,
    *,
    token: str | None = None,
    workspace: str | None = None,
    tls: bool | None = None,
    ca: str | Path | None = None,
    wait_s: float = 10,
) -> RemoteStorage:
    """The storage that `tunesmith optuna-server` serves at `address` ("host:port"), for Optuna's `storage=`.

    `token`: a user's, or the platform's key; unset: `TUNESMITH_API_KEY` (it does not travel with a pickled storage).
    `workspace`: the name of the one whose studies these are; unset: `TUNESMITH_WORKSPACE`, or else the user's own.
    `ca`: a PEM file with the certificates to trust, for a server with TLS; `tls=True` alone trusts the system's.
    `wait_s`: seconds to wait for a server that is not there yet.

    Raises:
        InvalidSettings: `address`, `token` or `ca` cannot be used.
        ConnectionFailed: no server answers there.
        Unauthenticated: it wants another token.
        WorkspaceNotFound, Forbidden: there is no such workspace for the token, or nothing may be done with it there.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidSettings(f"address={address!r} is no host and port; write for instance 'localhost:13000'")
    workspace = workspace or os.environ.get("TUNESMITH_WORKSPACE") or None
    for name, value in (("token", token), ("workspace", workspace)):
        if value is not None and not (value.isascii() and value.isprintable()):
            raise InvalidSettings(f"{name}: gRPC carries printable ASCII alone; use such characters")
    try:
        roots = None if ca is None else Path(ca).read_bytes()
    except OSError as error:
        raise InvalidSettings(f"ca={str(ca)!r} cannot be read: {error.strerror}; name the server's PEM file") from error
    storage = RemoteStorage(host, int(port), token, bool(tls) or ca is not None, roots, workspace)
    try:
        storage.check(wait_s)
    except BaseException:
        storage.close()
        raise
    return storage


class RemoteStorage(GrpcStorageProxy):
    """Optuna's own proxy, whose calls carry a token and the client's name; it can be pickled and used by threads."""

    def __init__(
        self, host: str, port: int, token: str | None, tls: bool, roots: bytes | None, workspace: str | None = None
    ) -> None:
        # Not Optuna's own, which warns that it is experimental.
        self._workspace = workspace
        self._host, self._port, self._token, self._tls, self._roots = host, port, token, tls, roots
        self._setup()

    def check(self, wait_s: float = 10) -> None:
        """Ask the server for a sign of life. Raises ConnectionFailed or Unauthenticated."""
        try:
            self._beat.send(wait_s)
        except grpc.RpcError as error:
            raise _explained(error, f"{self._host}:{self._port}", self._tls) from error

    def close(self) -> None:
        """Close the channel; trials that are still open go to others when their lease ends."""
        self._beat.stop()
        super().close()

    def wait_server_ready(self, timeout: float | None = None) -> None:
        """Wait until the server answers, `timeout` in seconds. Raises ConnectionError."""
        try:
            grpc.channel_ready_future(self._wire).result(timeout=timeout)
        except grpc.FutureTimeoutError as error:
            raise ConnectionError(f"no server answers at {self._host}:{self._port}") from error

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial; one that runs is this process's until it is finished."""
        trial_id = super().create_new_trial(study_id, template_trial)
        if template_trial is None or template_trial.state is TrialState.RUNNING:
            self._beat.add(trial_id)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Take a waiting trial, or finish one. Raises UpdateFinishedTrialError, also when it is somebody else's now."""
        try:
            updated = self._set_state(trial_id, state, values)
        except UpdateFinishedTrialError:
            self._beat.remove(trial_id)
            raise
        if state is TrialState.RUNNING and updated:
            self._beat.add(trial_id)
        elif state is not TrialState.RUNNING:
            self._beat.remove(trial_id)
        return updated

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter."""
        self._beat.note(trial_id, ("param", param_name), super().set_trial_param, param_value_internal, distribution)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Report an intermediate value."""
        self._beat.note(trial_id, ("step", step), super().set_trial_intermediate_value, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something about a trial."""
        self._beat.note(trial_id, ("user", key), super().set_trial_user_attr, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something about a trial on Optuna's behalf."""
        self._beat.note(trial_id, ("system", key), super().set_trial_system_attr, value)

    def _set_state(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        try:
            return super().set_trial_state_values(trial_id, state, values)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise
        self._beat.send(PATIENCE_S)  # another server answers: it has to hear first what was set on the trial
        return super().set_trial_state_values(trial_id, state, values)

    def _setup(self) -> None:
        self._wire = self._open()
        token = self._token or os.environ.get("TUNESMITH_API_KEY")
        signature = _Signature(client_name(), token, self._workspace)
        self._channel = grpc.intercept_channel(self._wire, signature)
        self._stub = api_pb2_grpc.StorageServiceStub(self._channel)
        self._cache = GrpcClientCache(self._stub)
        self._beat = signature.beat = Heartbeat(self._channel)
        weakref.finalize(self, self._beat.stop)

    def _open(self) -> grpc.Channel:
        target = f"{self._host}:{self._port}"
        if not self._tls:
            return grpc.insecure_channel(target, options=OPTIONS)
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(self._roots), options=OPTIONS)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["_wire"], state["_beat"]
        return state


class _Signature(grpc.UnaryUnaryClientInterceptor):
    """Puts the client's name, the token and the workspace on every call."""

    beat: Heartbeat

    def __init__(self, name: str, token: str | None, workspace: str | None) -> None:
        self._metadata = [(CLIENT, name)] + ([("authorization", f"Bearer {token}")] if token else [])
        self._metadata += [("x-workspace", workspace)] if workspace else []

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Send the call on, signed."""
        return continuation(
            client_call_details._replace(
                metadata=[*self._metadata, (SERVER, self.beat.server)],
                timeout=client_call_details.timeout or PATIENCE_S,
                wait_for_ready=True,
            ),
            request,
        )


def client_name() -> str:
    """What this process calls itself: host, process id, and a word that no other process has."""
    return _name_of(os.getpid())


@functools.cache
def _name_of(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{uuid.uuid4().hex[:8]}".encode("ascii", "replace").decode()


def _explained(error: Any, address: str, tls: bool) -> Exception:
    if error.code() in REFUSALS:
        return REFUSALS[error.code()](error.details())
    hint = "and whether it has the certificate that `ca` trusts" if tls else "and whether it wants TLS (`ca=`)"
    return ConnectionFailed(
        f"No Optuna server answers at {address} ({error.code().name}: {error.details()}); look whether "
        f"`tunesmith optuna-server` runs there, {hint}",
        address=address,
    )
