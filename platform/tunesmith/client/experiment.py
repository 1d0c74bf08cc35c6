"""The handle of an experiment: submit jobs, read trials, change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tunesmith.client.answers import paged, parsed, parsed_job, parsed_list
from tunesmith.client.connection import Connection
from tunesmith.client.job import Job
from tunesmith.domain import Parameter
from tunesmith.errors import JobNotFound, TrialNotFound
from tunesmith.schemas.experiments import ExperimentAnswer, ExperimentDetail
from tunesmith.schemas.jobs import JobAnswer, JobEnvelope
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


def _optimizer(given: Optimizer) -> Any:
    if isinstance(given, OptimizerRequest):
        return given.model_dump(mode="json", exclude_unset=True) | {"type": given.type}
    return {"type": given} if isinstance(given, str) else given
