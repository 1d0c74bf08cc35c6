"""`AutoMLClient`: models trained from templates: configured, trained, watched, asked and saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx2

from tunesmith.client.answers import paged_rows
from tunesmith.client.connection import Connection
from tunesmith.client.discovery import DEFAULT_URL
from tunesmith.client.predicting import predictions
from tunesmith.client.receiving import receive
from tunesmith.client.waiting import await_end
from tunesmith.errors import BadRequest, TunesmithError

if TYPE_CHECKING:
    import pandas

    Rows = Iterable[Mapping[str, Any]] | pandas.DataFrame

PREFIX = "/v1"
ENDED = ("completed", "failed", "stopped")
TIMEOUT_S = 90.0
"""Seconds that an answer may take: the server gives up on a prediction after 60."""
COSTS = ("_time_s", "_bytes")
"""What the names of metrics end with that say what a training took."""
Told = Callable[[dict[str, Any]], object]


class AutoMLClient:
    """A client of a platform's trainings; safe to share between threads.

    Answers are dicts, as the server gave them. Every call raises the same error class as the server did, by its code,
    and ConnectionFailed when no answer came. A lost connection, a 429 and a 503 are retried with backoff; nothing is
    trained twice by that.

        with AutoMLClient() as client:
            config = client.config("classification")
            config["data"] = {"train_path": "churn.csv", "target": "left"}
            model = client.wait(client.train(config)["model_id"], progress=True)
            print(model["metrics"], client.predict(model["model_id"], [{"age": 41, "plan": "basic"}]))
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str = DEFAULT_URL + PREFIX,
        *,
        transport: httpx2.BaseTransport | None = None,
        timeout_s: float = TIMEOUT_S,
        workspace: str | None = None,
    ) -> None:
        """A client of the platform at `base_url`, with or without `/v1` at its end.

        `api_key` is a token of `login` or the platform's key, without one `TUNESMITH_API_KEY`, if that is set;
        `workspace` is the one to work in, without one `TUNESMITH_WORKSPACE`, else the user's own.
        `transport` carries the requests instead of the network. Raises ConnectionFailed when the URL is none.
        """
        key = api_key or os.environ.get("TUNESMITH_API_KEY") or None
        self._connection = _connection(key, base_url, transport, timeout_s, workspace)

    @classmethod
    def login(
        cls,
        username: str,
        password: str,
        base_url: str = DEFAULT_URL + PREFIX,
        *,
        transport: httpx2.BaseTransport | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Self:
        """A client with a new token of this user. Raises Unauthenticated."""
        token = access_token(username, password, base_url, transport=transport)
        return cls(token["access_token"], base_url, transport=transport, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AutoMLClient(base_url={self.base_url!r})"

    @property
    def base_url(self) -> str:
        """The URL below which the calls lie."""
        return self._connection.url + PREFIX

    def close(self) -> None:
        """Close its connections."""
        self._connection.close()

    def configs(self) -> list[str]:
        """The names of the templates."""
        return list(self._get("/configs")["configs"])

    def config(self, name: str) -> dict[str, Any]:
        """A template's configuration, complete and runnable: change what differs, and train. Raises as `describe`."""
        return dict(self.describe(name)["config"])

    def describe(self, name: str) -> dict[str, Any]:
        """A template: its `config`, the `config_schema` with ranges, its `search_space`. Raises TemplateNotFound."""
        return self._get(f"/configs/{quote(name, safe='')}")

    def train(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        config_name: str | None = None,
        config_overrides: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Begin to train a model: `job_id`, `model_id`, `status` and `metrics`.

        Either a `config`, its section `data` also beside it, or the name of a template and what differs from it.

        Raises:
            InvalidConfig: a key is none or its value out of range; the message has the nearest.
            TemplateNotFound, MissingExtra: there is no such template, or what it needs is not installed.
            Unauthenticated: the platform has users, and this is no token of one.
        """
        given = {"config": config, "data": data, "config_name": config_name, "config_overrides": config_overrides}
        body = {name: value for name, value in given.items() if value is not None}
        return self._object(self._connection.post(f"{PREFIX}/train", body))

    def model(self, model_id: str) -> dict[str, Any]:
        """A model, by its id or its job's: `status`, `progress`, `metrics`, `config`, ... Raises ModelNotFound."""
        return self._get(_path(model_id))

    def models(
        self, status: str | None = None, template: str | None = None, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Models of a status or a template (all by default), newest first, page after page, at most `limit`.

        A status is `initializing`, `training`, `paused`, `completed`, `failed` or `stopped`.
        """
        options = {"status": status, "template": template}
        return paged_rows(self._connection, f"{PREFIX}/models", "models", limit, **options)

    def wait(self, model_id: str, timeout_s: float | None = None, progress: bool | Told = False) -> dict[str, Any]:
        """Wait until the training has ended, and return the model: `completed`, or `stopped` by somebody.

        `progress`: show a bar with the latest metrics, where there is a terminal; or a function that is called with
        every new standing. A server that restarts meanwhile is waited for.

        Raises:
            TimeoutError: it goes on after `timeout_s` seconds.
            TunesmithError: it failed. Or the server cannot be reached for a minute, or knows no such model.
        """
        with _telling(progress) as told:
            model = await_end(
                lambda: self.model(model_id),
                lambda now: now["status"] in ENDED,
                timeout_s,
                told,
                lambda now: f"model {model_id} is still {now['status']}",
            )
        if model["status"] == "failed":
            raise TunesmithError(failure(model), model_id=model_id)
        return model

    def history(self, model_id: str) -> list[dict[str, Any]]:
        """The metrics of each epoch or iteration, with its number, `step`."""
        return list(self.model(model_id)["history"])

    def leaderboard(self, model_id: str, limit: int | None = None) -> dict[str, Any]:
        """The trials of a search, best first: `trials`, and the `metric` and `direction` they are ranked by.

        Raises BadRequest where nothing was searched.
        """
        return self._get(f"{_path(model_id)}/leaderboard", limit=limit)

    def predict(self, model_id: str, rows: Rows) -> list[Any]:
        """The prediction for each row: dicts of features, or a data frame; any number of them.

        Raises:
            NoResults: the model has not been trained yet.
            InvalidData: a row lacks a feature, or its value is none; the message names both.
        """
        return list(self.predictions(model_id, rows)["predictions"])

    def predict_proba(self, model_id: str, rows: Rows) -> list[dict[str, float]]:
        """The probability of each class, by its name, for each row. Raises BadRequest where there are no classes."""
        found = self.predictions(model_id, rows)["probabilities"]
        if found is None:
            raise BadRequest(f"Model {model_id} gives numbers, which have no probabilities; use `predict`")
        return list(found)

    def predictions(self, model_id: str, rows: Rows) -> dict[str, Any]:
        """`predictions` and `probabilities` (None where there are no classes) at once; otherwise as `predict`."""
        return predictions(self._connection, f"{_path(model_id)}/predict", rows)

    def save(self, model_id: str, path: str | Path | None = None) -> Path:
        """Save the trained model as a file, whole and checked by its SHA-256, or not at all; where it lies.

        `path`: the file, or a directory for the server's name of it; unset: the one we are in.

        Raises:
            NoResults: the model has not been trained yet.
            OSError: the file cannot be written.
        """
        return receive(self._connection, f"{_path(model_id)}/artifact", Path() if path is None else Path(path))

    def facts(self, model_id: str) -> dict[str, Any]:
        """What lies beside the file: its SHA-256, the configuration, versions, features, metrics. Raises NoResults."""
        return self._get(f"{_path(model_id)}/artifact", part="facts")

    def stop(self, model_id: str) -> dict[str, Any]:
        """Stop the training; the model as it stands then. Raises StateForbids where it has ended."""
        return self._object(self._connection.post(f"{_path(model_id)}/stop"))

    def delete(self, model_id: str) -> None:
        """Delete the model with its files. Raises StateForbids while it trains."""
        self._connection.delete(_path(model_id))

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        path = path if path.startswith(PREFIX) else PREFIX + path
        return self._object(self._connection.get(path, **params))

    def _object(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise self._connection.not_ours(f"{type(body).__name__} instead of an object")
        return body


def access_token(
    username: str,
    password: str,
    base_url: str = DEFAULT_URL + PREFIX,
    *,
    transport: httpx2.BaseTransport | None = None,
) -> dict[str, Any]:
    """A new token of this user: `access_token`, `token_type`, `expires_at`. Raises Unauthenticated."""
    connection = _connection(None, base_url, transport, TIMEOUT_S)  # an old token would be refused
    try:
        body = connection.post(f"{PREFIX}/auth/token", {"username": username, "password": password})
        if not isinstance(body, dict) or "access_token" not in body:
            raise connection.not_ours("no token")
        return body
    finally:
        connection.close()


def failure(model: Mapping[str, Any]) -> str:
    """Why a training failed, in a sentence."""
    why = model.get("error") or model.get("message")
    return f"the training of model {model['model_id']} failed" + (f": {why}" if why else "")


def shown(metrics: Mapping[str, Any]) -> str:
    """Metrics in a line, but not what the training took."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if not name.endswith(COSTS))


def _path(model_id: str) -> str:
    return f"{PREFIX}/models/{quote(model_id, safe='')}"


def _connection(
    key: str | None,
    base_url: str,
    transport: httpx2.BaseTransport | None,
    timeout_s: float,
    workspace: str | None = None,
) -> Connection:
    return Connection(base_url.rstrip("/").removesuffix(PREFIX), key, transport, timeout_s, workspace=workspace)


@contextmanager
def _telling(progress: bool | Told) -> Iterator[Told | None]:
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        from tunesmith.client.percent import percent_bar

        with percent_bar() as tell:
            yield lambda now: tell(now["status"], now["progress"], shown(now["metrics"]))
