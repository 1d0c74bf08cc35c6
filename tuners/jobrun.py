"""One running job in memory: its search, its open trials, and what is not written to SQL yet."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuners import samplers
from tuners.messages import EXCHANGE_S, Advance, Batch, Evaluation, Outcome, Report, Shape
from tuners.others import Others
from tuners.search import PointSearch
from tuners.stopping import Stopping
from tuners.tools.checkpoints import checkpoint_key
from tuners.tools.outcome import storable
from tunesmith.domain import (
    NOT_EVALUATED,
    Experiment,
    HostedTool,
    Job,
    JobState,
    Measurement,
    Parameter,
    Progress,
    Scalar,
    Trial,
    TrialState,
    utcnow,
)
from tunesmith.errors import LeaseLost

RESUMED_FROM = "tunesmith:resumed_from"
"""System attribute of an attempt: the checkpoint that it went on from."""
MAX_ATTEMPTS = 3
"""A trial whose worker process died this often fails instead of taking down another one."""
OVERHEAD = 0.05
"""Share of a worker's time that its exchanges with the runner may take: so many short evaluations travel together."""
MAX_BATCH = 256
"""Evaluations that travel together, at most."""
MAX_RESERVED = 1024
"""Numbers of trials that are reserved at once, at most."""
Reserve = Callable[[int], "int | None"]
"""Reserves so many numbers for new trials: the first of them, or None where that cannot be done now."""
Claim = Callable[["JobRun", Callable[[], list[Trial]]], bool]
"""Writes the trials that a function makes, in one transaction with a look at what others did (`JobRun.learn`).

False where that cannot be done now; the function, which gives the same when it is called again, may have been called.
"""
LEARNT = 20
"""Where a sampler learns: finished trials per evaluation of a batch, as its points are chosen without one another."""


@dataclass
class Unwritten:
    """What SQL does not know yet."""

    trials: list[Trial]
    measurements: list[Measurement]
    progress: Progress
    message: str | None


