"""Parameters as a unit cube, and the part of it that constraints leave: what the searches measure and move in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tuners import grid
from tunesmith.domain import Parameter, Point, Scalar, Space, same_scalar
from tunesmith.domain.expression import Expression

Constraints = Sequence[Expression]
"""What a point has to satisfy, all of it."""
Rng = np.random.Generator | np.random.RandomState
Genome = dict[str, Scalar]
"""A value for every parameter, also for those that do not exist under the others: what the searches change."""
CAP = 1e6
"""The most that one constraint adds to a gap, in its scale: what cannot be computed is as bad as that."""


def feasible(constraints: Constraints, point: Point) -> bool:
    """Whether the configuration satisfies all constraints."""
    return all(constraint.holds(point) for constraint in constraints)


def draw(space: Space, rng: Rng) -> dict[str, Scalar]:
    """A random point of the space: uniform on each parameter's scale, with the parameters that exist in it."""
    point: dict[str, Scalar] = {}
    for parameter in space:
        if parameter.active(point):
            point[parameter.name] = Axis(parameter).value(rng.random())
    return point


class Axis:
    """One parameter as the unit interval: a share of its (log) scale, and of its values where they are countable."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.name = parameter.name
        self.choices: tuple[Scalar, ...] = parameter.choices or ()
        self.cells = 0
        """How many values it has; 0: as many as floats."""
        if self.choices:
            self.cells = len(self.choices)
            return
        low, high = parameter.bounds
        self._low, self._high = low, high
        whole = parameter.type == "int"
        self._step = int(parameter.step or 1) if whole else parameter.step
        if self._step is not None:
            self.cells = round((grid.highest(parameter) - low) / self._step) + 1
            self._lattice = grid.lattice(parameter)
        half = 0.5 if whole else 0.0  # a log int is drawn from the cells around its values
        self._log = (math.log(low - half), math.log(high + half)) if parameter.log else None

    def value(self, share: float) -> Scalar:
        """The value at a share of the scale."""
        share = min(max(share, 0.0), 1.0)
        if self.choices:
            return self.choices[min(int(share * self.cells), self.cells - 1)]
        if self._log:
            start, end = self._log
            return self.nearest(math.exp(start + share * (end - start)))
        if self.cells:
            return self._lattice(min(int(share * self.cells), self.cells - 1))
        return self._low + share * (self._high - self._low) if share < 1 else self._high

    def share(self, value: Scalar) -> float:
        """Where on the scale a number lies; where numbers are countable, the middle of its cell."""
        assert isinstance(value, int | float)
        if self._low == self._high:
            return 0.5
        if self._log:
            start, end = self._log
            return (math.log(value) - start) / (end - start)
        if self._step is not None:
            return (round((value - self._low) / self._step) + 0.5) / self.cells
        return (value - self._low) / (self._high - self._low)

    def nearest(self, number: float) -> Scalar:
        """The parameter's value that is nearest to a number."""
        number = min(max(number, self._low), self._high)
        if self._step is None:
            return number
        return self._lattice(min(round((number - self._low) / self._step), self.cells - 1))

    def admit(self, value: Scalar, rng: Rng) -> Scalar:
        """The value in the parameter's type; a number is moved into the range, for what cannot be one is drawn."""
        if self.parameter.contains(value):
            return self.parameter.cast(value)
        if not self.choices and isinstance(value, int | float) and type(value) is not bool and math.isfinite(value):
            return self.nearest(value)
        return self.value(rng.random())


