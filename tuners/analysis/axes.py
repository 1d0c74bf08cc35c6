"""Parameters as axes: one for all the trials that are shown, and labels where Optuna would take two choices for one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from tunesmith.domain import Scalar
from tunesmith.schemas.analysis import Axis

Distributions = Mapping[str, Sequence[BaseDistribution]]
"""Parameter -> the distributions that trials have for it, each once."""


def distributions_of(trials: Iterable[FrozenTrial]) -> Distributions:
    """What the trials' parameters are drawn from, in the order in which they are met."""
    # Trials share distributions, so first by identity: reading the content of each would take much longer.
    seen: dict[str, dict[int, BaseDistribution]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            seen.setdefault(name, {})[id(distribution)] = distribution
    return {name: list({_content(each): each for each in found.values()}.values()) for name, found in seen.items()}


def axis_of(name: str, distributions: Sequence[BaseDistribution], values: Iterable[Any]) -> Axis:
    """An axis that has room for all of them: their common range, or all their choices.

    `values`: what trials have; where some draw from a range and others from choices, all are choices.
    """
    numeric = [each for each in distributions if isinstance(each, FloatDistribution | IntDistribution)]
    if len(numeric) < len(distributions):
        choices = tuple(scalar(choice) for choice in _all_choices(distributions, values if numeric else ()))
        return Axis.model_construct(name=name, type="categorical", log=False, low=None, high=None, choices=choices)
    return Axis.model_construct(
        name=name,
        type="int" if all(isinstance(each, IntDistribution) for each in numeric) else "float",
        log=all(each.log for each in numeric),
        low=float(min(each.low for each in numeric)),
        high=float(max(each.high for each in numeric)),
        choices=None,
    )


def scalar(value: Any) -> Scalar:
    """A choice as JSON has it; what is none there, as text."""
    return value if value is None or isinstance(value, str | int) or _finite(value) else str(value)


def relabel(trials: Sequence[FrozenTrial], merge: bool) -> None:
    """Change trials, which nobody else has, so that Optuna's functions tell apart what is different.

    Python takes 1 for true, and text takes 1 for "1": the choices of such a parameter become JSON texts. `merge`: a
    parameter that trials draw from different distributions gets one that has room for all.
    """
    for name, distributions in distributions_of(trials).items():
        axis = axis_of(name, distributions, ())
        mixed = merge and len(distributions) > 1
        if axis.choices is None:
            if mixed:
                _widen(trials, name, axis)
        elif mixed or _ambiguous(distributions):
            seen = (trial.params[name] for trial in trials if name in trial.params)
            _name_choices(trials, name, _all_choices(distributions, seen))


def _name_choices(trials: Sequence[FrozenTrial], name: str, choices: Sequence[Any]) -> None:
    labels = {key(choice): label(choice) for choice in choices}
    shown = CategoricalDistribution(tuple(labels.values()))
    for trial in trials:
        if name in trial.params:
            trial.params = {**trial.params, name: labels[key(trial.params[name])]}
            trial.distributions = {**trial.distributions, name: shown}


def _widen(trials: Sequence[FrozenTrial], name: str, axis: Axis) -> None:
    assert axis.low is not None
    assert axis.high is not None
    shown = FloatDistribution(axis.low, axis.high, log=axis.log)
    for trial in trials:
        if name in trial.params:
            trial.distributions = {**trial.distributions, name: shown}


def label(choice: Any) -> str:
    """A choice as text that no other choice has."""
    return json.dumps(choice, default=str)


def key(choice: Any) -> Any:
    """What equal choices have in common: 1 and 1.0 are equal, 1 and true are not."""
    return (
        (isinstance(choice, bool), choice) if choice is None or isinstance(choice, str | int | float) else label(choice)
    )


def _ambiguous(distributions: Sequence[BaseDistribution]) -> bool:
    choices = _all_choices(distributions)
    if not all(choice is None or isinstance(choice, str | int | float) for choice in choices):
        return True
    return min(len(set(choices)), len({str(choice) for choice in choices})) < len(choices)


def _all_choices(distributions: Iterable[BaseDistribution], values: Iterable[Any] = ()) -> list[Any]:
    lists = (each.choices for each in distributions if isinstance(each, CategoricalDistribution))
    return list({key(choice): choice for choice in chain(*lists, values)}.values())


def _content(distribution: BaseDistribution) -> Any:
    """What equal distributions have in common; Python's own comparison takes a choice of 1 for one of true."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(map(key, distribution.choices))
    return type(distribution), *distribution._asdict().values()


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
