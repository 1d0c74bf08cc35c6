"""The worker: some trials at once, each with a loop of its own, until nothing is left or somebody stops it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tuners.messages import Outcome
from tuners.working.evaluating import Evaluator, tell
from tuners.working.filling import slips
from tuners.working.showing import Show
from tunesmith.cli.output import hint, warn
from tunesmith.cli.work import Order
from tunesmith.client import Client, Experiment
from tunesmith.client.asking import AWAY, TrialToRun
from tunesmith.client.trials_to_run import TrialsToRun, new_worker
from tunesmith.domain import TrialState
from tunesmith.errors import NotFound, TrialFinished, TrialTaken, TunesmithError
from tunesmith.storage import trial_key

PATIENCE_S = 30.0
"""Seconds until a platform that does not answer is complained about; it is waited for as long as it takes."""
LOOK_S = 0.2
"""Seconds between two looks whether all is over."""
INTERRUPTED = 130


def work(order: Order) -> int:
    """Do what was ordered; the exit code. Raises TunesmithError."""
    with Client(order.url) as client:
        experiment = client.experiment(order.experiment)
        with _root(order.keep) as root:
            evaluator = Evaluator(experiment.info, order.command, root, order.patterns, order.timeout_s)
            for slip in slips(order.command, [parameter.name for parameter in evaluator.spec.space]):
                warn(slip)
            return Worker(order, experiment, evaluator, root).run()


class Worker:
    """Trials of one experiment, evaluated here."""

    def __init__(self, order: Order, experiment: Experiment, evaluator: Evaluator, root: Path) -> None:
        self.order, self.experiment, self.evaluator, self.root = order, experiment, evaluator, root
        self.name = order.worker or new_worker()
        self.objectives = [objective.metric for objective in experiment.info.objectives]
        self.show = Show(experiment.info.objectives, order.as_json)
        self._lock = threading.Lock()
        self._left = order.max_trials
        self._in_a_row = 0
        self._reason = "nothing is left to try"
        self._error: BaseException | None = None
        self._interrupted = False
        self._stopping = threading.Event()
        self._loops = [self._loop(number) for number in range(order.jobs)]

    def run(self) -> int:
        """Work until it is over; the exit code. Raises what a loop raised: TunesmithError."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        threads = [threading.Thread(target=self._work, args=(loop,), daemon=True) for loop in self._loops]
        with self.show:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(LOOK_S)
        self.show.summary(self.name, self._reason)
        if self._error is not None:
            raise self._error
        counts = self.show.tally.counts
        if self._interrupted:
            return INTERRUPTED
        return 1 if counts["failed"] and not counts["complete"] + counts["pruned"] else 0

    def stop(self, reason: str) -> None:
        """Take no more trials, and end those that run."""
        with self._lock:
            if not self._stopping.is_set():
                self._reason = reason
            self._stopping.set()
        for loop in self._loops:
            loop.stop()

    def _loop(self, number: int) -> TrialsToRun:
        name = self.name if self.order.jobs == 1 else f"{self.name}/{number}"
        optimizer = self.order.optimizer if number == 0 else None
        return self.experiment.trials_to_run(name, 1, optimizer, self.order.lease_s, patience_s=PATIENCE_S)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self._interrupted:
            self.show.abandon()
            os._exit(INTERRUPTED)  # the launchers end the commands; the leases run out
        self._interrupted = True
        # In a thread: the signal may have come while this one held a lock.
        threading.Thread(target=self._interrupt, daemon=True).start()

    def _interrupt(self) -> None:
        hint("stopping: what runs is ended, and its trials are given back (again: at once)")
        self.stop("interrupted")

    def _work(self, loop: TrialsToRun) -> None:
        try:
            while self._may_take() and (trial := self._next(loop)) is not None:
                self._evaluate(trial)
        except BaseException as error:
            self._error = self._error or error
            self.stop(f"ended by {type(error).__name__}")
        finally:
            loop.close()

    def _next(self, loop: TrialsToRun) -> TrialToRun | None:
        while not self._stopping.is_set():
            try:
                return next(loop, None)
            except AWAY as error:
                warn(f"{error}; trying on")
        return None

    def _may_take(self) -> bool:
        with self._lock:
            if self._left == 0 and not self._stopping.is_set():
                self._reason = f"{self.order.max_trials} trials are done"
            if self._left == 0 or self._stopping.is_set():
                return False
            self._left = None if self._left is None else self._left - 1
            return True

    def _evaluate(self, trial: TrialToRun) -> None:
        began = self.show.began()
        found = self.evaluator.evaluate(trial, self._stopping.is_set)
        became = self._told(trial, found)
        if self.order.keep is None:
            key = trial_key(self.experiment.id, trial.number)
            shutil.rmtree(self.root / key, ignore_errors=True)
        self.show.ended(trial, found, became, began)
        self._count_failures(became)

    def _told(self, trial: TrialToRun, found: Outcome) -> str:
        """Tell it, however long the platform is away; what became of it."""
        while trial.open:
            try:
                tell(trial, found, self.objectives)
                return "released" if found.state is TrialState.WAITING else found.state.value
            except AWAY as error:
                if found.state is TrialState.WAITING or self._stopping.is_set():
                    return "lost"  # its lease runs out
                warn(f"trial {trial.number} cannot be told: {error}; trying on")
            except (TrialTaken, TrialFinished, NotFound):
                break
            except TunesmithError as error:  # what it measured is refused
                with suppress(TunesmithError):
                    trial.fail(error)
                return "failed"
        return "lost"

    def _count_failures(self, became: str) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if became == "failed" else 0
            enough = 0 < self.order.max_failures <= self._in_a_row
        if enough:
            self.stop(f"{self._in_a_row} trials in a row failed")


@contextmanager
def _root(keep: Path | None) -> Iterator[Path]:
    """Where the trials have their directories: one to keep, or a temporary one."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="tunesmith-work-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)
