"""Bad input and bad days: every refusal is the one error body, says what to do, and leaves nothing behind."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve_app.app import build
from tests.integration.conftest import Surroundings
from tunesmith.domain.page import encode_cursor
from tunesmith.schemas.requests import EXAMPLE_EXPERIMENT
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.testing.postgres import PostgresServer

EXPERIMENTS = "/api/v1/experiments"
JSON = {"Content-Type": "application/json"}


def refused(answer: httpx2.Response, status: int = 400) -> dict[str, Any]:
    """The error body, which has the same shape wherever it comes from."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = dict(answer.json())
    assert body["error"] == body["detail"]
    assert all(isinstance(body[field], str) and body[field] for field in ("error", "error_type", "code"))
    assert isinstance(body["details"], dict)
    return body


def a_parameter(**fields: Any) -> dict[str, Any]:
    return EXAMPLE_EXPERIMENT | {"parameters": [{"name": "a", "minimum": 0, "maximum": 1} | fields]}


def nothing_stored(api: TestClient) -> bool:
    return bool(api.get(EXPERIMENTS).json() == {"experiments": [], "next_cursor": None})


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({**EXAMPLE_EXPERIMENT, "tool_nam": 1}, "tool_nam", "unknown field 'tool_nam'; did you mean 'tool_name'?"),
            ({"tool_name": "a", "parameters": []}, "", "command_template_string is required"),
            ({"parameters": [], "command_template_string": "true"}, "tool_name", "required, but missing"),
            (a_parameter(minimum=5), "parameters.0", "minimum 5 is above maximum 1; swap them"),
            (a_parameter(minimum="0"), "parameters.0.minimum", "must be a valid number"),
            (a_parameter(type="categoric"), "parameters.0.type", "must be 'int', 'float' or 'categorical'"),
            (a_parameter(choises=[1]), "parameters.0.choises", "did you mean 'choices'?"),
            (a_parameter(log=True), "parameters.0", "a log range needs minimum > 0, not 0"),
            (a_parameter(name="2a"), "parameters.0.name", "should match pattern"),
            (EXAMPLE_EXPERIMENT | {"parameters": EXAMPLE_EXPERIMENT["parameters"][:1] * 2}, "parameters", "rename one"),
            (EXAMPLE_EXPERIMENT | {"trial_timeout_s": -1}, "trial_timeout_s", "must be greater than 0"),
            (EXAMPLE_EXPERIMENT | {"metrics": {"patterns": {"a": "("}}}, "metrics.patterns", "no regular expression"),
            (EXAMPLE_EXPERIMENT | {"compute": {"type": "ec2"}}, "compute", "needs instance_model"),
            (EXAMPLE_EXPERIMENT | {"resources": {"cpu": 1}}, "resources.cpu", "did you mean 'cpus'?"),
            (EXAMPLE_EXPERIMENT | {"objectives": [{"metric": "a"}] * 2}, "objectives", "list each metric once"),
            ([], "", "must be a JSON object"),
        ],
    )
    def test_name_the_field_the_value_and_the_remedy(
        self, api: TestClient, body: Any, field: str, message: str
    ) -> None:
        answer = refused(api.post(EXPERIMENTS, json=body))
        assert answer["code"] == "INVALID_BODY"
        (found,) = answer["details"]["fields"]
        assert (found["field"], message in found["message"]) == (field, True), found
        assert answer["error"] == (f"{field}: {found['message']}" if field else found["message"])
        assert nothing_stored(api)

    def test_show_the_refused_value_but_not_a_page_of_it(self, api: TestClient) -> None:
        (short,) = refused(api.post(EXPERIMENTS, json=a_parameter(minimum="x")))["details"]["fields"]
        assert short["value"] == "x"
        (long,) = refused(api.post(EXPERIMENTS, json=a_parameter(minimum="x" * 9000)))["details"]["fields"]
        assert len(long["value"]) < 300

    def test_name_all_fields_at_once(self, api: TestClient) -> None:
        body = EXAMPLE_EXPERIMENT | {"trial_timeout_s": "1", "nonsense": 1}
        answer = refused(api.post(EXPERIMENTS, json=body))
        assert [found["field"] for found in answer["details"]["fields"]] == ["trial_timeout_s", "nonsense"]
        assert answer["error"].endswith("(and 1 more; see details.fields)")

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b'{"tool_name":', "no valid JSON"),
            (b"", "needs a JSON body"),
            (b'{"tool_name": "\xff"}', "no valid JSON"),
            (b'{"tool_name": "\\ud800"}', "no valid JSON"),
            (b'{"tool_name": "a\\u0000b"}', "tool_name: text cannot hold the NUL character"),
            (b'{"trial_timeout_s": NaN}', "no valid JSON"),
            (b'{"trial_timeout_s": 1e999}', "trial_timeout_s: the number is too large"),
            (b'{"trial_timeout_s": ' + b"9" * 400 + b"}", "trial_timeout_s: the number is too large"),
            (b'{"trial_timeout_s": ' + b"9" * 5000 + b"}", "no valid JSON"),
            (b'{"a":' * 900 + b"1" + b"}" * 900, "no valid JSON"),
            (b"[" * 50_000, "no valid JSON"),
        ],
    )
    def test_that_are_no_json_are_refused(self, api: TestClient, raw: bytes, message: str) -> None:
        answer = refused(api.post(EXPERIMENTS, content=raw, headers=JSON))
        assert message in answer["error"]
        assert nothing_stored(api)

    def test_a_backslash_before_u0000_in_a_template_is_text(self, api: TestClient) -> None:
        body = EXAMPLE_EXPERIMENT | {"command_template_string": r"printf '\u0000'; echo NaN Infinity 1e999"}
        assert api.post(EXPERIMENTS, json=body).status_code == 201

    @pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
    def test_of_another_content_type_are_refused(self, api: TestClient, kind: str) -> None:
        raw = json.dumps(EXAMPLE_EXPERIMENT)
        answer = refused(api.post(EXPERIMENTS, content=raw, headers={"Content-Type": kind} if kind else None))
        assert "Content-Type: application/json" in answer["error"]
        assert nothing_stored(api)

    def test_above_the_limit_are_refused(self, api: TestClient) -> None:
        body = refused(api.post(EXPERIMENTS, content=b" " * 100_001, headers=JSON), 413)
        assert "100,000 bytes" in body["error"]

    def test_above_the_limit_are_refused_when_chunked(self, live: httpx2.Client) -> None:
        def chunks() -> Iterator[bytes]:
            yield from [b" " * 10_000] * 11

        assert refused(live.post(EXPERIMENTS, content=chunks(), headers=JSON), 413)["code"] == "PAYLOAD_TOO_LARGE"

    def test_of_ten_megabytes_get_their_answer_over_a_real_connection(self, live: httpx2.Client) -> None:
        refused(live.post(EXPERIMENTS, content=b" " * 10_000_000, headers=JSON), 413)
        assert live.get("/health").status_code == 200


