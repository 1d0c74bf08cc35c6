"""Trials: one evaluated point, with its values, metrics and log."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from tunesmith.domain.value import Finite, Number, Scalar, Time, Value


class TrialState(StrEnum):
    """Optuna's trial states."""

    #: handed out before, to be evaluated (again)
    WAITING = "waiting"
    #: being evaluated
    RUNNING = "running"
    #: evaluated, with a value for every objective
    COMPLETE = "complete"
    #: ended early by the pruner
    PRUNED = "pruned"
    #: non-zero exit, timeout, stopped, or no value for an objective
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self in FINISHED


FINISHED = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED})


class Trial(Value):
    """One point of an experiment and what came of it."""

    experiment_id: int
    """The experiment."""
    number: int
    """0, 1, 2, ... within the experiment."""
    job_id: str | None
    """The job that made it."""
    run_number: int | None
    """That job's number within the experiment."""
    state: TrialState
    """Where it stands."""
    params: Mapping[str, Scalar]
    """The configuration: a value for every active parameter."""
    values: tuple[Number, ...] | None = None
    """One value per objective, in the experiment's order; None until complete. Never NaN; Optuna knows infinite ones.

    A pruned trial of an Optuna study has the last value that it reported.
    """
    metrics: Mapping[str, Finite] = {}
    """Everything that was measured, final values."""
    violation: float | None = None
    """Sum of the constraint violations; 0 or less: feasible; None: no constraints or not known."""
    error: str | None = None
    """Why it failed: exit code and the tail of its output."""
    attempt: int = 1
    """How often it was started."""
    worker: str | None = None
    """Host and process that ran it, or what the worker that asked for it calls itself."""
    log: str | None = None
    """Key of its log in the artefact storage."""
    system_attrs: Mapping[str, Any] | None = None
    """What its sampler noted about it, and has to know when the search is taken up again."""
    user_attrs: Mapping[str, Any] | None = None
    """What people noted about it."""
    lease_token: str | None = None
    """Fences every write of the worker that asked for it; None for the platform's own trials."""
    lease_expires_at: Time | None = None
    """When somebody else gets it, unless its worker is heard of before."""
    created_at: Time | None = None
    """When its point was chosen."""
    started_at: Time | None = None
    """When its evaluation began."""
    ended_at: Time | None = None
    """When it ended."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def feasible(self) -> bool:
        """Whether it may be a best trial: complete, and no constraint broken."""
        return self.state is TrialState.COMPLETE and (self.violation is None or self.violation <= 0)


class Measurement(Value):
    """An intermediate value of a trial."""

    experiment_id: int
    """The experiment."""
    number: int
    """The trial's number."""
    metric: str = Field(max_length=200)
    """The metric's name."""
    step: int = Field(ge=-(2**63), lt=2**63)
    """Epoch, iteration, fidelity: whatever the tool counts."""
    value: Finite
    """The value at that step."""
