"""Idempotency keys: the second POST with a key gets the first one's answer, and nothing is made twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from serve_app.auth import principal
from tunesmith.schemas.base import canonical
from tunesmith.store import Tx

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Any text of your own, once per thing to do; sent again with the same body: the first answer.",
    ),
]
"""The header, as an endpoint's parameter."""


@dataclass(frozen=True)
class Once:
    """A request that may come twice: whose it is and where it goes, its key, and a hash of its body."""

    scope: str
    key: str
    body_hash: str

    @classmethod
    def of(cls, request: Request, key: str | None, body: BaseModel | None = None) -> Once | None:
        """The request's identity; None when it carries no key."""
        if key is None:
            return None
        content = "" if body is None else canonical(body.model_dump(mode="json"))
        asking = principal(request)
        scope = f"{asking.name} {asking.workspace_id} {request.method} {request.url.path}"
        return cls(scope, key, hashlib.sha256(content.encode()).hexdigest())

    def replay(self, tx: Tx) -> Response | None:
        """The first answer, if there was one. Raises IdempotencyMismatch."""
        first = tx.first_answer(self.scope, self.key, self.body_hash)
        if first is None or first[0] == 0:  # 0: reserved, by this very transaction
            return None
        status, body = first
        return Response(to_json(body), status, {"Idempotency-Replayed": "true"}, "application/json")

    def first(self, tx: Tx, work: Callable[[], Response]) -> Response:
        """Do the work and keep its answer, unless the key came first elsewhere. Raises IdempotencyMismatch."""
        tx.reserve_key(self.scope, self.key, self.body_hash)
        if (earlier := self.replay(tx)) is not None:
            return earlier
        response = work()
        tx.keep_answer(self.scope, self.key, response.status_code, json.loads(bytes(response.body)))
        return response


async def _bodiless(request: Request, key: Key = None) -> Once | None:
    return Once.of(request, key)


Bodiless = Annotated[Once | None, Depends(_bodiless)]
"""The identity of a request without a body, as an endpoint's parameter."""


def perform(tx: Tx, once: Once | None, work: Callable[[], Response]) -> Response:
    """Do the work, once per key; its answer is kept in the same transaction. Raises IdempotencyMismatch."""
    if once is None:
        return work()
    return once.replay(tx) or once.first(tx, work)
