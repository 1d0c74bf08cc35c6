"""ETL: uploaded files become the tables of a dataset, checked against schemas; every finding is a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith.etl.factory import EtlFactory
from tunesmith.etl.messages import EtlOutcome, Message
from tunesmith.etl.schema import Column, Schema
from tunesmith.etl.uploads import Upload

if TYPE_CHECKING:
    from tunesmith.etl.run import run_etl

__all__ = ["Column", "EtlFactory", "EtlOutcome", "Message", "Schema", "Upload", "run_etl"]


def __getattr__(name: str) -> Any:
    if name == "run_etl":  # brings pyarrow and pandas, which those who only declare schemas do not need
        from tunesmith.etl.run import run_etl

        return run_etl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
