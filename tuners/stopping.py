"""When a search stops by itself: a budget is spent, its goal is reached, nothing improves, or too much fails."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tunesmith.domain import Experiment, Search, Trial, TrialState


class Stopping:
    """Watches a job's finished trials: `reason` says why no further one should start, `failed` that the job fails."""

    def __init__(self, experiment: Experiment, search: Search, ran_s: float = 0.0, cost: float | None = None) -> None:
        """`ran_s`: seconds that the job ran before; `cost`: what its trials cost before."""
        self.search = search
        self.objectives = experiment.spec.objectives
        self.sign = self.objectives[0].sign
        self.single = len(self.objectives) == 1
        self.goals = goals_of(experiment, search)
        self.cost = cost
        self.best: float | None = None
        self.stale = 0
        self.failures = 0
        self.reached: int | None = None
        """The first trial that reached every goal."""
        self._began = time.monotonic() - ran_s

    @property
    def ran_s(self) -> float:
        """Seconds that the job has run, the time that it was paused or queued not counted."""
        return time.monotonic() - self._began

    def see(self, trial: Trial) -> None:
        """Take note of a finished trial."""
        self.failures += trial.state is TrialState.FAILED
        if not trial.feasible or not trial.values:
            self.stale += self.best is not None
            return
        self.look(trial)
        value = trial.values[0] * self.sign
        if self.best is None or value < self.best - (self.search.converge_thres or 0.0):
            self.best, self.stale = value, 0
        else:
            self.stale += 1

    def look(self, trial: Trial) -> None:
        """Take note of a feasible trial that may have reached the goal, whoever made it."""
        if self.goals and self.reached is None and trial.feasible and self._reaches(trial.values or ()):
            self.reached = trial.number

    def charge(self, cost: float) -> None:
        """Add what a trial cost."""
        self.cost = (self.cost or 0.0) + cost

    @property
    def waits(self) -> bool:
        """Whether outcomes can end it."""
        search = self.search
        return bool(self.goals) or search.converge_steps is not None or search.max_failed_trials is not None

    @property
    def margin(self) -> int | None:
        """How many more finished trials it takes, at least, to reach a limit; None without one."""
        search = self.search
        limits = ((search.max_failed_trials, self.failures), (search.converge_steps, self.stale))
        return min((max(1, limit - reached) for limit, reached in limits if limit is not None), default=None)

    @property
    def failed(self) -> bool:
        """Whether so many trials failed that the job does."""
        limit = self.search.max_failed_trials
        return limit is not None and self.failures >= limit

    @property
    def reason(self) -> str | None:
        """Why no further trial should start, or None."""
        search = self.search
        if self.failed:
            return f"{self.failures} trials failed (max_failed_trials)"
        if self.reached is not None:
            return f"trial {self.reached} reached the goal: {_spelled(self.goals)} (goal)"
        if search.budget_s is not None and self.ran_s >= search.budget_s:
            return f"the budget of {search.budget_s:g} s is spent (budget_s)"
        if search.max_cost is not None and (self.cost or 0.0) >= search.max_cost:
            return f"its trials cost {self.cost:g}, the limit is {search.max_cost:g} (max_cost)"
        if self.single and search.converge_steps is not None and self.stale >= search.converge_steps:
            return f"no improvement in {self.stale} trials (converge_steps)"
        return None

    def _reaches(self, values: tuple[float, ...]) -> bool:
        pairs = zip(self.objectives, values, strict=True)
        return all(v * o.sign <= self.goals[o.metric] * o.sign for o, v in pairs if o.metric in self.goals)


def goals_of(experiment: Experiment, search: Search) -> Mapping[str, float]:
    """Objective -> the value to reach; a bare number is the first objective's."""
    if search.goal is None:
        return {}
    if isinstance(search.goal, Mapping):
        return search.goal
    return {experiment.spec.objectives[0].metric: search.goal}


def _spelled(goals: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {value:g}" for metric, value in goals.items())
