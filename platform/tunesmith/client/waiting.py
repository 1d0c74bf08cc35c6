"""Waiting for something to end by looking again and again, while a server that restarts is borne with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tunesmith.client.job import PATIENCE_S
from tunesmith.client.retry import Patience
from tunesmith.errors import ConnectionFailed, Unavailable

T = TypeVar("T")
LONGEST_PAUSE_S = 2.0
"""Seconds between two looks, at most."""


def await_end(
    look: Callable[[], T],
    ended: Callable[[T], bool],
    timeout_s: float | None,
    on_progress: Callable[[T], object] | None,
    still: Callable[[T], str],
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> T:
    """What `look` found when it had `ended`; `on_progress` is called with every new finding.

    Raises:
        TimeoutError: it has not ended after `timeout_s` seconds; `still` begins the sentence that says so.
        TunesmithError: the server cannot be reached for a minute, or refuses the look.
    """
    patience = Patience(PATIENCE_S if timeout_s is None else min(timeout_s, PATIENCE_S))
    begun, last = time.monotonic(), None
    while True:
        try:
            standing = look()
            patience.restored()
        except (ConnectionFailed, Unavailable) as error:
            patience.bear(error)
            continue
        if on_progress is not None and standing != last:
            on_progress(standing)
        if ended(standing):
            return standing
        last, waited = standing, time.monotonic() - begun
        if timeout_s is not None and waited >= timeout_s:
            raise TimeoutError(f"{still(standing)} after {timeout_s:g} s; it goes on")
        pause = min(longest_pause_s, max(0.05, waited / 20))  # noticed at most a twentieth too late
        time.sleep(pause if timeout_s is None else min(pause, timeout_s - waited))
