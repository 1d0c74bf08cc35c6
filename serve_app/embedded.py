"""The platform of one process: what dispatcher, runner and workers do on a cluster, in threads, without Ray.

SQL is the truth here too: a process that is killed leaves its jobs there, and the next one takes them up.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from serve_app.platform import Alone
from serve_app.slots import Slots
from tuners.jobrun import JobRun
from tuners.loading import load
from tuners.writer import Writer
from tunesmith.domain import Job, JobState, utcnow
from tunesmith.errors import DatabaseUnavailable, LeaseLost, TunesmithError
from tunesmith.services.dispatching import claim, look
from tunesmith.settings import Settings
from tunesmith.store import Store

log = logging.getLogger("tunesmith.embedded")

LOOK_S = 1.0
"""Seconds between two looks at the queue when nobody rings."""
FLUSH_S = 0.05
"""Seconds between two writes of results."""
STOP_S = 15.0
"""Seconds that running evaluations have to end when the application stops."""
SHAPE = (("CPU", 1.0),)


class Embedded(Alone):
    """The `Platform` that runs the jobs of a store itself, between `start` and `stop`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store, settings)
        self.store, self.settings = store, settings
        self.owner = f"embedded-{secrets.token_hex(6)}"
        self.runs: dict[str, JobRun] = {}
        self.writer = Writer(store, settings.lease_s)
        self.lanes = Slots(settings.num_cpus or os.cpu_count() or 1, self.runs, self.writer, settings, self._ring)
        self._loading: dict[str, Job] = {}
        self._rung, self._asked = threading.Event(), threading.Event()
        self._closing, self._over = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._looks_at, self._blind_until = 0.0, 0.0

    def start(self, alone: bool) -> None:
        """Begin. `alone`: nobody else works on this store, so what runs by its word was left by a process that died."""
        if alone:
            with self.store.write() as tx:
                tx.recover_jobs(everyone=True)
        self._closing.clear()
        self._over.clear()
        self._threads = [
            threading.Thread(target=work, name="embedded", daemon=True) for work in (self._work, self._keep_leases)
        ]
        for thread in self._threads:
            thread.start()
        self.lanes.start()

    def stop(self) -> None:
        """Stop every evaluation, and give all jobs back to the queue with what they found."""
        working, keeping = self._threads
        self._closing.set()
        self._rung.set()
        working.join()
        for run in self.runs.values():
            run.ending = run.ending or JobState.QUEUED
        self.lanes.stop(STOP_S)
        self._over.set()
        keeping.join()
        for run in list(self.runs.values()):
            run.lose(list(run.running), died=False)
            self._end(run)
        self._threads = []

    def wake(self) -> None:
        """A job is queued, or somebody wants something of one."""
        self._asked.set()
        self._rung.set()

    def slots(self, cpus: float) -> int | None:
        """Trials that run at once."""
        return max(1, int(self.lanes.count / max(1.0, cpus)))

    def ready(self) -> list[str]:
        """What does not run."""
        if all(thread.is_alive() for thread in self._threads) and self._threads:
            return []
        return ["nothing runs jobs: the application's lifespan did not begin"]

    def _ring(self) -> None:
        self._rung.set()

    def _work(self) -> None:
        """Look at the queue and write results, until the application stops."""
        while not self._closing.is_set():
            try:
                self._flush()
                if self._asked.is_set() or time.monotonic() >= self._looks_at:
                    self._asked.clear()
                    self._look()
            except DatabaseUnavailable as error:
                # While the database is away nobody can renew a lease; when it is back, they get time to.
                self._blind_until = time.monotonic() + self.settings.lease_s
                log.warning("the database is away: %s", error)
            except Exception:
                log.exception("the engine stumbled; it goes on")
            self._rung.wait(FLUSH_S if self.runs else max(0.0, self._looks_at - time.monotonic()))
            self._rung.clear()

    def _look(self) -> None:
        self._looks_at = time.monotonic() + LOOK_S
        self._look_after(self.writer.held)
        agenda = look(self.store)
        if agenda.next_moment is not None:
            away_s = (agenda.next_moment - utcnow()).total_seconds()
            self._looks_at = min(self._looks_at, time.monotonic() + max(0.0, away_s))
        seeing = time.monotonic() >= self._blind_until
        for job in claim(self.store, agenda, self.owner, self.settings, recover=seeing):
            self._take_up(job)

    def _take_up(self, job: Job) -> None:
        token = str(job.lease_token)
        self._loading[token] = job
        try:
            with self.store.read() as tx:
                reserve = partial(self.writer.reserve, job)
                self.runs[job.id] = load(tx, job, lambda _spec: SHAPE, reserve, self.writer.claim)
        except TunesmithError:
            log.exception("job %s could not be loaded; its lease runs out and it is taken up again", job.id)
        except Exception:
            self.writer.fail(job, traceback.format_exc())
        finally:
            del self._loading[token]
        self.lanes.notify()

    def _flush(self) -> None:
        for run in list(self.runs.values()):
            try:
                if run.over and not run.workers:
                    self._end(run)
                else:
                    self.writer.write(run)
            except LeaseLost:
                self._abandon(run)

    def _end(self, run: JobRun) -> None:
        try:
            if not self.writer.end(run):
                return  # the database is away
        except LeaseLost:
            pass
        self._abandon(run)
        self.wake()  # another one may begin now

    def _abandon(self, run: JobRun) -> None:
        """Forget a job that ended or is somebody else's."""
        run.ending = run.ending or JobState.QUEUED
        if self.runs.get(run.job.id) is run:
            del self.runs[run.job.id]

    def _keep_leases(self) -> None:
        while not self._over.wait(min(1.0, self.settings.lease_s / 4)):
            try:
                self._look_after(self.writer.renew)
                for run in list(self.runs.values()):
                    self.writer.look(run)
            except Exception:
                log.exception("the leases could not be renewed; trying again")

    def _look_after(self, look: Callable[[Sequence[str]], Mapping[str, Job] | None]) -> None:
        """Learn by a look at their leases which jobs are still ours, and what people want of them."""
        runs = {str(run.job.lease_token): run for run in list(self.runs.values())}
        held = look([*runs, *list(self._loading)])
        for token, run in runs.items() if held is not None else ():
            job = (held or {}).get(token)
            if job is None:
                self._abandon(run)
            elif run.ending in (None, JobState.PAUSED):  # a pause can be taken back, or become a stop
                run.ending = JobState(job.wanted) if job.wanted else None
                self.lanes.notify()
