"""Queries on experiments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from tunesmith.domain import Experiment, ExperimentSpec, Page, Space, utcnow
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.errors import ExperimentNotFound
from tunesmith.store.queries import DIALECTS, Queries, ours
from tunesmith.store.rows import experiment_of
from tunesmith.store.tables import clean, experiments

MAX_ID = 2**63 - 1
# Built once: making a statement takes SQLAlchemy longer than SQLite takes to answer it, and every request asks these.
BY_ID = select(experiments).where(experiments.c.id == bindparam("id"), ours(experiments))
BY_CONTENT = select(experiments).where(
    experiments.c.workspace_id == bindparam("workspace_id"), experiments.c.content_hash == bindparam("content_hash")
)
UNLESS_THERE = {
    name: dialect.insert(experiments).on_conflict_do_nothing().returning(experiments)
    for name, dialect in DIALECTS.items()
}
OWN = insert(experiments).returning(experiments)


class ExperimentQueries(Queries):
    """Queries on experiments."""

    def get_or_create_experiment(self, workspace_id: str, spec: ExperimentSpec) -> tuple[Experiment, bool]:
        """The experiment of this content, and whether it was made just now; also when two callers come at once."""
        row = {
            "workspace_id": workspace_id,
            "content_hash": spec.content_hash,
            "name": spec.tool_name,
            "spec": spec,
            "tags": [],
            "archived": False,
            "created_at": utcnow(),
        }
        same = {"workspace_id": workspace_id, "content_hash": row["content_hash"]}
        found = self.connection.execute(BY_CONTENT, same).first()
        if found is not None:
            return experiment_of(found), False
        made = self.connection.execute(UNLESS_THERE[self.connection.dialect.name], row).first()
        if made is not None:
            return experiment_of(made), True
        return experiment_of(self.connection.execute(BY_CONTENT, same).one()), False

    def own_experiment(
        self, workspace_id: str, owner: str, name: str, spec: ExperimentSpec, tags: Sequence[str] = ()
    ) -> Experiment:
        """A new experiment, found by its owner's id instead of its content: equal ones are never shared."""
        row = {
            "workspace_id": workspace_id,
            "content_hash": owner,
            "name": name,
            "spec": spec,
            "tags": list(tags),
            "archived": False,
            "created_at": utcnow(),
        }
        return experiment_of(self.connection.execute(OWN, row).one())

    def experiment(self, experiment_id: int) -> Experiment:
        """Read one. Raises ExperimentNotFound."""
        if not 0 < experiment_id <= MAX_ID:
            raise _missing(experiment_id)
        row = self.connection.execute(BY_ID, {"id": experiment_id, **self.scope}).first()
        if row is None:
            raise _missing(experiment_id)
        return experiment_of(row)

    def experiments_by_id(self, ids: Collection[int]) -> dict[int, Experiment]:
        """Those that there are, by id."""
        query = select(experiments).where(experiments.c.id.in_(list(ids)), ours(experiments))
        return {row.id: experiment_of(row) for row in self.connection.execute(query, self.scope)}

    def experiments(
        self, cursor: str | None = None, limit: int = 50, search: str | None = None, archived: bool = False
    ) -> Page[Experiment]:
        """A page, newest first; `search` looks for a part of the name. Raises InvalidCursor."""
        query = select(experiments).where(ours(experiments)).order_by(experiments.c.id.desc()).limit(limit + 1)
        if not archived:
            query = query.where(experiments.c.archived.is_(False))
        if search:
            query = query.where(func.lower(experiments.c.name).contains(clean(search).lower(), autoescape=True))
        if cursor:
            query = query.where(experiments.c.id < decode_cursor(cursor, int)[0])
        rows = self.connection.execute(query, self.scope).all()
        more = len(rows) > limit
        return Page([experiment_of(row) for row in rows[:limit]], encode_cursor(rows[limit - 1].id) if more else None)

    def update_experiment(
        self,
        experiment_id: int,
        name: str | None = None,
        tags: tuple[str, ...] | None = None,
        archived: bool | None = None,
        space: Space | None = None,
    ) -> Experiment:
        """Change what may change; its content, and so its identity, stays that of its first POST.

        Raises:
            ExperimentNotFound: there is none.
        """
        experiment = self.experiment(experiment_id)
        changes: dict[str, Any] = {"name": name, "tags": None if tags is None else list(tags), "archived": archived}
        changes = {column: value for column, value in changes.items() if value is not None}
        if space is not None:
            changes["spec"] = experiment.spec.evolve(space=space)
        if changes:
            self.connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(changes))
        return self.experiment(experiment_id)


def _missing(experiment_id: int) -> ExperimentNotFound:
    return ExperimentNotFound(f"No experiment has the id {experiment_id}", experiment_id=experiment_id)
