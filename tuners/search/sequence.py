"""Quasi-random points: Sobol's or Halton's sequence over the whole space, with its place kept in the trials."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from tuners.feasible import Axis
from tuners.samplers.options import QmcOptions
from tuners.search.feasibility import Feasibility
from tunesmith.domain import Scalar, Space

KEY = "tunesmith:qmc"
"""System attribute of a trial: which sequence it is from, and the index of its point there."""
BLOCK = 64
"""Points that are reckoned together."""
_building = threading.Lock()
"""Sobol's direction numbers are read from a file once per process, by whoever comes first."""


class Sequence:
    """Each parameter is a coordinate, conditional ones and categoricals too: what does not exist is left out.

    Points that break a parameter constraint are passed over. The next point follows the last one that a trial has, so
    that a search goes on after a restart where it was.
    """

    def __init__(
        self, space: Space, seed: int, feasibility: Feasibility | None, redraws: int, options: QmcOptions
    ) -> None:
        """`space` has one value for each parameter that is held."""
        self._parameters = space.parameters
        self._axes = [Axis(parameter) for parameter in space]
        self._free = [index for index, axis in enumerate(self._axes) if axis.cells != 1]
        self._seed, self._feasibility, self._redraws, self._options = seed, feasibility, redraws, options
        content = [options.model_dump(), options.scramble and seed, space.model_dump(mode="json")]
        self._name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        self._engine: Any = None
        self._block: list[list[float]] = []
        self._start = 0
        self._next = 0
        self._noted: dict[int, int] = {}

    def point(self, number: int) -> dict[str, Scalar]:
        """The point of a trial."""
        point = self._taken(number)
        if self._feasibility is None:
            return point
        for _ in range(1, self._redraws):
            if self._feasibility.holds(point):
                return point
            point = self._taken(number)
        return self._feasibility.repaired(point, number)

    def attrs(self, number: int) -> dict[str, Any]:
        """What is noted about an open trial."""
        return {KEY: [self._name, self._noted[number]]} if number in self._noted else {}

    def see(self, number: int, attrs: Mapping[str, Any] | None) -> None:
        """Pass over the point of a trial that there is already."""
        name, index = (attrs or {}).get(KEY, ("", -1))
        if name == self._name:
            self._noted[number] = index
            self._next = max(self._next, index + 1)

    def forget(self, number: int) -> None:
        """The trial is over."""
        self._noted.pop(number, None)

    def _taken(self, number: int) -> dict[str, Scalar]:
        """The next point of the sequence, for a trial."""
        index = self._noted[number] = self._next
        self._next += 1
        return self._at(index)

    def _at(self, index: int) -> dict[str, Scalar]:
        shares = dict(zip(self._free, self._shares(index), strict=True))
        point: dict[str, Scalar] = {}
        for place, (parameter, axis) in enumerate(zip(self._parameters, self._axes, strict=True)):
            if parameter.active(point):
                point[parameter.name] = axis.value(shares.get(place, 0.0))
        return point

    def _shares(self, index: int) -> list[float]:
        """The coordinates of one point of the sequence, in [0, 1)."""
        if not self._free:
            return []
        if self._engine is None or index < self._start:
            self._engine, self._block, self._start = self._new_engine(), [], 0
        while index >= self._start + len(self._block):
            ahead = index - index % BLOCK
            if ahead > self._engine.num_generated:
                self._engine.fast_forward(ahead - self._engine.num_generated)
            self._start = self._engine.num_generated
            self._block = self._engine.random(BLOCK).tolist()
        return self._block[index - self._start]

    def _new_engine(self) -> Any:
        from scipy.stats import qmc  # type: ignore[import-untyped]  # slow to import

        kind = qmc.Sobol if self._options.qmc_type == "sobol" else qmc.Halton
        with _building:
            return kind(len(self._free), scramble=self._options.scramble, rng=np.random.default_rng(self._seed))
