"""Optuna's distributions of a space's parameters, wide enough for the values that trials have."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tunesmith.domain import Parameter, same_scalar


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """What the space says, a categorical over its own choices."""
    if parameter.type == "categorical":
        return CategoricalDistribution(parameter.choices or ())
    low, high = parameter.bounds
    if parameter.step is not None:
        # Reckoned in decimals as Optuna does, which warns where the step does not divide the range.
        first, step = Decimal(str(low)), Decimal(str(parameter.step))
        high = float(first + (Decimal(str(high)) - first) // step * step)
    if parameter.type == "int":
        return IntDistribution(int(low), int(high), log=parameter.log, step=int(parameter.step or 1))
    return FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def covering(
    parameter: Parameter | None, values: Sequence[Any], known: BaseDistribution | None = None
) -> BaseDistribution:
    """A distribution that has all the values: `known`, or what the space says, or something wider.

    `parameter`: None where the space has none of this name any more.
    """
    declared = known or (None if parameter is None else distribution_of(parameter))
    if declared is not None and _contains_all(declared, values):
        return declared
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if isinstance(declared, CategoricalDistribution) or len(numbers) < len(values):
        return CategoricalDistribution(_with(getattr(declared, "choices", ()), values))
    ends = [declared.low, declared.high] if isinstance(declared, FloatDistribution | IntDistribution) else []
    low, high = min([*numbers, *ends]), max([*numbers, *ends])
    log = bool(getattr(declared, "log", False)) and low > 0
    if isinstance(declared, IntDistribution) and all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _contains_all(distribution: BaseDistribution, values: Sequence[Any]) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return all(_among(value, distribution.choices) for value in _distinct(values))
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return False
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        values = (min(values), max(values))
    return all(distribution._contains(value) for value in set(values))


def _with(choices: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    return [*choices, *(value for value in _distinct(values) if not _among(value, choices))]


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for _, value in dict.fromkeys((isinstance(value, bool), value) for value in values)]


def _among(value: Any, choices: Sequence[Any]) -> bool:
    return any(same_scalar(value, choice) for choice in choices)
