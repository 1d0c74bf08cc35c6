"""KPIs: what users write to make a number of a result, so that scenarios can be compared."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

from tunesmith.domain import KpiSpec
from tunesmith.scenarios.declarations import check_callable, check_name

BETTER_WHEN = ("HIGHER", "LOWER", "AT_LEAST", "AT_MOST")


class Kpi(ABC):
    """A number that says how good a result is.

    class Cost(Kpi):
        better_when = "LOWER"
        unit = "EUR"
        threshold = 1000

        def compute(self, result: Any, data: DataSource) -> float:
            return result["cost"]
    """

    name: str
    """What people call it; unless given, the name of the class."""
    better_when: Literal["HIGHER", "LOWER", "AT_LEAST", "AT_MOST"]
    """Which end is better; `AT_LEAST` and `AT_MOST` need a threshold."""
    unit: str | None = None
    """The unit of its values."""
    threshold: float | None = None
    """The value from which on it is a success (0 is one, too); None: there is no such value."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        check_name(cls)
        if hasattr(cls, "better_when"):
            _check_better_when(cls.__name__, cls.better_when)
        _check_unit(cls.__name__, cls.unit)
        _check_threshold(cls.__name__, cls.threshold)
        check_callable(cls, "compute", ("result", "data"))

    @abstractmethod
    def compute(self, result: Any, data: Any) -> float:
        """The number. `result` is what the algorithm returned, `data` what it was handed."""

    @property
    def spec(self) -> KpiSpec:
        """What its values mean."""
        return KpiSpec(name=self.name, better_when=self.better_when, unit=self.unit, threshold=self.threshold)

    def check(self) -> None:
        """Raise ValueError when something is missing, or contradicts itself."""
        name = type(self).__name__
        _check_better_when(name, getattr(self, "better_when", None))
        _check_unit(name, self.unit)
        _check_threshold(name, self.threshold)
        if self.better_when in ("AT_LEAST", "AT_MOST") and self.threshold is None:
            raise ValueError(f"{name} is better {self.better_when} a threshold, but has none; set threshold")


def _check_better_when(owner: str, better_when: object) -> None:
    if better_when not in BETTER_WHEN:
        raise ValueError(f"{owner}.better_when is {better_when!r}; give one of {', '.join(BETTER_WHEN)}")


def _check_unit(owner: str, unit: object) -> None:
    if unit is not None and not (isinstance(unit, str) and unit.isprintable()):
        raise ValueError(f"{owner}.unit is {unit!r}; give a text that can be printed, or None")


def _check_threshold(owner: str, threshold: object) -> None:
    if threshold is None:
        return
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise ValueError(f"{owner}.threshold is {threshold!r}; give a finite number, or None")
