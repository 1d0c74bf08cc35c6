"""Trials that ask for their parameters while they run, in Optuna's style: what each has been given so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import distribution_to_json

from tuners.search.history import CHOICES, DISTRIBUTIONS
from tuners.search.translation import distribution_of
from tunesmith.domain import Parameter, Point, Scalar

GIVEN = "tunesmith:given"
"""System attribute of a trial: the point to try, of which it takes what it asks for."""
AT_RANDOM = "tunesmith:at_random"
"""System attribute of a trial: whether the other parameters come from no model."""


class Asking:
    """One open trial: its parameters so far, and what will be known about them."""

    def __init__(
        self, given: Point, params: Point, attrs: Mapping[str, Any] | None = None, at_random: bool = False
    ) -> None:
        """`given`: values to try, where they fit; `params`, `attrs`: what it had before it was interrupted."""
        noted = attrs or {}
        self.params: dict[str, Scalar] = dict(params)
        self.at_random: bool = at_random or bool(noted.get(AT_RANDOM))
        self._given: dict[str, Scalar] = dict(noted.get(GIVEN, {})) | dict(given)
        self._distributions: dict[str, str] = dict(noted.get(DISTRIBUTIONS, {}))
        self._choices: dict[str, list[Scalar]] = dict(noted.get(CHOICES, {}))

    def has(self, parameter: Parameter) -> bool:
        """Whether there is a value to try that the parameter can have."""
        return parameter.name in self._given and parameter.contains(self._given[parameter.name])

    def value(self, parameter: Parameter) -> Scalar:
        """The value to try."""
        return parameter.cast(self._given[parameter.name])

    def note(self, parameter: Parameter, value: Scalar) -> None:
        """Keep what the parameter came to."""
        self.params[parameter.name] = value
        self._distributions[parameter.name] = distribution_to_json(distribution_of(parameter))
        if parameter.choices is not None:
            self._choices[parameter.name] = list(parameter.choices)

    @property
    def attrs(self) -> dict[str, Any]:
        """What has to be known about the trial when it is taken up again, or learnt from."""
        noted: dict[str, dict[str, Any]] = {
            DISTRIBUTIONS: self._distributions,
            CHOICES: self._choices,
            GIVEN: self._given,
        }
        known: dict[str, Any] = {key: dict(value) for key, value in noted.items() if value}
        return known | ({AT_RANDOM: True} if self.at_random else {})
