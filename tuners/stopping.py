"""When a search stops by itself: its budget is spent, nothing improves any more, or too much fails."""

from __future__ import annotations

from datetime import datetime

from tunesmith.domain import Experiment, Search, Trial, TrialState, utcnow


class Stopping:
    """Watches a job's finished trials: `reason` says why no further one should start, `failed` that the job fails."""

    def __init__(self, experiment: Experiment, search: Search, started_at: datetime | None) -> None:
        self.search = search
        self.sign = experiment.spec.objectives[0].sign
        self.single = len(experiment.spec.objectives) == 1
        self.started_at = started_at or utcnow()
        self.best: float | None = None
        self.stale = 0
        self.failures = 0

    def see(self, trial: Trial) -> None:
        """Take note of a finished trial."""
        self.failures += trial.state is TrialState.FAILED
        if not trial.feasible or not trial.values:
            self.stale += self.best is not None
            return
        value = trial.values[0] * self.sign
        if self.best is None or value < self.best - (self.search.converge_thres or 0.0):
            self.best, self.stale = value, 0
        else:
            self.stale += 1

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
        if search.budget_s is not None and (utcnow() - self.started_at).total_seconds() >= search.budget_s:
            return f"the budget of {search.budget_s:g} s is spent (budget_s)"
        if self.single and search.converge_steps is not None and self.stale >= search.converge_steps:
            return f"no improvement in {self.stale} trials (converge_steps)"
        return None
