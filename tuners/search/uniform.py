"""Uniform draws without Optuna: each follows from the search's seed, the trial's number and the parameter's name."""

from __future__ import annotations

from tuners.feasible import Axis
from tuners.samplers.seeds import share_of
from tuners.search.feasibility import Feasibility
from tunesmith.domain import Parameter, Scalar, Space


class Uniform:
    """Points drawn uniformly on each parameter's scale. Two floats cost a few microseconds."""

    def __init__(self, space: Space, seed: int, feasibility: Feasibility | None, redraws: int) -> None:
        """`space` has one value for each parameter that is held."""
        self._seed, self._feasibility, self._redraws = seed, feasibility, redraws
        self._axes = [(parameter.name, Axis(parameter), parameter) for parameter in space]
        self._conditional = any(parameter.when for parameter in space)

    def point(self, number: int) -> dict[str, Scalar]:
        """The point of a trial."""
        point = self._draw(number, 0)
        if self._feasibility is None:
            return point
        for attempt in range(1, self._redraws):
            if self._feasibility.holds(point):
                return point
            point = self._draw(number, attempt)
        return self._feasibility.repaired(point, number)

    def value(self, number: int, parameter: Parameter) -> Scalar:
        """One parameter of a trial that asks for it while it runs."""
        return Axis(parameter).value(share_of(self._seed, number, 0, parameter.name))

    def _draw(self, number: int, attempt: int) -> dict[str, Scalar]:
        if not self._conditional:
            return {name: axis.value(share_of(self._seed, number, attempt, name)) for name, axis, _ in self._axes}
        point: dict[str, Scalar] = {}
        for name, axis, parameter in self._axes:
            if parameter.active(point):
                point[name] = axis.value(share_of(self._seed, number, attempt, name))
        return point
