"""Pruning with several objectives: the vectors that trials report at a step are compared as Pareto fronts.

Where one objective has an order of values, several have the order of `Fronts`: by non-dominated rank (Deb et al. 2002),
then by crowding distance. A trial's place among n vectors is the number of those before it, from 0 to n - 1; equal
vectors share the better place. A trial whose vector holds a NaN is pruned where it would be judged, and nobody is
compared with it. With one objective, the places are those of the values themselves.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuners.pruners.fronts import Fronts

Vector = tuple[float, ...]
"""One value per objective; less is better."""


def vectors_of(
    curves: Sequence[Mapping[int, Mapping[int, float]]], signs: Sequence[float]
) -> dict[int, dict[int, Vector]]:
    """Trial number -> step -> vector, from trial number -> step -> value per objective.

    `signs`: 1 for an objective that is minimized, -1 for one that is maximized. Steps at which an objective has no
    value have no vector.
    """
    numbers = set(curves[0]).intersection(*curves[1:])
    return {number: _joined([curve[number] for curve in curves], signs) for number in numbers}


def _joined(curves: Sequence[Mapping[int, float]], signs: Sequence[float]) -> dict[int, Vector]:
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    return {step: tuple(sign * curve[step] for sign, curve in zip(signs, curves, strict=True)) for step in steps}


@dataclass
class Curve:
    """What one trial reported."""

    vectors: dict[int, Vector] = field(default_factory=dict)
    """Step -> vector."""
    last: int = -1
    """The highest step."""
    before_last: int = -1
    """The second highest step."""
    rungs: list[Vector] = field(default_factory=list)
    """Successive halving: the vector with which each rung was reached."""
    passed: int = 0
    """How many of these rungs let the trial go on."""

    def see(self, step: int, vector: Vector) -> None:
        """Take in one report."""
        self.vectors[step] = vector
        if step > self.last:
            self.last, self.before_last = step, self.last
        elif step > self.before_last:
            self.before_last = step


class VectorPruner(ABC):
    """Ends trials early whose vectors lie far behind. Not thread-safe: one caller at a time.

    What it decides about a trial depends on the vectors that the others reported and on which of them are complete, and
    not on their order: one that is rebuilt with `load` and `finish` decides as the one that saw everything happen.
    """

    def __init__(self) -> None:
        self._curves: dict[int, Curve] = {}
        """The trials that are not finished."""

    def load(self, curves: Mapping[int, Mapping[int, Sequence[float]]]) -> None:
        """Take in trial number -> step -> vector; `finish` says afterwards which of these trials are finished."""
        for number in sorted(curves):
            for step in sorted(curves[number]):
                self.report(number, step, curves[number][step])

    def report(self, number: int, step: int, vector: Sequence[float]) -> None:
        """Note a trial's vector at a step from 0 (others are ignored); the first report of a step counts."""
        if step < 0:
            return
        curve = self._curves.setdefault(number, Curve())
        if step not in curve.vectors:
            curve.see(step, tuple(vector))

    def should_prune(self, number: int) -> bool:
        """Whether a trial should be ended, judged by its vector at the highest step that it reported."""
        curve = self._curves.get(number)
        return curve is not None and self._should_prune(curve)

    def finish(self, number: int, complete: bool) -> None:
        """Note that a trial is over: complete, or else pruned, failed or put back to be evaluated anew.

        The number may come again: it is a new trial then, and what the first one reached stays to be compared with.
        """
        curve = self._curves.pop(number, None) or Curve()
        if complete:
            self._completed(number, curve)

    @abstractmethod
    def _should_prune(self, curve: Curve) -> bool: ...

    @abstractmethod
    def _completed(self, number: int, curve: Curve) -> None: ...


class PercentileVectors(VectorPruner):
    """Prunes a trial unless it lies among the best `percentile` % at its step; the median rule has 50.

    Golovin et al. (2017), section 3.2, with Optuna's options. The trial is judged when at least `n_startup_trials`
    (and 1) trials are complete, from step `n_warmup_steps` on, once per interval of `interval_steps` steps counted from
    there, and when `n_min_trials` complete trials reported a vector at the very same step. With m of these, the trial
    goes on while its place among all m + 1 is below (m + 1) * percentile / 100, and always at place 0.
    """

    def __init__(
        self,
        percentile: float,
        n_startup_trials: int = 5,
        n_warmup_steps: int = 0,
        interval_steps: int = 1,
        n_min_trials: int = 1,
    ) -> None:
        super().__init__()
        self._share = percentile / 100
        self._n_startup_trials = max(1, n_startup_trials)
        self._n_warmup_steps, self._interval_steps = n_warmup_steps, interval_steps
        self._n_min_trials = n_min_trials
        self._complete = 0
        self._steps: dict[int, Fronts] = {}
        """Step -> what complete trials reported there."""

    def _should_prune(self, curve: Curve) -> bool:
        if self._complete < self._n_startup_trials or not self._is_due(curve):
            return False
        vector = curve.vectors[curve.last]
        if not _comparable(vector):
            return True
        others = self._steps.get(curve.last)
        if others is None or len(others) < self._n_min_trials:
            return False
        return others.place(vector) >= max(1, self._share * (len(others) + 1))

    def _is_due(self, curve: Curve) -> bool:
        """Whether this is the first report of an interval."""
        since_warmup = curve.last - self._n_warmup_steps
        return since_warmup >= 0 and curve.before_last < curve.last - since_warmup % self._interval_steps

    def _completed(self, number: int, curve: Curve) -> None:
        self._complete += 1
        for step, vector in curve.vectors.items():
            if _comparable(vector):
                self._steps.setdefault(step, Fronts()).add(vector)


