"""AutoML: trainings begun and stopped, trained models deleted; a training is a job, of one point or a search."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.automl.places import check_place
from tunesmith.automl.searching import search_of
from tunesmith.domain import (
    Experiment,
    ExperimentSpec,
    Objective,
    Resources,
    Search,
    Space,
    TrainedModel,
    TrainerTool,
)
from tunesmith.errors import InvalidConfig, NotFound, StateForbids
from tunesmith.scenarios.parameters import nearest
from tunesmith.services import jobs, sessions
from tunesmith.services.firing import ONE_POINT
from tunesmith.services.optimizing import Planned
from tunesmith.store import Tx

if TYPE_CHECKING:
    from tunesmith.automl import Config, DataSection, Template
    from tunesmith.plugins import Known, Registry

LATE = 60.0
"""Seconds that a training may run beyond its time limit, and as many more as that, to end with what it has."""


def train(
    tx: Tx,
    registry: Registry,
    template_name: str,
    given: Mapping[str, Any],
    data_root: Path,
    artifacts: str,
    plan: Callable[[Experiment, Search], Planned],
    submitted_by: str | None = None,
) -> TrainedModel:
    """Queue a training. `given` is laid over the template's defaults; `plan` fills in a search.

    Raises:
        MissingExtra: what the template needs is not installed.
        InvalidConfig: a key is unknown, or its value is none, names nothing that there is, or leads out of `data_root`
            or into `artifacts`, the platform's own storage.
        InvalidOptimizer: the sampler cannot search that.
    """
    with _naming("model.type"):
        known = registry.template(template_name)
    known.item.check_installed()
    config = known.item.read(given)
    files = _check_data(tx, config.data, data_root, artifacts)
    spec = _spec(known, config, data_root, files)
    model_id, workspace = str(uuid.uuid4()), tx.workspace()
    experiment = tx.own_experiment(workspace, model_id, f"{template_name} model", spec, ["automl"])
    searched = config.hyperparameter_search.enabled
    if searched:
        search, total, note = plan(experiment, search_of(known.item, config, spec.space))
        job = jobs.submit(tx, experiment.id, search, total, submitted_by=submitted_by, note=note)
    else:
        job = tx.create_job(experiment.id, ONE_POINT, 1, submitted_by=submitted_by)
        tx.first_attempt(job, experiment)
    shown = config.model_dump(mode="json")
    return tx.create_trained_model(
        model_id, workspace, template_name, shown, searched, experiment.id, job.id, submitted_by
    )


def stop(tx: Tx, model_id: str) -> TrainedModel:
    """Stop a training, at once or when its runner hears of it. Raises ModelNotFound, StateForbids."""
    model = tx.trained_model(model_id)
    job = tx.lock_job(model.job_id)
    if job.state.ended:
        raise StateForbids("The training has ended; there is nothing to stop", id=model_id, state=job.state.value)
    jobs.cancel(tx, job.id)
    return tx.trained_model(model_id)


def delete(tx: Tx, model_id: str) -> None:
    """Delete a model with its training. Raises ModelNotFound, StateForbids (it is being trained)."""
    tx.delete_trained_model(tx.trained_model(model_id))


def _spec(known: Known[type[Template]], config: Config, data_root: Path, files: str | None) -> ExperimentSpec:
    template, search, needed = known.item, config.hyperparameter_search, config.resources
    metric, direction = template.objective(config)
    limit_s = config.training.time_limit_s
    return ExperimentSpec(
        tool_name=template.name,
        tool=TrainerTool(
            template=template.name,
            plugin=known.reference,
            config=config.model_dump(mode="json"),
            data_root=str(data_root),
            files=files,
        ),
        space=Space(parameters=template.dimensions(config) if search.enabled else ()),
        objectives=(Objective(metric=metric, direction=direction),),
        trial_timeout_s=None if limit_s is None else 2 * limit_s + LATE,
        resources=Resources(cpus=needed.num_cpus, gpus=needed.num_gpus, memory_bytes=needed.memory_bytes),
    )


def _check_data(tx: Tx, data: DataSection, root: Path, artifacts: str) -> str | None:
    """Refuse places that may not be read; the key prefix of the dataset's files, where it is trained on one."""
    for key in ("train_path", "val_path"):
        path = getattr(data, key)
        if path is not None:
            check_place(path, root, artifacts, f"data.{key}")
    if data.dataset is None:
        return None
    with _naming("data.session"):
        session = tx.session(data.session) if data.session else sessions.ensure(tx)
    known = {found.key: found for found in tx.datasets(session.id)}
    _check_there("data.dataset", "the session has no dataset", data.dataset, list(known))
    dataset = known[data.dataset]
    for key in ("table", "val_table"):
        _check_table(f"data.{key}", getattr(data, key), [table.name for table in dataset.tables], key == "table")
    return dataset.files


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """What is not there makes the configuration wrong that names it."""
    try:
        yield
    except NotFound as error:
        raise InvalidConfig(f"{field}: {error.message}", field=field) from None


def _check_table(field: str, name: str | None, known: list[str], needed: bool) -> None:
    if name is None and (not needed or len(known) == 1):
        return
    if name is None:
        tables = ", ".join(known) or "none"
        raise InvalidConfig(f"{field}: the dataset has several tables ({tables}); name one", field=field)
    _check_there(field, "the dataset has no table", name, known)


def _check_there(field: str, lacking: str, name: str, known: list[str]) -> None:
    if name not in known:
        message = f"{field}: {lacking} {name!r}{nearest(name, known)}; it has {', '.join(known) or 'none'}"
        raise InvalidConfig(message, field=field, value=name)
