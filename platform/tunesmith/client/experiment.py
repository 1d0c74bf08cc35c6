"""The handle of an experiment: submit jobs, read trials, change it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from tunesmith.client.analysis import read_analysis, read_figure, read_kinds
from tunesmith.client.answers import paged, parsed, parsed_job, parsed_list
from tunesmith.client.asking import PATIENCE_S, Desk, TrialToRun
from tunesmith.client.connection import Connection
from tunesmith.client.job import Job
from tunesmith.client.records import Imported, Progress, read_records, read_study, send_records
from tunesmith.client.trials_to_run import TrialsToRun, new_worker
from tunesmith.domain import Parameter
from tunesmith.errors import JobNotFound, TrialNotFound
from tunesmith.schemas.analysis import Analysis, AnalysisKind
from tunesmith.schemas.asking import LEASE_S, Told
from tunesmith.schemas.experiments import ExperimentAnswer, ExperimentDetail
from tunesmith.schemas.jobs import JobAnswer, JobEnvelope
from tunesmith.schemas.records import Record, RecordAnswer, StudyForm
from tunesmith.schemas.requests import OptimizerRequest
from tunesmith.schemas.trials import TrialAnswer, TrialDetail

PriorityWord = Literal["low", "normal", "high", "critical"]
Optimizer = OptimizerRequest | Mapping[str, Any] | str
"""How to search: `{"type": "tpe", "n_iter": 100}`, the same as an OptimizerRequest, or a sampler's bare name."""


