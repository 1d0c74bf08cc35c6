"""Path and query parameters that several surfaces share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from tunesmith.domain.page import MAX_LIMIT

MAX_INTEGER = 2**63 - 1

ExperimentId = Annotated[int, Path(ge=1, le=MAX_INTEGER, description="The experiment's `id`.", examples=[1])]
JobId = Annotated[
    str,
    Path(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="`job_id`.", examples=["job-3f9c0a1b2d4e"]
    ),
]
TrainingId = Annotated[
    str,
    Path(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="`job_id`.", examples=["train-a1b2c3d4"]
    ),
]
RunId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="`run_id`.",
        examples=["0b5c1d2e-8f3a-4c6b-9d7e-1f2a3b4c5d6e"],
    ),
]
TrialNumber = Annotated[int, Path(ge=0, le=MAX_INTEGER, description="The trial's `number`.", examples=[0])]
Cursor = Annotated[
    str | None, Query(max_length=500, description="`next_cursor` of the page before; leave it out for the first page.")
]
Limit = Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description=f"Rows of the page, at most {MAX_LIMIT:,}.")]
SessionId = Annotated[
    str, Path(min_length=1, max_length=200, description="The session's UUID, or its name.", examples=["main"])
]
ScenarioId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9-]+$",
        description="The scenario's `id`.",
        examples=["0b8a4c1e-5d1f-4a0e-9d36-2f6f0c1a7e55"],
    ),
]
DatasetKey = Annotated[str, Path(min_length=1, max_length=200, description="The dataset's name.", examples=["orders"])]
AlgorithmName = Annotated[
    str, Path(min_length=1, max_length=200, description="The algorithm's name.", examples=["Slow"])
]
