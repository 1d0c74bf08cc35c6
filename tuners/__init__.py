"""Searching: tools that evaluate a point, samplers that choose one, and the loop over Ray Tune around them.

`from tuners import tune, Int, Float, Choice` is the way in for scripts and notebooks. Names are imported when they are
first used, so that the service and its workers do not pay for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuners.api.space import Choice, Float, Int
    from tuners.api.tune import load, tune
    from tuners.tools.callable_trial import Trial
    from tuners.tools.checkpoints import checkpoint_dir, steps
    from tunesmith.client.tune_result import BestTrial, Interrupted, Result
    from tunesmith.domain import Params

_HOMES = {
    "tuners.api.space": ("Choice", "Float", "Int"),
    "tuners.api.tune": ("load", "tune"),
    "tuners.tools.callable_trial": ("Trial",),
    "tuners.tools.checkpoints": ("checkpoint_dir", "steps"),
    "tunesmith.client.tune_result": ("BestTrial", "Interrupted", "Result"),
    "tunesmith.domain": ("Params",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BestTrial",
    "Choice",
    "Float",
    "Int",
    "Interrupted",
    "Params",
    "Result",
    "Trial",
    "checkpoint_dir",
    "load",
    "steps",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
