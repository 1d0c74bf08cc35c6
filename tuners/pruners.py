"""The pruners, by name: Optuna's, with their options taken from their own signatures."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from tunesmith.domain import Pruner
from tunesmith.errors import InvalidOptimizer

NAMES: Mapping[str, str] = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "asha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
    "wilcoxon": "WilcoxonPruner",
}
"""Our name -> Optuna's class."""


def check(pruner: Pruner | None, objectives: int) -> None:
    """Raise InvalidOptimizer unless the pruner exists, takes its options, and the experiment has one objective."""
    if pruner is None or pruner.type == "none":
        return
    if objectives > 1:
        raise InvalidOptimizer(
            "optimizer.pruner: pruning needs one objective; this experiment has several", field="pruner"
        )
    build(pruner)


def build(pruner: Pruner | None) -> Any:
    """The Optuna pruner. Raises InvalidOptimizer."""
    import optuna

    name = pruner.type if pruner else "none"
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidOptimizer(f"optimizer.pruner: no pruner is called {name!r}; {hint}known: {', '.join(NAMES)}")
    kind = getattr(optuna.pruners, NAMES[name])
    options = dict(pruner.options) if pruner else {}
    known = [p for p in inspect.signature(kind.__init__).parameters if p != "self"]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(known)}"
            raise InvalidOptimizer(f"optimizer.pruner ({name}): unknown option {option!r}; {hint}", field="pruner")
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise InvalidOptimizer(f"optimizer.pruner ({name}): {error}", field="pruner") from error
