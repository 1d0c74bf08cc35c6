"""What every endpoint is handed: settings, store, artefact storage, plugins, and the platform around."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from serve_app.autocreate import Autocreate
from serve_app.counting import RequestCounts
from serve_app.identities import Identities
from serve_app.platform import Platform
from serve_app.signing_in.oidc import OpenId
from tunesmith.domain import Principal, Session
from tunesmith.plugins import Registry
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store, Tx

log = logging.getLogger("tunesmith.api")

NOWHERE = ""
"""The workspace of requests that are about none: no workspace has this id."""


@dataclass(frozen=True)
class Context:
    """The surroundings of a request: those of the whole application, with the store of the request's workspace."""

    settings: Settings
    store: Store
    storage: Storage
    platform: Platform
    requests: RequestCounts
    registry: Registry
    identities: Identities
    open_id: OpenId | None = None
    """The OpenID provider that people sign in with."""
    autocreate: Autocreate | None = None
    max_parallel: int = 1
    """Scenarios of a new session that run at once, at most."""

    def added(self, tx: Tx, session: Session, key: str) -> None:
        """A dataset was made, in this transaction: make its scenarios, where datasets get some by themselves."""
        if self.autocreate is not None:
            self.autocreate.scenarios(tx, self.registry, session, key)

    def wake(self) -> None:
        """Wake the dispatcher. What was committed stays committed, so a failure here fails no request."""
        try:
            self.platform.wake()
        except Exception:
            log.warning("the dispatcher could not be woken; it finds the job at its next look", exc_info=True)


async def context_of(request: Request) -> Context:
    """The request's context. `async`, because a `def` dependency would cost a thread switch per request."""
    whole: Context = request.app.state.context
    asking: Principal = request.state.principal
    return replace(whole, store=whole.store.scoped(asking.workspace_id or NOWHERE))


Here = Annotated[Context, Depends(context_of)]
"""Annotate an endpoint's parameter with this to get the context; its store finds things of one workspace alone."""
