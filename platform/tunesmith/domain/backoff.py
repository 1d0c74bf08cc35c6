"""Pauses between tries: longer each time, and never quite the same."""

from __future__ import annotations

import random

MAX_BACKOFF_S = 3600.0
"""Seconds between two tries, at most."""
JITTER = 0.1
"""Share by which a pause may be longer or shorter, so that not all come back at once."""


def backoff_s(base_s: float, failures: int) -> float:
    """Seconds until the next try: base * 2^failures up to an hour, and a tenth more or less."""
    return min(base_s * 2.0**failures, MAX_BACKOFF_S) * random.uniform(1 - JITTER, 1 + JITTER)
