"""Who is at the other end, where proxies stand between: what they say is believed if they are trusted, and only then.

The ingress of this machine says it too, so what stands behind looks at one place: the scope's `client` and `scheme`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.0/8", "::1/128")


def address(scope: Scope) -> str:
    """Where a request comes from; empty where nobody knows."""
    client = scope.get("client")
    return str(client[0]) if client else ""


class FromProxies:
    """The ASGI middleware that finds the client behind the proxies."""

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        """`trusted`: networks in CIDR notation, besides this machine's loopback."""
        self.app = app
        networks = [ip_network(network) for network in (*LOOPBACK, *trusted)]

        @lru_cache(maxsize=1000)
        def is_trusted(host: str) -> bool:
            try:
                address = ip_address(host)
            except ValueError:
                return False
            return any(address in network for network in networks)

        self._is_trusted = is_trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as it was before the proxies."""
        client = scope.get("client")
        if scope["type"] == "http" and client and self._is_trusted(client[0]):
            self._look_behind(scope)
        await self.app(scope, receive, send)

    def _look_behind(self, scope: Scope) -> None:
        hops: list[str] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                hops += (hop.strip() for hop in value.decode("latin-1").split(","))
            elif name == b"x-forwarded-proto" and value in (b"http", b"https"):
                scope["scheme"] = value.decode()
        # From the nearest on: the first that is no proxy of ours; what stands before it, anybody could have written.
        far = next((hop for hop in reversed(hops) if not self._is_trusted(hop)), hops[0] if hops else "")
        with suppress(ValueError):  # what is no address changes nothing
            scope["client"] = str(ip_address(far)), 0
