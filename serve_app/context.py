"""What every endpoint is handed: settings, store, artefact storage, plugins, and the platform around."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from serve_app.autocreate import Autocreate
from serve_app.counting import RequestCounts
from serve_app.identities import Identities
from serve_app.platform import Platform
from tunesmith.domain import Session
from tunesmith.plugins import Registry
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store, Tx

log = logging.getLogger("tunesmith.api")


@dataclass(frozen=True)
class Context:
    """The surroundings of a request; one for the whole application."""

    settings: Settings
    store: Store
    storage: Storage
    platform: Platform
    requests: RequestCounts
    registry: Registry
    identities: Identities
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
    """The application's context. `async`, because a `def` dependency would cost a thread switch per request."""
    context: Context = request.app.state.context
    return context


Here = Annotated[Context, Depends(context_of)]
"""Annotate an endpoint's parameter with this to get the context."""
