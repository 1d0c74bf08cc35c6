"""The store's contract on events: numbered 1, 2, 3, ... for each job, in the order of their commits."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import threading
import time

from tunesmith.domain import JobState, Progress, TrialState
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, new_experiment, open_trial, running_job
from tunesmith.testing.races import race


class EventContract(Contract):
    """Events and progress."""

    def test_a_job_tells_its_life(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        token = str(job.lease_token)
        found = [open_trial(job, 0), finished_trial(job, 1, 2.0), finished_trial(job, 2, state=TrialState.FAILED)]
        with store.write() as tx:
            tx.record(job.id, token, experiment, found, progress=Progress(finished=2, failed=1), message="half way")
            present = tx.job(job.id)
            tx.end_lease(job.id, token, JobState.SUCCEEDED)
            events = tx.events(job.id)
            assert tx.events(job.id, after=2, limit=2) == events[2:4]
        assert (present.progress.finished, present.progress.failed, present.message) == (2, 1, "half way")
        assert [event.seq for event in events] == [1, 2, 3, 4, 5]
        told = [event.data["state"] for event in events]
        assert told == ["queued", "running", "complete", "failed", "succeeded"]
        assert events[2].data["values"] == [2.0]
        assert events[4].data["progress"]["finished"] == 2

    def test_numbers_have_no_gaps_when_many_write_at_once(self, store: Store) -> None:
        job = running_job(store, new_experiment(store))
        done = threading.Event()

        def write() -> None:
            for i in range(10):
                with store.write() as tx:
                    tx.add_event(job.id, "message", {"i": i})

        def follow() -> list[int]:
            seen: list[int] = []
            while not (last := done.is_set()) or last:
                with store.read() as tx:
                    seen += [event.seq for event in tx.events(job.id, after=seen[-1] if seen else 0)]
                if last:
                    return seen
                time.sleep(0.005)
            return seen

        def write_all() -> list[int]:
            assert race(write, write, write) == [None] * 3
            done.set()
            return []

        # Who follows by number sees every event, because none appears behind one that was read.
        assert race(follow, write_all) == [list(range(1, 33)), []]
