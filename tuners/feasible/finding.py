"""The search for a feasible point: random draws, then all points where they are few, else local searches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tuners import grid
from tuners.feasible.region import Axis, Constraints, Genome, Region, completed, concerned
from tunesmith.domain import Scalar, Space
from tunesmith.errors import GridTooLarge

EXHAUSTIVE = 100_000
"""Up to so many evaluations of a constraint, a finite space is searched whole."""
DRAWS = 200
"""Random points that are tried before anything else."""
STALLED = 3
"""Rounds without progress after which a local search starts again elsewhere."""
SCALES = tuple(0.5 * 4.0**-exponent for exponent in range(11))
"""Sizes of steps in the unit cube, the last about 5e-7."""


class Finding(NamedTuple):
    """What a search for a feasible point came to."""

    point: dict[str, Scalar] | None
    """A feasible point, or None."""
    exhaustive: bool
    """Whether every point was looked at: without a point, there is none."""
    tries: int
    """How many points were looked at."""


def find(space: Space, constraints: Constraints, seed: int) -> Finding:
    """A feasible point, if one is found within about a second.

    Random draws come first; then all points of a space that is finite and small (an answer that is certain); else
    corners, and local searches that follow the constraints' violations from many starts.
    """
    rng = np.random.default_rng(seed)
    region = Region(concerned(space, constraints), constraints, rng)
    hunt = Hunt(region, _affordable(region))
    genome = hunt.run(_drawn(hunt))
    exhaustive = False
    if genome is None:
        every = _every(region)
        exhaustive = every is not None
        genome = hunt.run(_looked_at(hunt, every) if every is not None else climbed(hunt))
    point = None if genome is None else completed(space, genome, {}, rng)
    return Finding(point, exhaustive, hunt.tries)


class Done(Exception):
    """The search is over: a point is found, or the tries are used up."""


class Hunt:
    """A search for a feasible genome, which counts its tries."""

    def __init__(self, region: Region, budget: int) -> None:
        self.region = region
        self.tries = 0
        self._budget = budget
        self._found: Genome | None = None

    def run(self, steps: Iterator[object]) -> Genome | None:
        """Go through the steps until one of them has found something, or the tries are used up."""
        try:
            for _step in steps:
                pass
        except Done:
            pass
        return self._found

    def gap(self, genome: Genome) -> float:
        """How far the genome is from feasible. Raises Done."""
        return self.region.gap(self.violations(genome))

    def violations(self, genome: Genome) -> list[float]:
        """Each constraint's violation. Raises Done."""
        self.tries += 1
        violations = self.region.violations(genome)
        if not any(violations):
            self._found = genome
        if self._found is not None or self.tries >= self._budget:
            raise Done
        return violations

    def better(
        self, genome: Genome, gap: float, others: Iterable[Genome], sideways: bool = False
    ) -> tuple[Genome, float]:
        """The first that is nearer to feasible (or, sideways, another that is as near), or else the genome itself."""
        for other in others:
            size = self.gap(other)
            if size < gap or (sideways and size == gap and other != genome):
                return other, size
        return genome, gap


def _affordable(region: Region) -> int:
    """How many tries take less than about a second."""
    leaves = sum(1 + len(re.findall(r"\w+", str(constraint))) for constraint in region.constraints)
    return int(6e5 / (8 + 0.5 * len(region.axes) + 0.5 * leaves)) + 500


def _every(region: Region) -> Iterator[Genome] | None:
    """All points, where they are few enough."""
    axes = [axis.parameter for axis in region.axes]
    if any(axis.type == "float" and axis.step is None and axis.minimum != axis.maximum for axis in axes):
        return None
    space = Space(parameters=tuple(axis.evolve(log=False) for axis in axes))
    limit = EXHAUSTIVE // max(len(region.constraints), 1)
    try:
        grid.count(space, limit + 2, limit)
    except GridTooLarge:
        return None
    return grid.points(space, limit + 2)


def _looked_at(hunt: Hunt, points: Iterable[Genome]) -> Iterator[None]:
    for point in points:
        yield
        hunt.violations(point)


def _drawn(hunt: Hunt) -> Iterator[None]:
    """Random points; they also show on which scale each constraint is broken."""
    seen = []
    for _ in range(DRAWS):
        yield
        seen.append(hunt.violations(hunt.region.drawn()))
    for index, sizes in enumerate(zip(*seen, strict=True)):
        broken = sorted(size for size in sizes if size)
        if broken:
            hunt.region.weights[index] = 1 / min(max(broken[len(broken) // 2], 1e-300), 1e300)


def climbed(hunt: Hunt) -> Iterator[None]:
    """Local searches, from corners and the better of some random points first, then from new random points."""
    region = hunt.region
    ends = [{axis.name: axis.value(share) for axis in region.axes} for share in (0.0, 1.0, 0.5)]
    corners = [{axis.name: axis.value(float(region.rng.random() < 0.5)) for axis in region.axes} for _ in range(40)]
    starts = sorted([*ends, *corners, *(region.drawn() for _ in range(40))], key=hunt.gap)[:8]
    while True:
        yield
        _climb(hunt, starts.pop(0) if starts else region.drawn())


def _climb(hunt: Hunt, genome: Genome) -> None:
    """Go towards feasibility until that gets no further. Raises Done."""
    gap, idle = hunt.gap(genome), 0
    while idle < STALLED:
        before = gap
        hunt.tries += len(hunt.region.numeric)
        genome, gap = hunt.better(genome, gap, hunt.region.newton(genome))
        if gap < 0.5 * before:
            continue
        for index in hunt.region.rng.permutation(len(hunt.region.axes)):
            axis = hunt.region.axes[index]
            genome, gap = hunt.better(genome, gap, _along(hunt.region, genome, axis), sideways=bool(axis.choices))
        for scale in SCALES:
            for _ in range(4):
                other = hunt.region.shaken(genome, scale)
                size = hunt.gap(other)
                if size <= gap:
                    genome, gap = other, size
        idle = 0 if gap < 0.99 * before else idle + 1


def _along(region: Region, genome: Genome, axis: Axis) -> Iterator[Genome]:
    """The genome with another value of one parameter: those that the violations suggest, then far and near ones."""
    yield from region.suggested(genome, axis)
    if axis.choices:
        return
    share = axis.share(genome[axis.name])
    cell = 1 / axis.cells if axis.cells else 0.0
    for scale in SCALES:
        if scale < cell / 4:
            break
        step = max(scale * (0.5 + float(region.rng.random())), cell)
        yield genome | {axis.name: axis.value(share + step)}
        yield genome | {axis.name: axis.value(share - step)}
