"""Fetching the function that a batch is about: an import by name, or the pickle that was shipped for the job."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tuners.messages import Batch
from tunesmith.domain import FunctionTool
from tunesmith.storage import Storage


def function_key(digest: str) -> str:
    """The key of a shipped function in the artefact storage."""
    return f"functions/{digest}"


def load(batch: Batch) -> Callable[..., Any]:
    """The batch's function. Raises whatever importing or unpickling it does."""
    if isinstance(batch.spec.tool, FunctionTool):
        return _imported(batch.spec.tool.entrypoint)
    if batch.code is None:
        raise LookupError("no function was shipped for this job; submit it with Client.tune(), which ships one")
    return _shipped(batch.artifacts, batch.code)


@lru_cache(maxsize=64)
def _imported(entrypoint: str) -> Callable[..., Any]:
    module, _, name = entrypoint.partition(":")
    function = getattr(importlib.import_module(module), name)
    if not callable(function):
        raise TypeError(f"{entrypoint} is no function")
    return function  # type: ignore[no-any-return]


@lru_cache(maxsize=16)
def _shipped(artifacts: str, digest: str) -> Callable[..., Any]:
    import cloudpickle

    payload = b"".join(Storage(artifacts).read(function_key(digest)))
    if not payload:
        raise LookupError(f"the shipped function {digest[:12]} is not in the storage any more; submit the job again")
    return cloudpickle.loads(payload)  # type: ignore[no-any-return]
