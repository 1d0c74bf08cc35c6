"""Small factories for sessions: a plugin, datasets that are only rows, scenarios, and runs as a runner ends them."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

import tunesmith
from tunesmith.domain import Dataset, JobState, Scenario, Session, TableInfo, TrialState, utcnow
from tunesmith.plugins import Plugin, Registry
from tunesmith.scenarios import Algorithm, Boolean, DataSource, Enum, Float, Integer, Kpi, Progress, String
from tunesmith.services import scenarios, sessions
from tunesmith.store import Store
from tunesmith.store.tables import leftovers
from tunesmith.testing.training_contract import claim

REFERENCE = "tunesmith.testing.session_factories:PLUGIN"


class Pack(Algorithm):
    """Packs goods."""

    boxes = Integer(min=1, max=60)
    speed = Float(default=1.0, min=0.0)
    order = Enum(["size", "weight"], default="size")
    turned = Boolean(default=False)
    label = String(default="")
    timeout_s = 30.0

    def run(self, data: DataSource, progress: Progress) -> dict[str, int]:
        """How many boxes it took."""
        return {"boxes": self.boxes}


class Cost(Kpi):
    """What it costs."""

    better_when = "LOWER"
    unit = "EUR"

    def compute(self, result: Any, data: DataSource) -> float:
        """Two per box."""
        return 2.0 * float(result["boxes"])


class FillRate(Kpi):
    """How full the boxes are."""

    name = "Fill rate"
    better_when = "AT_LEAST"
    threshold = 0.0

    def compute(self, result: Any, data: DataSource) -> float:
        """The fewer the fuller."""
        return 1.0 / float(result["boxes"])


@tunesmith.model(id="doubling", name="Doubling", params={"times": [1, 2, 3]}, inputs={"start": Float(default=1.0)})
def doubling(inputs: dict[str, Any], progress: Progress) -> list[dict[str, float]]:
    """A number that doubles."""
    return [{"step": step, "value": inputs["start"] * 2**step} for step in range(inputs["times"])]


PLUGIN = Plugin(algorithms=[Pack], kpis=[Cost, FillRate], models=[doubling])
REGISTRY = Registry.of(PLUGIN, REFERENCE)


def new_session(store: Store, max_parallel: int = 1) -> Session:
    """A session of a name that nobody has."""
    with store.write() as tx:
        return sessions.create(tx, f"session {secrets.token_hex(4)}", max_parallel)


def uploaded(store: Store) -> str:
    """The key prefix of an upload that was begun."""
    files = f"datasets/{uuid.uuid4()}"
    with store.write() as tx:
        tx.begin_upload(files)
    return files


def new_dataset(store: Store, session: Session, key: str = "data", overwrite: bool = False) -> Dataset:
    """A dataset of one table, as rows alone: its files are not there."""
    table = TableInfo(name="goods", columns=("sku", "size"), dtypes={"sku": "str", "size": "int64"}, rows=3)
    files = uploaded(store)
    with store.write() as tx:
        return tx.put_dataset(session.id, key, "master", files, [table], {"id": "given", "of": "tests"}, 10, overwrite)


def new_scenario(store: Store, session: Session, tag: str | None = None, **params: Any) -> Scenario:
    """A scenario of the algorithm Pack on the dataset `data`."""
    with store.write() as tx:
        tag = tag or f"tag {secrets.token_hex(4)}"
        return scenarios.create(tx, REGISTRY, session, tag, "data", "Pack", {"boxes": 3, **params})


def run(store: Store, session: Session, *found: Scenario) -> list[Scenario]:
    """Ask scenarios to run, one after the other."""
    asked = []
    for scenario in found:
        with store.write() as tx:
            asked.append(scenarios.run(tx, REGISTRY, session, scenario.id))
    return asked


def read(store: Store, scenario: Scenario) -> Scenario:
    """How it stands now."""
    with store.read() as tx:
        return tx.scenario(scenario.session_id, scenario.id)


def end(
    store: Store,
    job_id: str | None,
    metrics: Mapping[str, float] | None = None,
    to: JobState = JobState.SUCCEEDED,
    error: str | None = None,
) -> None:
    """Let a queued job of one point run to its end, as a runner does; others that are queued run on."""
    claim(store)
    with store.write() as tx:
        job = tx.job(str(job_id))
        last = tx.last_attempt(job)
        assert last is not None
        now, well = utcnow(), to is JobState.SUCCEEDED
        ended = last.evolve(
            state=TrialState.COMPLETE if well else TrialState.FAILED,
            values=(1.0,) if well else None,
            metrics={"wall_time_s": 1.0, **(metrics or {})},
            started_at=now,
            ended_at=now,
            error=error,
        )
        if to is not JobState.CANCELLED:
            tx.record(job.id, str(job.lease_token), tx.experiment(job.experiment_id), [ended])
        tx.end_lease(job.id, str(job.lease_token), to, error=None if error is None else f"No trial succeeded: {error}")


def left_over(store: Store) -> dict[str, datetime | None]:
    """Key prefix -> the moment that it stays until."""
    with store.read() as tx:
        rows = tx.connection.execute(select(leftovers.c.key, leftovers.c.not_before))
        return {row.key: row.not_before for row in rows}


def let_pass(store: Store, files: str) -> None:
    """Let the moment pass that files stay until."""
    with store.write() as tx:
        tx.connection.execute(update(leftovers).where(leftovers.c.key == files).values(not_before=utcnow()))


def prepared(store: Store, count: int = 0, max_parallel: int = 1) -> tuple[Session, list[Scenario]]:
    """A session with a dataset and scenarios."""
    session = new_session(store, max_parallel)
    new_dataset(store, session)
    return session, [new_scenario(store, session) for _ in range(count)]