class JobRun:
    """Hands out a job's points, takes in what came of them, and knows when it is over. Safe to call from any thread."""

    def __init__(
        self,
        experiment: Experiment,
        job: Job,
        shape: Shape,
        history: Iterable[Trial],
        open_trials: Sequence[Trial],
        reserve: Reserve,
        claim: Claim | None = None,
        curves: Sequence[Mapping[int, Mapping[int, float]]] = (),
        own: Iterable[Trial] | None = None,
        best: Iterable[Trial] = (),
    ) -> None:
        """A job as SQL has it.

        `history`: finished trials that its search has to know, by number; `open_trials`: its waiting and running ones;
        `reserve`: where the numbers of new trials come from, as others may add trials too; `claim`: how trials are
        written before anybody has them, where workers that ask are not to repeat their points; `curves`: per objective,
        trial -> step -> intermediate value; `own`: the job's own finished trials, unless `history` has them. Both are
        read once and not kept, for they may be long. `best`: the experiment's best trials, which may have reached the
        goal already.
        """
        self.experiment, self.job, self.shape = experiment, job, shape
        self.lock = threading.RLock()
        self._reserve, self._numbers, self._reserved = reserve, range(0), 1
        self._claim, self._claim_s = claim, 0.0
        self.waiting = deque(trial for trial in open_trials)
        self.running: dict[int, Trial] = {}
        self.pruned: set[int] = set()
        self.workers: set[str] = set()
        self.others: Others | None = None
        """What is added to the experiment by somebody else, where the search wants to know of it."""
        self.ending: JobState | None = None
        """Set when a person stops or pauses the job, or the platform shuts down: nothing new is handed out."""
        self.error: str | None = None
        self.message: str | None = None
        self.explained = ""
        self.exhausted = False
        self.blocked = False
        """Whether the search has no point before it hears of another outcome."""
        self.seconds = 0.0
        """Seconds of one evaluation, a moving average; 0 before the first one."""
        self.stopping = Stopping(experiment, job.search, job.progress.ran_s, job.progress.cost)
        self.progress = Progress(total=job.progress.total, percent=job.progress.percent)
        self._advanced = False
        """Whether it was told how far the job is, and SQL was not."""
        self.first_failure: tuple[int, str] | None = None
        self.last_failure: tuple[int, str] | None = None
        self._dirty: dict[int, Trial] = {}
        self._measured: list[Measurement] = []
        past = list(history) if own is None else history
        for trial in past if own is None else own:
            if trial.job_id == job.id:
                self._count(trial)
        made = self.progress.finished + len(self.waiting)
        for trial in best:
            self.stopping.look(trial)
        self.search = PointSearch(experiment, job.search, past, made, tuple(curves))
        self.learns = samplers.learns(job.search)

    @property
    def concurrency(self) -> float:
        """Workers at once, at most."""
        limits = (self.job.search.max_concurrent, self.experiment.spec.compute.max_threads)
        return min((limit for limit in limits if limit is not None), default=math.inf)

    @property
    def left(self) -> float:
        """Trials that are not handed out yet."""
        total = self.progress.total
        if self.exhausted or self.blocked or self.stopping.reason is not None:
            return 0 if self.stopping.failed else len(self.waiting)
        return len(self.waiting) + (math.inf if total is None else max(0, total - self.search.made))

    @property
    def standing(self) -> Progress:
        """How far the job is, with its running time and what it cost."""
        return self.progress.evolve(ran_s=round(self.stopping.ran_s, 3), cost=self.stopping.cost)

    @property
    def wants_worker(self) -> bool:
        """Whether one more worker could be of use now."""
        return self.ending is None and self.error is None and len(self.workers) < self.concurrency and self.left > 0

    @property
    def over_for_workers(self) -> bool:
        """Whether evaluations that still run are to be ended."""
        return self.ending in (JobState.CANCELLED, JobState.QUEUED) or self.error is not None

    @property
    def over(self) -> bool:
        """Whether nothing is running and nothing more will be."""
        return not self.running and (self.ending is not None or self.error is not None or self.left <= 0)

    def take(self, slots: int, artifacts: str, grace_s: float, exchange_s: float = EXCHANGE_S) -> Batch | None:
        """The next evaluations for one worker, of `slots` that could share the rest; None when there are none.

        `exchange_s`: seconds that this worker's exchanges take.
        """
        with self.lock:
            size = self._batch_size(exchange_s + self._claim_s)
            wanted = min(size, math.ceil(min(self.left, 1e9) / max(1, slots)))
            trials = self._claimed(wanted) if self._claim is not None else list(self._next_few(wanted))
            if not trials:
                return None
            return Batch(
                job_id=self.job.id,
                experiment_id=self.experiment.id,
                spec=self.experiment.spec,
                evaluations=tuple(map(self._evaluation, trials)),
                artifacts=artifacts,
                grace_s=grace_s,
                watched=self.job.search.pruner is not None,
                code=self.job.search.code,
                training_id=self.job.training_id,
            )

    def absorb(self, outcomes: Iterable[Outcome], price: float | None = None) -> None:
        """Take in what came of evaluations; an outcome of a trial that is not running here is ignored.

        `price`: money per second of the worker that made them, where it is known.
        """
        with self.lock:
            for outcome in outcomes:
                trial = self.running.pop(outcome.number, None)
                if trial is None:
                    continue
                self.blocked = False
                if price is not None:
                    self.stopping.charge(price * _seconds(outcome))
                if outcome.state is TrialState.WAITING:
                    self._interrupt(trial, outcome)
                    continue
                self._finish(self._finished(trial, outcome), outcome)

    def lose(self, numbers: Iterable[int], died: bool) -> None:
        """Put back trials that nobody evaluates any more; those that killed too many workers fail."""
        with self.lock:
            for number in numbers:
                trial = self.running.pop(number, None)
                if trial is None:
                    continue
                self.blocked = False
                if died and number in self.pruned:  # it did not listen, and was killed
                    self._finish(trial.evolve(state=TrialState.PRUNED, ended_at=utcnow()), None)
                elif died and self.job.max_retries is not None:  # a new attempt has a row of its own
                    error = "its worker process died, or its node was lost, and the command was ended with it"
                    self._finish(trial.evolve(state=TrialState.FAILED, error=error, ended_at=utcnow()), None)
                elif died and trial.attempt >= MAX_ATTEMPTS:
                    error = f"the worker process died {trial.attempt} times while it ran this trial (out of memory?)"
                    self._finish(trial.evolve(state=TrialState.FAILED, error=error, ended_at=utcnow()), None)
                else:
                    self._put_back(trial.evolve(attempt=trial.attempt + 1) if died else trial)

    def suggest(self, number: int, parameter: Parameter) -> Scalar:
        """One parameter of a running trial that asks for them while it runs. Raises KeyError when it does not run."""
        with self.lock:
            if number not in self.running:
                raise KeyError(number)
            return self.search.suggest(number, parameter)

    def report(self, reports: Sequence[Report]) -> set[int]:
        """Take in intermediate values; the numbers of the trials to prune."""
        with self.lock:
            for report in reports:
                if report.number not in self.running:
                    continue
                self._measured.append(
                    Measurement.model_construct(
                        experiment_id=self.experiment.id,
                        number=report.number,
                        metric=report.metric,
                        step=report.step,
                        value=report.value,
                    )
                )
                if self.search.report(report.number, report.metric, report.step, report.value):
                    self.pruned.add(report.number)
            return self.pruned & self.running.keys()

    def hear(self, advance: Advance) -> None:
        """Take in how far an evaluation is, where it is the job's only one; it never goes back."""
        with self.lock:
            if self.progress.total != 1 or advance.number not in self.running:
                return
            percent = max(self.progress.percent, min(advance.percent, 100))
            self.progress = self.progress.evolve(percent=percent)
            self.message = self.message if advance.message is None else storable(advance.message)
            self._advanced = True

    def learn(self, others: Iterable[Trial]) -> None:
        """Take in trials that somebody else added to the experiment, or finished: they are known to the search."""
        with self.lock:
            for trial in others:
                self.blocked = False
                self.search.learn(trial)

    def unwritten(self) -> Unwritten | None:
        """What SQL does not know yet, taken out; None when it knows everything."""
        with self.lock:
            if not (self._dirty or self._measured or self._advanced) and self.message is None:
                return None
            taken = Unwritten(list(self._dirty.values()), self._measured, self.standing, self.message)
            self._dirty, self._measured, self.message, self._advanced = {}, [], None, False
            return taken

    def write_again(self, unwritten: Unwritten) -> None:
        """Put back what could not be written, unless something newer came."""
        with self.lock:
            self._dirty = {trial.number: trial for trial in unwritten.trials} | self._dirty
            self._measured = unwritten.measurements + self._measured
            self.message, self._advanced = self.message or unwritten.message, True

    def verdict(self) -> tuple[JobState, dict[str, Any]]:
        """How the job ends, and what is written with it."""
        if self.ending is not None:
            message = "it goes on when the platform is back" if self.ending is JobState.QUEUED else None
            return self.ending, {"message": message}
        if self.error is not None:
            return JobState.FAILED, {"error": self.error}
        succeeded = self.progress.finished - self.progress.failed
        if self.job.max_retries is not None and self.progress.finished and not succeeded and self.last_failure:
            return JobState.FAILED, {"error": self.last_failure[1]}
        if self.stopping.failed or (self.progress.finished and not succeeded):
            reason = self.stopping.reason if self.stopping.failed else "no trial succeeded"
            number, error = self.first_failure or (0, "not known")
            return JobState.FAILED, {"error": f"{reason}. The first failure: trial {number}: {error}"}
        return JobState.SUCCEEDED, {"message": self.stopping.reason}

    def _claimed(self, wanted: int) -> list[Trial]:
        """The next trials, which SQL has before anybody else does; the numbers of new ones are reserved before that."""
        assert self._claim is not None
        if self.waiting:
            return list(self._next_few(min(wanted, len(self.waiting))))
        if self._next_number() is None:
            return []
        made: list[Trial] = []

        def make() -> list[Trial]:
            if not made:
                made.extend(self._next_few(min(wanted, len(self._numbers))))
            return made

        if not self.search.listed:  # it may take its time, and may repeat points
            make()
        began = time.monotonic()
        try:
            written = self._claim(self, make)
        except LeaseLost:
            self.ending, written = JobState.QUEUED, False
        if not written:
            for trial in made:
                self._put_back(self.running.pop(trial.number))
            return []
        self._claim_s = 0.8 * self._claim_s + 0.2 * (time.monotonic() - began)
        for trial in made:
            del self._dirty[trial.number]
        return made

    def _next_few(self, wanted: int) -> Iterator[Trial]:
        for _ in range(wanted):
            trial = self._next()
            if trial is None:
                return
            yield trial
            # What killed a worker travels alone, so that it takes no other trial with it.
            if trial.attempt > 1 or (self.waiting and self.waiting[0].attempt > 1):
                return

    def _next(self) -> Trial | None:
        if self.left <= 0 or self.ending is not None or self.error is not None:
            return None
        now = utcnow()
        if self.waiting:
            trial = self.waiting.popleft().evolve(state=TrialState.RUNNING, started_at=now)
            self.search.reopen(trial.number, trial.params, trial.system_attrs)
        else:
            number = self._next_number()
            if number is None:
                return None
            params = self.search.ask(number)
            if params is None:
                self.blocked = self.search.blocked
                self.exhausted = not self.blocked
                return None
            self._numbers = self._numbers[1:]
            trial = Trial.model_construct(
                experiment_id=self.experiment.id,
                number=number,
                job_id=self.job.id,
                run_number=self.job.run_number,
                state=TrialState.RUNNING,
                params=params,
                system_attrs=self.search.system_attrs(number),
                created_at=now,
                started_at=now,
            )
        self.running[trial.number] = self._dirty[trial.number] = trial
        return trial

    def _next_number(self) -> int | None:
        if not self._numbers:
            self._reserved = min(2 * self._reserved, MAX_RESERVED, max(1, math.ceil(min(self.left, 1e9))))
            try:
                start = self._reserve(self._reserved)
            except LeaseLost:
                self.ending = JobState.QUEUED
                return None
            if start is None:
                return None
            self._numbers = range(start, start + self._reserved)
        return self._numbers[0]

    def _evaluation(self, trial: Trial) -> Evaluation:
        segment = self.search.segments.get(trial.number)
        if segment is None:
            return Evaluation(trial.number, trial.params, trial.attempt, run=trial.run_number)
        parent = segment.checkpoint_of
        key = None if parent is None else checkpoint_key(self.experiment.id, parent)
        return Evaluation(trial.number, trial.params, trial.attempt, key, segment.step, segment.steps)

    def _finished(self, trial: Trial, outcome: Outcome) -> Trial:
        spec = self.experiment.spec
        complete = outcome.state is TrialState.COMPLETE
        measured = trial.evolve(metrics=dict(outcome.metrics))
        if self.experiment.spec.define_by_run:
            measured = measured.evolve(params=self.search.params(trial.number))
        return measured.evolve(
            state=outcome.state,
            values=tuple(outcome.metrics[o.metric] for o in spec.objectives) if complete else None,
            violation=spec.violation(measured.metrics) if complete and spec.constraints else None,
            error=outcome.error,
            started_at=outcome.started_at,
            ended_at=outcome.ended_at,
            worker=outcome.worker,
            log=outcome.log,
            system_attrs=self._noted(trial.number, outcome),
        )

    def _noted(self, number: int, outcome: Outcome) -> Mapping[str, Any] | None:
        noted = self.search.system_attrs(number)
        return noted if outcome.resumed_from is None else {**(noted or {}), RESUMED_FROM: outcome.resumed_from}

    def _finish(self, trial: Trial, outcome: Outcome | None) -> None:
        self.search.tell(trial)
        self.pruned.discard(trial.number)
        self._dirty[trial.number] = trial
        self._count(trial)
        if outcome is not None:
            seconds = _seconds(outcome)
            self.seconds = seconds if not self.seconds else 0.8 * self.seconds + 0.2 * seconds

    def _interrupt(self, trial: Trial, outcome: Outcome) -> None:
        """An evaluation was ended from outside: it may run again, or its job has another attempt later."""
        if self.job.max_retries is None or not self.over_for_workers or len(self.experiment.spec.space) > 0:
            self._put_back(trial)
            return
        cancelled = f"{NOT_EVALUATED}{JobState.CANCELLED.value}, and the command was ended"
        error = cancelled if self.ending is JobState.CANCELLED else "interrupted: the platform was stopped"
        failed = replace(outcome, state=TrialState.FAILED, error=error)
        self._finish(self._finished(trial, failed), None)

    def _put_back(self, trial: Trial) -> None:
        waiting = trial.evolve(state=TrialState.WAITING, started_at=None)
        if self.experiment.spec.define_by_run:
            noted = self.search.system_attrs(trial.number)
            waiting = waiting.evolve(params=self.search.params(trial.number), system_attrs=noted)
        self.search.close(trial.number)
        self.pruned.discard(trial.number)
        self.waiting.append(waiting)
        self._dirty[trial.number] = waiting

    def _count(self, trial: Trial) -> None:
        self.stopping.see(trial)
        failed = trial.state is TrialState.FAILED
        if failed and (self.first_failure is None or trial.number < self.first_failure[0]):
            self.first_failure = (trial.number, str(trial.error))
        if failed and (self.last_failure is None or trial.number > self.last_failure[0]):
            self.last_failure = (trial.number, str(trial.error))
        best = self.progress.best
        if trial.feasible and trial.values is not None:
            sign = self.experiment.spec.objectives[0].sign
            if best is None or (trial.values[0] * sign, trial.number) < (best["outcome"] * sign, best["number"]):
                best = _best(self.experiment, trial)
        self.progress = self.progress.evolve(
            finished=self.progress.finished + 1, failed=self.progress.failed + failed, best=best
        )
        if self.progress.total == 1 and not failed and isinstance(self.experiment.spec.tool, HostedTool):
            self.progress = self.progress.evolve(percent=100)

    def _batch_size(self, exchange_s: float) -> int:
        if not self.seconds or (self.learns and self.concurrency == 1):
            return 1  # one at a time means that each point is chosen with all before it known
        largest = min(MAX_BATCH, self.progress.finished // LEARNT) if self.learns else MAX_BATCH
        margin = self.stopping.margin
        if margin is not None:
            largest = min(largest, margin - len(self.running))
        return max(1, min(largest, round(exchange_s / (OVERHEAD * self.seconds))))


def _seconds(outcome: Outcome) -> float:
    return max(1e-6, (outcome.ended_at - outcome.started_at).total_seconds())


def _best(experiment: Experiment, trial: Trial) -> dict[str, Any]:
    values = trial.values
    assert values is not None
    return {
        "number": trial.number,
        "outcome": values[0],
        "outcomes": {o.metric: v for o, v in zip(experiment.spec.objectives, values, strict=True)},
        "params": dict(trial.params),
    }
