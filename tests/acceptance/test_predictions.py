"""Predictions on a whole platform: in a process that starts when it is needed, and again when it died."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest
from running import PASSWORD, Platform, until

from tunesmith.client.automl import access_token

ROW = {"price": 3, "size": 4.5}


class Model:
    """A model that was trained, and its process."""

    def __init__(self, platform: Platform, client: httpx2.Client) -> None:
        self.platform, self.client = platform, client
        trained = client.post("/v1/train", json={"config_name": "weighing"})
        assert trained.status_code == 202, trained.text
        self.path = f"/v1/models/{trained.json()['model_id']}"
        assert self.ask([ROW]).json()["code"] == "NO_RESULTS"
        until(lambda: self.read()["status"] == "completed")

    def read(self) -> dict[str, Any]:
        return dict(self.client.get(self.path).json())

    def ask(self, rows: list[Mapping[str, Any]]) -> httpx2.Response:
        return self.client.post(f"{self.path}/predict", json={"rows": rows})

    @property
    def process(self) -> int:
        """Its id, as the model says it."""
        return int(self.ask([{"do": "tell"}]).json()["predictions"][0])


@pytest.fixture(scope="module")
def model(shared: Platform) -> Iterator[Model]:
    token = access_token("admin", PASSWORD, shared.url)["access_token"]
    with httpx2.Client(base_url=shared.url, timeout=90, headers={"Authorization": f"Bearer {token}"}) as client:
        yield Model(shared, client)


def test_one_process_predicts_for_all_replicas(model: Model) -> None:
    assert model.ask([ROW, ROW]).json() == {"predictions": [1.5, 1.5], "probabilities": None}
    assert model.platform.pids("predictions") == [model.process]


def test_a_refused_row_is_named_and_nothing_of_it_is_logged_as_an_error(model: Model) -> None:
    refused = model.ask([ROW, {"price": 1, "size": "large"}])
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_DATA")
    assert refused.json()["details"] == {"row": 2, "column": "size"}


def test_many_requests_at_once_are_all_answered(model: Model) -> None:
    answers: list[Any] = []

    def ask(number: int) -> None:
        answers.append((number, model.ask([{"price": number, "size": 0, "wait_s": 0.2}]).json()["predictions"]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(number, [2.0 * number]) for number in range(20)]


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced_and_its_request_answered(model: Model) -> None:
    first = model.process
    killer = threading.Timer(1.0, os.kill, (first, signal.SIGKILL))
    killer.start()
    answer = model.ask([ROW | {"wait_s": 2}])
    assert (answer.status_code, answer.json()["predictions"]) == (200, [1.5]), answer.text
    second = model.process
    assert second != first
    os.kill(second, signal.SIGKILL)
    assert model.ask([ROW]).json()["predictions"] == [1.5]


@pytest.mark.slow
def test_a_request_that_kills_its_process_is_told_so_and_others_go_on(model: Model) -> None:
    refused = model.ask([{"do": "die"}])
    assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    assert int(refused.headers["retry-after"]) >= 1
    assert model.ask([ROW]).json()["predictions"] == [1.5]
