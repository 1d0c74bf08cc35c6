"""The pruners, by name: Optuna's, with their options taken from their own signatures."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

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
            f"optimizer.pruner ({pruner.type}): pruning needs one objective; this experiment has {objectives}. "
            "Leave the pruner out",
            field="pruner",
        )
    build(pruner)


def build(pruner: Pruner | None) -> Any:
    """The Optuna pruner. Raises InvalidOptimizer."""
    import optuna

    name = pruner.type if pruner else "none"
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidOptimizer(
            f"optimizer.pruner: no pruner is called {name!r}; {hint}known: {', '.join(NAMES)}", field="pruner"
        )
    kind = getattr(optuna.pruners, NAMES[name])
    options = dict(pruner.options) if pruner else {}
    _check_options(name, kind, options)
    try:
        built = kind(**options)
        _try_out(built)
    except Exception as error:  # each pruner has its own ways of refusing, some only when it is used
        raise InvalidOptimizer(f"optimizer.pruner ({name}): {error}", field="pruner") from error
    return kind(**options)


def _check_options(name: str, kind: Any, options: Mapping[str, Any]) -> None:
    known = inspect.signature(kind.__init__).parameters.keys() - {"self"}
    hints = get_type_hints(kind.__init__)
    for option, value in options.items():
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(sorted(known)) or 'no options'}"
            raise InvalidOptimizer(
                f"optimizer.pruner ({name}): unknown option {option!r} ({value!r:.100}); {hint}", field="pruner"
            )
        try:
            TypeAdapter(hints[option]).validate_python(value, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise InvalidOptimizer(
                f"optimizer.pruner ({name}).{option}: {problem}, not {value!r:.100}", field="pruner"
            ) from error


def _try_out(pruner: Any) -> None:
    """Let it judge two trials, so that it fails here if it does at all, and not in the middle of a search."""
    import optuna

    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(2):
        trial = study.ask()
        for step in range(4):
            trial.report(float(step), step)
            trial.should_prune()
        study.tell(trial, 0.0)
