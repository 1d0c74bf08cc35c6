"""Intermediate values of several objectives, put together to the vectors that a pruner compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tuners.pruners import VectorPruner, vectors_of
from tunesmith.domain import Objective, Trial, TrialState


class Vectors:
    """Reports of open trials, step by step; a vector is complete when each objective has a value at its step."""

    def __init__(self, objectives: Sequence[Objective], pruner: VectorPruner) -> None:
        self._signs = {objective.metric: objective.sign for objective in objectives}
        self._pruner = pruner
        self._partial: dict[tuple[int, int], dict[str, float]] = {}

    def load(self, history: Iterable[Trial], curves: Sequence[Mapping[int, Mapping[int, float]]]) -> None:
        """Take in what earlier trials reported: for each objective, trial number -> step -> value."""
        if len(curves) < len(self._signs):
            return
        finished = {trial.number: trial.state is TrialState.COMPLETE for trial in history}
        vectors = vectors_of(curves, tuple(self._signs.values()))
        self._pruner.load({number: steps for number, steps in vectors.items() if number in finished})
        for number, complete in finished.items():
            self._pruner.finish(number, complete)

    def report(self, number: int, metric: str, step: int, value: float) -> bool:
        """Note a value; whether the trial should be pruned. A step's first value of a metric counts."""
        if metric not in self._signs or step < 0:  # pruners count from 0
            return False
        partial = self._partial.setdefault((number, step), {})
        partial.setdefault(metric, value * self._signs[metric])
        if len(partial) < len(self._signs):
            return False
        self._pruner.report(number, step, tuple(partial[name] for name in self._signs))
        return self._pruner.should_prune(number)

    def finish(self, number: int, complete: bool) -> None:
        """Note that a trial is over."""
        self._partial = {key: partial for key, partial in self._partial.items() if key[0] != number}
        self._pruner.finish(number, complete)
