"""Ask and tell: workers anywhere take trials of an experiment, report, and tell what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.idempotency import Key, Once, perform
from serve_app.routes.parameters import ExperimentId, TrialNumber
from serve_app.strict import surface
from tuners.messages import Prepared
from tuners.samplers import learns
from tuners.studies.planning import plan_asking
from tunesmith.domain import Experiment, Search, Trial, TrialState
from tunesmith.errors import Exhausted, InvalidOptimizer, TunesmithError
from tunesmith.schemas.asking import (
    LEASE_S,
    AskAnswer,
    AskedTrial,
    AskRequest,
    FailRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    ReportAnswer,
    ReportRequest,
    TellAllAnswer,
    TellAllRequest,
    TellRequest,
    Told,
    ToldTrial,
)
from tunesmith.schemas.trials import TrialAnswer
from tunesmith.services import asking as service
from tunesmith.store import Tx

router = surface("/api/v1/experiments/{experiment_id}", ["ask and tell"], refuses=(404, 409, 413))
MAX_AHEAD = 64
"""Points that are prepared ahead, at most."""
RETRY_AFTER_S = 1.0
"""What a worker is told to wait when the search needs to hear of a running trial first, in seconds."""


@router.post("/ask", summary="Ask for trials", response_model=AskAnswer)
def ask(
    here: Here,
    request: Request,
    experiment_id: ExperimentId,
    body: Annotated[AskRequest, FromJson("optimizer", InvalidOptimizer)] | None = None,
    key: Key = None,
) -> Response:
    """Trials to evaluate, under a lease: report, send heartbeats, or somebody else gets them.

    The first ask may say how points are chosen (`optimizer`, as for jobs, without an end unless `n_iter` gives one).
    A worker that gives its name gets the trials back first that it still holds. Trials of the platform's own jobs and
    of workers that ask may run at the same time; each search knows the trials of the others. 409 `EXHAUSTED` when
    nothing is left to try.
    """
    wanted = body or AskRequest()
    once = Once.of(request, key, wanted)
    asked = _Asked(here, experiment_id, wanted, once)
    if wanted.optimizer is not None or (response := asked.handed()) is None:
        asked.choose()
        response = asked.handed() or asked.handed(here.platform.prepare(experiment_id, asked.missing))
    assert response is not None, "what is prepared is handed out, even where it is less than was asked for"
    return response


@router.post("/trials/{number}/report", summary="Report an intermediate value", response_model=ReportAnswer)
def report_trial(
    here: Here, experiment_id: ExperimentId, number: TrialNumber, body: Annotated[ReportRequest, FromJson()]
) -> Response:
    """Write a step's values, and learn whether to go on. Prolongs the lease. Sent again, it does the same again."""
    with here.store.write() as tx:
        experiment = tx.experiment(experiment_id)
        first = experiment.spec.objectives[0].metric
        metrics = {**body.metrics, **({} if body.value is None else {first: body.value})}
        trial = service.report(tx, experiment, number, body.token, body.step, metrics)
        until = tx.prolong(trial, body.lease_s, LEASE_S)
    pruning = experiment.asking is not None and experiment.asking.pruner is not None
    prune = pruning and here.platform.prune(experiment_id, number, body.step, metrics)
    return answer(ReportAnswer(prune=prune, lease_expires_at=until))


@router.post("/trials/{number}/tell", summary="Tell what came of a trial", response_model=TrialAnswer)
def tell_trial(
    here: Here,
    request: Request,
    experiment_id: ExperimentId,
    number: TrialNumber,
    body: Annotated[TellRequest, FromJson()],
    key: Key = None,
) -> Response:
    """Finish a trial with a value for every objective. Two that tell at once: one is taken in, the other gets 409."""

    def work(tx: Tx, experiment: Experiment) -> Trial:
        return service.tell(tx, experiment, number, body.token, body.value, body.measured, TrialState(body.state))

    return _finished(here, Once.of(request, key, body), experiment_id, work)


@router.post("/trials/{number}/fail", summary="Tell that a trial failed", response_model=TrialAnswer)
def fail_trial(
    here: Here,
    request: Request,
    experiment_id: ExperimentId,
    number: TrialNumber,
    body: Annotated[FailRequest, FromJson()],
    key: Key = None,
) -> Response:
    """Finish a trial as failed; or, with `again`, let another worker try the same point."""

    def work(tx: Tx, experiment: Experiment) -> Trial:
        return service.fail(tx, experiment, number, body.token, body.error, body.again)

    return _finished(here, Once.of(request, key, body), experiment_id, work)


