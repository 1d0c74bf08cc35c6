"""One live study: the search of an experiment that workers ask for trials. A cache: SQL has the prepared points."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from tuners import samplers
from tuners.messages import Prepared
from tuners.others import Others
from tuners.search import PointSearch
from tuners.stopping import Stopping
from tuners.studies.finite import untried
from tuners.studies.planning import total_of
from tunesmith.domain import Experiment, Point, Scalar, Trial, TrialState, utcnow
from tunesmith.errors import QuotaExceeded
from tunesmith.store import Store, Tx
from tunesmith.store.asking import ASKED, FIXED, LEFT

AT_ONCE = 16
"""Points that are chosen and written in one go."""
COMPLETIONS = 10
"""Tries to complete an enqueued point that leaves parameters open."""


class Outdated(Exception):
    """Meanwhile points are chosen in another way, or the space is another one."""


class Study:
    """Chooses points, and learns from every trial of the experiment, whoever evaluated it. Safe to call from threads.

    The points are counted, and the search knows its trials by that count, their *ticket*: the number in the experiment
    follows only when they are written, as others add trials too. Trials that somebody enqueued are adopted: their
    tickets lie below 0, and are not counted.
    """

    def __init__(self, store: Store, experiment_id: int) -> None:
        """Take it up from SQL. Raises ExperimentNotFound."""
        self._lock = threading.Lock()
        with store.read() as tx:
            experiment = tx.experiment(experiment_id)
            assert experiment.asking is not None, "a study begins with how its points are chosen"
            self.experiment, self.search = experiment, experiment.asking
            self._store = store.scoped(experiment.workspace_id)
            self._others = Others(tx, experiment_id)
            self._load(tx)

    def suits(self, experiment: Experiment) -> bool:
        """Whether it is still how points of the experiment are to be chosen."""
        return experiment.asking == self.search and experiment.spec.space == self.experiment.spec.space

    def prepare(self, count: int) -> Prepared:
        """Add `count` waiting trials, or as many as there are points for; enqueued ones are among them.

        Raises:
            QuotaExceeded: the workspace may not have so many trials.
        """
        with self._store.read() as tx:
            tx.check_trials(count)
        added = 0
        while True:  # a few at a time: reports want to know meanwhile whether to go on
            with self._lock:
                some = self._adopt(count - added) or self._prepare(min(count - added, AT_ONCE))
            added += some.added
            if added >= count or some.state != "more":
                return Prepared(added, some.state, some.reason)

    def refill(self, ahead: int) -> Prepared:
        """See to it that `ahead` trials are waiting; none in a finite space, whose points others may take meanwhile."""
        if self._untried is not None:
            return Prepared(0)
        with self._store.read() as tx:
            waiting = tx.count_waiting(self.experiment.id, ahead)
        with suppress(QuotaExceeded):  # whoever asks for more is told
            return self.prepare(ahead - waiting) if waiting < ahead else Prepared(0)
        return Prepared(0)

    def prune(self, number: int, step: int, metrics: dict[str, float]) -> bool:
        """Note a trial's intermediate values; whether it is hopeless."""
        with self._lock:
            self._look()
            ticket = self._tickets.get(number)
            if ticket is None:
                return False
            verdicts = [self._points.report(ticket, metric, step, value) for metric, value in metrics.items()]
            return any(verdicts)

    def _load(self, tx: Tx) -> None:
        experiment, search = self.experiment, self.search
        objectives = experiment.spec.objectives if search.pruner is not None else ()
        self._tickets: dict[int, int] = {}
        self._stopping = Stopping(experiment, search)
        self._untried = untried(experiment.spec.space, samplers.resolved(search).fixed)
        self._watches = samplers.needs_history(search) or self._untried is not None or self._stopping.waits
        self._asked = tx.asked(experiment.id)
        self._before = search.asked_before or 0
        curves = [tx.curves(experiment.id, objective.metric) for objective in objectives]
        self._points = PointSearch(
            experiment, search, self._noted(tx.history(experiment.id)), self._asked - self._before, tuple(curves)
        )
        for trial in tx.changed_trials(experiment.id, tx.newest_id(experiment.id), self._others.unfinished):
            self._open(trial)
            for measured in tx.measurements(experiment.id, trial.number) if objectives else ():
                self._points.report(_ticket(trial), measured.metric, measured.step, measured.value)

    def _noted(self, history: Iterable[Trial]) -> Iterator[Trial]:
        for trial in history:
            self._note(trial)
            yield trial

    def _open(self, trial: Trial) -> None:
        """A trial that is not finished: its point is taken, and a search that made it knows it again."""
        self._take(trial)
        if ASKED in (trial.system_attrs or {}):
            attrs = {name: value for name, value in (trial.system_attrs or {}).items() if name not in (ASKED, FIXED)}
            self._tickets[trial.number] = _ticket(trial)
            self._points.reopen(_ticket(trial), trial.params, attrs or None)

    def _look(self) -> None:
        """Learn what happened since the last look, where that matters."""
        if self._watches:
            with self._store.read() as tx:
                self._learn(self._others.changed(tx))

    def _learn(self, changed: Iterable[Trial]) -> None:
        for trial in changed:
            ticket = self._tickets.get(trial.number)
            if not trial.state.finished:
                self._take(trial)
                continue
            self._note(trial)
            if ticket is None:
                self._points.learn(trial)
            else:
                del self._tickets[trial.number]
                self._points.tell(trial.evolve(number=ticket))

    def _note(self, trial: Trial) -> None:
        self._stopping.see(trial)
        self._take(trial)

    def _adopt(self, count: int) -> Prepared | None:
        """Let workers ask for enqueued trials, in their order; None where there is none."""
        with self._store.read() as tx:
            if not tx.enqueued_trials(self.experiment.id, 1):
                return None
        with self._writing() as tx:
            if self._watches:
                self._learn(self._others.changed(tx))
            looked = list(map(self._adopted, tx.enqueued_trials(self.experiment.id, count)))
            tx.adopt(looked)
        adopted = [trial for trial in looked if trial.params]
        for trial in adopted:
            self._open(trial)
        return Prepared(len(adopted))

    def _adopted(self, trial: Trial) -> Trial:
        """An enqueued trial with its point, what it leaves open filled in; one that has none is left as it is."""
        attrs, ticket = dict(trial.system_attrs or {}), -1 - trial.number
        for attempt in range(COMPLETIONS if not trial.params else 0):
            point = self._points.completed(attrs[FIXED], ticket, attempt)
            if point and (self._untried is None or self._untried.take(point, trial.number)):
                return trial.evolve(params=point, system_attrs=attrs | {ASKED: ticket})
        return trial.evolve(system_attrs=attrs | {LEFT: True})

    def _prepare(self, count: int) -> Prepared:
        if self._untried is None:
            self._look()
            made, prepared = self._choose(count)
            if made:
                with self._writing() as tx:
                    self._write(tx, made)
            return prepared
        with self._writing() as tx:  # nobody takes a point between the look and the write
            self._learn(self._others.changed(tx))
            made, prepared = self._choose(count)
            self._write(tx, made)
        return prepared

    @contextmanager
    def _writing(self) -> Iterator[Tx]:
        """A transaction in which nobody else adds trials to the experiment. Raises Outdated."""
        with self._store.write() as tx:
            tx.lock_experiment(self.experiment.id)
            if not self.suits(tx.experiment(self.experiment.id)):
                raise Outdated
            yield tx

    def _choose(self, count: int) -> tuple[list[Trial], Prepared]:
        """At most `count` trials that are not written yet."""
        made: list[Trial] = []
        reason: str | None = None
        later = False
        while len(made) < count:
            reason = self._over()
            if reason is not None:
                break
            trial = self._next()
            if trial is None:
                later = self._points.blocked
                reason = None if later else "every point of the space, or of the list, has a trial"
                break
            made.append(trial)
            self._asked += 1
        return made, Prepared(len(made), "over" if reason else "later" if later else "more", reason)

    def _write(self, tx: Tx, made: list[Trial]) -> None:
        written = tx.prepare_trials(self.experiment, made)
        self._tickets |= {trial.number: _ticket(trial) for trial in written}

    def _over(self) -> str | None:
        total = total_of(self.search)
        if total is not None and self._asked - self._before >= total:
            return f"all {total} trials of the search were handed out (optimizer.n_iter)"
        return self._stopping.reason

    def _next(self) -> Trial | None:
        ticket = self._asked
        point = self._point(ticket)
        if point is None:
            return None
        if self._untried is not None:
            self._untried.take(point, -1)
        return Trial.model_construct(
            experiment_id=self.experiment.id,
            number=-1,
            job_id=None,
            run_number=None,
            state=TrialState.WAITING,
            params=point,
            system_attrs={**(self._points.system_attrs(ticket) or {}), ASKED: ticket},
            created_at=utcnow(),
        )

    def _point(self, ticket: int) -> dict[str, Scalar] | None:
        """A point of the search's; in a finite space, where that has a trial, one that has none."""
        tries = itertools.count() if self._points.listed else range(len(self.search.enqueue) + 1)
        for _ in tries:
            point = self._points.ask(ticket)
            if point is None or self._wanted(point):
                return point
            self._points.close(ticket)
        point = self._untried.next() if self._untried is not None else None
        if point is not None:
            self._points.reopen(ticket, point)
        return point

    def _wanted(self, point: Point) -> bool:
        """Whether a point may be handed out: none has it yet, and one to try first lies in the space as it is now."""
        if self._untried is not None and point not in self._untried:
            return False
        return not self.search.enqueue or not self.experiment.spec.space.problems(point)

    def _take(self, trial: Trial) -> None:
        """Its point has a trial; one that Optuna enqueued is not among the parameters yet."""
        if self._untried is not None:
            self._untried.take(trial.params or (trial.system_attrs or {}).get(FIXED, {}), trial.number)


def _ticket(trial: Trial) -> int:
    return int((trial.system_attrs or {}).get(ASKED, -1))
