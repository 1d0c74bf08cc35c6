"""Records: trials as they travel in and out of a platform, with all that is known about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, field_validator

from tunesmith.domain import Experiment, Measurement, Objective, Scalar, Trial, TrialState
from tunesmith.domain.experiment import check_objectives
from tunesmith.domain.value import Finite
from tunesmith.schemas.base import Answer, Request

MAX_RECORDS = 1000
"""Records of one request or of one page, at most."""
WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""What stands in JSON for the numbers that it does not know."""
FLOAT = "$float"
"""Key of the object that stands for such a number within attributes: `{"$float": "nan"}`."""


def _number(value: Any) -> Any:
    return WORDS.get(value, value) if isinstance(value, str) else value


def _word(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _not_nan(value: float) -> float:
    if math.isnan(value):
        raise ValueError('must be a number, "inf" or "-inf", not NaN; leave it out')
    return value


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _packed(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: str(value)}
    if isinstance(value, Mapping):
        return {name: _packed(inner) for name, inner in value.items()}
    return [_packed(inner) for inner in value] if isinstance(value, list | tuple) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {FLOAT} and value[FLOAT] in WORDS:
            return WORDS[value[FLOAT]]
        return {name: _unpacked(inner) for name, inner in value.items()}
    return [_unpacked(inner) for inner in value] if isinstance(value, list) else value


AnyFloat = Annotated[float, BeforeValidator(_number), PlainSerializer(_word, when_used="json")]
"""A float; NaN and infinities are the texts "nan", "inf" and "-inf" in JSON."""
Real = Annotated[AnyFloat, AfterValidator(_not_nan)]
"""The same without NaN."""
Moment = Annotated[AwareDatetime, PlainSerializer(_moment, return_type=str, when_used="json")]
"""A moment in UTC, to the microsecond."""
Attributes = Annotated[
    Mapping[str, Any], BeforeValidator(_unpacked), PlainSerializer(_packed, return_type=Any, when_used="json")
]
"""What was noted, name -> anything; a number that JSON does not know is `{"$float": "nan"}` there."""


class Intermediate(Request):
    """An intermediate value."""

    metric: str = Field(min_length=1, max_length=200)
    """The metric."""
    step: int = Field(ge=-(2**63), lt=2**63)
    """Epoch, iteration, fidelity."""
    value: AnyFloat
    """The value; "nan", "inf" and "-inf" for what JSON does not know."""


class Record(Request):
    """A trial, with all that makes it what it is; `Record == Record` whatever experiment it belongs to."""

    number: int = Field(ge=0, lt=2**31 - 1)
    """Its number within the experiment."""
    state: TrialState
    """`waiting`, `running`, `complete`, `pruned` or `failed`."""
    params: Mapping[str, Scalar]
    """The configuration."""
    values: tuple[Real, ...] | None = Field(default=None, max_length=20)
    """One value per objective, in the experiment's order; "inf" and "-inf" for infinite ones."""
    metrics: Mapping[str, Finite] = {}
    """Everything measured, final values."""
    violation: Real | None = None
    """Sum of the constraint violations; 0 or less: feasible; null: not known."""
    intermediate_values: tuple[Intermediate, ...] = ()
    """What it reported on its way, by metric and step."""
    user_attrs: Attributes = {}
    """What people noted about it."""
    system_attrs: Attributes = {}
    """What samplers and Optuna noted about it."""
    error: str | None = None
    """Why it failed."""
    attempt: int = Field(default=1, ge=0, lt=2**31)
    """How often it was started."""
    worker: str | None = None
    """Who evaluated it."""
    created_at: Moment | None = None
    """When its point was chosen."""
    started_at: Moment | None = None
    """When its evaluation began."""
    ended_at: Moment | None = None
    """When it ended."""

    def wire(self) -> dict[str, Any]:
        """The record as JSON carries it, as a body of `POST .../records` wants it: without defaults."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"job_id", "run_number"})


class RecordAnswer(Record):
    """A trial with all that is known about it, and the job that made it."""

    model_config = {**Record.model_config, "extra": "ignore"}

    job_id: str | None = None
    """The job; an import leaves it out."""
    run_number: int | None = None
    """That job's number within the experiment; an import leaves it out."""

    @classmethod
    def of(cls, trial: Trial, measured: Sequence[Measurement] = ()) -> RecordAnswer:
        """The answer for a trial and its intermediate values."""
        return cls.model_construct(
            number=trial.number,
            state=trial.state,
            params=trial.params,
            values=trial.values,
            metrics=trial.metrics,
            violation=trial.violation,
            intermediate_values=tuple(
                Intermediate.model_construct(
                    metric=m.metric, step=m.step, value=math.nan if m.value is None else m.value
                )
                for m in measured
            ),
            user_attrs=trial.user_attrs or {},
            system_attrs=trial.system_attrs or {},
            error=trial.error,
            attempt=trial.attempt,
            worker=trial.worker,
            created_at=trial.created_at,
            started_at=trial.started_at,
            ended_at=trial.ended_at,
            job_id=trial.job_id,
            run_number=trial.run_number,
        )

    @property
    def record(self) -> Record:
        """The record alone."""
        return Record.model_construct(**{name: getattr(self, name) for name in Record.model_fields})


class StudyForm(Answer):
    """What an experiment is as an Optuna study."""

    name: str | None = None
    """The study's name; null for an experiment whose space was declared."""
    user_attrs: Attributes = {}
    """What people noted about it."""
    system_attrs: Attributes = {}
    """What Optuna noted about it."""

    @classmethod
    def of(cls, experiment: Experiment) -> StudyForm:
        """The form of an experiment."""
        return cls.model_construct(
            name=getattr(experiment.spec.tool, "study", None),
            user_attrs=experiment.user_attrs or {},
            system_attrs=experiment.system_attrs or {},
        )


class RecordPage(Answer):
    """A page of records."""

    records: tuple[RecordAnswer, ...]
    """The trials, by number."""
    study: StudyForm
    """What the experiment is as a study."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


EXAMPLE_RECORD: dict[str, Any] = {
    "number": 0,
    "state": "complete",
    "params": {"paramA": 1, "paramB": 2},
    "values": [3.01],
    "intermediate_values": [{"metric": "wall_time_s", "step": 1, "value": 1.5}],
    "started_at": "2026-01-31T12:00:04.110000Z",
    "ended_at": "2026-01-31T12:00:07.120000Z",
}


class RecordsRequest(Request):
    """Trials to add to an experiment, all of them or none."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [{"records": [EXAMPLE_RECORD]}]}}

    records: tuple[Record, ...] = Field(max_length=MAX_RECORDS)
    """The trials."""
    keep_numbers: bool | None = None
    """Whether they keep their numbers (all must be above those that are there), or get the next ones, in this order;
    unset: they keep them where the experiment has no trial yet."""
    user_attrs: Attributes = {}
    """What is to be noted about the experiment."""
    system_attrs: Attributes = {}
    """What Optuna noted about it as a study."""


class RecordsAnswer(Answer):
    """What was added."""

    count: int
    """Trials."""
    first_number: int | None
    """The number that the first of them has; null when there were none."""
    outside: int
    """Of these, how many lie outside the space: samplers do not learn from them."""


class StudyRequest(Request):
    """An experiment whose trials ask for their parameters while they run: an Optuna study."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [{"name": "mnist"}]}}

    name: str = Field(min_length=1, max_length=512)
    """The study's name, unique on the platform."""
    objectives: tuple[Objective, ...] = Field(default=(Objective(metric="value"),), min_length=1, max_length=20)
    """What is optimized."""

    _distinct = field_validator("objectives")(check_objectives)


class ExperimentForm(Answer):
    """An experiment as it travels beside its trials: enough to make it again."""

    format: Literal["tunesmith/1"] = "tunesmith/1"
    """The version of this form."""
    name: str
    """What people call it."""
    tags: tuple[str, ...] = ()
    """Labels."""
    experiment: Mapping[str, Any] | None = None
    """The body of `POST /api/v1/experiments`; null for a study."""
    study: StudyRequest | None = None
    """The body of `POST /api/v1/studies`; null for an experiment whose space is declared."""
    user_attrs: Attributes = {}
    """What people noted about it."""
    system_attrs: Attributes = {}
    """What Optuna noted about it as a study."""
