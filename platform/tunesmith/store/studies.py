"""Experiments as Optuna's studies: made, found by name, described and deleted as those are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import bindparam, delete, select, update

from tunesmith.domain import Experiment, ExperimentSpec, utcnow
from tunesmith.errors import Conflict, JobActive
from tunesmith.store.experiments import BY_ID
from tunesmith.store.queries import DIALECTS, ours
from tunesmith.store.rows import COUNTERS, experiment_of
from tunesmith.store.study_trials import StudyTrialQueries
from tunesmith.store.tables import (
    events,
    experiments,
    jobs,
    measurements,
    model_runs,
    optimizations,
    scenarios,
    trained_models,
    training_jobs,
    trials,
)

Attrs = Literal["user_attrs", "system_attrs"]
ATTRS: dict[Attrs, Any] = {
    "user_attrs": select(experiments.c.user_attrs).where(experiments.c.id == bindparam("id")),
    "system_attrs": select(experiments.c.system_attrs).where(experiments.c.id == bindparam("id")),
}
COUNTS = select(*(experiments.c[column] for column in COUNTERS.values()))
OWNERS = {
    "training job": training_jobs,
    "scenario": scenarios,
    "run of a model": model_runs,
    "trained model": trained_models,
}
"""What an experiment may be the inside of."""
UNLESS_TAKEN = {
    name: dialect.insert(experiments).on_conflict_do_nothing().returning(experiments.c.id)
    for name, dialect in DIALECTS.items()
}


class StudyQueries(StudyTrialQueries):
    """Queries on studies; every experiment is one."""

    def create_study(self, workspace_id: str, study_name: str, spec: ExperimentSpec) -> int | None:
        """The id of a new experiment that is a study of this name; None when any workspace has one."""
        if self._numbered(study_name, None) is not None:
            return None
        row = {
            "workspace_id": workspace_id,
            "content_hash": spec.content_hash,
            "name": spec.tool_name,
            "study_name": study_name,
            "spec": spec,
            "tags": [],
            "archived": False,
            "created_at": utcnow(),
        }
        made: int | None = self.connection.scalar(UNLESS_TAKEN[self.connection.dialect.name], row)
        return made

    def study_id(self, name: str) -> int | None:
        """The study of this name, or the experiment `name#id`, or the only one of that name that is not archived."""
        named = select(experiments.c.id).where(experiments.c.study_name == name, ours(experiments))
        found = self.connection.scalar(named, self.scope)
        if found is not None:
            return int(found)
        numbered = self._numbered(name, self.workspace_id)
        if numbered is not None:
            return numbered
        here = (experiments.c.name == name, experiments.c.archived.is_(False), ours(experiments))
        same = self.connection.scalars(select(experiments.c.id).where(*here).limit(2), self.scope).all()
        return int(same[0]) if len(same) == 1 else None

    def _numbered(self, name: str, workspace_id: str | None) -> int | None:
        """The experiment, of a workspace or any, that was not made as a study and is called `name#id` as one."""
        stem, _, number = name.rpartition("#")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        query = select(experiments.c.id).where(
            experiments.c.id == int(number),
            experiments.c.name == stem,
            experiments.c.study_name.is_(None),
            ours(experiments),
        )
        return self.connection.scalar(query, {"workspace": workspace_id})

    def study(self, experiment_id: int) -> tuple[str, Experiment] | None:
        """A study's name and experiment."""
        known, of = 0 < experiment_id < 2**63, {"id": experiment_id, **self.scope}
        row = self.connection.execute(BY_ID, of).first() if known else None
        return None if row is None else (study_name(row), experiment_of(row))

    def studies(self) -> list[tuple[str, Experiment]]:
        """Every study, by id."""
        rows = self.connection.execute(
            select(experiments).where(ours(experiments)).order_by(experiments.c.id), self.scope
        )
        return [(study_name(row), experiment_of(row)) for row in rows]

    def study_attrs(self, experiment_id: int, kind: Attrs) -> dict[str, Any] | None:
        """What was noted about a study; None when there is no such study."""
        row = self.connection.execute(ATTRS[kind], {"id": experiment_id}).first()
        return None if row is None else row[0] or {}

    def set_study_attr(self, experiment_id: int, kind: Attrs, key: str, value: Any) -> bool:
        """Note something about a study; False when there is no such study."""
        self.lock_experiment(experiment_id)
        known = self.study_attrs(experiment_id, kind)
        if known is None:
            return False
        changed = {kind: {**known, key: json.loads(json.dumps(value))}}
        self.connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(changed))
        return True

    def study_counts(self, experiment_id: int) -> Mapping[str, int] | None:
        """State -> number of trials; None when there is no such study."""
        row = self.connection.execute(COUNTS.where(experiments.c.id == experiment_id)).first()
        return None if row is None else dict(zip((state.value for state in COUNTERS), row, strict=True))

    def delete_study(self, experiment_id: int) -> bool:
        """Delete a study with everything that belongs to it; False when there is no such study.

        Raises:
            JobActive: a job of the platform is searching it.
            Conflict: it belongs to a training job, a scenario, a run of a model, or a trained model.
        """
        for kind, table in OWNERS.items():
            owner = self.connection.scalar(select(table.c.id).where(table.c.experiment_id == experiment_id))
            if owner is not None:
                message = f"Experiment {experiment_id} belongs to the {kind} {owner}, and goes only with that"
                raise Conflict(message, experiment_id=experiment_id)
        self.lock_experiment(experiment_id)
        mine = select(jobs.c.id).where(jobs.c.experiment_id == experiment_id)
        active = self.connection.scalar(mine.where(jobs.c.active == 1))
        if active is not None:
            raise JobActive(
                f"Experiment {experiment_id} has the active job {active}; cancel it (`tunesmith cancel {active}`) "
                "before you delete the study",
                job_id=active,
            )
        for query in (
            delete(optimizations).where(optimizations.c.experiment_id == experiment_id),
            delete(events).where(events.c.job_id.in_(mine)),
            delete(measurements).where(measurements.c.experiment_id == experiment_id),
            delete(trials).where(trials.c.experiment_id == experiment_id),
            delete(jobs).where(jobs.c.experiment_id == experiment_id),
        ):
            self.connection.execute(query)
        return self.connection.execute(delete(experiments).where(experiments.c.id == experiment_id)).rowcount == 1


def study_name(row: Any) -> str:
    """What a row of `experiments` is called as a study."""
    return f"{row.name}#{row.id}" if row.study_name is None else row.study_name