class Region:
    """The parameters that constraints are about, ready for many evaluations."""

    def __init__(self, parameters: Sequence[Parameter], constraints: Constraints, rng: Rng) -> None:
        self.axes = [Axis(parameter) for parameter in parameters]
        self.numeric = [axis for axis in self.axes if not axis.choices]
        self.constraints = constraints
        self.weights = [1.0] * len(constraints)
        """What a unit of each constraint's violation adds to the gap."""
        self.rng = rng
        self._conditional = any(parameter.when for parameter in parameters)

    def genome(self, point: Point) -> Genome:
        """The point's values, moved into their ranges; random ones where it has none."""
        rng = self.rng
        return {
            axis.name: axis.admit(point[axis.name], rng) if axis.name in point else axis.value(rng.random())
            for axis in self.axes
        }

    def drawn(self) -> Genome:
        """A random genome."""
        return {axis.name: axis.value(self.rng.random()) for axis in self.axes}

    def point(self, genome: Genome) -> Genome:
        """What exists of the genome."""
        return _existing(self.axes, genome) if self._conditional else genome

    def holds(self, genome: Genome) -> bool:
        """Whether it satisfies all constraints."""
        return feasible(self.constraints, self.point(genome))

    def violations(self, genome: Genome) -> list[float]:
        """Each constraint's violation."""
        point = self.point(genome)
        return [constraint.violation(point) for constraint in self.constraints]

    def gap(self, violations: Iterable[float]) -> float:
        """The violations as one number: 0 when all constraints hold."""
        pairs = zip(violations, self.weights, strict=True)
        return sum(max(min(size * weight, CAP), math.ulp(0)) for size, weight in pairs if size)

    def distance(self, a: Genome, b: Genome) -> float:
        """How far apart two genomes are: Euclid's distance of shares; 1 for what differs in category or existence."""
        first, second = self.point(a), self.point(b)
        total = 0.0
        for axis in self.axes:
            if (axis.name in first) != (axis.name in second):
                total += 1
            elif axis.name in first and not same_scalar(first[axis.name], second[axis.name]):
                total += 1 if axis.choices else (axis.share(first[axis.name]) - axis.share(second[axis.name])) ** 2
        return math.sqrt(total)

    def shaken(self, genome: Genome, scale: float) -> Genome:
        """The genome with some values moved by about the scale."""
        random, normal = self.rng.random, self.rng.standard_normal
        moved = dict(genome)
        some = max(0.5, 2 / len(self.axes)) if len(self.axes) < 20 else 4 / len(self.axes)
        for axis in self.axes:
            if random() >= some:
                continue
            if axis.choices:
                if random() < max(scale, 0.1):
                    moved[axis.name] = axis.value(random())
            else:
                step = max(scale, 0.7 / axis.cells if axis.cells else 0.0) * float(normal())
                moved[axis.name] = axis.value(axis.share(genome[axis.name]) + step)
        return moved

    def newton(self, genome: Genome) -> Iterator[Genome]:
        """Steps to where the violations vanish, were they linear: the shortest ones, a bit longer and shorter."""
        before = self.violations(genome)
        broken = [index for index, size in enumerate(before) if size]
        if not broken or not self.numeric:
            return
        slopes = np.zeros((len(broken), len(self.numeric)))
        for column, axis in enumerate(self.numeric):
            share = axis.share(genome[axis.name])
            width = max(1e-7, 1 / axis.cells if axis.cells else 0.0) * (1 if share < 0.5 else -1)
            probed = genome | {axis.name: axis.value(share + width)}
            moved = axis.share(probed[axis.name]) - share
            after = self.violations(probed)
            if moved:
                for row, index in enumerate(broken):
                    slopes[row, column] = self._change(index, before, after) / moved
        wanted = np.array([-min(before[index] * self.weights[index], CAP) for index in broken])
        step = _shortest(slopes, wanted)
        for factor in (1.0, 1.0001, 1.05, 1.5, 0.5, 0.1):
            yield genome | {
                axis.name: axis.value(axis.share(genome[axis.name]) + factor * float(size))
                for axis, size in zip(self.numeric, step, strict=True)
                if size
            }

    def suggested(self, genome: Genome, axis: Axis) -> Iterator[Genome]:
        """The genome with another category, or a number moved by just a violation: right for sums and differences."""
        value = genome[axis.name]
        if not isinstance(value, int | float) or axis.choices:
            for index in self.rng.permutation(axis.cells)[:20]:
                yield genome | {axis.name: axis.choices[index]}
            return
        for size in {size for size in self.violations(genome) if 0 < size < CAP}:
            yield genome | {axis.name: axis.nearest(value + size)}
            yield genome | {axis.name: axis.nearest(value - size)}

    def _change(self, index: int, before: Sequence[float], after: Sequence[float]) -> float:
        weight = self.weights[index]
        return min(after[index] * weight, CAP) - min(before[index] * weight, CAP)


def concerned(space: Space, constraints: Constraints) -> list[Parameter]:
    """The parameters that the constraints name, and those that these depend on."""
    names = set[str]().union(*(constraint.names for constraint in constraints))
    found = []
    for parameter in reversed(space.parameters):
        if parameter.name in names:
            names |= set(parameter.when or ())
            found.append(parameter)
    return found[::-1]


def completed(space: Space, genome: Genome, point: Point, rng: Rng) -> dict[str, Scalar]:
    """The genome with the space's other parameters, from the point or, where it has none, drawn."""
    full: dict[str, Scalar] = {}
    for parameter in space:
        name = parameter.name
        if not parameter.active(full):
            continue
        if name in genome:
            full[name] = genome[name]
        elif name in point:
            full[name] = Axis(parameter).admit(point[name], rng)
        else:
            full[name] = Axis(parameter).value(rng.random())
    return full


def _existing(axes: Sequence[Axis], genome: Mapping[str, Scalar]) -> Genome:
    point: Genome = {}
    for axis in axes:
        if not axis.parameter.when or axis.parameter.active(point):
            point[axis.name] = genome[axis.name]
    return point


def _shortest(slopes: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The shortest x with slopes @ x = wanted, or with the least squared error."""
    try:
        return np.asarray(np.linalg.lstsq(slopes, wanted, rcond=1e-9)[0], dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.zeros(slopes.shape[1])
