"""Functions started at the same moment, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")


def race(*functions: Callable[[], T]) -> list[T | Exception]:
    """What each function returned or raised, in the functions' order."""
    start = Barrier(len(functions))

    def run(function: Callable[[], T]) -> T | Exception:
        start.wait(10)
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))
