"""Training jobs as a client sees them: made, listed, changed, deleted, steered, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from serve_app.app import build
from tests.integration.conftest import Surroundings, served
from tunesmith.domain import Job, JobState, TrialState, utcnow
from tunesmith.schemas.training_jobs import EXAMPLE_TRAINING
from tunesmith.services.firing import fire_due
from tunesmith.settings import Settings
from tunesmith.storage import Storage, experiment_key, trial_key
from tunesmith.store import Store
from tunesmith.testing import finished_trial
from tunesmith.testing.training_contract import claim, finish

JOBS = "/jobs"
NIGHTLY = {"name": "nightly", "command": ["python", "train.py"], "schedule": "0 2 * * *"}
ONCE = {"name": "once", "command": ["true"], "retry_backoff_s": 0}
SPACE = {
    "command": ["python", "train.py", "--lr", "${lr}"],
    "parameters": [{"name": "lr", "minimum": 0.001, "maximum": 0.1}],
}


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def api(settings: Settings, surroundings: Surroundings, db: Store) -> Iterator[TestClient]:
    """The application in process, on both databases in turn."""
    with TestClient(build(settings, surroundings, db)) as client:
        yield client


@pytest.fixture
def live(settings: Settings, sqlite_store: Store) -> Iterator[httpx2.Client]:
    with served(build(settings, store=sqlite_store)) as url, httpx2.Client(base_url=url, timeout=20) as client:
        yield client


def made(api: Any, **fields: Any) -> dict[str, Any]:
    answer = api.post(JOBS, json=fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def read(api: Any, job: dict[str, Any]) -> dict[str, Any]:
    return dict(api.get(f"{JOBS}/{job['job_id']}").json())


def refused(answer: Any, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = dict(answer.json())
    assert set(body) >= {"error", "detail", "error_type", "code", "details"}
    return body


def run(store: Store, to: JobState = JobState.SUCCEEDED, error: str | None = None) -> Job:
    """Run the one queued firing to the end of an attempt."""
    (job,) = claim(store)
    return finish(store, job, to, error or (None if to is JobState.SUCCEEDED else "exit code 1"))


def write_log(settings: Settings, job: dict[str, Any], number: int, text: str) -> None:
    Storage(settings.artifacts).write(f"{trial_key(job['experiment_id'], number)}/log.txt", text.encode())


class TestMaking:
    def test_the_answer_has_every_field_with_its_default(self, api: TestClient, surroundings: Surroundings) -> None:
        body = made(api, **EXAMPLE_TRAINING)
        assert body.items() >= EXAMPLE_TRAINING.items()
        assert (body["status"], body["retry_count"], body["priority"]) == ("pending", 0, "normal")
        assert (body["catch_up"], body["overlap"], body["retry_backoff_s"]) == ("once", "skip", 60)
        assert body["resume_flag"] == "--resume-from-checkpoint"
        assert body["job_id"].startswith("train-")
        assert body["created_at"].endswith("Z")
        assert (body["started_at"], body["completed_at"], body["error_message"]) == (None, None, None)
        assert surroundings.wakes == 1
        assert read(api, body) == body

    def test_next_run_at_is_by_the_clock_of_its_zone(self, api: TestClient) -> None:
        body = made(api, **NIGHTLY, timezone="Asia/Kolkata")
        assert body["next_run_at"].endswith("T20:30:00.000Z")

    def test_without_a_schedule_it_is_queued_at_once(self, api: TestClient, db: Store) -> None:
        body = made(api, **ONCE)
        assert (body["status"], body["next_run_at"], body["schedule"]) == ("pending", None, None)
        assert [job.training_id for job in claim(db)] == [body["job_id"]]
        assert read(api, body)["status"] == "running"

    def test_the_same_request_with_its_key_makes_one(self, api: TestClient) -> None:
        first, again = (api.post(JOBS, json=ONCE, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert refused(api.post(JOBS, json=NIGHTLY, headers={"Idempotency-Key": "k"}), 409)["code"] == (
            "IDEMPOTENCY_MISMATCH"
        )

    def test_of_many_with_one_name_one_is_made(self, live: httpx2.Client) -> None:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: live.post(JOBS, json=NIGHTLY), range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        assert live.get("/stats").json()["total_jobs"] == 1

    def test_a_taken_name_is_a_conflict(self, api: TestClient) -> None:
        made(api, **NIGHTLY)
        body = refused(api.post(JOBS, json=NIGHTLY), 409)
        assert (body["code"], "choose another" in body["detail"]) == ("NAME_TAKEN", True)

    def test_who_is_told_is_shown_without_secrets(self, api: TestClient) -> None:
        rules = [{"channel": "https://user:pw@ci.example.com/hook?token=t", "secret": "s3cret", "on": ["failed"]}]
        text = api.post(JOBS, json={**NIGHTLY, "notify": rules}).text
        assert "https://ci.example.com/***" in text
        assert not [secret for secret in ("pw", "token", "s3cret") if secret in text]

    def test_a_scheduled_search_is_planned(self, api: TestClient, db: Store) -> None:
        body = made(api, name="search", **SPACE, optimizer={"type": "tpe", "n_iter": 7, "n_startup_trials": 3})
        assert body["optimizer"]["type"] == "tpe"
        assert body["optimizer"]["n_startup_trials"] == 3
        assert body["optimizer"]["seed"] >= 0
        (job,) = claim(db)
        assert (job.search.n_iter, job.progress.total) == (7, 7)

    def test_parameters_without_an_optimizer_are_searched_as_a_job_without_a_body(self, api: TestClient) -> None:
        optimizer = made(api, name="search", **SPACE)["optimizer"]
        assert (optimizer["type"], optimizer["n_init"], optimizer["n_iter"]) == ("bayesopt", 2, 2)


class TestWhatIsInvalid:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"schedule": "61 2 * * *"}, "schedule: minute '61'"),
            ({"schedule": "0 25 * * *"}, "schedule: hour '25'"),
            ({"schedule": "0 2 32 * *"}, "schedule: day of month '32'"),
            ({"schedule": "0 2 * 13 *"}, "schedule: month '13'"),
            ({"schedule": "0 2 * * 9"}, "schedule: day of week '9'"),
            ({"schedule": "0 2 * *"}, "has 4 fields"),
            ({"schedule": "@dayly"}, "@daily"),
            ({"schedule": "0 2 30 2 *"}, "never fires"),
            ({"timezone": "Europe/Berlim"}, "timezone: 'Europe/Berlim' is no IANA time zone; the nearest is"),
            ({"schedule": None, "timezone": "nowhere"}, "timezone: 'nowhere'"),
            ({"command": []}, "command: "),
            ({"command": ["  ", "x"]}, "command: the first word is empty"),
            ({"command": "python train.py"}, "command: "),
            ({"command": ["sh", "-c", "echo ${HOME}"]}, "command.2: ${HOME}"),
            ({"env": {"X": "${y}"}}, "env.X: ${y}"),
            ({"env": {"JOB_ID": "1"}}, "env: JOB_ID is set by the platform"),
            ({"env": {"A=B": "1"}}, "env: 'A=B' is no name of a variable"),
            ({"name": ""}, "name: "),
            ({"name": "   "}, "name: "),
            ({"name": "n" * 101}, "name: "),
            ({"image": "Not An Image"}, "image: "),
            ({"checkpoint_path": "../elsewhere"}, "checkpoint_path: "),
            ({"checkpoint_path": "/a\0b"}, "NUL"),
            ({"checkpoint_path": ""}, "checkpoint_path: "),
            ({"max_retries": 11}, "max_retries: must be less than or equal to 10"),
            ({"max_retries": -1}, "max_retries: "),
            ({"max_retries": "3"}, "max_retries: "),
            ({"timeout_s": 0}, "timeout_s: must be greater than 0"),
            ({"retry_backoff_s": 3601}, "retry_backoff_s: "),
            ({"priority": "urgent"}, "priority: must be 'low', 'normal', 'high' or 'critical'"),
            ({"overlap": "kill"}, "overlap: "),
            ({"catch_up": "some"}, "catch_up: "),
            ({"depends_on": ["a", "a"]}, "depends_on: 'a' stands there twice"),
            ({"depends_on": ["nightly"]}, "depends_on: 'nightly' is this job itself"),
            ({"depends_on": ["nobody"]}, "depends_on: no training job is called 'nobody'"),
            ({"notify": [{"channel": "nobody"}]}, "notify.0.channel: no channel is called 'nobody'"),
            ({"notify": [{"channel": "https://x.example", "on": ["done"]}]}, "notify.0.on.0: "),
            ({"max_retrys": 3}, "unknown field 'max_retrys'; did you mean 'max_retries'?"),
            ({"optimizer": {"type": "tpe"}}, "optimizer: needs parameters"),
            ({**SPACE, "optimizer": {"type": "tp"}}, "did you mean"),
            ({**SPACE, "optimizer": {"type": "tpe", "n_iter": 5, "max_cost": 3}}, "TUNESMITH_PRICES"),
            ({**SPACE, "parameter_constraints": ["lr < momentum"]}, "parameter_constraints: "),
            ({**SPACE, "parameter_constraints": ["lr > 1"]}, "satisf"),
            ({**SPACE, "command": ["${rl}"]}, "command.0: ${rl}"),
            ({"resources": {"cpus": -1}}, "resources.cpus: "),
        ],
    )
    def test_is_refused_and_says_where(self, api: TestClient, change: dict[str, Any], message: str) -> None:
        for path in (JOBS, f"{JOBS}/validate"):
            assert message in refused(api.post(path, json={**NIGHTLY, **change}))["detail"]
        assert api.get("/stats").json()["total_jobs"] == 0

    def test_a_schedules_refusal_names_the_field_for_programs(self, api: TestClient) -> None:
        body = refused(api.post(JOBS, json={**NIGHTLY, "schedule": "61 2 * * *"}))
        assert (body["code"], body["details"]) == ("INVALID_SCHEDULE", {"field": "minute", "value": "61"})

    def test_a_checkpoint_among_the_platforms_own_files_is_refused(
        self, settings: Settings, surroundings: Surroundings, sqlite_store: Store
    ) -> None:
        own = settings.model_copy(update={"storage": "s3://own/prefix"})
        with TestClient(build(own, surroundings, sqlite_store)) as api:
            job = made(api, **NIGHTLY, checkpoint_path="s3://own/beside")
            change = {"checkpoint_path": "s3://key:secret@own/prefix/experiments/1?region=eu"}
            answers = [api.post(path, json={**NIGHTLY, **change}) for path in (JOBS, f"{JOBS}/validate")]
            for answer in (*answers, api.put(f"{JOBS}/{job['job_id']}", json=change)):
                body = refused(answer)
                named = {"field": "checkpoint_path", "value": "s3://own/prefix/experiments/1"}
                assert (body["code"], body["details"]) == ("INVALID_PARAMETER", named)
                assert "name another bucket or a prefix beside it" in body["detail"]

    def test_a_circle_is_refused(self, api: TestClient) -> None:
        made(api, **{**NIGHTLY, "name": "a"})
        made(api, **{**NIGHTLY, "name": "b"}, depends_on=["a"])
        first = api.get(JOBS, params={"q": "a"}).json()["jobs"][0]
        assert "circle" in refused(api.put(f"{JOBS}/{first['job_id']}", json={"depends_on": ["b"]}))["detail"]

    @pytest.mark.parametrize("query", ["page_size=0", "page_size=101", "page=0", "status_filter=done", "sort=id"])
    def test_lists_are_asked_for_within_bounds(self, api: TestClient, query: str) -> None:
        assert refused(api.get(f"{JOBS}?{query}"))["detail"].startswith(query.partition("=")[0])

    def test_nothing_is_there_under_an_unknown_id(self, api: TestClient) -> None:
        url = f"{JOBS}/train-00000000"
        answers = [api.get(url), api.put(url, json={}), api.delete(url)]
        answers += [api.post(f"{url}/{step}") for step in ("retry", "run", "cancel", "pause", "resume")]
        answers += [api.get(f"{url}/{what}") for what in ("executions", "logs")]
        assert {refused(answer, 404)["code"] for answer in answers} == {"TRAINING_NOT_FOUND"}


class TestChecking:
    def test_says_when_it_would_fire_and_makes_nothing(self, api: TestClient) -> None:
        body = api.post(f"{JOBS}/validate", json=NIGHTLY).json()
        assert (body["valid"], body["schedule"], body["warnings"]) == (True, "at 02:00 every day (UTC)", [])
        moments = [datetime.fromisoformat(moment) for moment in body["next_runs"]]
        assert [later - earlier for earlier, later in pairwise(moments)] == [timedelta(days=1)] * 4
        assert api.get(JOBS).json()["total"] == 0
        assert made(api, **NIGHTLY)["next_run_at"] == body["next_runs"][0]

    def test_tells_of_a_search_what_it_will_not_do(self, api: TestClient) -> None:
        space = {"name": "lr", "type": "categorical", "choices": [0.1, 0.2]}
        body = {"name": "s", **SPACE, "parameters": [space], "optimizer": {"type": "cmaes", "n_iter": 5}}
        answer = api.post(f"{JOBS}/validate", json=body).json()
        assert (answer["schedule"], answer["next_runs"]) == (None, [])
        assert "at random" in answer["warnings"][0]

    def test_a_taken_name_is_a_conflict_here_too(self, api: TestClient) -> None:
        made(api, **NIGHTLY)
        refused(api.post(f"{JOBS}/validate", json=NIGHTLY), 409)


class TestListing:
    def test_pages_newest_first_with_their_total(self, api: TestClient) -> None:
        ids = [made(api, **{**NIGHTLY, "name": f"job {n}"})["job_id"] for n in range(5)]
        pages = [api.get(JOBS, params={"page": page, "page_size": 2}).json() for page in (1, 2, 3, 4)]
        assert [job["job_id"] for page in pages for job in page["jobs"]] == ids[::-1]
        assert {(page["total"], page["page_size"]) for page in pages} == {(5, 2)}
        assert [page["page"] for page in pages] == [1, 2, 3, 4]
        assert api.get(JOBS).json()["page_size"] == 50

    def test_sorted_and_searched(self, api: TestClient) -> None:
        made(api, **{**ONCE, "name": "beta"})
        made(api, **{**NIGHTLY, "name": "Alpha"})
        made(api, **{**NIGHTLY, "name": "100%gamma", "schedule": "@yearly"})

        def names(**query: Any) -> list[str]:
            return [job["name"] for job in api.get(JOBS, params=query).json()["jobs"]]

        assert names(sort="created_at") == ["beta", "Alpha", "100%gamma"]
        assert names(sort="next_run_at") == ["Alpha", "100%gamma", "beta"]
        assert names(sort="-next_run_at") == ["100%gamma", "Alpha", "beta"]
        assert names(q="ALP") == ["Alpha"]
        assert names(q="0%g") == ["100%gamma"]

    def test_by_status_as_counted(self, api: TestClient, db: Store) -> None:
        done, failed = made(api, **{**ONCE, "name": "done"}), None
        run(db)
        failed = made(api, **{**ONCE, "name": "failed", "max_retries": 0})
        run(db, JobState.FAILED)
        retrying = made(api, **{**ONCE, "name": "retrying"})
        run(db, JobState.FAILED)
        cancelled = made(api, **{**ONCE, "name": "cancelled"})
        api.post(f"{JOBS}/{cancelled['job_id']}/cancel")
        paused, pending = made(api, **NIGHTLY), made(api, **{**NIGHTLY, "name": "pending"})
        api.post(f"{JOBS}/{paused['job_id']}/pause")
        running = made(api, **{**ONCE, "name": "running"})
        claim(db)
        expected = {
            "completed": done,
            "failed": failed,
            "retrying": retrying,
            "cancelled": cancelled,
            "paused": paused,
            "pending": pending,
            "running": running,
        }
        for status, job in expected.items():
            (found,) = api.get(JOBS, params={"status_filter": status}).json()["jobs"]
            assert (found["job_id"], found["status"]) == (job["job_id"], status)
        assert api.get("/stats").json() == {"total_jobs": 7, **dict.fromkeys(expected, 1)}


class TestChanging:
    def test_what_is_left_out_stays(self, api: TestClient) -> None:
        before = made(api, **EXAMPLE_TRAINING, env={"A": "1"}, tags=["x"], timeout_s=60)
        answer = api.put(f"{JOBS}/{before['job_id']}", json={"schedule": "0 3 * * *", "max_retries": 5})
        assert answer.status_code == 200
        after = answer.json()
        assert (after["schedule"], after["max_retries"]) == ("0 3 * * *", 5)
        assert after["next_run_at"] != before["next_run_at"]
        other = {"schedule", "max_retries", "next_run_at", "updated_at"}
        assert {k: v for k, v in after.items() if k not in other} == {k: v for k, v in before.items() if k not in other}

    def test_every_field_can_be_changed(self, api: TestClient) -> None:
        job = made(api, **NIGHTLY)
        made(api, **{**ONCE, "name": "first"})
        changes = {
            "name": "renamed",
            "image": "registry.example.com/trainer:2",
            "command": ["python", "other.py", "${lr}"],
            "schedule": "@hourly",
            "timezone": "America/New_York",
            "max_retries": 0,
            "retry_backoff_s": 5.0,
            "checkpoint_path": "s3://bucket/prefix",
            "resume_flag": "--resume",
            "env": {"A": "${lr}"},
            "timeout_s": 3.5,
            "priority": "high",
            "depends_on": ["first"],
            "catch_up": "all",
            "overlap": "queue",
            "resources": {"cpus": 2.0, "gpus": 1.0, "memory_bytes": 1000},
            "tags": ["a", "b"],
            "notify": [{"channel": "https://ci.example.com/hook", "secret": None, "on": ["failed"]}],
            "parameter_constraints": ["lr < 0.05"],
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "constraints": [{"metric": "size", "min": None, "max": 3.0}],
        }
        space = {**SPACE["parameters"][0], "type": "float", "log": True, "step": None, "choices": None, "when": None}
        body = {**changes, "parameters": [space], "optimizer": {"type": "random", "n_iter": 3, "seed": 1}}
        answer = api.put(f"{JOBS}/{job['job_id']}", json=body)
        assert answer.status_code == 200, answer.text
        masked = [{**body["notify"][0], "channel": "https://ci.example.com/***"}]
        assert answer.json().items() >= {**body, "notify": masked}.items()
        assert read(api, job) == answer.json()

    def test_null_where_it_is_a_value(self, api: TestClient) -> None:
        job = made(api, **EXAMPLE_TRAINING, timeout_s=60)
        nulls = dict.fromkeys(("image", "schedule", "checkpoint_path", "timeout_s", "resume_flag"))
        assert api.put(f"{JOBS}/{job['job_id']}", json=nulls).json().items() >= nulls.items()

    @pytest.mark.parametrize(
        "field",
        ["name", "command", "timezone", "max_retries", "env", "priority", "depends_on", "tags", "notify", "parameters"],
    )
    def test_null_where_it_is_none(self, api: TestClient, field: str) -> None:
        job = made(api, **NIGHTLY)
        body = refused(api.put(f"{JOBS}/{job['job_id']}", json={field: None}))
        assert body["details"]["fields"][0]["field"] == field

    def test_a_taken_name_is_a_conflict(self, api: TestClient) -> None:
        made(api, **NIGHTLY)
        other = made(api, **ONCE)
        refused(api.put(f"{JOBS}/{other['job_id']}", json={"name": "nightly"}), 409)
        assert api.put(f"{JOBS}/{other['job_id']}", json={"name": "once"}).status_code == 200

    def test_of_many_that_take_one_name_at_once_one_gets_it(self, api: TestClient) -> None:
        urls = [f"{JOBS}/{made(api, **{**NIGHTLY, 'name': f'job {n}'})['job_id']}" for n in range(6)]
        with ThreadPoolExecutor(6) as clients:
            answers = list(clients.map(lambda url: api.put(url, json={"name": "same"}), urls))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5

    def test_while_running_it_neither_changes_nor_goes(self, api: TestClient, db: Store) -> None:
        url = f"{JOBS}/{made(api, **ONCE)['job_id']}"
        claim(db)
        for answer in (api.put(url, json={"max_retries": 1}), api.delete(url), api.post(f"{url}/run")):
            body = refused(answer, 409)
            assert (body["code"], body["details"]["state"]) == ("STATE_FORBIDS", "running")

    def test_a_rule_may_be_sent_back_as_it_is_shown(self, api: TestClient, db: Store) -> None:
        url = "https://user:pw@ci.example.com/hook"
        job = made(api, **NIGHTLY, notify=[{"channel": url, "secret": "s3cret"}])
        (shown,) = job["notify"]
        api.put(f"{JOBS}/{job['job_id']}", json={"notify": [{**shown, "on": ["failed"]}]})
        with db.read() as tx:
            (kept,) = tx.training(job["job_id"]).plan.notify
        assert (kept.channel, kept.secret, kept.on) == (url, "s3cret", ("failed",))

    def test_rules_that_look_alike_keep_their_own_addresses(self, api: TestClient, db: Store) -> None:
        urls = ["https://ci.example.com/a", "https://ci.example.com/b"]
        job = made(api, **NIGHTLY, notify=[{"channel": url} for url in urls])
        answer = api.put(f"{JOBS}/{job['job_id']}", json={"notify": job["notify"]})
        assert answer.status_code == 200, answer.text
        with db.read() as tx:
            assert [rule.channel for rule in tx.training(job["job_id"]).plan.notify] == urls

    @pytest.mark.parametrize("rule", [{"channel": "https://other.example.com/***"}, {"channel": "json://***"}])
    def test_a_masked_rule_that_was_not_there_is_refused(self, api: TestClient, rule: dict[str, str]) -> None:
        job = made(api, **NIGHTLY)
        body = refused(api.put(f"{JOBS}/{job['job_id']}", json={"notify": [rule]}), 400)
        assert "notify.0.channel: its secrets are masked" in body["error"]
        refused(api.post(JOBS, json={**NIGHTLY, "name": "another", "notify": [rule]}), 400)

    def test_a_search_keeps_its_seed_when_something_else_changes(self, api: TestClient) -> None:
        job = made(api, name="s", **SPACE, schedule="@daily", optimizer={"type": "auto", "n_iter": 5})
        after = api.put(f"{JOBS}/{job['job_id']}", json={"max_retries": 1}).json()
        assert after["optimizer"] == job["optimizer"]
        wider = [{"name": "lr", "minimum": 0.001, "maximum": 1}]
        assert api.put(f"{JOBS}/{job['job_id']}", json={"parameters": wider}).status_code == 200
        one = api.put(f"{JOBS}/{job['job_id']}", json={"parameters": [], "command": ["true"]}).json()
        assert (one["optimizer"], one["parameters"]) == (None, [])

    def test_what_was_executed_stays_comparable(self, api: TestClient, db: Store) -> None:
        job = made(api, **ONCE)
        assert "make a new job" in refused(api.put(f"{JOBS}/{job['job_id']}", json=SPACE))["detail"]

    def test_a_search_that_waits_keeps_the_space_that_it_was_planned_for(self, api: TestClient, db: Store) -> None:
        job = made(api, name="s", **SPACE)
        wider = [{"name": "lr", "minimum": 0.001, "maximum": 1}]
        assert api.put(f"{JOBS}/{job['job_id']}", json={"parameters": wider}).status_code == 200
        (claimed,) = claim(db)
        assert claimed.search.space is not None
        assert claimed.search.space.parameters[0].maximum == 0.1

    def test_many_changes_at_once_are_all_kept(self, live: httpx2.Client) -> None:
        job = made(live, **NIGHTLY)
        changes = [{"max_retries": 7}, {"tags": ["x"]}, {"env": {"A": "1"}}, {"timeout_s": 9}, {"priority": "low"}]
        with ThreadPoolExecutor(5) as clients:
            found = list(clients.map(lambda body: live.put(f"{JOBS}/{job['job_id']}", json=body), changes))
        assert [answer.status_code for answer in found] == [200] * 5
        after = read(live, job)
        assert [after[name] for change in changes for name in change] == [7, ["x"], {"A": "1"}, 9, "low"]


class TestDeleting:
    def test_with_everything_of_it(self, api: TestClient, db: Store, settings: Settings) -> None:
        job = made(api, **ONCE)
        run(db)
        write_log(settings, job, 0, "hello\n")
        directory = settings.data_dir / "artifacts" / experiment_key(job["experiment_id"])
        assert directory.exists()
        answer = api.delete(f"{JOBS}/{job['job_id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert not directory.exists()
        refused(api.get(f"{JOBS}/{job['job_id']}"), 404)
        made(api, **ONCE)

    def test_not_while_another_depends_on_it(self, api: TestClient) -> None:
        job = made(api, **NIGHTLY)
        made(api, **{**NIGHTLY, "name": "after"}, depends_on=["nightly"])
        body = refused(api.delete(f"{JOBS}/{job['job_id']}"), 409)
        assert (body["code"], "after" in body["detail"]) == ("DEPENDED_ON", True)


class TestSteering:
    def test_a_failed_one_is_retried_from_its_beginning(self, api: TestClient, db: Store) -> None:
        job = made(api, **{**ONCE, "max_retries": 0})
        url = f"{JOBS}/{job['job_id']}"
        body = refused(api.post(f"{url}/retry"), 409)
        assert body["detail"] == "The job is pending; only a failed, completed or cancelled one can be retried"
        run(db, JobState.FAILED)
        failed = read(api, job)
        assert (failed["status"], failed["error_message"]) == ("failed", "exit code 1")
        answer = api.post(f"{url}/retry")
        assert answer.status_code == 200
        assert [answer.json()[name] for name in ("status", "retry_count", "error_message")] == ["pending", 0, None]
        run(db)
        assert api.post(f"{url}/retry").json()["status"] == "pending"

    def test_a_retrying_one_can_be_run_now(self, api: TestClient, db: Store) -> None:
        job = made(api, **{**ONCE, "retry_backoff_s": 3600})
        run(db, JobState.FAILED)
        found = read(api, job)
        assert (found["status"], found["retry_count"]) == ("retrying", 1)
        assert "retry 1 of 3" in found["message"]
        assert api.post(f"{JOBS}/{job['job_id']}/run").json()["status"] == "pending"

    def test_one_with_a_schedule_can_be_run_now(self, api: TestClient, db: Store, surroundings: Surroundings) -> None:
        job = made(api, **NIGHTLY)
        first, again = (api.post(f"{JOBS}/{job['job_id']}/run", headers={"Idempotency-Key": "now"}) for _ in range(2))
        assert first.json() == again.json()
        assert first.json()["next_run_at"] == job["next_run_at"]
        assert surroundings.wakes == 3
        run(db)
        assert read(api, job)["status"] == "completed"

    def test_a_paused_one_does_not_fire(self, api: TestClient, db: Store) -> None:
        job = made(api, **NIGHTLY)
        url, due = f"{JOBS}/{job['job_id']}", datetime.fromisoformat(job["next_run_at"])
        assert api.post(f"{url}/pause").json()["status"] == "paused"
        assert refused(api.post(f"{url}/pause"), 409)["detail"] == "The job is paused already"
        assert fire_due(db, due) == 0
        resumed = api.post(f"{url}/resume").json()
        assert (resumed["status"], resumed["next_run_at"]) == ("pending", job["next_run_at"])
        assert refused(api.post(f"{url}/resume"), 409)["detail"] == "The job is pending, not paused"
        assert fire_due(db, due) == 1

    def test_cancelled(self, api: TestClient, db: Store) -> None:
        job = made(api, **ONCE)
        url = f"{JOBS}/{job['job_id']}"
        assert api.post(f"{url}/cancel").json()["status"] == "cancelled"
        assert "nothing to cancel" in refused(api.post(f"{url}/cancel"), 409)["detail"]
        api.post(f"{url}/retry")
        (claimed,) = claim(db)
        stopping = api.post(f"{url}/cancel").json()
        assert (stopping["status"], stopping["message"]) == ("running", "stopping")
        with db.write() as tx:
            tx.end_lease(claimed.id, str(claimed.lease_token), JobState.CANCELLED)
        assert (read(api, job)["status"], read(api, job)["message"]) == ("cancelled", None)

    def test_one_that_waits_says_for_whom(self, api: TestClient, db: Store) -> None:
        made(api, **{**ONCE, "name": "first"})
        job = made(api, **{**ONCE, "name": "second"}, depends_on=["first"])
        assert (job["status"], job["message"]) == ("pending", "it waits for first")
        run(db)
        assert fire_due(db) == 1
        assert read(api, job)["message"] is None


class TestExecutions:
    @pytest.fixture
    def job(self, api: TestClient, db: Store, settings: Settings) -> dict[str, Any]:
        """One that failed once, went on from its checkpoint, and was cancelled in its second execution."""
        job = made(api, **ONCE)
        run(db, JobState.FAILED)
        with db.write() as tx:
            tx.wake_retries()
        (claimed,) = claim(db)
        with db.write() as tx:
            last = tx.last_attempt(claimed)
            assert last is not None
            ended = last.evolve(
                state=TrialState.COMPLETE,
                values=(2.5,),
                metrics={"exit_code": 0.0, "wall_time_s": 2.5, "cpu_time_s": 1.5, "max_rss_bytes": 1e6},
                system_attrs={"tunesmith:resumed_from": "/checkpoints/1"},
                worker="node7:4711",
                started_at=utcnow() - timedelta(seconds=3),
                ended_at=utcnow(),
            )
            tx.record(claimed.id, str(claimed.lease_token), tx.experiment(claimed.experiment_id), [ended])
            tx.end_lease(claimed.id, str(claimed.lease_token), JobState.SUCCEEDED)
        api.post(f"{JOBS}/{job['job_id']}/run")
        api.post(f"{JOBS}/{job['job_id']}/cancel")
        for number, text in enumerate(["no data\n", "resumed\ndone", "never\n"][:2]):
            write_log(settings, job, number, text)
        return job

    def test_every_attempt_newest_first(self, api: TestClient, job: dict[str, Any]) -> None:
        url = f"{JOBS}/{job['job_id']}/executions"
        cancelled, second, first = api.get(url).json()["executions"]
        assert [(e["number"], e["attempt"], e["status"]) for e in (cancelled, second, first)] == [
            (2, 1, "cancelled"),
            (1, 2, "completed"),
            (1, 1, "failed"),
        ]
        assert (first["error"], first["exit_code"], first["checkpoint"]) == ("exit code 1", None, None)
        assert (second["exit_code"], second["checkpoint"], second["node"]) == (0, "/checkpoints/1", "node7:4711")
        assert second["duration_s"] == pytest.approx(3, abs=0.5)
        assert second["usage"] == {"wall_time_s": 2.5, "cpu_time_s": 1.5, "max_rss_bytes": 1e6}
        assert api.get(second["log"]).text == "resumed\ndone"

    def test_paged_and_of_one_execution(self, api: TestClient, job: dict[str, Any]) -> None:
        url = f"{JOBS}/{job['job_id']}/executions"
        seen: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page = api.get(url, params={"limit": 2, "cursor": cursor}).json()
            seen += [execution["trial"] for execution in page["executions"]]
            cursor = page["next_cursor"]
        assert seen == [2, 1, 0]
        assert [e["trial"] for e in api.get(url, params={"number": 1}).json()["executions"]] == [1, 0]
        assert api.get(url, params={"number": 2**31 - 1}).json()["executions"] == []
        refused(api.get(url, params={"number": 2**31}))
        refused(api.get(url, params={"cursor": "nonsense"}))

    def test_logs_of_an_execution_and_of_an_attempt(self, api: TestClient, job: dict[str, Any]) -> None:
        url = f"{JOBS}/{job['job_id']}/logs"
        assert api.get(url).text == ""  # the newest execution never began
        whole = (
            "==> attempt 1 of execution 1 (failed) <==\nno data\n"
            "==> attempt 2 of execution 1 (completed) <==\nresumed\ndone\n"
        )
        for follow in (False, True):
            assert api.get(url, params={"execution": 1, "follow": follow}).text == whole
        assert api.get(url, params={"trial": 0}).text == "no data\n"
        assert api.get(url).headers["content-type"].startswith("text/plain")
        refused(api.get(url, params={"execution": 3}), 404)
        refused(api.get(url, params={"trial": 3}), 404)

    def test_a_search_has_an_entry_for_each_trial(self, api: TestClient, db: Store, settings: Settings) -> None:
        job = made(api, name="s", **SPACE)
        (claimed,) = claim(db)
        experiment_id = claimed.experiment_id
        with db.write() as tx:
            experiment = tx.experiment(experiment_id)
            tx.reserve_numbers(experiment_id, 2)
            base = {"started_at": utcnow(), "ended_at": utcnow(), "values": (1.0,)}
            found = [finished_trial(claimed, n, 1.0, params={"lr": 0.01 * (n + 1)}, **base) for n in range(2)]
            tx.record(claimed.id, str(claimed.lease_token), experiment, found)
            tx.end_lease(claimed.id, str(claimed.lease_token), JobState.SUCCEEDED)
        entries = api.get(f"{JOBS}/{job['job_id']}/executions").json()["executions"]
        assert [(e["number"], e["params"]) for e in entries] == [(1, {"lr": 0.02}), (1, {"lr": 0.01})]
        write_log(settings, job, 1, "hi\n")
        text = api.get(f"{JOBS}/{job['job_id']}/logs", params={"execution": 1}).text
        assert "==> trial 1 of execution 1 (completed) <==\nhi\n" in text


class TestFollowingLogs:
    def test_through_a_retry_to_the_end(self, live: httpx2.Client, sqlite_store: Store, settings: Settings) -> None:
        job = made(live, **NIGHTLY, max_retries=1, retry_backoff_s=0)
        lines: list[str] = []
        began, ended = threading.Event(), threading.Event()

        def follow() -> None:
            with live.stream("GET", f"{JOBS}/{job['job_id']}/logs", params={"follow": True}, timeout=60) as answer:
                began.set()
                lines.extend(answer.iter_lines())
            ended.set()

        reader = threading.Thread(target=follow)
        reader.start()
        assert began.wait(20)  # it waits for a job that has not fired yet
        live.post(f"{JOBS}/{job['job_id']}/run")
        write_log(settings, job, 0, "one\n")
        run(sqlite_store, JobState.FAILED)
        assert not ended.is_set()
        with sqlite_store.write() as tx:
            tx.wake_retries()
        write_log(settings, job, 1, "two\n")
        run(sqlite_store)
        assert ended.wait(20)
        reader.join()
        assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
        assert "==> attempt 2 of execution 1 (completed) <==" in lines

    def test_until_the_job_is_deleted(self, live: httpx2.Client) -> None:
        job = made(live, **NIGHTLY)
        with live.stream("GET", f"{JOBS}/{job['job_id']}/logs", params={"follow": True}) as answer:
            assert live.delete(f"{JOBS}/{job['job_id']}").status_code == 204
            assert answer.read() == b""

    def test_without_following_a_job_that_never_fired_has_none(self, api: TestClient) -> None:
        assert api.get(f"{JOBS}/{made(api, **NIGHTLY)['job_id']}/logs").text == ""

    def test_while_it_waits_for_its_retry_the_log_is_that_of_what_failed(
        self, api: TestClient, db: Store, settings: Settings
    ) -> None:
        job = made(api, **ONCE)
        run(db, JobState.FAILED)
        write_log(settings, job, 0, "why it failed\n")
        assert api.get(f"{JOBS}/{job['job_id']}/logs").text == "why it failed\n"


def test_health_has_what_its_surfaces_promise(api: TestClient) -> None:
    body = api.get("/health").json()
    assert body.items() >= {"status": "healthy", "service": "tunesmith", "title": "tunesmith", "sessions": []}.items()
    assert body["database_connected"]
