"""Ask and tell: trials are handed to workers under a lease, and what these tell is judged and written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.domain import Experiment, Measurement, Trial, TrialState, utcnow
from tunesmith.errors import AsksWhileRunning, BadRequest, ExperimentArchived
from tunesmith.store import Tx
from tunesmith.store.asking import MAX_ATTEMPTS


def check_askable(experiment: Experiment) -> None:
    """Raise ExperimentArchived, or AsksWhileRunning, where nobody can ask for trials of the experiment."""
    if experiment.archived:
        raise ExperimentArchived(experiment_id=experiment.id)
    if experiment.spec.define_by_run:
        raise AsksWhileRunning(experiment_id=experiment.id)


@dataclass(frozen=True)
class Free:
    """What a worker could get now."""

    trials: list[Trial]
    """Trials that it holds already, then waiting ones, by number."""
    missing: int
    """How many fewer these are than were asked for."""


def free(tx: Tx, experiment: Experiment, count: int, worker: str | None) -> Free:
    """At most `count` trials that a worker could get now."""
    held = tx.held_trials(experiment.id, worker)[:count] if worker is not None else []
    worn = [trial for trial in held if trial.attempt >= MAX_ATTEMPTS]
    if worn:  # whoever takes them dies of them
        tx.put_back(experiment, worn)
        held = [trial for trial in held if trial.attempt < MAX_ATTEMPTS]
    waiting = tx.waiting_trials(experiment.id, count - len(held))
    if len(held) + len(waiting) < count and tx.put_back_expired(experiment):
        waiting = tx.waiting_trials(experiment.id, count - len(held))
    return Free([*held, *waiting], count - len(held) - len(waiting))


def report(tx: Tx, experiment: Experiment, number: int, token: str, step: int, metrics: Mapping[str, float]) -> Trial:
    """Write intermediate values of a held trial. Raises TrialNotFound, TrialFinished, TrialTaken."""
    trial = tx.held_trial(experiment.id, number, token)
    tx.add_measurements(
        [
            Measurement(experiment_id=experiment.id, number=number, metric=metric, step=step, value=value)
            for metric, value in metrics.items()
        ]
    )
    return trial


def tell(
    tx: Tx,
    experiment: Experiment,
    number: int,
    token: str,
    value: float | None,
    measured: Mapping[str, float],
    state: TrialState = TrialState.COMPLETE,
) -> Trial:
    """Finish a held trial with its values.

    Raises:
        TrialNotFound: the experiment has no such trial.
        TrialFinished: it is finished.
        TrialTaken: its lease ran out and somebody else has it, or the token is another trial's.
        BadRequest: an objective has no value.
    """
    trial = tx.held_trial(experiment.id, number, token)
    metrics = _metrics(experiment, value, measured, state is TrialState.COMPLETE)
    spec = experiment.spec
    complete = state is TrialState.COMPLETE
    finished = trial.evolve(
        state=state,
        values=tuple(metrics[o.metric] for o in spec.objectives) if complete else None,
        metrics=metrics,
        violation=spec.violation(metrics) if complete and spec.constraints else None,
    )
    return _finish(tx, experiment, finished)


def fail(tx: Tx, experiment: Experiment, number: int, token: str, error: str, again: bool) -> Trial:
    """Finish a held trial as failed, or let another worker try its point. Raises as `tell` does."""
    trial = tx.held_trial(experiment.id, number, token)
    if again:
        tx.put_back(experiment, [trial], silent=False)
        return tx.trial(experiment.id, number)
    return _finish(tx, experiment, trial.evolve(state=TrialState.FAILED, error=error or "its worker gave no reason"))


def _finish(tx: Tx, experiment: Experiment, trial: Trial) -> Trial:
    """Write how a trial ended that is held, its experiment's row locked."""
    ended = trial.evolve(lease_token=None, lease_expires_at=None, ended_at=utcnow())
    tx.write_trials(experiment, [ended], {trial.number: TrialState.RUNNING})
    return ended


def _metrics(
    experiment: Experiment, value: float | None, measured: Mapping[str, float], complete: bool
) -> dict[str, float]:
    objectives = [objective.metric for objective in experiment.spec.objectives]
    if value is not None:
        if len(objectives) > 1:
            raise BadRequest(
                f"value ({value:g}): this experiment has {len(objectives)} objectives; "
                f"send values, an object with {', '.join(objectives)}",
                field="value",
            )
        if measured.get(objectives[0], value) != value:
            raise BadRequest(f"value ({value:g}) and values.{objectives[0]} differ; send one of them", field="value")
        measured = {**measured, objectives[0]: value}
    needed = objectives + [c.metric for c in experiment.spec.constraints if c.metric not in objectives]
    for metric in needed if complete else ():
        if metric not in measured:
            kind = "objective" if metric in objectives else "constraint"
            sent = ", ".join(measured) or "nothing"
            raise BadRequest(
                f"values.{metric}: the {kind} {metric!r} has no value; it was told {sent}. Send it, or POST .../fail",
                field=f"values.{metric}",
            )
    for metric, number in measured.items():
        if not math.isfinite(number):
            raise BadRequest(f"values.{metric}: must be a finite number, not {number}", field=f"values.{metric}")
    return dict(measured)
