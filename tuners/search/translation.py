"""Parameters and values in Optuna's terms; a categorical is one over the indices of its choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from tuners import grid
from tunesmith.domain import Parameter, Scalar, same_scalar


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Optuna's distribution; a categorical's is over the indices of its choices, so that any JSON scalar goes."""
    if parameter.type == "categorical":
        return optuna.distributions.CategoricalDistribution(range(len(parameter.choices or ())))
    low, high = parameter.bounds[0], grid.highest(parameter)
    if parameter.type == "int":
        step = int(parameter.step or 1)
        return optuna.distributions.IntDistribution(int(low), int(high), log=parameter.log, step=step)
    return optuna.distributions.FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def to_optuna(parameter: Parameter, value: Scalar) -> Any:
    """A value as Optuna keeps it: the index of a choice, or the number."""
    if parameter.type != "categorical":
        return parameter.cast(value)
    return index_of(parameter.choices or (), value)


def from_optuna(parameter: Parameter, value: Any) -> Scalar:
    """A value of Optuna's as the parameter's own."""
    if parameter.type != "categorical":
        return parameter.cast(value)
    return (parameter.choices or ())[int(value)]


def index_of(choices: Sequence[Scalar], value: Scalar) -> int:
    """Where a value stands among the choices. Raises StopIteration when it does not."""
    return next(i for i, choice in enumerate(choices) if same_scalar(choice, value))
