"""Optuna on tunesmith's store: `Storage(url)` where the database can be reached, `connect(address)` over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith.optuna.storage import Storage

if TYPE_CHECKING:
    from tunesmith.optuna.channel import connect

__all__ = ["Storage", "connect"]


def __getattr__(name: str) -> Any:
    if name != "connect":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tunesmith.optuna.channel import connect  # only now, for it needs gRPC

    return connect
