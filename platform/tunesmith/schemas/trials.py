"""Answers about trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunesmith.domain import (
    Experiment,
    Measurement,
    Scalar,
    Time,
    Trial,
)
from tunesmith.schemas.base import Answer


class ParameterConfig(Answer):
    """One parameter's value in a trial."""

    parameter_name: str
    """The parameter."""
    value: Scalar
    """Its value, in the parameter's own type."""


class TrialAnswer(Answer):
    """A trial."""

    experiment_id: int
    """The experiment."""
    run_number: int | None
    """The job's number within the experiment."""
    job_id: str | None
    """The job."""
    number: int
    """The trial's number within the experiment."""
    state: str
    """`waiting`, `running`, `complete`, `pruned` or `failed`."""
    outcome: float | None
    """The first objective's value."""
    outcomes: Mapping[str, float | None]
    """Objective -> value."""
    metrics: Mapping[str, float | None]
    """Everything measured."""
    feasible: bool | None
    """Whether every constraint holds; null when there is none, or the trial is not complete."""
    parameter_configs: tuple[ParameterConfig, ...]
    """The configuration."""
    timestamp: Time | None
    """When it ended, or else when it started."""
    started_at: Time | None
    """When it started."""
    duration_s: float | None
    """Seconds from start to end."""
    error: str | None
    """Why it failed."""
    attempt: int
    """How often it was started."""
    worker: str | None
    """Host and process that ran it."""
    log_url: str | None
    """Where its log can be read."""

    @property
    def params(self) -> dict[str, Scalar]:
        """The configuration as a mapping."""
        return {config.parameter_name: config.value for config in self.parameter_configs}

    @classmethod
    def of(cls, experiment: Experiment, trial: Trial) -> TrialAnswer:
        """The answer for a trial of an experiment."""
        objectives = experiment.spec.objectives
        values = trial.values or (None,) * len(objectives)
        ordered = {p.name: trial.params[p.name] for p in experiment.spec.space if p.name in trial.params}
        ordered |= {name: value for name, value in trial.params.items() if name not in ordered}
        return cls.model_construct(
            experiment_id=trial.experiment_id,
            run_number=trial.run_number,
            job_id=trial.job_id,
            number=trial.number,
            state=trial.state.value,
            outcome=values[0],
            outcomes={o.metric: v for o, v in zip(objectives, values, strict=True)},
            metrics=trial.metrics,
            feasible=None if trial.violation is None else trial.violation <= 0,
            parameter_configs=tuple(
                ParameterConfig.model_construct(parameter_name=name, value=value) for name, value in ordered.items()
            ),
            timestamp=trial.ended_at or trial.started_at,
            started_at=trial.started_at,
            duration_s=trial.duration_s,
            error=trial.error,
            attempt=trial.attempt,
            worker=trial.worker,
            log_url=f"/api/v1/jobs/{trial.job_id}/logs?trial={trial.number}" if trial.job_id else None,
        )


class MeasurementAnswer(Answer):
    """An intermediate value."""

    metric: str
    """The metric."""
    step: int
    """Epoch, iteration, fidelity."""
    value: float | None
    """The value; null for what a study reported as NaN or infinite."""

    @classmethod
    def of(cls, measurement: Measurement) -> MeasurementAnswer:
        """The answer for a measurement."""
        return cls(metric=measurement.metric, step=measurement.step, value=measurement.value)


class TrialDetail(TrialAnswer):
    """A trial with its intermediate values."""

    measurements: tuple[MeasurementAnswer, ...]
    """By metric and step."""

    def curve(self, metric: str) -> Iterator[tuple[int, float]]:
        """(step, value) of a metric, what was no number left out."""
        return ((m.step, m.value) for m in self.measurements if m.metric == metric and m.value is not None)

    @classmethod
    def measured(cls, experiment: Experiment, trial: Trial, measurements: list[Measurement]) -> TrialDetail:
        """The answer for a trial and its intermediate values."""
        fields = dict(TrialAnswer.of(experiment, trial))
        return cls.model_construct(**fields, measurements=tuple(MeasurementAnswer.of(m) for m in measurements))


class TrialPage(Answer):
    """A page of trials."""

    trials: tuple[TrialAnswer, ...]
    """The trials."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


def best_answer(experiment: Experiment, best: list[Trial]) -> TrialAnswer | tuple[TrialAnswer, ...] | None:
    """The best trial, the Pareto set of several objectives, or None when there is none yet."""
    if not best:
        return None
    answers = tuple(TrialAnswer.of(experiment, trial) for trial in best)
    return answers if len(experiment.spec.objectives) > 1 else answers[0]
