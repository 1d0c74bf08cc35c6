"""Optuna's own gRPC service over our storage, with leases for the trials that it hands out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from optuna.storages import BaseStorage
from optuna.storages._grpc.auto_generated import api_pb2
from optuna.storages._grpc.servicer import OptunaStorageProxyService

from tunesmith.optuna.channel import CLIENT, SERVER
from tunesmith.optuna.server_leases import Caller, Leases
from tunesmith.optuna.server_wire import Wire
from tunesmith.optuna.writing import EVALUATOR

R = TypeVar("R")
FINISHED = frozenset({api_pb2.COMPLETE, api_pb2.PRUNED, api_pb2.FAIL})
BEATS_PER_LEASE = 6
"""Heartbeats that fit into a lease, so that some may get lost."""
MAX_PAUSE_S = 5.0
"""Seconds between two heartbeats, at most."""


class LeasedService(OptunaStorageProxyService):
    """Optuna's service; every write asks the leases first."""

    def __init__(self, storage: BaseStorage, leases: Leases) -> None:
        super().__init__(storage)
        self._leases = leases
        self._wire = Wire(storage)
        self._name = secrets.token_hex(4)

    def CreateNewTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Add a trial; one that runs is the caller's."""
        caller = self._caller(context)
        with _evaluating(caller):
            reply = super().CreateNewTrial(request, context)
        if request.template_trial_is_none or request.template_trial.state == api_pb2.RUNNING:
            self._leases.take(reply.trial_id, caller)
        return reply

    def SetTrialStateValues(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Hand out a waiting trial, or finish one."""
        if request.state == api_pb2.RUNNING:
            caller = self._caller(context)
            with _evaluating(caller):
                reply = super().SetTrialStateValues(request, context)
            if reply.trial_updated:
                self._leases.take(request.trial_id, caller)
            return reply
        if _metadata(context, SERVER) not in (None, "", self._name):
            context.abort(grpc.StatusCode.ABORTED, "this is another server than before: send a heartbeat")
        reply = self._as_owner(super().SetTrialStateValues, request, context)
        if request.state in FINISHED:
            self._leases.end(request.trial_id)
        return reply

    def SetTrialParameter(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Note a parameter."""
        return self._as_owner(super().SetTrialParameter, request, context)

    def SetTrialIntermediateValue(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Note an intermediate value."""
        return self._as_owner(super().SetTrialIntermediateValue, request, context)

    def SetTrialUserAttribute(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Note what the user says of a trial."""
        return self._as_owner(super().SetTrialUserAttribute, request, context)

    def SetTrialSystemAttribute(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Note what a sampler says of a trial."""
        return self._as_owner(super().SetTrialSystemAttribute, request, context)

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """One trial; whoever holds it shows so that it is still there."""
        self._leases.beat([request.trial_id], self._caller(context))
        return super().GetTrial(request, context)

    def GetTrials(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The trials that the caller has not seen, and those that it saw unfinished."""
        try:
            return self._wire.trials(request.study_id, request.trial_id_greater_than, request.included_trial_ids)
        except KeyError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))

    def beat(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Prolong the caller's leases (BEAT)."""
        try:
            ids = [int(trial_id) for trial_id in json.loads(request)]
        except (ValueError, TypeError):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a heartbeat is a JSON list of trial ids")
        caller = self._caller(context)
        every_s = min(MAX_PAUSE_S, caller.lease_s / BEATS_PER_LEASE)
        answer = {"held": self._leases.beat(ids, caller), "every_s": every_s, "server": self._name}
        return json.dumps(answer).encode()

    def _as_owner(self, call: Callable[[Any, grpc.ServicerContext], R], request: Any, context: Any) -> R:
        problem = self._leases.refusal(request.trial_id, self._caller(context))
        if problem is not None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)
        return call(request, context)

    def _caller(self, context: grpc.ServicerContext) -> Caller:
        return self._leases.caller(_metadata(context, CLIENT), context.peer())


def _metadata(context: grpc.ServicerContext, wanted: str) -> str | None:
    return next((str(value) for name, value in context.invocation_metadata() if name == wanted), None)


@contextmanager
def _evaluating(caller: Caller) -> Iterator[None]:
    """Let the trials that are begun in the block be the caller's."""
    before = EVALUATOR.set(caller.worker)
    try:
        yield
    finally:
        EVALUATOR.reset(before)