class TestAddresses:
    @pytest.mark.parametrize("number", ["abc", "-1", "0", "1.5", "9" * 30, "9" * 5000, "%00", "1%2F2", "NaN"])
    @pytest.mark.parametrize("path", [EXPERIMENTS + "/{}", EXPERIMENTS + "/{}/trials", EXPERIMENTS + "/{}/best"])
    def test_an_id_that_is_none_is_refused(self, api: TestClient, path: str, number: str) -> None:
        answer = api.get(path.format(number))
        refused(answer, 404 if answer.status_code == 404 else 400)

    @pytest.mark.parametrize("job_id", ["x!", "%00", "a" * 100, "job-404", "%F0%9F%98%80"])
    def test_a_job_id_that_is_none_is_refused(self, api: TestClient, job_id: str) -> None:
        for answer in (api.get(f"/api/v1/jobs/{job_id}"), api.post(f"/api/v1/jobs/{job_id}/cancel")):
            refused(answer, 404 if answer.status_code == 404 else 400)

    def test_an_unknown_experiment_is_missing(self, api: TestClient) -> None:
        for path in ("", "/trials", "/trials/0", "/best", "/job"):
            assert refused(api.get(f"{EXPERIMENTS}/7{path}"), 404)["code"] == "EXPERIMENT_NOT_FOUND"
        assert refused(api.post(f"{EXPERIMENTS}/7/trials"), 404)["status"] == "missing"

    def test_an_unknown_path_is_not_found(self, api: TestClient) -> None:
        body = refused(api.get("/api/v1/experients/1/job"), 404)
        assert body["code"] == "NOT_FOUND"
        assert "/docs" in body["error"]

    def test_another_method_is_told_which_there_are(self, api: TestClient) -> None:
        answer = api.put(EXPERIMENTS)
        assert refused(answer, 405)["code"] == "METHOD_NOT_ALLOWED"
        assert answer.headers["Allow"] == "GET, POST"

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("limt=1", "unknown query parameter 'limt'; did you mean 'limit'?"),
            ("limit=0", "limit: must be greater than or equal to 1"),
            ("limit=1001", "limit: must be less than or equal to 1000"),
            ("limit=x", "limit: must be a valid integer"),
            ("archived=maybe", "archived: must be a valid boolean"),
            ("cursor=nonsense", "start again without a cursor"),
            ("cursor=W251bGxd", "start again without a cursor"),
            ("q=%00", "NUL"),
        ],
    )
    def test_query_parameters_are_checked(self, api: TestClient, query: str, message: str) -> None:
        assert message in refused(api.get(f"{EXPERIMENTS}?{query}"))["error"]

    def test_query_parameters_that_a_call_does_not_take_are_refused(self, api: TestClient) -> None:
        assert "takes none" in refused(api.get("/health?verbose=1"))["error"]

    @pytest.mark.parametrize("key", ["", "k" * 256])
    def test_an_idempotency_key_has_a_length(self, api: TestClient, key: str) -> None:
        answer = refused(api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT, headers={"Idempotency-Key": key}))
        assert answer["error"].startswith("Idempotency-Key: ")
        assert nothing_stored(api)


