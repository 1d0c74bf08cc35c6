"""Streams: a job's server-sent events, and the logs of its trials."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from conftest import served
from fastapi.testclient import TestClient

from serve_app import events, following
from serve_app.app import build
from serve_app.identities import Identities
from tunesmith.domain import Experiment, Job, JobState, Trial
from tunesmith.services import tokens
from tunesmith.settings import Settings
from tunesmith.storage import trial_key
from tunesmith.store import Store
from tunesmith.testing import finished_trial, new_experiment, open_trial, running_job


@pytest.fixture
def experiment(sqlite_store: Store) -> Experiment:
    return new_experiment(sqlite_store)


@pytest.fixture
def job(sqlite_store: Store, experiment: Experiment) -> Job:
    return running_job(sqlite_store, experiment)


def record(store: Store, experiment: Experiment, job: Job, *trials: Trial) -> None:
    with store.write() as tx:
        tx.record(job.id, str(job.lease_token), experiment, trials)


def end(store: Store, job: Job, to: JobState = JobState.SUCCEEDED) -> None:
    with store.write() as tx:
        tx.end_lease(job.id, str(job.lease_token), to)


def parsed(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


class TestEvents:
    def test_an_ended_job_tells_its_whole_story(
        self, api: TestClient, sqlite_store: Store, experiment: Experiment, job: Job
    ) -> None:
        record(sqlite_store, experiment, job, finished_trial(job, 0, 1.5))
        end(sqlite_store, job)
        answer = api.get(f"/api/v1/jobs/{job.id}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
        story = parsed(answer.text)
        assert [(seq, kind) for seq, kind, _ in story] == [(1, "state"), (2, "state"), (3, "trial"), (4, "state")]
        for word in ("job_status", "state"):
            assert [data[word] for _, kind, data in story if kind == "state"] == ["queued", "started", "finished"]
        assert story[2][2]["values"] == [1.5]

    @pytest.mark.parametrize("how", ["header", "query"])
    def test_it_resumes_after_the_last_event_that_was_seen(
        self, api: TestClient, sqlite_store: Store, job: Job, how: str
    ) -> None:
        end(sqlite_store, job)
        url = f"/api/v1/jobs/{job.id}/events"
        given: dict[str, Any] = (
            {"headers": {"Last-Event-ID": "2"}} if how == "header" else {"params": {"last_event_id": 2}}
        )
        assert [seq for seq, _, _ in parsed(api.get(url, **given).text)] == [3]
        assert api.get(url, headers={"Last-Event-ID": "3"}).text == ""

    @pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "99", "9" * 30, ""])
    def test_an_event_that_never_was_is_refused(self, api: TestClient, job: Job, wrong: str) -> None:
        answer = api.get(f"/api/v1/jobs/{job.id}/events", headers={"Last-Event-ID": wrong})
        assert answer.status_code == 400
        assert "Last-Event-ID" in answer.json()["error"]

    def test_an_unknown_job_is_missing(self, api: TestClient) -> None:
        assert api.get("/api/v1/jobs/job-0/events").json()["status"] == "missing"

    def test_events_come_while_the_job_runs_and_the_stream_ends_with_it(
        self, live: httpx2.Client, sqlite_store: Store, experiment: Experiment, job: Job
    ) -> None:
        with live.stream("GET", f"/api/v1/jobs/{job.id}/events") as answer:
            lines = answer.iter_lines()
            assert next_event(lines) == "state"
            assert next_event(lines) == "state"
            begun = time.monotonic()
            record(sqlite_store, experiment, job, finished_trial(job, 0))
            assert next_event(lines) == "trial"
            assert time.monotonic() - begun < 1.5
            end(sqlite_store, job)
            assert next_event(lines) == "state"
            assert not [line for line in lines if line.startswith("event")]

    def test_a_retried_job_goes_on_past_its_old_end(self, live: httpx2.Client, sqlite_store: Store, job: Job) -> None:
        end(sqlite_store, job, JobState.FAILED)
        with sqlite_store.write() as tx:
            tx.retry_job(job.id)
        with live.stream("GET", f"/api/v1/jobs/{job.id}/events") as answer:
            lines = answer.iter_lines()
            assert [next_event(lines) for _ in range(4)] == ["state"] * 4
            live.post(f"/api/v1/jobs/{job.id}/cancel")
            assert next_event(lines) == "state"

    def test_many_watchers_block_nobody(self, live: httpx2.Client, job: Job) -> None:
        with httpx2.Client(base_url=live.base_url, limits=httpx2.Limits(max_connections=80)) as crowd:
            streams = [crowd.stream("GET", f"/api/v1/jobs/{job.id}/events") for _ in range(60)]
            for stream in streams:
                stream.__enter__()
            assert live.get(f"/api/v1/jobs/{job.id}").status_code == 200
            for stream in streams:
                stream.__exit__(None, None, None)

    def test_a_silent_stream_is_kept_alive(
        self, live: httpx2.Client, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.3)
        with live.stream("GET", f"/api/v1/jobs/{job.id}/events") as answer:
            assert any(line == ": keep-alive" for line in answer.iter_lines())

    def test_the_server_notices_that_a_watcher_left(
        self, live: httpx2.Client, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = []
        news = events._news
        monkeypatch.setattr(events, "_news", lambda *given: looks.append(given) or news(*given))
        with httpx2.Client(base_url=live.base_url) as watcher, watcher.stream("GET", f"/api/v1/jobs/{job.id}/events"):
            time.sleep(0.1)
        time.sleep(0.5)
        seen = len(looks)
        time.sleep(1.2)
        assert seen >= 1
        assert len(looks) == seen


class TestWhoMayFollow:
    @pytest.mark.parametrize("what", ["events", "logs?follow=true", "logs?follow=true&trial=0"])
    def test_a_stream_ends_when_the_token_is_revoked(
        self,
        settings: Settings,
        sqlite_store: Store,
        experiment: Experiment,
        job: Job,
        monkeypatch: pytest.MonkeyPatch,
        what: str,
    ) -> None:
        monkeypatch.setattr(Identities.__init__, "__defaults__", (0.05,))
        monkeypatch.setattr(following, "LOOK_S", 0.05)
        record(sqlite_store, experiment, job, open_trial(job, 0))
        with sqlite_store.write() as tx:
            user = tx.create_user(tx.default_workspace(), "ada")
            tx.grant(user.workspace_id, f"user:{user.id}", "viewer")
            revoked, kept = (tokens.issue(tx, user, "test")[0] for _ in range(2))
        with (
            served(build(settings.model_copy(update={"api_key": "k" * 16}), store=sqlite_store)) as url,
            httpx2.Client(base_url=f"{url}/api/v1/jobs/{job.id}/", timeout=10) as client,
            client.stream("GET", what, headers={"X-API-Key": revoked}) as ending,
            client.stream("GET", what, headers={"X-API-Key": kept}) as going_on,
        ):
            with sqlite_store.write() as tx:
                tokens.revoke(tx, user, [revoked[: tokens.PREFIX]])
            ending.read()  # to its end, and not to an error
            assert (ending.status_code, going_on.status_code) == (200, 200)
            record(sqlite_store, experiment, job, finished_trial(job, 0))
            end(sqlite_store, job)
            assert (b"finished" in going_on.read()) is (what == "events")


def next_event(lines: Iterator[str]) -> str:
    return next(line for line in lines if line.startswith("event: ")).removeprefix("event: ")


class TestLogs:
    @pytest.fixture
    def logs(self, settings: Settings, experiment: Experiment) -> Any:
        def write(number: int, text: str) -> str:
            key = trial_key(experiment.id, number) + "/log.txt"
            path = settings.data_dir / "artifacts" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as log:
                log.write(text)
            return key

        return write

    def test_one_trial(self, api: TestClient, sqlite_store: Store, experiment: Experiment, job: Job, logs: Any) -> None:
        record(sqlite_store, experiment, job, finished_trial(job, 0, log=logs(0, "hello\nänd bye")))
        answer = api.get(f"/api/v1/jobs/{job.id}/logs", params={"trial": 0})
        assert answer.text == "hello\nänd bye"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"

    def test_all_trials_in_order_under_their_headers(
        self, api: TestClient, sqlite_store: Store, experiment: Experiment, job: Job, logs: Any
    ) -> None:
        trials = [finished_trial(job, n, log=logs(n, f"output {n}")) for n in range(120)]
        record(sqlite_store, experiment, job, *trials, open_trial(job, 120))
        text = api.get(f"/api/v1/jobs/{job.id}/logs").text
        headers = [line for line in text.splitlines() if line.startswith("==>")]
        assert headers[:2] == ["==> trial 0 (complete) <==", "==> trial 1 (complete) <=="]
        assert headers[-1] == "==> trial 120 (running) <=="
        assert len(headers) == 121
        assert "==> trial 7 (complete) <==\noutput 7\n==> trial 8" in text

    def test_a_trial_that_is_none_of_this_job_is_not_found(
        self, api: TestClient, sqlite_store: Store, experiment: Experiment, job: Job
    ) -> None:
        other = running_job(sqlite_store, new_experiment(sqlite_store))
        record(sqlite_store, experiment, job, finished_trial(job, 0))
        for url in (f"/api/v1/jobs/{job.id}/logs?trial=1", f"/api/v1/jobs/{other.id}/logs?trial=0"):
            assert api.get(url).json()["code"] == "TRIAL_NOT_FOUND"
        assert api.get(f"/api/v1/jobs/{job.id}/logs?trial={2**63}").status_code == 400

    def test_a_growing_log_is_followed_until_the_trial_has_finished(
        self, live: httpx2.Client, sqlite_store: Store, experiment: Experiment, job: Job, logs: Any
    ) -> None:
        record(sqlite_store, experiment, job, open_trial(job, 0))
        logs(0, "first\n")
        with live.stream("GET", f"/api/v1/jobs/{job.id}/logs", params={"trial": 0, "follow": "true"}) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "first"
            logs(0, "second\n")
            assert next(lines) == "second"
            key = logs(0, "last\n")
            record(sqlite_store, experiment, job, finished_trial(job, 0, log=key))
            assert list(lines) == ["last"]

    def test_a_jobs_logs_are_followed_over_its_trials_until_it_has_ended(
        self, live: httpx2.Client, sqlite_store: Store, experiment: Experiment, job: Job, logs: Any
    ) -> None:
        def work() -> None:
            for number in range(3):
                time.sleep(0.3)
                record(sqlite_store, experiment, job, open_trial(job, number))
                key = logs(number, f"output {number}\n")
                record(sqlite_store, experiment, job, finished_trial(job, number, log=key))
            end(sqlite_store, job)

        worker = threading.Thread(target=work)
        worker.start()
        with live.stream("GET", f"/api/v1/jobs/{job.id}/logs", params={"follow": "true"}) as answer:
            lines = list(answer.iter_lines())
        worker.join()
        assert [line for line in lines if not line.startswith("==>")] == ["output 0", "output 1", "output 2"]
        assert len(lines) == 6

    def test_lost_storage_is_said_with_a_status(
        self, api: TestClient, sqlite_store: Store, experiment: Experiment, job: Job, settings: Settings
    ) -> None:
        (settings.data_dir / "artifacts").write_text("a file where a directory should be")
        record(sqlite_store, experiment, job, finished_trial(job, 0, log="a/log.txt"))
        answer = api.get(f"/api/v1/jobs/{job.id}/logs", params={"trial": 0})
        assert (answer.status_code, answer.json()["code"]) == (503, "STORAGE_UNAVAILABLE")
