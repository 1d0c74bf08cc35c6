"""The audit log's records: who did what, when, from where, and what came of it. None holds a body or a secret."""

from __future__ import annotations

from pydantic import JsonValue

from tunesmith.domain.value import Time, Value


class Deed(Value):
    """What somebody did, or was refused."""

    at: Time
    """When it was answered."""
    principal: str
    """Who: a user's name, `api-key` or `anonymous`."""
    kind: str
    """Who that is: `user`, `service`, `key` or `anonymous`."""
    action: str
    """What, as the method and path of the operation: `POST /api/v1/experiments/{experiment_id}/trials`; of Optuna's
    protocol, `gRPC DeleteStudy`."""
    target: str | None
    """To what: the path that was asked for, percent-encoded, without its query; over gRPC, `study/7` or `trial/7`."""
    address: str | None
    """From where: the address of the client."""
    status: int
    """What came of it: the answer's HTTP status; 499: the client left before there was one."""
    details: dict[str, JsonValue] = {}
    """More of it: the ids of what was made, a refusal's `code`, and how many like it were `left_out` before."""


class DeedHere(Deed):
    """The same, with the workspace that it was about."""

    workspace_id: str | None
    """The workspace's id; None where nobody was signed in."""


class AuditRecord(Deed):
    """A record of the log."""

    id: int
    """Records are numbered in the order in which they were written."""
    workspace: str | None
    """The name of the workspace that it was about; None where nobody was signed in."""
