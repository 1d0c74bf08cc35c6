"""Whole trials over REST: read with everything that is known, added all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve_app.app import build
from tunesmith.domain import Measurement
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store import records as queries
from tunesmith.testing.factories import finished_trial, running_job

POINT = {"x": 0.5, "c": None}


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"number": number, "state": "complete", "params": POINT, "values": [1.5], **changes}


@pytest.fixture
def api(settings: Settings, store: Store) -> Iterator[TestClient]:
    """The application on every kind of database in turn."""
    with TestClient(build(settings, store=store)) as client:
        yield client


@pytest.fixture
def path(api: TestClient) -> str:
    body = {
        "tool_name": "elsewhere",
        "external": True,
        "parameters": [
            {"name": "x", "minimum": 0, "maximum": 1},
            {"name": "c", "type": "categorical", "choices": [1, "1", None, True]},
        ],
        "objectives": [{"metric": "loss"}],
    }
    made = api.post("/api/v1/experiments", json=body)
    assert made.status_code == 201, made.text
    return f"/api/v1/experiments/{made.json()['id']}/records"


def add(api: TestClient, path: str, *records: dict[str, Any], **rest: Any) -> Any:
    return api.post(path, json={"records": records, **rest})


def numbers(api: TestClient, path: str) -> list[int]:
    return [found["number"] for found in api.get(path).json()["records"]]


class TestAdding:
    def test_a_record_is_read_back_as_it_was_sent(self, api: TestClient, path: str) -> None:
        sent = record(
            7,
            values=["-inf"],
            metrics={"acc": 0.25},
            violation="inf",
            intermediate_values=[
                {"metric": "loss", "step": -1, "value": "nan"},
                {"metric": "loss", "step": 2, "value": "inf"},
            ],
            user_attrs={"ünï": [{"$float": "nan"}, 10**30]},
            system_attrs={"a": {"b": None}},
            error="exit 1\n",
            attempt=3,
            worker="host:1",
            created_at="2026-01-31T12:00:04.110001Z",
            started_at="2026-01-31T12:00:04.110002Z",
            ended_at="2026-01-31T12:00:05.999999Z",
        )
        assert add(api, path, sent).json() == {"count": 1, "first_number": 7, "outside": 0}
        (found,) = api.get(path).json()["records"]
        assert {name: found[name] for name in sent} == sent
        assert (found["job_id"], found["run_number"]) == (None, None)

    def test_numbers_are_kept_in_an_empty_experiment_and_new_behind_others(self, api: TestClient, path: str) -> None:
        assert add(api, path, record(3), record(9)).json()["first_number"] == 3
        assert add(api, path, record(3), record(4)).json()["first_number"] == 10
        assert numbers(api, path) == [3, 9, 10, 11]

    def test_a_number_that_is_to_be_kept_must_be_free(self, api: TestClient, path: str) -> None:
        add(api, path, record(3))
        refused = add(api, path, record(4), record(2), keep_numbers=True)
        assert refused.status_code == 409
        assert "records.1.number: 2 is taken, the next free one is 4" in refused.json()["error"]
        assert add(api, path, record(20), keep_numbers=True).status_code == 201
        assert numbers(api, path) == [3, 20]

    def test_they_count_and_the_best_of_them_is_the_best(self, api: TestClient, path: str) -> None:
        add(api, path, record(0, values=[2.0]), record(1, values=[0.5]), record(2, state="failed", values=None))
        found = api.get(path.removesuffix("/records")).json()
        assert found["best"]["number"] == 1
        assert (found["trial_counts"]["complete"], found["trial_counts"]["failed"]) == (2, 1)

    def test_a_batch_that_is_sent_again_is_not_doubled(self, api: TestClient, path: str) -> None:
        headers = {"Idempotency-Key": "batch-1"}
        first, again = (
            api.post(path, json={"records": [record(0)], "keep_numbers": False}, headers=headers) for _ in range(2)
        )
        assert first.json() == again.json()
        assert numbers(api, path) == [0]

    def test_points_outside_the_space_are_counted(self, api: TestClient, path: str) -> None:
        assert add(api, path, record(0), record(1, params={"x": 7.0, "c": "other"})).json()["outside"] == 1

    def test_what_is_noted_about_the_experiment_is_added_to_what_was(self, api: TestClient, path: str) -> None:
        add(api, path, user_attrs={"a": 1}, system_attrs={"s": {"$float": "-inf"}})
        add(api, path, user_attrs={"b": 2})
        study = api.get(path).json()["study"]
        assert study == {
            "name": None,
            "user_attrs": {"a": 1, "b": 2},
            "system_attrs": {"s": {"$float": "-inf"}},
        }


class TestRefusing:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"values": None}, "values: a complete trial has 1, one per objective"),
            ({"values": [1.0, 2.0]}, "there are 1 objectives (loss)"),
            ({"values": ["nan"]}, "records.1.values.0: must be a number"),
            ({"values": ["1.5"]}, "records.1.values.0"),
            ({"params": {"y": 1}}, "params.y: no such parameter; there are x, c (given: 1)"),
            ({"params": {"x": True}}, "params.x: is no value of a parameter of type float (given: True)"),
            ({"state": "done"}, "records.1.state"),
            ({"number": 0}, "number: stands there twice"),
            ({"number": -1}, "records.1.number"),
            ({"colour": "red"}, "unknown field 'colour'"),
            ({"started_at": "2026-01-01T00:00:00"}, "records.1.started_at"),
            ({"intermediate_values": [{"metric": "m", "step": 1, "value": 1.0}] * 2}, "has 2 values at this step"),
            ({"intermediate_values": [{"metric": "m", "step": 2**63, "value": 1.0}]}, "step"),
            ({"user_attrs": {"a": "\0"}}, "NUL"),
        ],
    )
    def test_one_bad_record_refuses_all_of_them(
        self, api: TestClient, path: str, changes: dict[str, Any], message: str
    ) -> None:
        refused = add(api, path, record(0), record(1) | changes)
        assert refused.status_code == 400, refused.text
        assert message in refused.json()["error"]
        assert numbers(api, path) == []

    def test_a_trial_of_a_study_says_what_its_parameters_were_drawn_from(self, api: TestClient) -> None:
        made = api.post("/api/v1/studies", json={"name": "s"}).json()
        path = f"/api/v1/experiments/{made['id']}/records"
        refused = add(api, path, record(0, params={"x": 1.0}))
        assert refused.status_code == 400
        assert "params.x: has no distribution" in refused.json()["error"]
        noted = {"tunesmith:distributions": {"x": '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 2}}'}}
        assert add(api, path, record(0, params={"x": 1.0}, system_attrs=noted)).status_code == 201, refused.text

    def test_an_archived_experiment_takes_none(self, api: TestClient, path: str) -> None:
        api.patch(path.removesuffix("/records"), json={"archived": True})
        assert add(api, path, record(0)).json()["code"] == "EXPERIMENT_ARCHIVED"

    def test_an_experiment_that_is_not_there(self, api: TestClient) -> None:
        for answer in (api.get("/api/v1/experiments/99/records"), add(api, "/api/v1/experiments/99/records")):
            assert answer.json()["code"] == "EXPERIMENT_NOT_FOUND"

    def test_a_study_has_a_name_of_its_own(self, api: TestClient) -> None:
        assert api.post("/api/v1/studies", json={"name": "s"}).status_code == 201
        again = api.post("/api/v1/studies", json={"name": "s"})
        assert (again.status_code, "a study is called 's' already" in again.json()["error"]) == (409, True)


class TestReading:
    def test_pages_follow_one_another(self, api: TestClient, path: str) -> None:
        add(api, path, *(record(number) for number in range(0, 14, 2)))
        found: list[int] = []
        cursor = None
        while True:
            page = api.get(path, params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
            found += [one["number"] for one in page["records"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == list(range(0, 14, 2))

    def test_a_page_ends_early_where_trials_reported_much(
        self, api: TestClient, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "MAX_MEASUREMENTS", 10)
        curve = [{"metric": "loss", "step": step, "value": 1.0} for step in range(12)]
        lengths = (12, 4, 4, 0, 4, 12, 0)
        add(api, path, *(record(n, intermediate_values=curve[:length]) for n, length in enumerate(lengths)))
        found, cursor, pages = [], None, 0
        while pages == 0 or cursor is not None:
            page = api.get(path, params={"cursor": cursor} if cursor else {}).json()
            found += [(one["number"], len(one["intermediate_values"])) for one in page["records"]]
            cursor, pages = page["next_cursor"], pages + 1
        assert found == list(enumerate(lengths))
        assert pages > 3

    def test_trials_of_a_job_have_it_beside_them(self, api: TestClient, store: Store) -> None:
        from tunesmith.testing.factories import new_experiment

        experiment = new_experiment(store)
        job = running_job(store, experiment)
        measured = [Measurement(experiment_id=experiment.id, number=0, metric="loss", step=1, value=0.5)]
        with store.write() as tx:
            tx.record(job.id, job.lease_token or "", experiment, [finished_trial(job, 0, 0.5)], measured)
        (found,) = api.get(f"/api/v1/experiments/{experiment.id}/records").json()["records"]
        assert (found["job_id"], found["run_number"]) == (job.id, 1)
        assert found["intermediate_values"] == [{"metric": "loss", "step": 1, "value": 0.5}]