class HalvingVectors(VectorPruner):
    """Asynchronous successive halving (Li et al. 2020, ASHA), in which trials are pruned instead of paused.

    Rung k lies at step min_resource * reduction_factor^(min_early_stopping_rate + k). A trial reaches a rung with the
    first vector that it reports at or after that step, and stays in it whatever becomes of the trial. With n trials in
    the rung, itself among them, it goes on while its place is below max(1, floor(n / reduction_factor)). So a trial on
    the rung's first front goes on unless that front is larger than this; then those go on that have more room around
    them. A rung that let a trial go on does not end it later. The first `bootstrap_count` trials that reach a rung end
    there, as in Optuna.

    `min_resource` of "auto" is a hundredth of the last step of the first trial that completes, and at least 1; until
    then, nothing is pruned.
    """

    def __init__(
        self,
        min_resource: int | str = "auto",
        reduction_factor: int = 4,
        min_early_stopping_rate: int = 0,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__()
        self._min_resource = min_resource if isinstance(min_resource, int) else None
        self._reduction_factor, self._rate = reduction_factor, min_early_stopping_rate
        self._bootstrap_count = bootstrap_count
        self._rungs: list[Fronts] = []

    def report(self, number: int, step: int, vector: Sequence[float]) -> None:
        """Note a trial's vector, and the rungs that it reaches with it."""
        super().report(number, step, vector)
        curve = self._curves.get(number)
        if curve is not None:
            self._climb(curve, curve.last)

    def _should_prune(self, curve: Curve) -> bool:
        while curve.passed < len(curve.rungs):
            if not self._promotes(curve.passed, curve.rungs[curve.passed]):
                return True
            curve.passed += 1
        return False

    def _promotes(self, rung: int, vector: Vector) -> bool:
        reached = self._rungs[rung]
        if len(reached) <= self._bootstrap_count or not _comparable(vector):
            return False
        return reached.place(vector) < max(1, len(reached) // self._reduction_factor)

    def _climb(self, curve: Curve, step: int) -> None:
        """Enter the curve in each rung that it reaches at this step."""
        if self._min_resource is None:
            return
        while step >= self._min_resource * self._reduction_factor ** (self._rate + len(curve.rungs)):
            if len(self._rungs) == len(curve.rungs):
                self._rungs.append(Fronts())
            vector = curve.vectors[step]
            if _comparable(vector):
                self._rungs[len(curve.rungs)].add(vector)
            curve.rungs.append(vector)

    def _completed(self, number: int, curve: Curve) -> None:
        if self._min_resource is None and curve.vectors:
            self._min_resource = max(curve.last // 100, 1)
            for known in (curve, *self._curves.values()):
                for step in sorted(known.vectors):
                    self._climb(known, step)


class HyperbandVectors(VectorPruner):
    """Hyperband (Li et al. 2018): brackets of successive halving, each with its first rung later than the one before.

    Bracket s of 0 ... s_max = floor(log(max_resource / min_resource) / log(reduction_factor)) is `HalvingVectors` with
    `min_early_stopping_rate` s. A trial belongs to one bracket by its number, so that brackets have shares as in
    Algorithm 1 of the paper, and is compared with that bracket's trials only. `max_resource` of "auto" is one more than
    the last step of the first trial that completes; until then, nothing is pruned.
    """

    def __init__(
        self,
        min_resource: int = 1,
        max_resource: int | str = "auto",
        reduction_factor: int = 3,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__()
        self._min_resource, self._reduction_factor = min_resource, reduction_factor
        self._bootstrap_count = bootstrap_count
        self._brackets: list[HalvingVectors] = []
        self._shares: list[int] = []
        if isinstance(max_resource, int):
            self._open_brackets(max_resource)

    def report(self, number: int, step: int, vector: Sequence[float]) -> None:
        """Note a trial's vector in its bracket."""
        if self._brackets:
            self._bracket(number).report(number, step, vector)
        else:
            super().report(number, step, vector)

    def should_prune(self, number: int) -> bool:
        """Whether the trial's bracket prunes it."""
        return bool(self._brackets) and self._bracket(number).should_prune(number)

    def finish(self, number: int, complete: bool) -> None:
        """Note in its bracket that a trial is over."""
        if self._brackets:
            self._bracket(number).finish(number, complete)
        else:
            super().finish(number, complete)

    def _should_prune(self, curve: Curve) -> bool:
        return False  # as long as there are no brackets

    def _completed(self, number: int, curve: Curve) -> None:
        """Take the number of steps from the first complete trial that reported any."""
        if not curve.vectors:
            return
        self._open_brackets(curve.last + 1)
        for other, known in (*self._curves.items(), (number, curve)):
            self._bracket(other).load({other: known.vectors})
        self._curves.clear()
        self.finish(number, complete=True)

    def _open_brackets(self, max_resource: int) -> None:
        eta, count = self._reduction_factor, 1
        while self._min_resource * eta**count <= max_resource:
            count += 1
        for rate in range(count):
            self._brackets.append(HalvingVectors(self._min_resource, eta, rate, self._bootstrap_count))
            rest = count - 1 - rate
            self._shares.append(-(-count * eta**rest // (rest + 1)))

    def _bracket(self, number: int) -> HalvingVectors:
        draw = zlib.crc32(str(number).encode()) % sum(self._shares)  # the same one after a restart
        for bracket, share in zip(self._brackets, self._shares, strict=True):
            if draw < share:
                return bracket
            draw -= share
        raise AssertionError("the draw lies below the sum of the shares")


def _comparable(vector: Vector) -> bool:
    return not any(math.isnan(value) for value in vector)
