"""The children of this process that have nothing to do, for the next task."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager

from tuners.hosting.host import Host
from tuners.tools.process import Stream

_idle: list[Host] = []
"""One, unless several threads had tasks at once."""


@contextmanager
def borrowed(log: Stream) -> Iterator[Host]:
    """A child for one task, kept for the next one where it can be. `log`: see Host. Raises OSError."""
    host = _taken() or Host(log)
    try:
        yield host
    finally:
        if host.usable:
            _idle.append(host)
        else:
            host.close()


def _taken() -> Host | None:
    while True:
        try:
            host = _idle.pop()
        except IndexError:  # asked first, it could be gone: another thread may be faster
            return None
        if host.usable:
            return host
        host.close()


@atexit.register
def close_idle() -> None:
    """End the children that have nothing to do."""
    while _idle:
        _idle.pop().close()
