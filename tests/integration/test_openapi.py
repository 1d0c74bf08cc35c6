"""The OpenAPI document: readable names, an example per operation that is true, and every refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve_app.openapi_examples import ANSWERS

SESSIONS = "/api/v1/sessions"


@pytest.fixture
def document(api: TestClient) -> dict[str, Any]:
    return dict(api.get("/openapi.json").json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def contents(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "requestBody" in operation:
        yield from (("request", content) for content in operation["requestBody"]["content"].values())
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            yield status, content


def test_every_operation_of_the_contract_is_there(document: dict[str, Any]) -> None:
    there = {f"{method.upper()} {path}" for method, path, _ in operations(document)}
    experiment, job = "/api/v1/experiments/{experiment_id}", "/api/v1/jobs/{job_id}"
    session = f"{SESSIONS}/{{session_id}}"
    assert there >= {
        "POST /api/v1/experiments",
        "GET /api/v1/experiments",
        f"GET {experiment}",
        f"PATCH {experiment}",
        f"POST {experiment}/trials",
        f"GET {experiment}/trials",
        f"GET {experiment}/trials/{{number}}",
        f"GET {experiment}/best",
        f"GET {experiment}/job",
        f"POST {experiment}/stop",
        "GET /api/v1/jobs",
        "GET /api/v1/jobs/running",
        "GET /api/v1/jobs/queued",
        "GET /api/v1/jobs/failed",
        f"GET {job}",
        *(f"POST {job}/{step}" for step in ("cancel", "pause", "resume", "retry")),
        f"GET {job}/events",
        f"GET {job}/logs",
        "GET /api/v1/samplers",
        "GET /api/v1/pruners",
        "POST /api/v1/functions",
        "GET /health",
        "GET /ready",
        "POST /jobs",
        "GET /jobs",
        *(f"{method} /jobs/{{job_id}}" for method in ("GET", "PUT", "DELETE")),
        *(f"POST /jobs/{{job_id}}/{step}" for step in ("retry", "run", "cancel", "pause", "resume")),
        "GET /jobs/{job_id}/executions",
        "GET /jobs/{job_id}/logs",
        "GET /stats",
        "GET /api/models",
        *(f"{method} /api/runs" for method in ("GET", "POST")),
        *(f"GET /api/runs/{{run_id}}{path}" for path in ("", "/status", "/results")),
        "POST /api/runs/{run_id}/cancel",
        *(f"{method} {SESSIONS}" for method in ("GET", "POST")),
        *(f"{method} {session}" for method in ("PATCH", "DELETE")),
        f"POST {session}/copy",
        *(f"GET {session}/{path}" for path in ("algorithms", "algorithms/{name}/parameters", "kpis", "processing")),
        *(f"{method} {session}/scenarios" for method in ("GET", "POST")),
        *(f"{method} {session}/scenarios/{{scenario_id}}" for method in ("GET", "DELETE")),
        *(f"POST {session}/scenarios/{{scenario_id}}/{step}" for step in ("run", "reset", "cancel")),
        f"GET {session}/scenarios/{{scenario_id}}/status",
        f"POST {session}/scenarios/compare",
        f"POST {session}/optimize",
        f"GET {session}/data",
        *(f"{method} {session}/data/{{key}}" for method in ("GET", "DELETE")),
        f"GET {session}/data/{{key}}/parameters",
        f"POST {session}/data/{{key}}/derive",
        f"POST {session}/data/from-json",
        f"POST {session}/etl",
    }


def test_every_operation_has_a_name_a_summary_and_a_tag(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for _, path, operation in operations(document):
        assert operation["operationId"].isidentifier(), path
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= tags, path


def test_every_operation_has_an_example_that_its_schema_accepts(document: dict[str, Any]) -> None:
    checked = set()
    for _, path, operation in operations(document):
        for status, content in contents(document, operation):
            assert "example" in content, (path, status)
            schema = {**content["schema"], "components": document["components"]}
            jsonschema.validate(content["example"], schema, jsonschema.Draft202012Validator)
        checked.add(operation["operationId"])
    assert checked == set(ANSWERS)


def test_every_refusal_is_documented_with_the_one_error_body(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"400", "500", "503"} <= statuses, path
        is_open = operation["x-scope"] == "open"
        assert "404" in statuses or is_open, path  # its workspace may be none
        assert {"401", "403"} <= statuses or is_open, path
        assert ("413" in statuses) == ("requestBody" in operation), path
        changes = method in ("post", "put", "delete") or (path.startswith(SESSIONS) and method == "patch")
        needs_an_end = path.endswith(("/results", "/artifact"))
        settles = method in ("put", "delete") and path.startswith(("/v1/auth/", "/api/v1/secrets/"))
        takes_roles = "/grants/" in path or (
            method == "delete" and path.startswith(("/v1/auth/users/", "/v1/auth/groups/"))
        )
        may_conflict = changes and not (
            (settles and (not takes_roles or "/tokens/" in path))
            or path.endswith(("/compare", "/auth/token", "/auth/tokens", "/logout"))
        )
        assert ("409" in statuses) == (may_conflict or needs_an_end), path
        assert ("422" in statuses) == (path.startswith(SESSIONS) and "requestBody" in operation), path
        for status, response in operation["responses"].items():
            if status >= "400":
                assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
        assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_every_schema_and_every_field_of_it_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert "$ref" in described or described.get("description"), f"{name}.{field}"


def test_the_pages_are_there(api: TestClient, app: FastAPI) -> None:
    assert "swagger" in api.get("/docs").text
    assert "redoc" in api.get("/redoc").text
    assert app.openapi() is app.openapi()
