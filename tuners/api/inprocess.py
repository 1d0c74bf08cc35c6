"""A run in the calling process and thread: the platform's own engine around a plain function call.

The calling thread asks for points and evaluates them; another one writes what came of them, at most a tenth of a second
later, and renews the lease.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from tuners.api.runs import LEASE_S, Claim
from tuners.jobrun import JobRun
from tuners.loading import load
from tuners.messages import Batch, Evaluation, Outcome, Report, Stop
from tuners.tools.callable_run import Call, Interrupted, Watch, ended
from tuners.tools.evaluate import around
from tuners.tools.function import interruptible
from tuners.writer import Writer
from tunesmith.client.tune_progress import ProgressBar
from tunesmith.domain import Job, JobState, Parameter, Scalar, Trial, utcnow
from tunesmith.errors import LeaseLost
from tunesmith.store import Store

log = logging.getLogger("tuners")

FLUSH_S = 0.05
"""Seconds between two writes of results."""
SHAPE = (("CPU", 1.0),)
Raised = tuple[type[BaseException], ...]


def run_here(
    store: Store,
    claim: Claim,
    objective: Callable[..., Any],
    bar: ProgressBar,
    catch: Raised,
    at_interrupt: JobState,
    artifacts: str,
) -> Job:
    """Run a claimed job to its end, in this thread; the job as it ended.

    `catch`: exceptions that fail a trial; any other one is raised here, once its trial is recorded. `at_interrupt`:
    the state that the job is left in by Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was found is written.
        LeaseLost: another process took the run over.
    """
    run = _loaded(store, claim)
    scribe = Scribe(store, run)
    try:
        with _ctrl_c() as interrupt:
            loop = _Loop(run, objective, bar, catch, interrupt, artifacts)
            try:
                loop.work()
            except BaseException as error:
                interrupt.inside = False
                if loop.broken:
                    run.error = traceback.format_exc()
                run.ending = run.ending or at_interrupt
                if isinstance(error, KeyboardInterrupt):
                    interrupt.asked = True
                raise
            finally:
                run.lose(list(run.running), died=False)
                scribe.finish()
    finally:
        scribe.stop()
    bar.update(run.standing)
    with store.read() as tx:
        return tx.job(run.job.id)


class _Interrupt:
    """Whether Ctrl-C was pressed, and whether the function runs, which it may break into."""

    def __init__(self) -> None:
        self.asked = self.inside = False


@contextmanager
def _ctrl_c() -> Iterator[_Interrupt]:
    """Let Ctrl-C break into the function and nothing else, so that the engine is never left half-way."""
    interrupt = _Interrupt()

    def noticed(_signal: int, _frame: FrameType | None) -> None:
        again, interrupt.asked = interrupt.asked, True
        if interrupt.inside or again:
            raise KeyboardInterrupt

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt  # somebody else handles it
        return
    signal.signal(signal.SIGINT, noticed)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Loop:
    """Take a point, evaluate it, take in what came of it; again and again."""

    def __init__(
        self,
        run: JobRun,
        objective: Callable[..., Any],
        bar: ProgressBar,
        catch: Raised,
        interrupt: _Interrupt,
        artifacts: str,
    ) -> None:
        self.run, self.objective, self.bar, self.catch = run, objective, bar, catch
        self.interrupt, self.artifacts = interrupt, artifacts
        self.broken = False
        """Whether it was the search that raised, not the function."""

    def work(self) -> None:
        """Until the job is over."""
        while not self.run.over:
            batch = self._next()
            if batch is None:
                return
            for evaluation in batch.evaluations:
                if self.interrupt.asked:
                    raise KeyboardInterrupt
                if self.run.over_for_workers:
                    return
                self._evaluate(batch, evaluation)

    def _next(self) -> Batch | None:
        self.broken = True
        batch = self.run.take(1, self.artifacts, 0.0, exchange_s=0.0)
        self.broken = False
        return batch

    def _evaluate(self, batch: Batch, evaluation: Evaluation) -> None:
        raised: list[BaseException] = []

        def once(watch: Watch) -> Outcome:
            found, error = self._called(batch, evaluation, watch)
            raised.extend([error] if error is not None else [])
            return found

        outcome = around(batch, evaluation, partial(self._watch, evaluation.number), once)
        self.run.absorb([outcome])
        self.bar.update(self.run.standing)
        for error in raised:
            if not isinstance(error, self.catch):
                raise error

    def _called(self, batch: Batch, evaluation: Evaluation, watch: Watch) -> tuple[Outcome, BaseException | None]:
        started, suggest = utcnow(), partial(self._suggest, evaluation.number)
        timed = batch.spec.trial_timeout_s is not None
        try:
            self.interrupt.inside = True
            if not timed:  # no timer, so that a debugger is not disturbed
                call = Call(self.objective, batch, evaluation, watch, suggest)
                return call.outcome(), call.raised
            with interruptible(batch, watch, suggest) as (watched, asked):
                call = Call(self.objective, batch, evaluation, watched, asked)
                return call.outcome(), call.raised
        except Interrupted as reason:
            return ended(batch, evaluation, started, str(reason)), None
        finally:
            self.interrupt.inside = False

    def _watch(self, number: int, measured: Sequence[tuple[str, int, float]]) -> Stop | None:
        reports = [Report(self.run.job.id, number, *values) for values in measured]
        with self._engine():
            if self.run.over_for_workers:
                return "cancelled"
            pruned = self.run.report(reports) if reports else self.run.pruned
        return "pruned" if number in pruned else None

    def _suggest(self, number: int, parameter: Parameter) -> Scalar:
        with self._engine():
            return self.run.suggest(number, parameter)

    @contextmanager
    def _engine(self) -> Iterator[None]:
        """Back in the engine for a moment: Ctrl-C waits until the function goes on."""
        self.interrupt.inside = False
        yield
        self.interrupt.inside = True
        if self.interrupt.asked:
            raise KeyboardInterrupt


class Scribe:
    """The thread that writes what a run found and renews its lease."""

    def __init__(self, store: Store, run: JobRun) -> None:
        self.run, self.writer = run, Writer(store, LEASE_S)
        self.lost: LeaseLost | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="tune", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def finish(self) -> None:
        """Write the rest and how the job ended, however long the database is away. Raises LeaseLost."""
        self.stop()
        while self.lost is None:
            if self.writer.end(self.run):
                return
            time.sleep(FLUSH_S)
        raise self.lost

    def _write_forever(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(FLUSH_S):
            try:
                self.writer.write(self.run)
                if time.monotonic() - renewed > LEASE_S / 10:
                    renewed = time.monotonic()
                    self._renew()
                    self.writer.look(self.run)
            except LeaseLost as error:
                self.lost, self.run.ending = error, JobState.QUEUED
                return
            except Exception:
                log.exception("results could not be written; trying again")

    def _renew(self) -> None:
        token = str(self.run.job.lease_token)
        held = self.writer.renew([token])
        if held is None:  # the database is away
            return
        if token not in held:
            raise LeaseLost(f"{self.run.experiment.name!r} was taken over by another process", job_id=self.run.job.id)
        wanted = held[token].wanted
        if wanted is not None and self.run.ending is None:  # a person asked for it, through the database
            self.run.ending = JobState(wanted)


def _loaded(store: Store, claim: Claim) -> JobRun:
    writer = Writer(store, LEASE_S)
    with store.read() as tx:
        return load(
            tx, claim.job, lambda _spec: SHAPE, partial(_reserved, writer, claim.job), partial(_claimed, writer)
        )


def _reserved(writer: Writer, job: Job, count: int) -> int:
    """Numbers for new trials, however long the database is away."""
    while (first := writer.reserve(job, count)) is None:
        time.sleep(FLUSH_S)
    return first


def _claimed(writer: Writer, run: JobRun, make: Callable[[], list[Trial]]) -> bool:
    """New trials are written, however long the database is away."""
    while not writer.claim(run, make):
        time.sleep(FLUSH_S)
    return True
