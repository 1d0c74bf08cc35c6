"""Making an experiment from its form and its records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.client.experiment import Experiment
from tunesmith.client.records import Progress
from tunesmith.errors import Conflict, TunesmithError
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.fitting import frame_of
from tunesmith.schemas.records import ExperimentForm, Record

if TYPE_CHECKING:
    from tunesmith.client.client import Client


def import_trials(
    client: Client, connection: Connection, form: ExperimentForm, records: Iterable[Record], progress: Progress | None
) -> Experiment:
    """Make the experiment and add the records, which are checked before anything is made.

    Raises:
        Conflict: there is one of this content that has trials already, or a study of this name.
        InvalidBody: the experiment or a record is invalid.
        TunesmithError: the platform did not take all of them; the message says what is there and how to go on.
    """
    found = list(records)
    frame_of(form).check(found)
    experiment = _made(client, connection, form)
    noted = {name: form.model_dump(mode="json")[name] for name in ("user_attrs", "system_attrs") if getattr(form, name)}
    try:
        experiment.add_records(found, True, noted, progress)
    except TunesmithError as error:
        error.message += _standing(experiment, error.details.get("added", 0), len(found))
        raise
    return experiment


def _made(client: Client, connection: Connection, form: ExperimentForm) -> Experiment:
    if form.study is not None:
        body = connection.post("/api/v1/studies", form.study.model_dump(mode="json"))
        answer = parsed(connection, ExperimentAnswer, body)
        experiment = Experiment(connection, answer.id, answer)
    else:
        experiment = client.create_experiment(form.experiment)
    there = sum(experiment.info.trial_counts.values())
    if there:
        raise Conflict(
            f"experiment {experiment.id} has this very content, and {there} trials already; add to it "
            f"(`tunesmith import ... --into {experiment.id}`), or give the new one another name (`--name`)",
            experiment_id=experiment.id,
        )
    info = experiment.info
    if (form.name, form.tags, False) != (info.name, info.tags, info.archived):
        experiment.update(form.name, form.tags, archived=False)
    return experiment


def _standing(experiment: Experiment, added: int, count: int) -> str:
    """What is there after a failure; an experiment that got nothing is archived."""
    if added:
        return (
            f" (experiment {experiment.id} has the first {added} of {count} trials; "
            f"go on with `--into {experiment.id} --skip {added}`)"
        )
    try:
        experiment.update(archived=True)
    except TunesmithError:
        return f" (experiment {experiment.id} was made for it, and has no trial)"
    return f" (experiment {experiment.id}, which was made for it, is archived and has no trial)"
