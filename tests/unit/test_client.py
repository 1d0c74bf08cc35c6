"""The client against a real HTTP server: errors, retries, pages, events."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from stand_in import Reply, StandIn, detail, enveloped, experiment, job, refusal, serving, trial

from tunesmith import (
    Client,
    ConnectionFailed,
    ExperimentNotFound,
    ExperimentRequest,
    Forbidden,
    InvalidBody,
    JobActive,
    NotFound,
    Objective,
    OptimizerRequest,
    Parameter,
    StateForbids,
    TooManyRequests,
    Unavailable,
)
from tunesmith.client import JobEvent, RunFile, platform_url, read_run_file
from tunesmith.client.retry import Patience, pause_s
from tunesmith.errors import TunesmithError, tree

NOW = {"Retry-After": "0"}
EVENTS = "GET /api/v1/jobs/job-1/events"
SSE = {"Content-Type": "text/event-stream"}


@pytest.fixture(autouse=True)
def _no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNESMITH_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as stand_in:
        yield stand_in


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def sse(seq: int, kind: str, **data: Any) -> str:
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


class TestErrors:
    @pytest.mark.parametrize("kind", sorted({kind for kind in tree() if kind.status < 500}, key=lambda k: k.__name__))
    def test_the_class_that_the_server_raised_is_raised_again(
        self, server: StandIn, kind: type[TunesmithError]
    ) -> None:
        server.on("GET /health", refusal(kind("as it was", field="x"), NOW))
        with Client(server.url, retries=0) as client, pytest.raises(kind, match="as it was") as caught:
            client.health()
        assert type(caught.value) is kind
        assert caught.value.details == {"field": "x"}

    def test_an_answer_without_the_error_body_is_classed_by_its_status(self, server: StandIn) -> None:
        server.on("GET /health", Reply("<html>", 403))
        with Client(server.url) as client, pytest.raises(Forbidden, match="403"):
            client.health()
        assert len(server.received) == 1

    def test_no_answer_says_which_url_and_what_to_do(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with Client(url, retries=0) as client, pytest.raises(ConnectionFailed, match=f"{url}.*tunesmith up"):
                client.health()

    def test_another_service_at_the_url_is_told_from_a_platform(self, server: StandIn, client: Client) -> None:
        server.on("GET /health", Reply("<html>hello</html>"))
        server.on("GET /api/v1/jobs/job-1", Reply({"hello": "world"}))
        with pytest.raises(ConnectionFailed, match="not as a tunesmith platform"):
            client.health()
        with pytest.raises(ConnectionFailed, match="JobAnswer"):
            client.job("job-1")

    @pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://", "http://host:port"])
    def test_a_url_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(ConnectionFailed, match="no URL"):
            Client(url)

    def test_what_json_cannot_hold_is_refused_before_it_is_sent(self, client: Client) -> None:
        with pytest.raises(InvalidBody, match="JSON"):
            client.create_experiment(tool_name="x", parameters=[{"name": "a", "maximum": float("inf")}])


class TestRetries:
    def test_a_503_is_tried_again_under_the_same_idempotency_key(self, server: StandIn, client: Client) -> None:
        route = "POST /api/v1/experiments"
        server.on(route, [refusal(Unavailable(), NOW), refusal(TooManyRequests(), NOW), Reply(experiment(), 201)])
        assert client.create_experiment(tool_name="sleep").id == 1
        keys = [request.headers["idempotency-key"] for request in server.asked(route)]
        assert len(keys) == 3
        assert len(set(keys)) == 1

    def test_a_lost_connection_is_tried_again_under_the_same_idempotency_key(
        self, server: StandIn, client: Client
    ) -> None:
        server.on("POST /api/v1/jobs/job-1/cancel", [Reply(cut=True), Reply(enveloped(status="stopped"), 202)])
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped()))
        assert client.job("job-1").cancel().job_status == "stopped"
        first, second = server.asked("POST /api/v1/jobs/job-1/cancel")
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]

    def test_two_calls_have_two_keys(self, server: StandIn, client: Client) -> None:
        server.on("POST /api/v1/experiments", Reply(experiment()))
        for _ in range(2):
            client.create_experiment(tool_name="sleep")
        assert len({request.headers["idempotency-key"] for request in server.received}) == 2

    def test_the_last_failure_is_raised_when_no_attempt_is_left(self, server: StandIn) -> None:
        server.on("GET /health", refusal(Unavailable("still starting"), NOW))
        with Client(server.url, retries=2) as client, pytest.raises(Unavailable, match="still starting"):
            client.health()
        assert len(server.received) == 3

    def test_a_proxy_without_a_server_behind_it_counts_as_unavailable(self, server: StandIn) -> None:
        server.on("GET /health", Reply("<html>bad gateway</html>", 502, NOW))
        with Client(server.url, retries=1) as client, pytest.raises(Unavailable):
            client.health()
        assert len(server.received) == 2

    @pytest.mark.parametrize("status", [404, 500])
    @pytest.mark.parametrize("body", ["Path '/api/v1/jobs/job-1' not found.", {"message": "no route"}])
    def test_what_a_proxy_says_while_the_platform_restarts_is_tried_again(
        self, server: StandIn, client: Client, status: int, body: Any
    ) -> None:
        server.on("GET /api/v1/jobs/job-1", [Reply(body, status), Reply(enveloped())])
        assert client.job("job-1").info.job_status == "started"
        assert len(server.received) == 2

    def test_a_proxy_that_goes_on_so_makes_the_platform_unavailable(self, server: StandIn) -> None:
        server.on("GET /health", Reply("Not Found", 404, NOW))
        with Client(server.url, retries=1) as client, pytest.raises(Unavailable, match=r"404.*not as a tunesmith"):
            client.health()

    def test_a_refused_request_is_not_tried_again(self, server: StandIn, client: Client) -> None:
        server.on("POST /api/v1/experiments", refusal(InvalidBody("no")))
        with pytest.raises(InvalidBody):
            client.create_experiment(tool_name="")
        assert len(server.received) == 1

    def test_pauses_grow_and_the_server_has_the_last_word(self) -> None:
        assert 0.05 <= pause_s(0) <= 0.1
        assert 0.4 <= pause_s(3) <= 0.8
        assert pause_s(50) <= 5
        assert pause_s(0, after_s=7) == 7
        assert pause_s(0, after_s=100_000) == 60

    def test_patience_ends(self) -> None:
        patience = Patience(limit_s=0)
        patience.bear(Unavailable())
        with pytest.raises(Unavailable):
            patience.bear(Unavailable())
        patience.restored()
        patience.bear(Unavailable())


class TestExperiments:
    def test_fields_values_and_requests_make_the_same_body(self, server: StandIn, client: Client) -> None:
        server.on("POST /api/v1/experiments", Reply(experiment(), 201))
        plain = {
            "tool_name": "sleep",
            "parameters": [{"name": "s", "minimum": 0, "maximum": 1}],
            "command_template_string": "sleep ${s}",
            "objectives": [{"metric": "wall_time_s"}],
        }
        client.create_experiment(plain)
        client.create_experiment(**plain)
        client.create_experiment(ExperimentRequest.model_validate(plain))
        values = {
            "parameters": [Parameter(name="s", minimum=0, maximum=1)],
            "objectives": [Objective(metric="wall_time_s")],
        }
        client.create_experiment(plain | values)
        specs = [ExperimentRequest.model_validate(request.body).spec() for request in server.received]
        assert all(spec == specs[0] for spec in specs)

    def test_an_unknown_one_is_not_found(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/experiments/7", refusal(ExperimentNotFound("No experiment has the id 7")))
        with pytest.raises(ExperimentNotFound):
            client.experiment(7)

    def test_lists_go_over_all_pages(self, server: StandIn, client: Client) -> None:
        pages = [
            Reply({"experiments": [experiment(id=3), experiment(id=2)], "next_cursor": "c"}),
            Reply({"experiments": [experiment(id=1)], "next_cursor": None}),
        ]
        server.on("GET /api/v1/experiments", pages)
        assert [found.id for found in client.experiments(q="sl")] == [3, 2, 1]
        first, second = server.received
        assert first.query == {"limit": "500", "q": "sl"}
        assert second.query == {"limit": "500", "q": "sl", "cursor": "c"}

    def test_a_job_is_submitted_as_asked(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/experiments/1", Reply(detail()))
        server.on("POST /api/v1/experiments/1/trials", Reply(enveloped(status="queued") | {"warnings": ["slow"]}, 202))
        found = client.experiment(1)
        assert found.submit().info.job_status == "queued"
        assert found.submit("random").warnings == ("slow",)
        found.submit({"type": "tpe", "n_iter": 3}, priority="high")
        found.submit(OptimizerRequest.model_validate({"n_iter": 3, "n_init": 1}))
        assert [request.body for request in server.asked("POST /api/v1/experiments/1/trials")] == [
            {},
            {"optimizer": {"type": "random"}},
            {"optimizer": {"type": "tpe", "n_iter": 3}, "priority": "high"},
            {"optimizer": {"type": "bayesopt", "n_iter": 3, "n_init": 1}},
        ]

    def test_a_second_job_is_a_conflict(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/experiments/1", Reply(detail()))
        server.on("POST /api/v1/experiments/1/trials", refusal(JobActive(job_id="job-1")))
        with pytest.raises(JobActive, match="already enqueued"):
            client.experiment(1).submit()


class TestTrials:
    @pytest.fixture
    def found(self, server: StandIn, client: Client) -> Any:
        server.on("GET /api/v1/experiments/1", Reply(detail()))
        return client.experiment(1)

    def test_they_come_page_after_page_and_no_more_than_asked_for(self, server: StandIn, found: Any) -> None:
        def page(request: Any) -> Reply:
            start, limit = int(request.query.get("cursor", 0)), int(request.query["limit"])
            end = min(start + limit, 1200)
            cursor = str(end) if end < 1200 else None
            return Reply({"trials": [trial(n) for n in range(start, end)], "next_cursor": cursor})

        server.on("GET /api/v1/experiments/1/trials", page)
        assert [t.number for t in found.trials(state="complete", order="number")] == list(range(1200))
        assert server.received[-1].query["state"] == "complete"
        asked = len(server.received)
        assert [t.number for t in found.trials(limit=600)] == list(range(600))
        assert [request.query["limit"] for request in server.received[asked:]] == ["500", "100"]
        assert found.trials(limit=1).__next__().params == {"s": 0.25, "mode": 1}

    def test_the_best_is_one_or_the_pareto_set_or_none_yet(self, server: StandIn, found: Any) -> None:
        server.on("GET /api/v1/experiments/1/best", Reply(trial(4)))
        assert found.best().number == 4
        assert [t.number for t in found.front()] == [4]
        server.on("GET /api/v1/experiments/1/best", Reply([trial(1), trial(2)]))
        assert [t.number for t in found.best()] == [1, 2]
        server.on("GET /api/v1/experiments/1/best", Reply({"error": "none", "code": "TRIAL_NOT_FOUND"}, 404))
        assert found.best() is None
        assert found.front() == []

    def test_one_trial_has_its_intermediate_values(self, server: StandIn, found: Any) -> None:
        values = [{"metric": "loss", "step": 1, "value": 0.5}]
        server.on("GET /api/v1/experiments/1/trials/4", Reply(trial(4) | {"measurements": values}))
        assert found.trial(4).measurements[0].value == 0.5

    def test_the_job_is_there_or_none(self, server: StandIn, found: Any) -> None:
        missing = {"error": "none", "code": "JOB_NOT_FOUND", "status": "missing", "job": {}}
        server.on("GET /api/v1/experiments/1/job", [Reply(enveloped()), Reply(missing, 404)])
        assert found.job().id == "job-1"
        assert found.job() is None

    def test_an_update_sends_only_what_changes(self, server: StandIn, found: Any) -> None:
        server.on("PATCH /api/v1/experiments/1", Reply(experiment(name="new")))
        assert found.update(name="new", tags=()).name == "new"
        assert server.received[-1].body == {"name": "new", "tags": []}
        for constraints in (["s < 1"], []):
            found.update(parameter_constraints=constraints)
            assert server.received[-1].body == {"parameter_constraints": constraints}


class TestJobs:
    @pytest.fixture
    def running(self, server: StandIn, client: Client) -> Any:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped()))
        return client.job("job-1")

    def test_lists_take_either_word_for_a_state(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/jobs", Reply({"jobs": [job()], "next_cursor": None}))
        for status in ("running", "started", "failed", None):
            assert [found.id for found in client.jobs(status)] == ["job-1"]
        assert [request.query.get("status") for request in server.received] == ["started", "started", "failed", None]

    def test_a_transition_that_the_state_forbids_is_a_conflict(self, server: StandIn, running: Any) -> None:
        server.on("POST /api/v1/jobs/job-1/resume", refusal(StateForbids("The job is running")))
        with pytest.raises(StateForbids):
            running.resume()

    def test_waiting_returns_the_ended_job_and_tells_every_new_standing(self, server: StandIn, running: Any) -> None:
        standings = [enveloped(progress={"finished": n, "failed": 0, "total": 2, "best": None}) for n in (0, 0, 1)]
        last = enveloped(status="failed", progress={"finished": 2, "failed": 0, "total": 2, "best": None})
        server.on("GET /api/v1/jobs/job-1", [Reply(standing) for standing in (*standings, last)])
        seen: list[int] = []
        ended = running.wait(on_progress=lambda answer: seen.append(answer.progress.finished))
        assert ended.job_status == running.info.job_status == "failed"
        assert seen == [0, 1, 2]

    def test_waiting_outlasts_a_restart_of_the_server(self, server: StandIn, client: Client) -> None:
        down = refusal(Unavailable(), NOW)
        server.on("GET /api/v1/jobs/job-1", [Reply(enveloped()), *[down] * 8, Reply(enveloped(status="finished"))])
        assert client.job("job-1").wait().job_status == "finished"

    def test_waiting_and_following_outlast_a_proxy_without_a_route(self, server: StandIn) -> None:
        lost = Reply("Path not found. Ping /-/routes", 404)
        server.on("GET /api/v1/jobs/job-1", [Reply(enveloped()), lost, Reply(enveloped(status="finished"))])
        server.on(EVENTS, [lost, Reply(chunks=(sse(1, "state", state="finished"),), headers=SSE)])
        with Client(server.url, retries=0) as client:
            job = client.job("job-1")
            assert job.wait().job_status == "finished"
            assert [event.seq for event in job.events()] == [1]

    def test_waiting_has_an_end(self, running: Any) -> None:
        with pytest.raises(TimeoutError, match="job-1 is still started"):
            running.wait(timeout=0.05)

    def test_logs_come_line_by_line(self, server: StandIn, running: Any) -> None:
        server.on("GET /api/v1/jobs/job-1/logs", Reply(chunks=("one\ntw", "o\n", "thrée")))
        assert list(running.logs(trial=3, follow=True)) == ["one", "two", "thrée"]
        assert server.received[-1].query == {"trial": "3", "follow": "true"}

    def test_an_odd_id_is_one_path_segment(self, server: StandIn, client: Client) -> None:
        with pytest.raises(NotFound):
            client.job("../experiments/1?x")
        assert server.received[0].path == "/api/v1/jobs/..%2Fexperiments%2F1%3Fx"


class TestEvents:
    def test_a_cut_stream_is_taken_up_after_the_last_event(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped()))
        first = (": keep-alive\n\n", sse(1, "state", state="running"), sse(2, "trial", number=0), "id: 3\ndata: {")
        second = (sse(3, "trial", number=1), sse(4, "state", state="succeeded", job_status="finished"))
        server.on(EVENTS, [Reply(chunks=first, headers=SSE, cut=True), Reply(chunks=second, headers=SSE)])
        events = list(client.job("job-1").events())
        assert [event.seq for event in events] == [1, 2, 3, 4]
        assert events[1] == JobEvent(seq=2, kind="trial", data={"number": 0})
        assert [request.headers.get("last-event-id") for request in server.asked(EVENTS)] == [None, "2"]

    def test_a_stream_that_ends_before_the_job_is_taken_up(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped()))
        drained = Reply(chunks=(sse(1, "state", state="running"),), headers=SSE)
        rest = Reply(chunks=(sse(2, "state", state="failed"),), headers=SSE)
        server.on(EVENTS, [drained, refusal(Unavailable(), NOW), rest])
        assert [event.seq for event in client.job("job-1").events()] == [1, 2]

    def test_the_end_of_an_earlier_attempt_is_not_the_end(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped()))
        states = ("failed", "queued", "running", "succeeded")
        chunks = tuple(sse(i + 1, "state", state=state) for i, state in enumerate(states))
        server.on(EVENTS, Reply(chunks=chunks, headers=SSE))
        assert [event.data["state"] for event in client.job("job-1").events()] == list(states)

    def test_nothing_follows_the_last_event_of_an_ended_job(self, server: StandIn, client: Client) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped(status="finished")))
        server.on(EVENTS, Reply(chunks=(), headers=SSE))
        assert list(client.job("job-1").events(last_event_id=9)) == []
        assert server.asked(EVENTS)[0].headers["last-event-id"] == "9"


class TestWhereThePlatformIs:
    def run_file(self, directory: Path, **changes: Any) -> Path:
        content = {
            "pid": os.getpid(), "url": "http://127.0.0.1:4711", "ray_address": None, "dashboard_url": None,
            "started_at": datetime.now(UTC).isoformat(), "version": "0.1.0",
        } | changes  # fmt: skip
        path = directory / "run.json"
        path.write_text(json.dumps(content))
        return path

    def test_the_variable_comes_first_then_the_running_platform_then_the_default(self, tmp_path: Path) -> None:
        here = {"TUNESMITH_DATA_DIR": str(tmp_path)}
        assert platform_url(here) == "http://127.0.0.1:8000"
        self.run_file(tmp_path)
        assert platform_url(here) == "http://127.0.0.1:4711"
        assert platform_url(here | {"TUNESMITH_URL": "http://elsewhere:1"}) == "http://elsewhere:1"

    def test_a_platform_that_died_is_not_running(self, tmp_path: Path) -> None:
        self.run_file(tmp_path, pid=2**22 + 1)
        assert platform_url({"TUNESMITH_DATA_DIR": str(tmp_path)}) == "http://127.0.0.1:8000"

    def test_another_process_with_its_id_is_not_the_platform(self, tmp_path: Path) -> None:
        path = self.run_file(tmp_path, started_at=(datetime.now(UTC) - timedelta(days=365)).isoformat())
        found = read_run_file(path)
        assert isinstance(found, RunFile)
        assert not found.alive

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
    def test_a_broken_run_file_is_none(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "run.json"
        path.write_text(content)
        assert read_run_file(path) is None


def test_the_key_of_the_environment_is_sent(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "sixteen characters")
    server.on("GET /api/v1/jobs", Reply({"jobs": [], "next_cursor": None}))
    with Client(server.url) as client:
        client.jobs()
    assert server.received[0].headers["authorization"] == "Bearer sixteen characters"


def test_a_transport_of_ones_own_carries_the_requests() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        return httpx2.Response(200, json=enveloped(status="finished"))

    with Client(token="secret", transport=httpx2.MockTransport(answer)) as client:
        assert client.job("job-1").info.ended