class Experiment:
    """An experiment of the platform. Every method that asks the server raises TunesmithError: ExperimentNotFound."""

    def __init__(self, connection: Connection, experiment_id: int, info: ExperimentAnswer | None = None) -> None:
        self._connection = connection
        self._info = info
        self._path = f"/api/v1/experiments/{experiment_id}"
        self.id = experiment_id

    def __repr__(self) -> str:
        return f"Experiment({self.id}, {self._info.name if self._info else 'not asked yet'!r})"

    @property
    def info(self) -> ExperimentAnswer:
        """The experiment as it stood when the server was last asked."""
        return self._info if self._info is not None else self.refresh()

    def refresh(self) -> ExperimentDetail:
        """The experiment as it stands now, with its job and its best."""
        detail = parsed(self._connection, ExperimentDetail, self._connection.get(self._path))
        self._info = detail
        return detail

    def submit(self, optimizer: Optimizer | None = None, priority: PriorityWord | None = None) -> Job:
        """Queue a job; without an optimizer the server's default one.

        Raises:
            InvalidOptimizer: no such sampler, or it does not take these fields.
            JobActive: the experiment has a queued or running job.
            ExperimentArchived: it takes no new jobs.
            NodeTypeUnavailable: the cluster has no node of the type that it needs.
        """
        body: dict[str, Any] = {}
        if optimizer is not None:
            body["optimizer"] = _optimizer(optimizer)
        if priority is not None:
            body["priority"] = priority
        envelope = parsed(self._connection, JobEnvelope, self._connection.post(f"{self._path}/trials", body))
        return Job(self._connection, envelope.job.job_id, envelope.job, envelope.warnings)

    def trials(
        self,
        state: str | None = None,
        order: Literal["number", "value"] | None = None,
        limit: int | None = None,
    ) -> Iterator[TrialAnswer]:
        """Its trials, page after page, at most `limit`; `order="value"` gives the best first."""
        path = f"{self._path}/trials"
        return paged(self._connection, path, "trials", TrialAnswer, limit, state=state, order=order)

    def trial(self, number: int) -> TrialDetail:
        """One trial, with its intermediate values. Raises TrialNotFound."""
        return parsed(self._connection, TrialDetail, self._connection.get(f"{self._path}/trials/{number}"))

    def records(self, progress: Progress | None = None) -> Iterator[RecordAnswer]:
        """Its trials with all that is known about them, intermediate values too, by number."""
        return read_records(self._connection, self._path, progress)

    def study(self) -> StudyForm:
        """What it is as an Optuna study: its name (None where a space was declared), and what was noted about it."""
        return read_study(self._connection, self._path)

    def add_records(
        self,
        records: Iterable[Record],
        keep_numbers: bool | None = None,
        noted: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Add trials that were made elsewhere, in batches; each is added whole or not at all, and never twice.

        They keep their numbers where it has no trial yet, else they get the next ones (`keep_numbers` decides
        otherwise). `noted`: its `user_attrs` and `system_attrs` as a study.

        Raises:
            InvalidBody: a record does not fit; `details["added"]` is how many were added before its batch.
            Conflict: a number that is to be kept is taken, or the experiment is archived.
        """
        return send_records(self._connection, self._path, records, keep_numbers, noted, progress)

    def best(self) -> TrialAnswer | list[TrialAnswer] | None:
        """The best trial so far (None before the first); with several objectives the list of the Pareto set."""
        try:
            body = self._connection.get(f"{self._path}/best")
        except TrialNotFound:
            return None
        if isinstance(body, list):
            return parsed_list(self._connection, TrialAnswer, body)
        return parsed(self._connection, TrialAnswer, body)

    def front(self) -> list[TrialAnswer]:
        """The best trials as a list, for any number of objectives: none, one, or the Pareto set."""
        best = self.best()
        return best if isinstance(best, list) else [best] if best is not None else []

    def trials_to_run(
        self,
        worker: str | None = None,
        count: int = 1,
        optimizer: Optimizer | None = None,
        lease_s: float = LEASE_S,
        max_trials: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> TrialsToRun:
        """Trials for this process to evaluate, until there is nothing left to try, or it had `max_trials`.

            for trial in experiment.trials_to_run():
                with trial:
                    trial.tell(train(**trial.params))

        What is held is kept by heartbeats from a thread; a process that dies loses it after `lease_s` seconds, and
        another worker gets it. Going on without a `tell` fails a trial; an exception that leaves the loop fails it
        too, with its traceback; leaving the loop by `break` or Ctrl-C gives it back. (`with trial` knows exactly what
        was raised. Without it, Python before 3.12 takes `sys.exit()` in the loop for an error.)

        Args:
            worker: A name: who asks again under it, after a crash say, gets back first what it holds. Loops that run
                at the same time need names of their own; unset: a new one.
            count: Trials to ask for at once, to save requests where they are short.
            optimizer: How points are chosen from now on, for every worker; unset: as before, at first `auto`.
            lease_s: Seconds after which a worker that is not heard of loses its trials.
            max_trials: Trials to take, at most.
            patience_s: Seconds that a server which does not answer is waited for.

        Raises:
            InvalidOptimizer: at the first trial: no such sampler, or one that only jobs can have.
            ExperimentArchived, AsksWhileRunning: nobody can ask for trials of the experiment.
            ConnectionFailed, Unavailable: the server did not come back in time.
        """
        chosen = None if optimizer is None else _optimizer(optimizer)
        return TrialsToRun(self._desk(worker or new_worker(), lease_s, patience_s), count, chosen, max_trials)

    def ask(
        self,
        count: int = 1,
        worker: str | None = None,
        optimizer: Optimizer | None = None,
        lease_s: float = LEASE_S,
    ) -> list[TrialToRun]:
        """Trials to evaluate, at most `count`; none when others have to be told of first (ask again in a second).

        Nobody prolongs their leases but their `report` and `heartbeat`: see `trials_to_run` for a worker's loop.

        Raises:
            Exhausted: nothing is left to try.
            InvalidOptimizer, ExperimentArchived, AsksWhileRunning: as with `trials_to_run`.
        """
        desk = self._desk(worker, lease_s, PATIENCE_S)
        return desk.ask(count, None if optimizer is None else _optimizer(optimizer))[0]

    def tell(self, results: Iterable[tuple[TrialToRun, Any]]) -> list[Told]:
        """Finish several trials in one request: pairs of a trial and what its `tell` takes: a value, or several.

        Each is taken in or refused by itself; the answers, in the same order, say which, and why. Raises BadRequest.
        """
        return self._desk(None, LEASE_S, PATIENCE_S).tell(results)

    def analyses(self) -> list[AnalysisKind]:
        """What its trials can be analysed for, and why not where not."""
        return read_kinds(self._connection, self._path)

    def analysis(self, kind: str, **options: Any) -> Analysis:
        """An analysis as arrays: `analysis("history")`, `analysis("slice", params=["lr"], objective="loss")`.

        Options are `objective`, `params`, `max_trials` and `evaluator`, as the kind takes them. Raises BadRequest.
        """
        return read_analysis(self._connection, self._path, kind, options)

    def figure(self, kind: str, **options: Any) -> Any:
        """The same as a `plotly.graph_objects.Figure`. Raises BadRequest."""
        return read_figure(self._connection, self._path, kind, options)

    def job(self) -> Job | None:
        """Its queued or running job, if it has one."""
        try:
            answer = parsed_job(self._connection, self._connection.get(f"{self._path}/job"))
        except JobNotFound:
            return None
        return Job(self._connection, answer.job_id, answer)

    def stop(self) -> JobAnswer:
        """Stop its job; finished trials stay. Raises JobNotFound where nothing runs."""
        return parsed_job(self._connection, self._connection.post(f"{self._path}/stop"))

    def update(
        self,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        archived: bool | None = None,
        parameters: Sequence[Parameter | Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
    ) -> ExperimentAnswer:
        """Rename, tag, archive, or give later jobs a wider or narrower space.

        `parameters` are the same ones with other ranges or choices; `parameter_constraints` stand instead of the
        present ones, `()` lifts them. Raises InvalidSpace, InvalidBody.
        """
        changes = {
            "name": name,
            "tags": tags,
            "archived": archived,
            "parameters": parameters,
            "parameter_constraints": parameter_constraints,
        }
        body = {field: value for field, value in changes.items() if value is not None}
        self._info = parsed(self._connection, ExperimentAnswer, self._connection.patch(self._path, body))
        return self._info

    def _desk(self, worker: str | None, lease_s: float, patience_s: float) -> Desk:
        objectives = tuple(objective.metric for objective in self.info.objectives)
        return Desk(self._connection, self._path, objectives, worker, lease_s, patience_s)


def _optimizer(given: Optimizer) -> Any:
    if isinstance(given, OptimizerRequest):
        return given.model_dump(mode="json", exclude_unset=True) | {"type": given.type}
    return {"type": given} if isinstance(given, str) else given
