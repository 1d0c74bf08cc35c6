"""`Client`: experiments and jobs of one platform, over REST."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import httpx2

from tunesmith.client.answers import paged, parsed
from tunesmith.client.audit import Audit
from tunesmith.client.connection import Connection
from tunesmith.client.discovery import DEFAULT_URL, platform_url
from tunesmith.client.experiment import Experiment, PriorityWord
from tunesmith.client.job import Job
from tunesmith.client.model_runs import ModelRuns, models
from tunesmith.client.naming import find
from tunesmith.client.notifications import Notifications
from tunesmith.client.records import Progress
from tunesmith.client.secrets import Secrets
from tunesmith.client.sessions import Sessions
from tunesmith.client.tokens import Tokens
from tunesmith.client.training_jobs import TrainingJobs
from tunesmith.domain import JobState
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.health import HealthAnswer, ReadyAnswer
from tunesmith.schemas.identity import MeAnswer
from tunesmith.schemas.jobs import JobAnswer
from tunesmith.schemas.model_runs import ModelAnswer
from tunesmith.schemas.records import ExperimentForm, Record
from tunesmith.schemas.requests import ExperimentRequest
from tunesmith.schemas.samplers import PrunerAnswer, PrunersAnswer, SamplerAnswer, SamplersAnswer
from tunesmith.schemas.words import EXPERIMENT_WORDS

if TYPE_CHECKING:
    from tunesmith.client.tune_request import TuneOptions
    from tunesmith.client.tune_result import Result
    from tunesmith.client.tune_space import SpaceLike


class Client:
    """A platform's client; safe to share between threads.

    Every call raises the same error class as the server did, by its code, and ConnectionFailed when no answer came.
    A lost connection, a 429 and a 503 are retried with backoff; no POST is ever done twice, by its idempotency key.

        with Client() as client:
            experiment = client.create_experiment(
                tool_name="sleep",
                parameters=[{"name": "s", "minimum": 0, "maximum": 1}],
                command_template_string="sleep ${s}",
            )
            experiment.submit({"type": "random", "n_iter": 20}).wait()
            print(experiment.best())
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        workspace: str | None = None,
        certificate: str | Path | None = None,
    ) -> None:
        """A client of the platform at `url`.

        Without one: `TUNESMITH_URL`, else the platform that runs in `TUNESMITH_DATA_DIR`, else http://127.0.0.1:8000.
        `token` is a user's, or the platform's key, without one `TUNESMITH_API_KEY`. `workspace` is the name of the one
        to work in, without one `TUNESMITH_WORKSPACE`, else the user's own.
        `transport` carries the requests instead of the network; `timeout` is in seconds, per request.
        `certificate`: the platform's own (PEM), which is trusted then, whatever names it has; that of a platform in
        `TUNESMITH_DATA_DIR` is known. Raises ConnectionFailed when the URL is none, or the certificate cannot be read.
        """
        if url is None:
            url = DEFAULT_URL if transport is not None else platform_url()
        token = token or os.environ.get("TUNESMITH_API_KEY") or None
        self._connection = Connection(url, token, transport, timeout, retries, workspace, certificate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    @property
    def url(self) -> str:
        """The platform's URL."""
        return self._connection.url

    @property
    def notifications(self) -> Notifications:
        """The notifications of training jobs."""
        return Notifications(self._connection)

    @property
    def tokens(self) -> Tokens:
        """The tokens of whoever the client's own one belongs to."""
        return Tokens(self._connection)

    @property
    def audit(self) -> Audit:
        """The audit log."""
        return Audit(self._connection)

    @property
    def secrets(self) -> Secrets:
        """The secrets of the workspace, which tools are given by name."""
        return Secrets(self._connection)

    @property
    def training_jobs(self) -> TrainingJobs:
        """The training jobs: programs on a schedule, with retries."""
        return TrainingJobs(self._connection)

    @property
    def sessions(self) -> Sessions:
        """The sessions: workspaces of datasets and scenarios; `client.sessions("main")` is one."""
        return Sessions(self._connection)

    @property
    def runs(self) -> ModelRuns:
        """The runs of models."""
        return ModelRuns(self._connection)

    def models(self) -> tuple[ModelAnswer, ...]:
        """The models that can be run, with their parameters."""
        return models(self._connection)

    def close(self) -> None:
        """Close its connections."""
        self._connection.close()

    def create_experiment(
        self, request: ExperimentRequest | Mapping[str, Any] | None = None, /, **fields: Any
    ) -> Experiment:
        """Make an experiment, or find the one of the same content; fields as in `ExperimentRequest`.

        Raises:
            InvalidBody, InvalidSpace: the server refuses it; `details` names the fields.
        """
        given = (
            request.model_dump(mode="json", exclude_unset=True) if isinstance(request, ExperimentRequest) else request
        )
        body = self._connection.post("/api/v1/experiments", {**(given or {}), **fields})
        return self._experiment(parsed(self._connection, ExperimentAnswer, body))

    def import_trials(
        self, form: ExperimentForm, records: Iterable[Record], progress: Progress | None = None
    ) -> Experiment:
        """Make an experiment with trials that were made elsewhere; they keep their numbers.

        Raises:
            Conflict: there is one of this content that has trials already, or a study of this name.
            InvalidBody: the experiment or a record is invalid; what was made for it is archived.
        """
        from tunesmith.client.importing import import_trials

        return import_trials(self, self._connection, form, records, progress)

    def experiment(self, experiment: int | str) -> Experiment:
        """An experiment, by its id, or by the name of exactly one that is not archived (its own, or its tool's).

        Raises:
            ExperimentNotFound: there is none; the message has names that are near.
            Conflict: several have that name; the message has their ids.
        """
        if isinstance(experiment, str) and not experiment.isdecimal():
            return find(self, experiment)
        found = Experiment(self._connection, int(experiment))
        found.refresh()
        return found

    def experiments(
        self, q: str | None = None, limit: int | None = None, archived: bool = False
    ) -> Iterator[Experiment]:
        """The experiments whose name holds `q` (all by default), newest first, page after page, at most `limit`."""
        options = {"q": q, "archived": "true" if archived else None}
        answers = paged(self._connection, "/api/v1/experiments", "experiments", ExperimentAnswer, limit, **options)
        return map(self._experiment, answers)

    def job(self, job_id: str) -> Job:
        """A job. Raises JobNotFound."""
        job = Job(self._connection, job_id)
        job.refresh()
        return job

    def jobs(self, status: str | None = None, limit: int = 1000) -> list[Job]:
        """The newest jobs of a status (`queued`, `running`, `paused`, `finished`, `failed`, `stopped`), or all."""
        word = EXPERIMENT_WORDS[JobState(status)] if status in set(JobState) else status
        answers = paged(self._connection, "/api/v1/jobs", "jobs", JobAnswer, limit, status=word)
        return [Job(self._connection, answer.job_id, answer) for answer in answers]

    def tune(
        self,
        objective: Callable[..., Any],
        space: SpaceLike | None = None,
        *,
        workers: int | None = None,
        priority: PriorityWord = "normal",
        **options: Unpack[TuneOptions],
    ) -> Result:
        """Search the parameters that make a Python function smallest, or largest, on the platform.

            result = client.tune(objective, {"x": Float(-5, 5)}, trials=200, name="first try")

        Takes what `tuners.tune` takes, described there, but `storage` and `catch`. The function is shipped by value,
        with the modules that lie beside its own; what it imports from installed packages must be installed where it
        runs. `workers` are trials at once, at most (unset: as many as there is room for). With a `name`, a later call
        goes on with the run, or follows it where it is running still; Ctrl-C pauses it then, and cancels it without
        one. Whoever just goes away leaves it running.

        Raises:
            InvalidBody, InvalidSpace, InvalidOptimizer: an argument is wrong, or the function cannot be shipped.
            BadRequest: the platform runs another Python, or an incompatible cloudpickle.
            PayloadTooLarge: the function drags too much data along.
            Interrupted: Ctrl-C (a KeyboardInterrupt); its `result` is what was found until then.
            TunesmithError: no trial succeeded, or too many failed.
        """
        from tunesmith.client.tune import tune

        return tune(self, self._connection, objective, space, workers, priority, options)

    def samplers(self) -> tuple[SamplerAnswer, ...]:
        """The samplers of the platform, with their options."""
        return parsed(self._connection, SamplersAnswer, self._connection.get("/api/v1/samplers")).samplers

    def pruners(self) -> tuple[PrunerAnswer, ...]:
        """The pruners of the platform, with their options."""
        return parsed(self._connection, PrunersAnswer, self._connection.get("/api/v1/pruners")).pruners

    def me(self) -> MeAnswer:
        """Who the platform says that asks, and what that one may do in which workspace."""
        return parsed(self._connection, MeAnswer, self._connection.get("/v1/auth/me"))

    def health(self) -> HealthAnswer:
        """What the platform says about itself. Raises Unavailable when it cannot work."""
        return parsed(self._connection, HealthAnswer, self._connection.get("/health"))

    def ready(self) -> ReadyAnswer:
        """Whether it takes work. Raises Unavailable while it does not; `details` says what is missing."""
        return parsed(self._connection, ReadyAnswer, self._connection.get("/ready"))

    def _experiment(self, answer: ExperimentAnswer) -> Experiment:
        return Experiment(self._connection, answer.id, answer)