@router.post("/trials/{number}/heartbeat", summary="Prolong a trial's lease", response_model=HeartbeatAnswer)
def heartbeat(
    here: Here, experiment_id: ExperimentId, number: TrialNumber, body: Annotated[HeartbeatRequest, FromJson()]
) -> Response:
    """The worker is alive: nobody else gets its trial for `lease_s` seconds from now. 409 when somebody has it."""
    with here.store.write() as tx:
        tx.experiment(experiment_id)
        until = tx.prolong(tx.held_trial(experiment_id, number, body.token), body.lease_s, LEASE_S)
    return answer(HeartbeatAnswer(lease_expires_at=until))


@router.post("/tell", summary="Tell what came of several trials", response_model=TellAllAnswer)
def tell_trials(
    here: Here,
    request: Request,
    experiment_id: ExperimentId,
    body: Annotated[TellAllRequest, FromJson()],
    key: Key = None,
) -> Response:
    """Each trial is taken in or refused by itself; the answer says which."""

    def work() -> Response:
        experiment = tx.experiment(experiment_id)
        found = tuple(_told(tx, experiment, trial) for trial in body.trials)
        return answer(TellAllAnswer(trials=found, told=sum(one.status == "told" for one in found)))

    with here.store.write() as tx:
        return perform(tx, Once.of(request, key, body), work)


def _told(tx: Tx, experiment: Experiment, trial: ToldTrial) -> Told:
    try:
        service.tell(tx, experiment, trial.number, trial.token, trial.value, trial.measured, TrialState(trial.state))
    except TunesmithError as error:  # nothing of it was written
        return Told(number=trial.number, status="refused", code=error.code, error=error.message)
    return Told(number=trial.number, status="told")


def _finished(
    here: Context, once: Once | None, experiment_id: int, work: Callable[[Tx, Experiment], Trial]
) -> Response:
    def perform_it() -> Response:
        experiment = tx.experiment(experiment_id)
        return answer(TrialAnswer.of(experiment, work(tx, experiment)))

    with here.store.write() as tx:
        return perform(tx, once, perform_it)


class _Asked:
    """One request for trials, until it is answered."""

    def __init__(self, here: Context, experiment_id: int, wanted: AskRequest, once: Once | None) -> None:
        self.here, self.experiment_id, self.wanted, self.once = here, experiment_id, wanted, once
        self.missing = wanted.count

    def choose(self) -> None:
        """See to it that the experiment says how points are chosen: the first ask does, and any later one may."""
        search = None if self.wanted.optimizer is None else self.wanted.optimizer.search()
        with self.here.store.read() as tx:
            experiment = tx.experiment(self.experiment_id)
        service.check_askable(experiment)
        if experiment.asking is not None and search is None:
            return
        planned = plan_asking(experiment, search, self.here.settings.max_grid_points, experiment.asking)
        if experiment.asking is not None and planned == experiment.asking.evolve(asked_before=None):
            return
        with self.here.store.write() as tx:
            tx.lock_experiment(experiment.id)
            if search is not None or tx.experiment(experiment.id).asking is None:  # else somebody else was first
                tx.set_asking(experiment.id, planned)

    def handed(self, prepared: Prepared | None = None) -> Response | None:
        """The answer; None when there are too few trials and more have to be prepared first (`missing`)."""
        with self.here.store.write() as tx:
            if self.once is not None and (earlier := self.once.replay(tx)) is not None:
                return earlier
            tx.lock_experiment(self.experiment_id)
            experiment = tx.experiment(self.experiment_id)
            service.check_askable(experiment)
            found = service.free(tx, experiment, self.wanted.count, self.wanted.worker)
            self.missing = found.missing
            if found.missing and prepared is None:
                return None
            waiting, running = tx.open_counts(experiment.id)
            if not found.trials and prepared is not None and prepared.state == "over" and not running:
                raise Exhausted(f"{Exhausted.__doc__} ({prepared.reason})", experiment_id=experiment.id)
            response = perform(tx, self.once, lambda: self._answered(tx, found.trials))
        if experiment.asking is not None and (prepared is None or prepared.state == "more"):
            ahead, enough = _ahead(experiment.asking, running + len(found.trials))
            if waiting - len(found.trials) < enough:
                self.here.platform.refill(experiment.id, ahead)
        return response

    def _answered(self, tx: Tx, trials: list[Trial]) -> Response:
        given = tx.hand_out(self.experiment_id, trials, self.wanted.worker, self.wanted.lease_s)
        found = tuple(map(AskedTrial.of, given))
        retry_after_s = None if found else RETRY_AFTER_S
        return answer(AskAnswer(experiment_id=self.experiment_id, trials=found, retry_after_s=retry_after_s))


def _ahead(search: Search, running: int) -> tuple[int, int]:
    """How many points should wait for so many workers, and how few are filled up again.

    Those of a search that learns are chosen late, one by one, as each should know what it can.
    """
    if not learns(search):
        return MAX_AHEAD, MAX_AHEAD // 2
    ahead = min(MAX_AHEAD, running // 2)
    return ahead, ahead
