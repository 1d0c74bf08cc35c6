"""The runner: a Ray actor that runs every job of the platform, on one pool of trial workers, with SQL as the truth.

It can die at any moment. The dispatcher then frees its jobs, and the next runner takes them up from SQL.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import ray

from tuners.bell import Bell, wait
from tuners.handing import Hand
from tuners.hosting.host import LOAD_S
from tuners.jobrun import JobRun
from tuners.loading import load
from tuners.messages import Advance, Batch, Outcome, Report, Stop
from tuners.names import NAMESPACE, RUNNER
from tuners.pool import Pool, Worker, shape_of
from tuners.sharing import Shares, demand
from tuners.writer import Writer
from tunesmith.domain import CommandTool, HostedTool, Job, JobState, Parameter, ProgramTool, Scalar
from tunesmith.errors import LeaseLost, TunesmithError
from tunesmith.journal import keep_journal
from tunesmith.settings import Settings, load_settings
from tunesmith.store import open_store

log = logging.getLogger(__name__)

FLUSH_S = 0.05
"""Seconds between two writes of results."""
UNHEARD_S = 10.0
"""Seconds, beyond timeout and grace, until a worker that does not answer is killed."""
ENDED_BY_WORKER = CommandTool | ProgramTool | HostedTool
"""Tools in a process of their own, which the worker ends by itself, however deep it is in a call of C."""
PRUNED_S = 1.5
"""Seconds that a worker has to end a pruned evaluation, until it is killed."""
STOP_S = 15.0
"""Seconds that running trials have to end when the platform shuts down."""


class Runner:
    """Runs jobs. Every method is called through Ray; the loop below does the writing."""

    def __init__(self, environ: Mapping[str, str], owner: str, warm_workers: int, autoscaling: bool) -> None:
        os.environ.update(environ)
        self.settings: Settings = load_settings()
        keep_journal(self.settings, "runner")
        self.store = open_store(self.settings.database)
        self.owner, self.warm = owner, warm_workers
        self.hand = Hand(self.store, self.settings)
        self.runs: dict[str, JobRun] = {}
        self.thinkers: dict[str, ThreadPoolExecutor] = {}
        self.changed, self.ended, self.finished = Bell(), Bell(), Bell()
        self.draining = False
        self.loop = asyncio.get_event_loop()
        tune = self.settings.data_dir.absolute() / "tune"
        self.pool = Pool(RUNNER, NAMESPACE, self._worker_died, autoscaling, tune)
        self.shares = Shares(self.pool)
        self.writer = Writer(self.store, self.settings.lease_s)
        self.loading: dict[str, Job] = {}
        self.tasks = {self.loop.create_task(self._flush_forever()), self.loop.create_task(self._renew_forever())}
        self._recount()
        self.pool.start()

    async def start(self, job: Job) -> None:
        """Take up a job that was claimed for this runner."""
        if job.id in self.runs or job.id in self.loading:
            return
        if self.draining:
            await asyncio.to_thread(self.writer.give_back, job)
            return
        self.loading[job.id] = job
        self._spawn(self._take_up(job))

    async def exchange(
        self, worker_id: str, incarnation: str, outcomes: list[Outcome], wait_s: float, exchange_s: float
    ) -> Any:
        """Take a worker's outcomes and give it its next batch: a Batch, None (ask again), or "leave".

        `wait_s`: how long to wait for work; `exchange_s`: seconds that an exchange takes the worker by itself.
        """
        began = time.monotonic()
        worker = self.pool.workers.get(worker_id)
        if worker is None or self.pool.stopping:
            for outcome in outcomes:
                if (run := self.runs.get(outcome.job_id)) is not None:
                    await self._think(run, run.absorb, [outcome])
            return "leave"
        await self._account(worker, incarnation, outcomes)
        end = began + wait_s
        while True:
            ticket = self.changed.ticket
            batch = await self._next_batch(worker, exchange_s)
            if batch is not None:
                return replace(batch, held_s=time.monotonic() - began)
            if self._superfluous(worker):
                self.pool.release(worker_id)
                self._recount()
                return "leave"
            left = end - time.monotonic()
            if left <= 0:
                return None
            await wait(ticket, min(left, 1.0))

    async def greet(self, worker_id: str, handle: Any, node_id: str) -> None:
        """A worker's process introduces itself, so that it can be killed when it does not listen any more."""
        worker = self.pool.workers.get(worker_id)
        if worker is not None:
            worker.handle = handle
            worker.price = self.pool.price(node_id, worker.shape, self.settings.prices)

    async def suggest(self, job_id: str, number: int, parameter: Parameter) -> Scalar:
        """One parameter of a running trial. Raises KeyError when it does not run (any more)."""
        run = self.runs[job_id]
        value: Scalar = await self.loop.run_in_executor(self.thinkers[job_id], run.suggest, number, parameter)
        return value

    async def beat(
        self,
        worker_id: str,
        job_id: str,
        current: int,
        reports: list[Report],
        outcomes: list[Outcome],
        advance: Advance | None = None,
    ) -> dict[int, Stop]:
        """Take intermediate values, outcomes from the middle of a batch, and how far the current evaluation is.

        Answers which of the worker's trials to stop, or not to begin, and why; `current` is the one that runs.
        """
        worker, run = self.pool.workers.get(worker_id), self.runs.get(job_id)
        numbers = {current} | {report.number for report in reports} | (worker.numbers if worker else set())
        if run is None or worker is None:
            return dict.fromkeys(numbers, "cancelled")
        worker.numbers -= {outcome.number for outcome in outcomes}
        pruned = run.pruned
        if advance is not None:
            await self._think(run, run.hear, advance)
        if reports or outcomes:
            pruned = await self._think(run, self._take_in, run, reports, outcomes, worker.price) or set()
        if run.over_for_workers:
            return dict.fromkeys(numbers, "cancelled")
        recalled = worker.numbers - {current} if self.shares.late(worker) else set()
        stops: dict[int, Stop] = dict.fromkeys(numbers & set(pruned), "pruned")
        self._expect(worker, run, current if current in stops else None)
        if recalled:  # behind an evaluation that is longer than expected: others may do them meanwhile
            worker.numbers -= recalled
            await self._think(run, run.lose, recalled, False)
            self._notify()
        return {**stops, **dict.fromkeys(recalled, "cancelled")}

    async def poke(self) -> None:
        """Somebody wants something of a job, or queued one: look now, and let the dispatcher look."""
        self.ended.ring()
        await self._look_after(self.writer.held)

    async def watch(self, heard: int | None = None) -> int:
        """Answers when the dispatcher should look; fails when this runner does, which is how that is noticed.

        `heard`: the last answer; what rang between the two calls is answered at once then.
        """
        if heard is None or heard == self.ended.rings:
            await wait(self.ended.ticket, 30.0)
        return self.ended.rings

    async def status(self) -> dict[str, Any]:
        """What it is doing, for `tunesmith status` and the tests."""
        return {
            "owner": self.owner,
            "pid": os.getpid(),
            "jobs": sorted(self.runs),
            "workers": len(self.pool.workers),
            "busy": sum(worker.job_id is not None for worker in self.pool.workers.values()),
        }

    async def shutdown(self) -> None:
        """Stop every evaluation and give all jobs back to the queue, with what they found."""
        self.draining = True
        for run in self.runs.values():
            run.ending = run.ending or JobState.QUEUED
        self._notify()
        end = time.monotonic() + STOP_S
        while self.runs and time.monotonic() < end:
            await asyncio.sleep(FLUSH_S)
        for run in list(self.runs.values()):
            run.lose(list(run.running), died=False)
            await self._end(run)
        for job in self.loading.values():
            await asyncio.to_thread(self.writer.give_back, job)
        for task in self.tasks:
            task.cancel()
        self.pool.stopping = True
        self._notify()
        await asyncio.to_thread(self.pool.stop)

    def _take_in(self, run: JobRun, reports: list[Report], outcomes: list[Outcome], price: float | None) -> set[int]:
        run.report(reports)
        run.absorb(outcomes, price)
        return set(run.pruned)

    async def _take_up(self, job: Job) -> None:
        """Load a job, which can take seconds with a long history; its lease is renewed meanwhile."""
        try:
            run = await asyncio.to_thread(self._load, job)
            if self.loading.get(job.id) is job:
                self.thinkers[job.id] = ThreadPoolExecutor(1, f"search-{job.id}")
                self.runs[job.id] = run
        except TunesmithError:
            log.exception("job %s could not be loaded; its lease runs out and it is taken up again", job.id)
        except Exception:
            await asyncio.to_thread(self.writer.fail, job, traceback.format_exc())
        finally:
            self.loading.pop(job.id, None)
        self._recount()
        self._notify()

    def _load(self, job: Job) -> JobRun:
        with self.store.read() as tx:
            return load(tx, job, shape_of, partial(self.writer.reserve, job), self.writer.claim)

    async def _account(self, worker: Worker, incarnation: str, outcomes: list[Outcome]) -> None:
        """Close a worker's last batch: outcomes as they are, and what it was given but did not answer for goes back."""
        run = self.runs.get(worker.job_id or "")
        died = worker.incarnation not in (None, incarnation)
        given, worker.numbers = worker.numbers, set()
        worker.incarnation = incarnation
        if worker.job_id is None:
            return
        worker.job_id, worker.idle_since = None, time.monotonic()
        if run is None:
            return
        could = run.wants_worker
        run.workers.discard(worker.worker_id)
        self.shares.settle(run, worker)
        lost = given - {outcome.number for outcome in outcomes}
        await self._think(run, self._close, run, outcomes, worker.price, lost, died)
        if run.over and not run.workers:
            self.finished.ring()  # nobody who waits for the job has to wait for the next write
        if lost or (run.wants_worker and not could):
            self._notify()  # there is work for another worker now

    def _close(self, run: JobRun, outcomes: list[Outcome], price: float | None, lost: set[int], died: bool) -> None:
        run.absorb(outcomes, price)
        run.lose(lost, died)

    async def _next_batch(self, worker: Worker, exchange_s: float) -> Batch | None:
        while self.writer.healthy and (run := self.shares.next_job(self.runs.values(), worker)) is not None:
            run.workers.add(worker.worker_id)
            worker.job_id = run.job.id
            self.shares.assign(run, worker)
            idle = sum(other.job_id is None for other in self.pool.workers.values()) + len(run.workers)
            batch: Batch | None = await self._think(run, self.hand.take, run, idle, exchange_s)
            if batch is not None:
                self.shares.charge(run, worker, len(batch.evaluations))
                worker.numbers = {evaluation.number for evaluation in batch.evaluations}
                worker.pruned, worker.deadline = None, self._deadline(batch)
                worker.limit = worker.deadline
                return batch
            worker.job_id = None
            run.workers.discard(worker.worker_id)
            self.shares.settle(run, worker)
        return None

    def _expect(self, worker: Worker, run: JobRun, pruned: int | None) -> None:
        """A pruned evaluation has to end soon: a function in a long call of C does not hear of it, and is killed."""
        if pruned is None or isinstance(run.experiment.spec.tool, ENDED_BY_WORKER):
            worker.pruned, worker.deadline = None, worker.limit
        elif worker.pruned != pruned:
            worker.pruned, worker.deadline = pruned, min(worker.limit, time.monotonic() + PRUNED_S)

    def _deadline(self, batch: Batch) -> float:
        """When a batch must be done at the latest: an evaluation that holds its whole process cannot end itself."""
        limit = batch.spec.trial_timeout_s
        if limit is None:
            return math.inf
        ready_s = LOAD_S if isinstance(batch.spec.tool, HostedTool) else 0.0
        return time.monotonic() + len(batch.evaluations) * (ready_s + limit + UNHEARD_S) + UNHEARD_S

    def _kill_the_deaf(self) -> None:
        """Kill workers that ran past their deadline, or do not stop though they were told to; Tune starts new ones."""
        now = time.monotonic()
        for worker in self.pool.workers.values():
            run = self.runs.get(worker.job_id or "")
            told = worker.job_id is not None and (run is None or run.over_for_workers)
            if told:
                worker.deadline = min(worker.deadline, now + self.settings.terminate_grace_s + UNHEARD_S)
            if worker.job_id is not None and now > worker.deadline and worker.handle is not None:
                log.warning("worker %s does not listen; its process is killed", worker.worker_id)
                ray.kill(worker.handle)
                worker.handle, worker.deadline = None, math.inf

    def _superfluous(self, worker: Worker) -> bool:
        """Whether an idle worker should go: another shape waits for room, or it idled for long and is not kept warm."""
        others = any(
            self.pool.pending(shape) and self.pool.feasible(shape)
            for shape in self.pool.wanted
            if shape != worker.shape
        )
        if others:
            return True
        idle = time.monotonic() - worker.idle_since > self.settings.worker_idle_s
        return idle and self.pool.count(worker.shape) > self.pool.wanted.get(worker.shape, 0)

    def _worker_died(self, worker_id: str, gone: bool) -> None:
        """Tune's thread says that a worker's process died; `gone`: it is not started again."""
        self.loop.call_soon_threadsafe(lambda: self._spawn(self._lose(worker_id, gone)))

    async def _lose(self, worker_id: str, gone: bool) -> None:
        worker = self.pool.workers.get(worker_id)
        if gone:
            self.pool.release(worker_id)
        if worker is not None:
            given, worker.incarnation = worker.numbers, None
            run = self.runs.get(worker.job_id or "")
            worker.numbers, worker.job_id = set(), None
            if run is not None:
                run.workers.discard(worker_id)
                self.shares.settle(run, worker)
                await self._think(run, run.lose, given, True)
                self._notify()

    async def _flush_forever(self) -> None:
        ticket = self.finished.ticket
        while True:
            await wait(ticket, FLUSH_S)
            ticket = self.finished.ticket
            for run in list(self.runs.values()):
                try:
                    await self._flush(run)
                except Exception:
                    log.exception("job %s could not be written; trying again", run.job.id)
            self._kill_the_deaf()
            self._recount()

    async def _flush(self, run: JobRun) -> None:
        try:
            if run.over and not run.workers:
                await self._end(run)
            else:
                await asyncio.to_thread(self.writer.write, run)
        except LeaseLost:
            self._abandon(run)

    async def _end(self, run: JobRun) -> None:
        following: list[Job] | None = []
        try:
            if not self.draining:
                limit = self.settings.max_running_jobs
                following = await asyncio.to_thread(self.writer.relay, run, self.owner, limit)
            elif not await asyncio.to_thread(self.writer.end, run):
                return
        except LeaseLost:
            pass
        if following is None:
            return
        self._abandon(run)
        for job in following:
            await self.start(job)
        if not following:
            self.ended.ring()  # the dispatcher looks who may begin now

    def _abandon(self, run: JobRun) -> None:
        """Forget a job that ended or is somebody else's; its workers learn of it at their next beat."""
        self.runs.pop(run.job.id, None)
        self.shares.forget(run)
        if (thinker := self.thinkers.pop(run.job.id, None)) is not None:
            thinker.shutdown(wait=False)
        run.ending = run.ending or JobState.QUEUED
        self._notify()

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.settings.lease_s / 4))
            try:
                await asyncio.to_thread(self.pool.look)
                await self._look_after(self.writer.renew)
                for run in self.runs.values():
                    if run.others is not None:
                        self._spawn(self._think(run, self.writer.look, run))
            except Exception:
                log.exception("the leases could not be renewed; trying again")

    async def _look_after(self, look: Callable[[Sequence[str]], Mapping[str, Job] | None]) -> None:
        """Learn by a look at their leases which jobs are still this runner's, and what people want of them."""
        runs = {str(run.job.lease_token): run for run in self.runs.values()}
        loading = {str(job.lease_token): job for job in self.loading.values()}
        held = await asyncio.to_thread(look, [*runs, *loading])
        if held is None:
            return
        for token, claimed in loading.items():
            if token not in held:
                self.loading.pop(claimed.id, None)
        for token, run in runs.items():
            job = held.get(token)
            if job is None:
                self._abandon(run)
            elif run.ending in (None, JobState.PAUSED):  # a pause can be taken back, or become a stop
                run.ending = JobState(job.wanted) if job.wanted else None
                self._notify()

    def _recount(self) -> None:
        """Tell the pool how many workers of which shape could be used."""
        before = self.pool.wanted
        self.pool.want(demand(self.runs.values(), self.pool, self.warm))
        if self.pool.wanted != before:
            self._notify()
        for run in self.runs.values():
            self._explain_waiting(run)

    def _explain_waiting(self, run: JobRun) -> None:
        needs = ", ".join(f"{amount:g} {name}" for name, amount in run.shape if amount > 0.001) or "a node of its type"
        waits = not run.workers and run.wants_worker and self.pool.capacity(run.shape) == 0
        text = f"waiting: no node of the cluster has room for a trial that needs {needs}" if waits else ""
        if text != run.explained:
            run.explained = run.message = text

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _notify(self) -> None:
        self.changed.ring()

    async def _think(self, run: JobRun, function: Any, *args: Any) -> Any:
        """Do something to a job in its own thread: a slow search holds up no other job, and not this loop.

        A search that raises fails its job, and answers nothing.
        """
        thinker = self.thinkers.get(run.job.id)  # None: the job left meanwhile, and the loop's own threads do
        try:
            return await self.loop.run_in_executor(thinker, function, *args)
        except Exception:
            run.error = run.error or traceback.format_exc()
            return None
