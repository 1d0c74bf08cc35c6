"""What calls to an Optuna server go into the audit log: those that change a study itself, and every refusal."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc
from pydantic import JsonValue

from tunesmith.domain import Principal, utcnow
from tunesmith.domain.audit import DeedHere
from tunesmith.services.audit_log import AuditLog
from tunesmith.services.refusals import Refusals

STUDIES = ("CreateNewStudy", "DeleteStudy", "SetStudy")
"""How the names of calls begin that change a study itself, and not its trials, which is the work of workers."""
REFUSED = (400, 401, 403, 404)
HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.UNAVAILABLE: 503,
}
"""The HTTP statuses that records have; of all others it is 500."""


class CallAudit:
    """Records calls; safe to share between threads."""

    def __init__(self, log: AuditLog) -> None:
        self._log, self._refusals = log, Refusals()

    def record(self, name: str, request: Any, reply: Any, who: Principal, context: Any, code: str | None) -> None:
        """Record what came of a call, if it belongs into the log. `reply`: None, where it failed; `code`: then why."""
        status = HTTP.get(context.code(), 500) if reply is None else 200
        refused, address = status in REFUSED, address_of(context.peer())
        if not refused and not name.startswith(STUDIES):
            return
        left_out = self._refusals.count(f"{address} {status}") if refused else 0
        if left_out is None:
            return
        made = getattr(reply, "study_id", None) if name == "CreateNewStudy" else None
        details: dict[str, JsonValue] = {"id": made, "code": code, "left_out": left_out or None}
        self._log.add(
            DeedHere(
                at=utcnow(),
                workspace_id=who.workspace_id,
                principal=who.name,
                kind=who.kind,
                action=f"gRPC {name}",
                target=_target(request),
                address=address,
                status=status,
                details={key: value for key, value in details.items() if value is not None},
            )
        )


def address_of(peer: str) -> str:
    """The address of a client, of what gRPC says of it: `ipv4:192.0.2.7:4711`, `ipv6:%5B::1%5D:4711`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def _target(request: Any) -> str | None:
    named = ((name, getattr(request, f"{name}_id", None)) for name in ("study", "trial"))
    return next((f"{name}/{id_}" for name, id_ in named if id_ is not None), None)
