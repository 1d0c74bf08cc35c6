"""From one run of a session to the next: who ends one takes up what waited for its end, in one transaction."""

from __future__ import annotations

from functools import partial

import pytest

from tuners.jobrun import JobRun
from tuners.loading import load
from tuners.messages import Advance, Outcome
from tuners.writer import Writer
from tunesmith.domain import Job, JobState, Scenario, Session, TrialState, utcnow
from tunesmith.errors import LeaseLost
from tunesmith.store import Store
from tunesmith.testing.session_factories import new_dataset, new_scenario, new_session, read, run

OWNER, MANY = "runner-1", 50


@pytest.fixture
def writer(store: Store) -> Writer:
    return Writer(store, lease_s=30)


def waiting(store: Store, count: int, max_parallel: int = 1) -> tuple[Session, list[Scenario]]:
    """A session whose scenarios are all asked to run."""
    session = new_session(store, max_parallel)
    new_dataset(store, session)
    return session, run(store, session, *(new_scenario(store, session) for _ in range(count)))


def claimed(store: Store, limit: int | None = None) -> list[Job]:
    with store.write() as tx:
        return tx.claim_jobs(OWNER, 30, MANY, limit)


def taken_up(store: Store, writer: Writer, job: Job) -> JobRun:
    """A claimed job, its only point handed out."""
    with store.read() as tx:
        begun = load(tx, job, lambda _spec: (("CPU", 1.0),), partial(writer.reserve, job), writer.claim)
    assert begun.take(1, "artifacts", 1.0) is not None
    return begun


def finish(begun: JobRun, state: TrialState = TrialState.COMPLETE) -> None:
    now, (number,) = utcnow(), begun.running
    metrics = {"wall_time_s": 0.1, "Cost": 6.0} if state is TrialState.COMPLETE else {}
    error = None if state is TrialState.COMPLETE else "ValueError: no"
    begun.absorb([Outcome(begun.job.id, number, state, now, now, metrics, error)])


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAILED])
def test_the_next_one_begins_in_the_transaction_that_ends_one(store: Store, writer: Writer, state: TrialState) -> None:
    _session, (first, second, third) = waiting(store, 3)
    (job,) = claimed(store)
    begun = taken_up(store, writer, job)
    finish(begun, state)
    following = writer.relay(begun, OWNER, MANY)
    assert following is not None
    assert [job.id for job in following] == [second.job_id]
    assert following[0].lease_owner == OWNER
    ended = JobState.SUCCEEDED if state is TrialState.COMPLETE else JobState.FAILED
    states = [read(store, scenario).state for scenario in (first, second, third)]
    assert states == [ended, JobState.RUNNING, JobState.QUEUED]


def test_a_whole_session_runs_to_its_end_by_relay(store: Store, writer: Writer) -> None:
    _session, found = waiting(store, 5, max_parallel=2)
    running = [taken_up(store, writer, job) for job in claimed(store)]
    assert len(running) == 2
    while running:
        finish(running[0])
        following = writer.relay(running.pop(0), OWNER, MANY)
        assert following is not None
        running += [taken_up(store, writer, job) for job in following]
        assert len(running) <= 2
    assert {read(store, scenario).state for scenario in found} == {JobState.SUCCEEDED}


def test_no_more_are_taken_up_than_may_run_at_all(store: Store, writer: Writer) -> None:
    _session, (_first, second) = waiting(store, 2)
    _other, (third,) = waiting(store, 1)
    running = [taken_up(store, writer, job) for job in claimed(store)]
    finish(running[0])
    assert writer.relay(running[0], OWNER, max_running=1) == []
    states = {read(store, scenario).state for scenario in (second, third)}
    assert states == {JobState.QUEUED, JobState.RUNNING}


def test_nobody_takes_up_anything_by_a_lease_that_was_lost(store: Store, writer: Writer) -> None:
    _session, (first, second) = waiting(store, 2)
    (job,) = claimed(store)
    begun = taken_up(store, writer, job)
    finish(begun)
    with store.write() as tx:
        tx.recover_jobs(OWNER)
    with pytest.raises(LeaseLost):
        writer.relay(begun, OWNER, MANY)
    assert [read(store, scenario).state for scenario in (first, second)] == [JobState.QUEUED, JobState.QUEUED]


def test_an_end_alone_leaves_the_next_one_to_the_dispatcher(store: Store, writer: Writer) -> None:
    _session, (_first, second) = waiting(store, 2)
    begun = taken_up(store, writer, claimed(store)[0])
    finish(begun)
    assert writer.end(begun)
    assert read(store, second).state is JobState.QUEUED
    assert claimed(store) == []


def test_progress_is_written_with_the_next_flush_and_is_whole_at_the_end(store: Store, writer: Writer) -> None:
    _session, (scenario,) = waiting(store, 1)
    begun = taken_up(store, writer, claimed(store)[0])
    begun.hear(Advance(next(iter(begun.running)), 37, "packing"))
    writer.write(begun)
    assert read(store, scenario).progress == 37
    with store.read() as tx:
        assert tx.job(begun.job.id).message == "packing"
    finish(begun)
    writer.relay(begun, OWNER, MANY)
    assert read(store, scenario).progress == 100
