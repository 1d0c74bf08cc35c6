"""A bell that any number of coroutines wait for: whoever took a ticket before it rang hears it."""

from __future__ import annotations

import asyncio


class Bell:
    """Take a ticket, look whether there is something to do, and only then wait: no ring in between is missed."""

    def __init__(self) -> None:
        self.ticket: asyncio.Future[None] = asyncio.get_event_loop().create_future()
        self.rings = 0
        """How often it rang."""

    def ring(self) -> None:
        """Wake everybody who holds a ticket."""
        self.rings += 1
        rung, self.ticket = self.ticket, asyncio.get_event_loop().create_future()
        rung.set_result(None)


async def wait(ticket: asyncio.Future[None], timeout_s: float) -> None:
    """Until the ticket's bell rings, or the time is over."""
    await asyncio.wait({ticket}, timeout=timeout_s)