class TestUnexpectedErrors:
    def test_carry_a_request_id_that_the_log_has_and_no_traceback(
        self, api: TestClient, app: FastAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        @app.get("/broken")
        def broken() -> None:
            raise ZeroDivisionError("a secret")

        with caplog.at_level(logging.ERROR, "tunesmith.api"):
            answer = api.get("/broken")
        body = refused(answer, 500)
        assert body["code"] == "INTERNAL"
        assert answer.headers["X-Request-Id"] == body["details"]["request_id"]
        assert body["details"]["request_id"] in caplog.text
        assert "ZeroDivisionError" in caplog.text
        assert "secret" not in answer.text

    def test_the_sessions_surface_answers_422_to_a_malformed_body(self, api: TestClient) -> None:
        refused(api.post("/api/v1/sessions", json={}), 422)

    def test_a_failing_wake_fails_no_request(self, app: FastAPI, api: TestClient, surroundings: Surroundings) -> None:
        def fail() -> None:
            raise RuntimeError("no dispatcher")

        surroundings.wake = fail  # type: ignore[method-assign]
        api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT)
        assert api.post(f"{EXPERIMENTS}/1/trials").status_code == 202


class TestLostDatabase:
    def test_requests_get_503_until_it_is_back(self, postgres: PostgresServer, settings: Settings) -> None:
        with postgres.database() as url:
            store = open_store(url)
            api = TestClient(build(settings, store=store))
            assert api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT).status_code == 201
            postgres.stop()
            try:
                answer = api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT)
                assert refused(answer, 503)["code"] == "DATABASE_UNAVAILABLE"
                assert answer.headers["Retry-After"] == "1"
                health = refused(api.get("/health"), 503)
                assert (health["status"], health["database_connected"]) == ("degraded", False)
                assert refused(api.get("/ready"), 503)["details"]["not_ready"]
            finally:
                postgres.start()
            assert api.get(f"{EXPERIMENTS}/1").status_code == 200
            assert api.get("/health").json()["status"] == "healthy"
            store.close()

    def test_ready_says_what_the_cluster_lacks(self, api: TestClient, surroundings: Surroundings) -> None:
        assert api.get("/ready").json() == {"status": "ready"}
        surroundings.missing = ["no trial process is warm yet"]
        assert refused(api.get("/ready"), 503)["details"]["not_ready"] == surroundings.missing


def test_postgres_answers_the_same_refusals(settings: Settings, postgres_store: Store) -> None:
    api = TestClient(build(settings, store=postgres_store))
    api.post(EXPERIMENTS, json=EXAMPLE_EXPERIMENT)
    for query in ("?q=%00", "?cursor=WyIAIl0", f"?cursor={'W' * 501}", "?cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ"):
        refused(api.get(EXPERIMENTS + query))
    for moment in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01", ""):
        answer = api.get("/api/v1/jobs", params={"cursor": encode_cursor(moment, "\0")})
        assert answer.status_code in (200, 400)
