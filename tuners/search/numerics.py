"""How samplers compute: one thread of the linear algebra library each, and no word of what is not defined."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """While a sampler computes.

    Its matrices are small: more threads make nothing faster, and where processors are busy each product waits for all
    of them (TREGO at 300 trials took ten times as long). TPE divides by zero in integer ranges as wide as 2^50.
    """
    with _libraries().limit(limits=1, user_api="blas"), np.errstate(divide="ignore", invalid="ignore"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    importlib.import_module("scipy.linalg")  # it has a library of its own, which has to be there to be found

    return ThreadpoolController()
