"""Ask and tell: what workers anywhere send about the trials that they hold, and what they get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tunesmith.domain import Scalar, Time, Trial
from tunesmith.schemas.base import Answer, Request
from tunesmith.schemas.requests import OptimizerRequest

MAX_COUNT = 1000
"""Trials that are handed out, or told of, at once."""
LEASE_S = 60.0
"""Seconds of a lease, unless a worker asks for another length."""
Token = Annotated[str, Field(min_length=1, max_length=200)]
Lease = Annotated[float, Field(ge=1, le=604_800)]
Metric = Annotated[str, Field(min_length=1, max_length=200)]

EXAMPLE_ASK: dict[str, Any] = {"count": 1, "worker": "node7-gpu0", "lease_s": 60}


class AskRequest(Request):
    """A worker wants trials to evaluate."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [EXAMPLE_ASK]}}

    count: int = Field(default=1, ge=1, le=MAX_COUNT)
    """Trials to hand out."""
    worker: str | None = Field(default=None, min_length=1, max_length=200)
    """What the worker calls itself: a name of its own, for it gets back what it holds when it asks again."""
    lease_s: Lease = LEASE_S
    """Seconds until somebody else gets the trials, unless the worker reports or sends a heartbeat before."""
    optimizer: OptimizerRequest | None = None
    """How points are chosen, from now on and for every worker; left out: as before, at first `auto`."""


class AskedTrial(Answer):
    """A trial to evaluate."""

    number: int
    """The trial's number within the experiment."""
    params: Mapping[str, Scalar]
    """The configuration to try."""
    token: str
    """Goes with everything that is told about the trial."""
    attempt: int
    """1 at first; more when workers before went silent."""
    lease_expires_at: Time
    """When somebody else gets it."""

    @classmethod
    def of(cls, trial: Trial) -> AskedTrial:
        """The answer for a trial that was handed out."""
        assert trial.lease_token is not None
        assert trial.lease_expires_at is not None
        return cls.model_construct(
            number=trial.number,
            params=trial.params,
            token=trial.lease_token,
            attempt=trial.attempt,
            lease_expires_at=trial.lease_expires_at,
        )


class AskAnswer(Answer):
    """Trials that were handed out."""

    experiment_id: int
    """The experiment."""
    trials: tuple[AskedTrial, ...]
    """At most as many as were asked for; the worker's own that it still holds come first."""
    retry_after_s: float | None
    """Where there are none: what the search needs first is being evaluated; ask again after so many seconds."""


class ReportRequest(Request):
    """An intermediate value of a trial, or several metrics of one step."""

    token: Token
    """The trial's."""
    step: int = Field(ge=-(2**63), lt=2**63)
    """Epoch, iteration, fidelity: whatever the tool counts."""
    value: float | None = None
    """The first objective's value at this step."""
    metrics: Mapping[Metric, float] = Field(default={}, max_length=1000)
    """Metric -> value at this step."""
    lease_s: Lease | None = None
    """Seconds that the lease lasts from now on; left out: at least 60, and as long as before where that is longer."""

    @model_validator(mode="after")
    def _something(self) -> ReportRequest:
        if self.value is None and not self.metrics:
            raise ValueError("value is required (or metrics, an object of name -> value)")
        return self


class ReportAnswer(Answer):
    """Whether to go on."""

    prune: bool
    """Whether the trial is hopeless: end it, and tell it with `"state": "pruned"`."""
    lease_expires_at: Time
    """When somebody else gets it."""


class TellRequest(Request):
    """What came of a trial."""

    token: Token
    """The trial's."""
    state: Literal["complete", "pruned"] = "complete"
    """`pruned`: ended early, because a report was answered so."""
    value: float | None = None
    """The objective's value, where there is one objective."""
    values: Mapping[Metric, float] | None = Field(default=None, max_length=1000)
    """Objective -> value."""
    metrics: Mapping[Metric, float] = Field(default={}, max_length=1000)
    """Anything else that was measured; constraints look here and among the objectives."""

    @property
    def measured(self) -> dict[str, float]:
        """Everything but `value`."""
        return {**self.metrics, **(self.values or {})}


class FailRequest(Request):
    """A trial that came to nothing."""

    token: Token
    """The trial's."""
    error: str = Field(default="", max_length=8000)
    """Why, for people."""
    again: bool = False
    """The trial is not to blame (the worker has to go, say): another worker is to try the same point."""


class HeartbeatRequest(Request):
    """The worker is alive."""

    token: Token
    """The trial's."""
    lease_s: Lease | None = None
    """Seconds that the lease lasts from now on; left out: at least 60, and as long as before where that is longer."""


class HeartbeatAnswer(Answer):
    """The lease goes on."""

    lease_expires_at: Time
    """When somebody else gets the trial."""


class ToldTrial(TellRequest):
    """One trial of several that are told at once."""

    number: int = Field(ge=0, lt=2**31)
    """The trial."""


class TellAllRequest(Request):
    """What came of several trials."""

    trials: tuple[ToldTrial, ...] = Field(min_length=1, max_length=MAX_COUNT)
    """Each as it would be told alone."""


class Told(Answer):
    """What became of one trial of several that were told at once."""

    number: int
    """The trial."""
    status: Literal["told", "refused"]
    """Whether it was taken in."""
    code: str | None = None
    """Why not: the code of the error."""
    error: str | None = None
    """The same in words."""


class TellAllAnswer(Answer):
    """What became of several trials, in the order of the request."""

    trials: tuple[Told, ...]
    """One for each."""
    told: int
    """How many were taken in."""
