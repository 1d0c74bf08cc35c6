"""Datasets on the wire, besides the tables themselves."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from tunesmith.schemas.base import Answer, Request
from tunesmith.schemas.sessions import MAX_NAME

KEY = r"^[^/]*[^/\s][^/]*$"
Key = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=KEY)]
"""A dataset's name: no slash, as it stands in paths, and not blank."""

EXAMPLE_DATASET: dict[str, Any] = {
    "metadata": {
        "id": "5f0c7a52-6d0e-4b7c-9a39-0c3f5d1e8b21",
        "name": "Master data",
        "type": "master",
        "creation_datetime": "2026-01-31T12:00:00+00:00",
        "tables": ["products"],
    },
    "tables": {
        "products": {
            "data": [{"sku": "A1", "weight": 2.5}, {"sku": "B2", "weight": None}],
            "columns": ["sku", "weight"],
            "dtypes": {"sku": "str", "weight": "float64"},
            "index": [0, 1],
        }
    },
}


class DeriveRequest(Request):
    """A dataset to be derived from another one."""

    new_key: Key
    """The new one's name."""


class KeyList(Answer):
    """The datasets of a session."""

    keys: tuple[str, ...]
    """Their names, oldest first."""


class MessageAnswer(Answer):
    """What the ETL has to say about the files."""

    severity: str
    """`info`, `warning`, `error` or `critical`; a critical one stores nothing."""
    table: str | None
    """The table that it is about."""
    column: str | None
    """The column."""
    row: int | None
    """The data row, from 1."""
    message: str
    """What was found, or done."""


class EtlAnswer(Answer):
    """What became of an upload."""

    dataset_name: str
    """The dataset's name."""
    success: bool
    """Whether it was stored."""
    keys: tuple[str, ...]
    """The datasets of the session."""
    messages: tuple[MessageAnswer, ...]
    """What was found in the files, and done with them."""


def key_problem(name: str) -> str | None:
    """Why a dataset cannot have this name; None: it can."""
    if len(name) > MAX_NAME:
        return f"must have at most {MAX_NAME} characters"
    return None if re.match(KEY, name) else "must not be blank, nor have a slash in it, as it stands in paths"
