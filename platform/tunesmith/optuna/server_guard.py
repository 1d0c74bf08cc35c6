"""What every call to an Optuna server passes first: who calls, and whether they may; and a translation of errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import grpc

from tunesmith.domain import Principal
from tunesmith.domain.identity import NOBODY
from tunesmith.errors import BadRequest, Conflict, Forbidden, NotFound, TunesmithError, Unauthenticated, Unavailable
from tunesmith.optuna.server_audit import CallAudit
from tunesmith.optuna.writing import WORKSPACE
from tunesmith.services.audit_log import AuditLog
from tunesmith.services.recognizing import Recognizer
from tunesmith.store import Store

NO_TOKEN = (
    "Send the platform's key, or a token, as metadata `authorization: Bearer <key>`: "
    "storage = tunesmith.optuna.connect('host:port', token=<key>), or set TUNESMITH_API_KEY there"
)
STATUS: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (ValueError, grpc.StatusCode.INVALID_ARGUMENT),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
)
"""Optuna's client makes KeyError, ValueError and UpdateFinishedTrialError of the first ones; UNAVAILABLE may be tried
again."""
WRITING = ("CreateNewStudy", "DeleteStudy")
READING = ("Get", "Beat")
"""How the names of calls begin that change nothing; all others, and those of WRITING, do."""
REMEMBERED = 100_000
"""Studies, and trials, whose workspaces are remembered."""
Call = Callable[[Any, grpc.ServicerContext], Any]


class Guard(grpc.ServerInterceptor):
    """Refuses calls of whoever may not make them, and answers the platform's errors with their message."""

    def __init__(self, store: Store, recognizer: Recognizer, log: AuditLog) -> None:
        self._store, self._recognizer, self._audit = store, recognizer, CallAudit(log)
        self._handlers: dict[str, Any] = {}
        # It never changes, so it is asked once.
        self._of_study, self._of_trial = lru_cache(REMEMBERED)(self._study), lru_cache(REMEMBERED)(self._trial)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler of a call, behind the guard."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[method] = grpc.unary_unary_rpc_method_handler(
                self._guarded(method.rpartition("/")[2], handler.unary_unary),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return self._handlers[method]

    def _guarded(self, name: str, call: Call) -> Call:
        scope = "write" if name in WRITING else "read" if name.startswith(READING) else "run"

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            asking, reply, code = NOBODY, None, None
            try:
                asking = self._asking(context)
                reply = self._answer(scope, asking, call, request, context)
                return reply
            except (TunesmithError, ValueError) as error:
                code = getattr(error, "code", None)
                status = next((status for kind, status in STATUS if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
                context.abort(status, NO_TOKEN if isinstance(error, Unauthenticated) else str(error))
            finally:
                self._audit.record(name, request, reply, asking, context, code)

        return answer

    def _answer(self, scope: str, asking: Principal, call: Call, request: Any, context: grpc.ServicerContext) -> Any:
        if not asking.may(scope):
            raise Forbidden(f"It needs the scope {scope!r}; {asking.name!r} is {asking.role} in the workspace")
        if asking.attributes:  # studies show the inputs of runs
            raise Forbidden(f"{asking.name!r} is limited to model runs by {', '.join(asking.attributes)}")
        self._check(request, asking)
        before = WORKSPACE.set(asking.workspace_id)
        try:
            return call(request, context)
        finally:
            WORKSPACE.reset(before)

    def _asking(self, context: grpc.ServicerContext) -> Principal:
        sent = {str(name): str(value) for name, value in context.invocation_metadata()}
        scheme, _, token = sent.get("authorization", "").partition(" ")
        return self._recognizer.principal(token.strip() if scheme.lower() == "bearer" else "", sent.get("x-workspace"))

    def _check(self, request: Any, asking: Principal) -> None:
        """Raise NotFound where a call names a study or a trial of another workspace."""
        for name, workspace_of in (("study_id", self._of_study), ("trial_id", self._of_trial)):
            id_ = getattr(request, name, None)
            if id_ is not None and workspace_of(id_) != asking.workspace_id:
                raise NotFound(f"There is no {name.removesuffix('_id')} of the id {id_}")

    def _study(self, study_id: int) -> str:
        with self._store.read(single=True) as tx:
            return tx.experiment(study_id).workspace_id

    def _trial(self, trial_id: int) -> str:
        with self._store.read(single=True) as tx:
            experiment_id = tx.experiment_of_trial(trial_id)
        if experiment_id is None:
            raise NotFound(f"There is no trial of the id {trial_id}")
        return self._of_study(experiment_id)
