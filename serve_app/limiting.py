"""How much one principal may ask for: reads, writes, and what workers send all the time, each with its own limit."""

from __future__ import annotations

from limits import RateLimitItem, parse
from limits.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.answers import refusal
from serve_app.auditing import READS, WORK
from serve_app.proxies import address
from serve_app.rates import too_many
from serve_app.shared_counters import SharedCounters
from tunesmith.domain.identity import Principal
from tunesmith.errors import TooManyRequests
from tunesmith.settings import Settings


class Rates:
    """How much everybody may ask for, and has asked for."""

    def __init__(self, counters: SharedCounters, settings: Settings) -> None:
        self.limiter = FixedWindowRateLimiter(counters)
        rates = {"reads": settings.rate_reads, "writes": settings.rate_writes, "work": settings.rate_work}
        self.limits: dict[str, RateLimitItem] = {kind: parse(rate) for kind, rate in rates.items() if rate is not None}

    def count(self, scope: Scope, who: str) -> None:
        """Count a request. Raises TooManyRequests."""
        kind = "reads" if scope["method"] in READS else "work" if WORK.search(scope["path"]) else "writes"
        limit = self.limits.get(kind)
        if limit is not None and not self.limiter.hit(limit, kind, who):
            raise too_many(self.limiter, limit, kind, who)


class RateLimits:
    """The ASGI middleware that refuses what is too much, behind the one that finds out who asks."""

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self.app, self.rates = app, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        if scope["type"] == "http":
            try:
                self.rates.count(scope, _counted_as(scope))
            except TooManyRequests as error:
                await refusal(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _counted_as(scope: Scope) -> str:
    """A user, whatever the token; nobody in particular by the address."""
    who: Principal = scope["state"]["principal"]
    return f"address {address(scope)}" if who.kind == "anonymous" else f"{who.kind} {who.name}"
