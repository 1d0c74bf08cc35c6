"""Where requests may send this platform: to public addresses, unless the administrator allows the others too.

A name is judged by the address that is really connected to: Python's audit hook tells of every connection, whichever
library makes it, after names were resolved and for each redirect. So it is of no use to let a name point elsewhere
between a look and the connection.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
SERVICES_OF_CLOUDS = frozenset({"168.63.129.16"})
"""Public by their number, but answered by the host that a virtual machine runs on."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_refused: ContextVar[list[str] | None] = ContextVar("refused", default=None)


class NotPublic(PermissionError):
    """The address is none of the internet's."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, so not of this machine, a private network, or a cloud's own."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None or found in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.sixtofour or found.teredo or found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved) and str(found) not in SERVICES_OF_CLOUDS


def may_be_public(host: str) -> bool:
    """Whether a URL's host could be public, as far as that shows without asking for its address."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name != "localhost" and not name.endswith(".localhost")
    return is_public(name)


@contextmanager
def public_addresses_only() -> Iterator[list[str]]:
    """What this thread does in the block connects to public addresses alone; anything else raises NotPublic there.

    Gives the addresses that were refused, for libraries hide why a connection failed.
    """
    _watch()
    refused: list[str] = []
    token = _refused.set(refused)
    try:
        yield refused
    finally:
        _refused.reset(token)


@cache
def _watch() -> None:
    sys.addaudithook(_look)


def _look(event: str, given: tuple[Any, ...]) -> None:
    if event not in CONNECTIONS or (refused := _refused.get()) is None:
        return
    target = given[1]
    host = str(target[0]) if isinstance(target, tuple) and target else str(target)  # a name: a socket of this machine
    if not is_public(host):
        refused.append(host)
        raise NotPublic(f"{host} is no public address")
