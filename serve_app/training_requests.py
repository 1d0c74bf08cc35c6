"""Requests about training jobs, settled: checked as a whole, and their searches planned."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.context import Context
from serve_app.routes.functions import check_code
from tuners.samplers import plan
from tuners.tools.program import fill
from tuners.tools.resuming import OWN_STORAGE, shown
from tuners.tools.running import Failed
from tunesmith.domain import Experiment, ExperimentSpec, ProgramTool, TrainingJob, TrainingPlan, utcnow
from tunesmith.errors import InvalidBody, InvalidParameter, InvalidSpace
from tunesmith.schemas.requests import JobRequest
from tunesmith.schemas.training_jobs import Fields, fields_of, plan_of, spec_of
from tunesmith.services import jobs, trainings
from tunesmith.services.jobs import WAITING
from tunesmith.storage import meets
from tunesmith.store import Tx


@dataclass(frozen=True)
class Settled:
    """What a training job is to be."""

    spec: ExperimentSpec
    plan: TrainingPlan
    depends_on: tuple[str, ...]
    tags: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def create(self, tx: Tx) -> TrainingJob:
        """Make it. Raises NameTaken, BadRequest."""
        return trainings.create(tx, self.spec.tool_name, self.spec, self.plan, self.depends_on, self.tags)

    def change(self, tx: Tx, training: TrainingJob) -> TrainingJob:
        """Let a training job become it. Raises StateForbids, NameTaken, BadRequest."""
        self._keep_comparable(tx, training)
        return trainings.change(tx, training, self.spec, self.plan, self.depends_on, self.tags)

    def _keep_comparable(self, tx: Tx, training: TrainingJob) -> None:
        """Let executions that wait search the space that they were planned for. Raises InvalidSpace."""
        before = tx.experiment(training.experiment_id)
        if any(before.counts.values()) and _shape(before.spec) != _shape(self.spec):
            raise InvalidSpace(
                "parameters: its executions so far have other parameters or objectives; ranges and choices may change, "
                "for anything else make a new job"
            )
        if before.spec.space != self.spec.space:
            for job in tx.firings(training, WAITING):
                if job.search.space is None:
                    tx.change_search(job.id, job.search.evolve(space=before.spec.space))


def settle(here: Context, fields: Fields) -> Settled:
    """Check a request as a whole, and plan its search; a second may pass, so not inside a transaction.

    Raises:
        InvalidSchedule, InvalidSpace, InvalidOptimizer, InvalidBody, InvalidParameter: what it says.
    """
    spec, plan_ = spec_of(fields), plan_of(fields)
    _check_holes(spec)
    _check_checkpoint(spec, here.settings.artifacts)
    settled = Settled(spec, plan_, fields["depends_on"], fields["tags"])
    return _searching(here, settled, fields) if len(spec.space) else settled


def present_fields(tx: Tx, training: TrainingJob) -> Fields:
    """The request that would make a training job as it is now."""
    experiment = tx.experiment(training.experiment_id)
    return fields_of(training, experiment, tx.dependencies([training.id])[training.id])


def _shape(spec: ExperimentSpec) -> object:
    """What its trials have in common."""
    return {p.name: p.type for p in spec.space}, spec.objectives


def _searching(here: Context, settled: Settled, fields: Fields) -> Settled:
    """With its search planned as that of any job."""
    spec = settled.spec
    experiment = Experiment(
        id=0, workspace_id="", spec=spec, name=spec.tool_name, tags=(), archived=False, created_at=utcnow(), counts={}
    )
    search = fields["optimizer"] or JobRequest().optimizer.search()
    check_code(experiment, search, here.storage)
    jobs.check_cost(search, here.settings.prices)
    slots = here.platform.slots(spec.resources.cpus) if search.type == "auto" else None
    planned = plan(experiment, search, here.settings.max_grid_points, slots)
    warnings = (*planned.warnings, *filter(None, (planned.note,)))
    changed = settled.plan.evolve(search=planned.search, total=planned.total)
    return Settled(spec, changed, settled.depends_on, settled.tags, warnings)


def _check_checkpoint(spec: ExperimentSpec, artifacts: str) -> None:
    """Raise InvalidParameter where its checkpoint would lie among the platform's own files."""
    assert isinstance(spec.tool, ProgramTool)
    path = spec.tool.checkpoint_path
    if path is not None and meets(path, artifacts):
        named = shown(path)
        raise InvalidParameter(
            f"checkpoint_path is {named!r}: {OWN_STORAGE}", field="checkpoint_path", value=named[:200]
        )


def _check_holes(spec: ExperimentSpec) -> None:
    """Raise InvalidBody where `${name}` stands for no parameter: every attempt would fail."""
    assert isinstance(spec.tool, ProgramTool)
    declared = [parameter.name for parameter in spec.space]
    texts = {f"command.{index}": word for index, word in enumerate(spec.tool.command)}
    for field, text in (texts | {f"env.{name}": value for name, value in spec.tool.env.items()}).items():
        try:
            fill(text, declared, {})
        except Failed as error:
            finding = {"field": field, "message": str(error), "value": text[:200]}
            raise InvalidBody(f"{field}: {error}", fields=[finding]) from error
