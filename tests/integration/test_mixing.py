"""A job of the platform and workers that ask, in one finite space at the same time, on every database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tuners.jobrun import JobRun
from tuners.loading import load
from tuners.messages import Outcome
from tuners.samplers import plan
from tuners.studies.host import Studies
from tuners.studies.planning import plan_asking
from tuners.writer import Writer
from tunesmith.domain import FINISHED, Experiment, Search, Trial, TrialState, space_of, utcnow
from tunesmith.errors import DatabaseUnavailable, LeaseLost
from tunesmith.store import Store
from tunesmith.testing import new_experiment, race

POINTS = 120
SPACE = space_of([{"name": "n", "type": "int", "minimum": 1, "maximum": POINTS}])
LEASE_S = 60.0


def make(store: Store, **search: Any) -> tuple[Experiment, JobRun, Writer]:
    """An experiment that workers ask for points at random, and a running job on it."""
    experiment = new_experiment(store, space=SPACE)
    planned = plan(experiment, Search.model_validate({"seed": 1} | search), 1000)
    with store.write() as tx:
        tx.set_asking(experiment.id, plan_asking(experiment, Search(type="random", seed=2), 1000))
        tx.create_job(experiment.id, planned.search, planned.total, priority=1_000_000)
        (job,) = tx.claim_jobs("runner", LEASE_S, 10_000)
    writer = Writer(store, LEASE_S)
    with store.read() as tx:
        run = load(tx, job, lambda _spec: (), partial(writer.reserve, job), writer.claim)
    return experiment, run, writer


def evaluate(run: JobRun, seconds: float = 10.0) -> list[int]:
    """Take a batch and complete it, each after so many seconds; its points."""
    batch = run.take(1, "artifacts", 0.0)
    evaluations = () if batch is None else batch.evaluations
    began = utcnow()
    ended = began + timedelta(seconds=seconds)
    for one in evaluations:
        run.absorb([Outcome(run.job.id, one.number, TrialState.COMPLETE, began, ended, {"loss": 1.0}, None, "host:1")])
    return [int(str(one.params.get("n"))) for one in evaluations]


def work(run: JobRun, share: int, seconds: float = 10.0) -> list[int]:
    """What a job does, its writer left out: it is late."""
    found: list[int] = []
    while len(found) < share and (points := evaluate(run, seconds)):
        found += points
    return found


def ask(store: Store, studies: Studies, experiment: Experiment, share: int) -> list[int]:
    """What workers are given."""
    found: list[int] = []
    while len(found) < share and studies.prepare(experiment.id, 1).added:
        with store.write() as tx:
            tx.lock_experiment(experiment.id)
            given = tx.hand_out(experiment.id, tx.waiting_trials(experiment.id, 1), None, LEASE_S)
        found += [int(str(trial.params["n"])) for trial in given]
    return found


def rows(store: Store, experiment: Experiment) -> list[Trial]:
    with store.read() as tx:
        return list(tx.trials(experiment, limit=10 * POINTS).items)


@pytest.mark.parametrize("seconds", [10.0, 0.02])
def test_a_job_that_goes_through_a_space_and_workers_share_it_without_a_repeat(store: Store, seconds: float) -> None:
    experiment, run, writer = make(store, type="brute_force")
    studies = Studies(store)
    share: list[Callable[[], list[int]]] = [
        partial(work, run, POINTS, seconds),
        partial(ask, store, studies, experiment, POINTS // 2),
    ]
    done, asked = race(*share)
    assert isinstance(done, list), done
    assert isinstance(asked, list), asked
    assert sorted(done + asked) == list(range(1, POINTS + 1))
    writer.write(run)
    assert Counter(trial.state in FINISHED for trial in rows(store, experiment)) == {True: len(done), False: len(asked)}


@pytest.mark.parametrize(
    "search",
    [
        {"type": "random", "n_iter": 60},
        {"type": "tpe", "n_iter": 40},
        {"type": "grid", "num_configs_per_param": 60},
        {"type": "brute_force"},
    ],
    ids=lambda search: str(search["type"]),
)
def test_workers_are_never_given_what_a_job_has_begun(store: Store, search: dict[str, Any]) -> None:
    experiment, run, _ = make(store, **search)
    studies = Studies(store)
    done: set[int] = set()
    asked: list[int] = []
    while points := evaluate(run):  # not one of them is finished in SQL
        done |= set(points)
        given = ask(store, studies, experiment, 1)
        assert done.isdisjoint(given)
        asked += given
    assert len(asked) == len(set(asked)) > 10


def test_no_point_is_lost_while_the_database_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run, writer = make(store, type="brute_force")
    found = work(run, 5)

    def broken(*_: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as away:
        away.setattr("tunesmith.store.store.Tx.write_trials", broken)
        assert evaluate(run) == []
    assert not writer.healthy
    writer._not_before = 0.0
    writer.write(run)
    assert writer.healthy
    found += work(run, POINTS)
    assert sorted(found) == list(range(1, POINTS + 1))


def test_a_job_whose_lease_was_lost_takes_nothing_more(store: Store) -> None:
    _, run, writer = make(store, type="brute_force")
    assert evaluate(run)
    with store.write() as tx:
        tx.recover_jobs(everyone=True)
    assert evaluate(run) == []
    with pytest.raises(LeaseLost):
        writer.write(run)


def test_a_job_in_an_infinite_space_writes_nothing_before_it_is_done(store: Store) -> None:
    experiment = new_experiment(store)
    with store.write() as tx:
        tx.create_job(experiment.id, Search(type="random", n_iter=5, seed=1), 5, priority=1_000_000)
        (job,) = tx.claim_jobs("runner", LEASE_S, 10_000)
    writer = Writer(store, LEASE_S)
    with store.read() as tx:
        run = load(tx, job, lambda _spec: (), partial(writer.reserve, job), writer.claim)
    assert work(run, 3)
    assert rows(store, experiment) == []
    writer.write(run)
    assert len(rows(store, experiment)) == 3
