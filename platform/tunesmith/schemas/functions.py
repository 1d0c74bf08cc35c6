"""Functions that are shipped to the platform: the upload, and its answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunesmith.schemas.base import Answer, Request

EXAMPLE: dict[str, Any] = {
    "name": "__main__:objective",
    "payload": "gASVEAAAAAAAAACMBG1hdGiUjARzcXJ0lJOULg==",
    "python": "3.11",
    "cloudpickle": "3.1.2",
}


class FunctionRequest(Request):
    """A pickled function, as `Client.tune` sends it."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [EXAMPLE]}}

    name: str = Field(min_length=1, max_length=500)
    """What people call it: `module:qualified.name`."""
    payload: str = Field(min_length=1)
    """The pickle, in base64."""
    python: str = Field(pattern=r"^\d+\.\d+$", max_length=20)
    """Major and minor version of the Python that made it; the workers must have the same."""
    cloudpickle: str = Field(pattern=r"^\d+\.\d+(\.\w+)*$", max_length=50)
    """Version of the cloudpickle that made it; the workers' must have the same major version."""


class FunctionAnswer(Answer):
    """Where a function is kept."""

    digest: str
    """SHA-256 of the pickle: `optimizer.code` of the jobs that run it."""
