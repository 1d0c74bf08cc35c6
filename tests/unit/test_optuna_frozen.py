"""Distributions that have all the values of old trials, and the names that two packages must spell alike."""

from __future__ import annotations

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuners.search import history
from tunesmith.domain import Parameter
from tunesmith.optuna import frozen
from tunesmith.optuna.distributions import covering

UNITS = Parameter(name="p", type="int", minimum=1, maximum=10, step=4)
RATE = Parameter(name="p", minimum=0.1, maximum=1, log=True)
STEPPED = Parameter(name="p", minimum=0, maximum=1, step=0.3)
KIND = Parameter(name="p", type="categorical", choices=("a", 1))


@pytest.mark.parametrize(
    ("parameter", "values", "expected"),
    [
        (UNITS, [1, 9], IntDistribution(1, 9, step=4)),
        (UNITS, [1, 2], IntDistribution(1, 9)),
        (UNITS, [1, 2.5], FloatDistribution(1, 9)),
        (UNITS, ["wide"], CategoricalDistribution(["wide"])),
        (RATE, [0.1, 0.5], FloatDistribution(0.1, 1, log=True)),
        (RATE, [0.5, 20.0], FloatDistribution(0.1, 20.0, log=True)),
        (RATE, [0.0, 0.5], FloatDistribution(0.0, 1)),
        (STEPPED, [0.3, 0.9], FloatDistribution(0, 0.9, step=0.3)),
        (STEPPED, [0.3, 0.5], FloatDistribution(0, 0.9)),
        (KIND, ["a", 1], CategoricalDistribution(["a", 1])),
        (KIND, ["b", "a", "b", None], CategoricalDistribution(["a", 1, "b", None])),
        (None, [3, 1], FloatDistribution(1, 3)),
        (None, [True, "b"], CategoricalDistribution([True, "b"])),
    ],
)
def test_a_distribution_covers_every_value_that_trials_have(
    parameter: Parameter | None, values: list[object], expected: BaseDistribution
) -> None:
    assert covering(parameter, values) == expected


def test_true_is_another_choice_than_one() -> None:
    assert covering(KIND, [True]).choices == ("a", 1, True)


def test_the_search_and_the_storage_note_distributions_under_the_same_names() -> None:
    assert (frozen.DISTRIBUTIONS, frozen.CHOICES) == (history.DISTRIBUTIONS, history.CHOICES)
