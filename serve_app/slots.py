"""The threads that evaluate trials in this process's place of a cluster: one each, one evaluation at a time."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from serve_app.warming import warm
from tuners.jobrun import JobRun
from tuners.messages import Advance, Batch, Evaluation, Outcome, Report, Stop
from tuners.told import told_to_workers
from tuners.tools.evaluate import evaluate
from tuners.tools.outcome import failure
from tuners.writer import Writer
from tunesmith.domain import utcnow
from tunesmith.settings import Settings

PAUSE_S = 0.05
"""Seconds until a job that had no point after all is asked again."""


class Slots:
    """`count` threads that take points of the running jobs, and evaluate them."""

    def __init__(
        self, count: int, runs: Mapping[str, JobRun], writer: Writer, settings: Settings, ring: Callable[[], None]
    ) -> None:
        """`runs`: the running jobs, as they are at any moment; `ring`: called when one has something to write."""
        self.count, self._runs, self._writer, self._settings, self._ring = count, runs, writer, settings, ring
        self._told = told_to_workers(settings)
        self._changed = threading.Condition()
        self._closing = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        self._closing = False
        self._threads = [
            threading.Thread(target=self._serve, args=(f"slot-{number}",), name=f"slot-{number}", daemon=True)
            for number in range(self.count)
        ]
        for thread in self._threads:
            thread.start()

    def notify(self) -> None:
        """Something of the running jobs changed: there may be work."""
        with self._changed:
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> None:
        """Take nothing more, and wait for the evaluations that run; their jobs say that they are to end."""
        self._closing = True
        self.notify()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _serve(self, name: str) -> None:
        if self._threads[0] is threading.current_thread():
            warm(self._settings)
        while (run := self._next(name)) is not None:
            try:
                worked = self._work(run)
            except Exception:  # the search raised: that fails its job, and no other one
                run.error, worked = run.error or traceback.format_exc(), True
            finally:
                run.workers.discard(name)
                self.notify()
                self._ring()
            if not worked:
                time.sleep(PAUSE_S)

    def _next(self, name: str) -> JobRun | None:
        """The job to serve next, of those with the fewest slots the most urgent one; None at the end."""
        with self._changed:
            while not self._closing:
                hungry = [run for run in list(self._runs.values()) if run.wants_worker] if self._writer.healthy else []
                if hungry:
                    run = min(hungry, key=lambda run: (len(run.workers), -run.job.priority, run.job.queued_at))
                    run.workers.add(name)
                    return run
                self._changed.wait(1.0)
        return None

    def _work(self, run: JobRun) -> bool:
        """Evaluate the job's next points; whether there were any."""
        batch = run.take(self.count, self._settings.artifacts, self._settings.terminate_grace_s, exchange_s=0.0)
        if batch is None:
            return False
        batch = replace(batch, **self._told)
        try:
            for evaluation in batch.evaluations:
                if not run.over_for_workers:
                    run.absorb([_Evaluating(run, batch, evaluation).outcome()])
        finally:
            run.lose([evaluation.number for evaluation in batch.evaluations], died=False)
        return True


class _Evaluating:
    """One evaluation, and its line to the job."""

    def __init__(self, run: JobRun, batch: Batch, evaluation: Evaluation) -> None:
        self.run, self.batch, self.evaluation = run, batch, evaluation
        self.number = evaluation.number

    def outcome(self) -> Outcome:
        """Evaluate it; trouble is the trial's, not the slot's."""
        started = utcnow()
        suggest = partial(self.run.suggest, self.number)
        try:
            return evaluate(self.batch, self.evaluation, self._watch, suggest, self._tell)
        except Exception:
            return failure(self.batch, self.evaluation, started, traceback.format_exc(limit=-20))

    def _tell(self, percent: int, message: str | None) -> None:
        self.run.hear(Advance(self.number, percent, message))

    def _watch(self, measured: list[tuple[str, int, float]]) -> Stop | None:
        if self.run.over_for_workers:
            return "cancelled"
        pruned = self.run.report([Report(self.run.job.id, self.number, *values) for values in measured])
        return "pruned" if self.number in pruned else None
