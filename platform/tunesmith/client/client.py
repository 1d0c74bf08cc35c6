"""`Client`: experiments and jobs of one platform, over REST."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import httpx2

from tunesmith.client.answers import paged, parsed, parsed_list
from tunesmith.client.connection import Connection
from tunesmith.client.discovery import DEFAULT_URL, platform_url
from tunesmith.client.experiment import Experiment
from tunesmith.client.job import Job
from tunesmith.schemas.experiments import ExperimentAnswer, ExperimentRequest, JobAnswer


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
    ) -> None:
        """A client of the platform at `url`.

        Without one: `TUNESMITH_URL`, else the platform that runs in `TUNESMITH_DATA_DIR`, else http://127.0.0.1:8000.
        `transport` carries the requests instead of the network; `timeout` is in seconds, per request. Raises
        ConnectionFailed when the URL is none.
        """
        if url is None:
            url = DEFAULT_URL if transport is not None else platform_url()
        self._connection = Connection(url, token, transport, timeout, retries)

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

    def experiment(self, experiment_id: int) -> Experiment:
        """An experiment. Raises ExperimentNotFound."""
        experiment = Experiment(self._connection, experiment_id)
        experiment.refresh()
        return experiment

    def experiments(self, q: str | None = None, limit: int | None = None) -> Iterator[Experiment]:
        """The experiments whose name holds `q` (all by default), newest first, page after page, at most `limit`."""
        path = "/api/v1/experiments"
        return map(self._experiment, paged(self._connection, path, "experiments", ExperimentAnswer, limit, q=q))

    def job(self, job_id: str) -> Job:
        """A job. Raises JobNotFound."""
        job = Job(self._connection, job_id)
        job.refresh()
        return job

    def jobs(self, status: Literal["running", "queued", "failed"] = "running", limit: int | None = None) -> list[Job]:
        """The jobs of that status, newest first, at most 1,000."""
        body = self._connection.get(f"/api/v1/jobs/{status}", limit=limit)
        answers = parsed_list(self._connection, JobAnswer, body)
        return [Job(self._connection, answer.job_id, answer) for answer in answers]

    def samplers(self) -> list[dict[str, Any]]:
        """The samplers of the platform, with their options."""
        body = self._connection.get("/api/v1/samplers")
        if isinstance(body, dict):
            body = body.get("samplers")
        if not isinstance(body, list):
            raise self._connection.not_ours("no list of samplers")
        return body

    def health(self) -> dict[str, Any]:
        """What the platform says about itself. Raises ConnectionFailed when there is none."""
        body = self._connection.get("/health")
        if not isinstance(body, dict):
            raise self._connection.not_ours("no health")
        return body

    def ready(self) -> dict[str, Any]:
        """Whether it takes requests. Raises Unavailable while it does not."""
        return dict(self._connection.get("/ready"))

    def _experiment(self, answer: ExperimentAnswer) -> Experiment:
        return Experiment(self._connection, answer.id, answer)
