"""The experiments surface: experiments, jobs and trials as a client sees them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from serve_app.app import build
from tests.integration.conftest import Surroundings
from tunesmith.domain import JobState, Measurement, TrialState
from tunesmith.schemas.requests import EXAMPLE_EXPERIMENT
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.testing import finished_trial, new_experiment, queued_job, running_job

EXPERIMENTS = "/api/v1/experiments"
EC2 = {"type": "ec2", "instance_model": "t2.micro"}


def post(api: TestClient, **changes: Any) -> dict[str, Any]:
    answer = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT | changes)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


class TestPostingAnExperiment:
    def test_a_new_one_is_created_with_every_default(self, api: TestClient) -> None:
        answer = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT)
        assert answer.status_code == 201
        body = answer.json()
        assert body["id"] == 1
        assert body["name"] == "sleepExample"
        assert body["objectives"] == [{"metric": "wall_time_s", "direction": "minimize"}]
        assert body["compute"]["type"] == "local"
        assert body["trial_counts"] == {"waiting": 0, "running": 0, "complete": 0, "pruned": 0, "failed": 0}
        assert body["created_at"].endswith("Z")

    def test_an_int_parameters_bounds_come_back_as_ints(self, api: TestClient) -> None:
        parameter = {"name": "paramA", "type": "int", "minimum": 1.0, "maximum": 3, "step": 1, "when": {}}
        made = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT | {"parameters": [parameter]})
        assert '"minimum":1,"maximum":3,' in made.text
        plain = {"name": "paramA", "type": "int", "minimum": 1, "maximum": 3}
        again = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT | {"parameters": [plain]})
        assert (made.status_code, again.status_code) == (201, 200)

    def test_the_same_content_is_the_same_experiment(self, api: TestClient) -> None:
        first = post(api)
        again = api.post(EXPERIMENTS, json=dict(reversed(EXAMPLE_EXPERIMENT.items())) | {"tool_name": "SLEEPexample"})
        assert (again.status_code, again.json()["id"]) == (200, first["id"])

    def test_also_when_many_clients_post_at_once(self, live: httpx2.Client) -> None:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: live.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT), range(16)))
        assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
        assert {answer.json()["id"] for answer in answers} == {1}

    def test_a_misspelt_parameter_in_the_template_is_warned_of(self, api: TestClient) -> None:
        body = post(api, command_template_string="sleep ${paramA} ${parmB} $HOME ${other}; paramC=1; echo $paramC")
        (warning,) = body["warnings"]
        assert "${parmB}" in warning
        assert "did you mean ${paramB}?" in warning
        assert api.get(f"{EXPERIMENTS}/{body['id']}").json()["warnings"] == [warning]

    def test_the_order_of_its_fields_does_not_matter_to_an_idempotency_key(self, api: TestClient) -> None:
        key = {"Idempotency-Key": "one"}
        first = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT, headers=key)
        again = api.post(EXPERIMENTS, json=dict(reversed(EXAMPLE_EXPERIMENT.items())), headers=key)
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()

    def test_an_idempotency_key_with_another_body_is_refused(self, api: TestClient) -> None:
        key = {"Idempotency-Key": "one"}
        api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT, headers=key)
        other = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT | {"tool_name": "other"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_MISMATCH")
        assert len(api.get(EXPERIMENTS).json()["experiments"]) == 1


class TestReadingExperiments:
    def test_one_comes_with_its_job_its_best_and_its_counts(self, api: TestClient, sqlite_store: Store) -> None:
        experiment = new_experiment(sqlite_store)
        assert api.get(f"{EXPERIMENTS}/{experiment.id}").json()["job"] == {}
        job = running_job(sqlite_store, experiment)
        with sqlite_store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, n, 3.0 - n) for n in range(3)])
        body = api.get(f"{EXPERIMENTS}/{experiment.id}").json()
        assert body["job"]["job_id"] == job.id
        assert body["job"]["job_status"] == "started"
        assert body["best"]["number"] == 2
        assert body["best"]["outcome"] == 1.0
        assert body["trial_counts"]["complete"] == 3

    def test_several_objectives_have_a_pareto_set(self, api: TestClient, sqlite_store: Store) -> None:
        experiment = new_experiment(sqlite_store, ("time", "size"))
        job = running_job(sqlite_store, experiment)
        found = [finished_trial(job, n, *values) for n, values in enumerate([(1.0, 3.0), (2.0, 2.0), (3.0, 3.0)])]
        with sqlite_store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, found)
        assert [trial["number"] for trial in api.get(f"{EXPERIMENTS}/{experiment.id}").json()["best"]] == [0, 1]
        best = api.get(f"{EXPERIMENTS}/{experiment.id}/best").json()
        assert [trial["outcomes"] for trial in best] == [{"time": 1.0, "size": 3.0}, {"time": 2.0, "size": 2.0}]

    def test_the_list_is_paged_newest_first(self, api: TestClient) -> None:
        ids = [post(api, tool_name=f"tool{n}")["id"] for n in range(5)]
        seen, cursor = [], None
        while True:
            page = api.get(EXPERIMENTS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            seen += [experiment["id"] for experiment in page["experiments"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == ids[::-1]

    def test_the_list_can_be_searched(self, api: TestClient) -> None:
        post(api, tool_name="alpha")
        post(api, tool_name="100%beta")
        found = api.get(EXPERIMENTS, params={"q": "0%B"}).json()["experiments"]
        assert [experiment["name"] for experiment in found] == ["100%beta"]


class TestChangingAnExperiment:
    def test_name_tags_and_archive(self, api: TestClient) -> None:
        url = f"{EXPERIMENTS}/{post(api)['id']}"
        body = api.patch(url, json={"name": "mine", "tags": ["a"], "archived": True}).json()
        assert (body["name"], body["tags"], body["archived"]) == ("mine", ["a"], True)
        assert api.get(EXPERIMENTS).json()["experiments"] == []
        assert len(api.get(EXPERIMENTS, params={"archived": "true"}).json()["experiments"]) == 1
        assert api.post(f"{url}/trials").json()["code"] == "EXPERIMENT_ARCHIVED"

    def test_the_space_may_be_widened_but_not_replaced(self, api: TestClient) -> None:
        url = f"{EXPERIMENTS}/{post(api)['id']}"
        wider = [parameter | {"maximum": 30} for parameter in EXAMPLE_EXPERIMENT["parameters"]]
        assert api.patch(url, json={"parameters": wider}).json()["parameters"][0]["maximum"] == 30
        refused = api.patch(url, json={"parameters": wider[:1]})
        assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_SPACE")


class TestSubmittingAJob:
    @pytest.mark.parametrize("body", [None, {}, {"optimizer": {"type": "bayesopt", "n_init": 2, "n_iter": 2}}])
    def test_without_a_body_it_is_bayesopt(self, api: TestClient, surroundings: Surroundings, body: Any) -> None:
        url = f"{EXPERIMENTS}/{post(api)['id']}"
        answer = api.post(f"{url}/trials") if body is None else api.post(f"{url}/trials", json=body)
        assert answer.status_code == 202
        assert answer.json()["status"] == "submitted"
        job = answer.json()["job"]
        assert job["job_status"] == "queued"
        assert job["job_meta"]["experiment_id"] == "1"
        assert job["job_meta"]["optimizer"]["seed"] >= 0
        assert job["progress"]["total"] == 4
        assert surroundings.wakes == 1
        assert api.get(f"{url}/job").json() == {"status": "success", "job": job, "warnings": []}

    def test_a_second_job_is_refused_while_one_is_active(self, api: TestClient) -> None:
        url = f"{EXPERIMENTS}/{post(api)['id']}/trials"
        api.post(url)
        refused = api.post(url)
        assert refused.status_code == 409
        assert refused.json()["status"] == "failed"
        assert refused.json()["message"] == "Experiment already enqueued or running"

    def test_but_not_when_it_is_the_same_request_again(self, api: TestClient) -> None:
        url = f"{EXPERIMENTS}/{post(api)['id']}/trials"
        first, again = (api.post(url, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert first.status_code == again.status_code == 202
        assert first.json() == again.json()

    def test_many_requests_with_one_key_make_one_job(self, live: httpx2.Client) -> None:
        live.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT)
        with ThreadPoolExecutor(8) as clients:
            ask = lambda _: live.post(f"{EXPERIMENTS}/1/trials", headers={"Idempotency-Key": "k"})  # noqa: E731
            answers = list(clients.map(ask, range(8)))
        assert [answer.status_code for answer in answers] == [202] * 8
        assert len({answer.json()["job"]["job_id"] for answer in answers}) == 1

    @pytest.mark.parametrize(
        ("optimizer", "message"),
        [
            ({"type": "bayesop"}, "did you mean 'bayesopt'?"),
            ({"type": "bayesopt", "n_init": 2}, "optimizer.n_iter is required for bayesopt"),
            ({"type": "bayesopt", "n_init": "2", "n_iter": 2}, "optimizer.n_init"),
            ({"type": "grid", "num_configs_per_param": 1001}, "1,002,001"),
            ({"type": "tpe", "n_itr": 4}, "did you mean 'n_iter'?"),
            ({"type": "random", "n_iter": 4, "pruner": {"kind": "median"}}, 'needs a "type"'),
        ],
    )
    def test_an_invalid_optimizer_is_refused_and_nothing_is_stored(
        self, api: TestClient, optimizer: dict[str, Any], message: str
    ) -> None:
        url = f"{EXPERIMENTS}/{post(api, parameters=WIDE)['id']}/trials"
        refused = api.post(url, json={"optimizer": optimizer})
        assert refused.status_code == 400
        body = refused.json()
        assert body["status"] == "failed"
        assert message in body["message"]
        assert api.get("/api/v1/jobs").json()["jobs"] == []

    def test_a_node_type_that_the_cluster_lacks_is_refused(self, api: TestClient, surroundings: Surroundings) -> None:
        url = f"{EXPERIMENTS}/{post(api, compute=EC2)['id']}/trials"
        surroundings.types = frozenset({"m5.large", "c5.xlarge"})
        refused = api.post(url)
        assert (refused.status_code, refused.json()["code"]) == (409, "NODE_TYPE_UNAVAILABLE")
        assert "c5.xlarge, m5.large" in refused.json()["error"]
        surroundings.types |= {"t2.micro"}
        assert api.post(url).json()["job"]["message"] is None

    def test_development_mode_runs_it_here_and_says_so(self, api: TestClient) -> None:
        url = f"{EXPERIMENTS}/{post(api, compute=EC2)['id']}/trials"
        assert "on this machine" in api.post(url).json()["job"]["message"]

    def test_production_does_not(self, sqlite_store: Store, settings: Settings) -> None:
        key = "sixteen letters."
        app = build(settings.model_copy(update={"mode": "prod", "api_key": key}), store=sqlite_store)
        api = TestClient(app, headers={"X-API-Key": key})
        assert api.post(f"{EXPERIMENTS}/{post(api, compute=EC2)['id']}/trials").status_code == 409


WIDE = [{"name": name, "type": "int", "minimum": 1, "maximum": 10_000} for name in ("a", "b")]


class TestSteeringJobs:
    def test_pause_resume_cancel_retry(self, api: TestClient, surroundings: Surroundings) -> None:
        job = api.post(f"{EXPERIMENTS}/{post(api)['id']}/trials").json()["job"]["job_id"]
        steps = [("pause", "paused"), ("resume", "queued"), ("cancel", "stopped"), ("retry", "queued")]
        for step, status in steps:
            answer = api.post(f"/api/v1/jobs/{job}/{step}")
            assert (answer.status_code, answer.json()["status"]) == (202, "success")
            assert answer.json()["job"]["job_status"] == status
        assert surroundings.wakes == 5
        forbidden = api.post(f"/api/v1/jobs/{job}/resume")
        assert (forbidden.status_code, forbidden.json()["code"]) == (409, "STATE_FORBIDS")

    def test_a_forbidden_step_is_told_in_this_surfaces_words(self, api: TestClient, sqlite_store: Store) -> None:
        job = running_job(sqlite_store, new_experiment(sqlite_store))
        with sqlite_store.write() as tx:
            tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
        body = api.post(f"/api/v1/jobs/{job.id}/cancel").json()
        assert body["error"] == body["detail"] == "The job is finished; it cannot become stopped"
        assert body["details"] == {"job_id": job.id, "state": "finished"}

    def test_a_running_job_is_asked_to_stop(self, api: TestClient, sqlite_store: Store) -> None:
        job = running_job(sqlite_store, new_experiment(sqlite_store))
        answer = api.post(f"{EXPERIMENTS}/{job.experiment_id}/stop")
        assert answer.status_code == 202
        assert answer.json()["job"]["message"] == "stopping"

    def test_stopping_nothing_says_that_nothing_runs(self, api: TestClient) -> None:
        url = f"{EXPERIMENTS}/{post(api)['id']}"
        for answer in (api.post(f"{url}/stop"), api.get(f"{url}/job")):
            assert answer.status_code == 404
            assert (answer.json()["status"], answer.json()["job"]) == ("missing", {})

    def test_lists_by_status(self, api: TestClient, sqlite_store: Store) -> None:
        running = running_job(sqlite_store, new_experiment(sqlite_store))
        failed = running_job(sqlite_store, new_experiment(sqlite_store))
        with sqlite_store.write() as tx:
            tx.end_lease(failed.id, str(failed.lease_token), JobState.FAILED, error="Traceback: boom")
        queued = [queued_job(sqlite_store, new_experiment(sqlite_store)).id for _ in range(3)]
        assert [job["job_id"] for job in api.get("/api/v1/jobs/running").json()] == [running.id]
        assert [job["job_exc_info"] for job in api.get("/api/v1/jobs/failed").json()] == ["Traceback: boom"]
        first = api.get("/api/v1/jobs/queued", params={"limit": 2})
        rest = api.get("/api/v1/jobs/queued", params={"cursor": first.headers["X-Next-Cursor"]})
        assert [job["job_id"] for job in first.json() + rest.json()] == queued[::-1]
        assert "X-Next-Cursor" not in rest.headers
        assert len(api.get("/api/v1/jobs").json()["jobs"]) == 5
        assert [job["job_id"] for job in api.get("/api/v1/jobs?status=failed").json()["jobs"]] == [failed.id]

    def test_a_job_is_kept(self, api: TestClient, sqlite_store: Store) -> None:
        job = queued_job(sqlite_store, new_experiment(sqlite_store))
        body = api.get(f"/api/v1/jobs/{job.id}").json()
        assert (body["status"], body["job"]["job_id"]) == ("success", job.id)
        missing = api.get("/api/v1/jobs/job-0")
        assert (missing.status_code, missing.json()["status"]) == (404, "missing")


class TestReadingTrials:
    @pytest.fixture
    def url(self, sqlite_store: Store) -> str:
        experiment = new_experiment(sqlite_store)
        job = running_job(sqlite_store, experiment)
        found = [finished_trial(job, n, float((n * 7) % 10)) for n in range(10)]
        found[3] = finished_trial(job, 3, state=TrialState.FAILED)
        steps = [Measurement(experiment_id=experiment.id, number=1, metric="loss", step=s, value=1 / s) for s in (1, 2)]
        with sqlite_store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, found, steps)
        return f"{EXPERIMENTS}/{experiment.id}"

    def test_without_parameters_a_plain_array_newest_first(self, api: TestClient, url: str) -> None:
        assert [trial["number"] for trial in api.get(f"{url}/trials").json()] == list(range(9, -1, -1))

    def test_pages_by_number_and_by_value(self, api: TestClient, url: str) -> None:
        by_value = sorted((number for number in range(10) if number != 3), key=lambda number: number * 7 % 10)
        for order, expected in (("number", list(range(10))), ("value", by_value)):
            seen: list[int] = []
            cursor: str | None = ""
            while cursor is not None:
                page = api.get(f"{url}/trials", params={"order": order, "limit": 4, "cursor": cursor}).json()
                seen += [trial["number"] for trial in page["trials"]]
                cursor = page["next_cursor"]
            assert seen == expected

    def test_by_state(self, api: TestClient, url: str) -> None:
        (failed,) = api.get(f"{url}/trials", params={"state": "failed"}).json()["trials"]
        assert (failed["number"], failed["error"], failed["outcome"]) == (3, "exit code 1", None)

    def test_one_with_its_measurements(self, api: TestClient, url: str) -> None:
        trial = api.get(f"{url}/trials/1").json()
        assert trial["parameter_configs"] == [
            {"parameter_name": "x", "value": 0.01},
            {"parameter_name": "n", "value": 2},
        ]
        assert [(m["step"], m["value"]) for m in trial["measurements"]] == [(1, 1.0), (2, 0.5)]
        assert api.get(f"{url}/trials/99").json()["code"] == "TRIAL_NOT_FOUND"

    def test_the_best(self, api: TestClient, url: str, sqlite_store: Store) -> None:
        assert api.get(f"{url}/best").json()["number"] == 0
        empty = api.get(f"{EXPERIMENTS}/{new_experiment(sqlite_store).id}/best")
        assert (empty.status_code, empty.json()["code"]) == (404, "TRIAL_NOT_FOUND")

    def test_a_cursor_of_another_order_is_refused(self, api: TestClient, url: str) -> None:
        cursor = api.get(f"{url}/trials", params={"order": "value", "limit": 1}).json()["next_cursor"]
        refused = api.get(f"{url}/trials", params={"order": "number", "cursor": cursor})
        assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_CURSOR")


def test_the_samplers_are_listed(api: TestClient) -> None:
    names = [sampler["name"] for sampler in api.get("/api/v1/samplers").json()["samplers"]]
    assert {"bayesopt", "grid", "random", "tpe"} <= set(names)


class TestSteering:
    def test_a_repeated_request_with_its_key_is_answered_again_instead_of_refused(self, api: Any) -> None:
        api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT)
        job_id = api.post(f"{EXPERIMENTS}/1/trials").json()["job"]["job_id"]
        key = {"Idempotency-Key": "mine"}
        first, again = (api.post(f"/api/v1/jobs/{job_id}/pause", headers=key) for _ in range(2))
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()
        assert api.post(f"/api/v1/jobs/{job_id}/pause").status_code == 409
