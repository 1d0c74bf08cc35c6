"""Functions that the tests let the platform run; its workers import this module."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator


def sphere(x: float, y: float) -> float:
    """Least at 0."""
    return x * x + y * y


def noisy(x: float, y: float) -> float:
    """Sphere with noise."""
    return sphere(x, y) + random.random()


def nap(x: float, y: float) -> float:
    """A fifth of a second."""
    time.sleep(0.2)
    return x + y


def two_curves(x: float, y: float) -> Iterator[dict[str, float]]:
    """Two objectives that both get worse with the distance from the segment between (0, 0) and (1, 0)."""
    for step in range(10):
        time.sleep(0.01)
        rest = 1.0 / (step + 1)
        yield {"near": abs(x) + abs(y) + rest, "far": abs(x - 1) + abs(y) + rest}


def first_is_slow(x: float, y: float) -> float:
    """Short for almost every point, half a minute for the first ones of a seed that tests look for."""
    time.sleep(4.0 if x > 0.9 else 0.001)
    return x


def deaf(x: float, y: float) -> Iterator[float]:
    """A first value, and then a call that no signal interrupts."""
    yield 1.0
    hashlib.pbkdf2_hmac("sha256", b"", b"", 60_000_000)
    yield x + y
