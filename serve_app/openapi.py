"""The OpenAPI document: what to do first, an example per operation, and every refusal that an operation can answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from serve_app.answers import RETRY_AFTER_S
from serve_app.openapi_examples import ANSWERS, BODIES
from serve_app.openapi_security import secure
from tunesmith.domain.value import Value
from tunesmith.errors import (
    BadRequest,
    Forbidden,
    Internal,
    InvalidBody,
    JobActive,
    JobNotFound,
    NotSent,
    PayloadTooLarge,
    TooManyRequests,
    TunesmithError,
    Unauthenticated,
    Unavailable,
)
from tunesmith.field_docs import field_docs
from tunesmith.schemas.base import Answer, ErrorAnswer, Request

DESCRIPTION = """Optimize any tool on a Ray cluster.

1. `POST /api/v1/experiments` a command template with `${parameter}` holes and the parameters' ranges: you get an `id`.
2. `POST /api/v1/experiments/{id}/trials` to submit a job, with an optimizer or without: you get a `job_id`.
3. `GET /api/v1/jobs/{job_id}/events` follows it; `GET /api/v1/experiments/{id}` shows the best trial so far.

Every answer that is not 2xx has one body: `error`, `detail`, `error_type`, `code` and `details`, and says what to do.
A POST that makes something takes an `Idempotency-Key` header, so that it can be sent again safely.
"""
TAGS = [
    {"name": "experiments", "description": "A tool, its search space and what is better; kept, and found by content."},
    {"name": "trials", "description": "Evaluated points of an experiment."},
    {"name": "analysis", "description": "What an experiment's trials say, as arrays and as Plotly figures."},
    {"name": "ask and tell", "description": "Workers of your own evaluate trials, under leases."},
    {"name": "jobs", "description": "One request to optimize an experiment each."},
    {"name": "training jobs", "description": "A program on a schedule, with retries from its checkpoint."},
    {"name": "model runs", "description": "Models, run on inputs in the background; results as tables."},
    {"name": "sessions", "description": "Workspaces of datasets and scenarios."},
    {"name": "datasets", "description": "Tables that scenarios are computed on."},
    {"name": "scenarios", "description": "Algorithms on datasets: run, measured by KPIs, compared, and tuned."},
    {"name": "automl", "description": "Models, trained from templates."},
    {"name": "notifications", "description": "Who is told of the status of training jobs, and whether it got there."},
    {"name": "samplers", "description": "How points are chosen, and how hopeless trials are ended early."},
    {"name": "functions", "description": "Python functions that are shipped with a job."},
    {"name": "secrets", "description": "What trials are given by name, and nobody can read back."},
    {"name": "identity", "description": "Who asks."},
    {"name": "health", "description": "For load balancers and people."},
]
SCHEMAS = "#/components/schemas/"
WHY: dict[int, tuple[str, TunesmithError]] = {
    400: (
        "The request is invalid; `details.fields` says where.",
        BadRequest("limit: must be less than or equal to 1000"),
    ),
    401: ("Nobody is signed in, or not with what is accepted.", Unauthenticated()),
    403: (
        "Your role, or your token, does not have the scope that `x-scope` names.",
        Forbidden("It needs the scope 'write' in the workspace 'main'", scope="write", role="viewer", workspace="main"),
    ),
    404: ("There is no such thing.", JobNotFound("No job has the id 'job-3f9c0a1b2d4e'")),
    409: ("The present state, or an earlier request with this key, does not allow it.", JobActive()),
    413: ("The body is too large.", PayloadTooLarge()),
    422: ("The body is invalid; `details.fields` says where.", InvalidBody()),
    424: ("The channel did not take it.", NotSent("https://example.com/*** answered 503")),
    429: ("Too many requests in a short time.", TooManyRequests("Only 600 per 1 minute of runs", retry_after_s=12)),
    500: ("An unexpected error; the request id finds it in the server's log.", Internal(request_id="8f14e45fceea167a")),
    503: ("The service cannot answer now.", Unavailable()),
}
RETRY_AFTER: dict[str, Any] = {
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer"},
        "example": RETRY_AFTER_S,
    }
}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    429: RETRY_AFTER,
    500: {"X-Request-Id": {"description": "Finds the error in the server's log.", "schema": {"type": "string"}}},
    503: RETRY_AFTER,
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation, or of a whole router, that can answer these statuses."""
    return {status: _refusal(status) for status in statuses}


def install(app: FastAPI, secured: bool) -> None:
    """Make `app.openapi()` give the completed document; `secured`: with what each operation needs."""
    plain = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(plain())
            if secured:
                secure(app.openapi_schema, app.state.prefix, refusals(401, 403, 404, 429))
        return app.openapi_schema

    setattr(app, "openapi", completed)  # noqa: B010  (FastAPI's documented way; a method cannot be assigned to)


def _refusal(status: int) -> dict[str, Any]:
    description, error = WHY[status]
    # Not FastAPI's `model`, which would put the schema under the media type of a stream.
    content = {"application/json": {"schema": {"$ref": f"{SCHEMAS}ErrorAnswer"}, "example": error.body()}}
    return {"description": description, "content": content, "headers": HEADERS.get(status, {})}


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    for path in document["paths"].values():
        for operation in path.values():
            _complete_operation(operation)
    schemas = document["components"]["schemas"]
    schemas["ErrorAnswer"] = ErrorAnswer.model_json_schema()
    _describe_fields(schemas)
    if "JsonValue" in schemas:  # pydantic's own
        schemas["JsonValue"]["description"] = "Anything that JSON can hold."
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _describe_fields(schemas: dict[str, Any]) -> None:
    """Add what the strings under the fields say."""
    models = {model.__name__: model for base in (Value, Request, Answer) for model in _below(base)}
    for name in models.keys() & schemas.keys():
        for field, text in field_docs(models[name]).items():
            if field in (properties := schemas[name].get("properties", {})):
                properties[field].setdefault("description", text)


def _below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _below(model)


def _complete_operation(operation: dict[str, Any]) -> None:
    name, responses = operation["operationId"], operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # FastAPI's own; ours are 400
    if name in BODIES:
        for content in operation["requestBody"]["content"].values():
            content["example"] = BODIES[name]
    for status, response in responses.items():
        if status.startswith("2") and name in ANSWERS:
            for content in response.get("content", {}).values():
                content.setdefault("example", ANSWERS[name])
