"""`run_etl` on files made of texts and bytes, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pandas as pd

from tunesmith.data.files import open_files
from tunesmith.etl import EtlFactory, EtlOutcome, Schema, Upload
from tunesmith.etl.run import run_etl
from tunesmith.storage import Storage

FILES = "datasets/one"
HERE = TemporaryDirectory(prefix="etl-tests-")
"""Goes with the process."""


@dataclass
class Run:
    """An ETL run, and the storage it wrote to."""

    outcome: EtlOutcome
    storage: Storage

    def table(self, name: str) -> pd.DataFrame:
        assert self.outcome.success, self.outcome.messages
        return open_files(self.storage, FILES).table(name)

    def values(self, name: str) -> dict[str, list[Any]]:
        return {str(column): [_plain(value) for value in cells] for column, cells in self.table(name).items()}

    def dtypes(self, name: str) -> dict[str, str]:
        return next(dict(table.dtypes) for table in self.outcome.tables if table.name == name)

    @property
    def names(self) -> list[str]:
        return [table.name for table in self.outcome.tables]

    def told(self, severity: str) -> list[tuple[str | None, str | None, int | None]]:
        return [(m.table, m.column, m.row) for m in self.outcome.messages if m.severity == severity]

    def texts(self, severity: str) -> str:
        return "\n".join(m.message for m in self.outcome.messages if m.severity == severity)

    @property
    def kept_nothing(self) -> bool:
        return not self.outcome.success and not self.outcome.tables and not list(Path(self.storage.root).rglob("*.*"))


def etl(
    files: Mapping[str, str | bytes],
    schemas: Sequence[Schema] = (),
    factory: EtlFactory | type[EtlFactory] | None = None,
) -> Run:
    """Upload files (name -> contents) and run the ETL on them."""
    directory = Path(mkdtemp(dir=HERE.name))
    uploads = []
    for number, (name, contents) in enumerate(files.items()):
        path = directory / f"upload-{number}"
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        uploads.append(Upload(path, name))
    storage = Storage(str(directory / "storage"))
    outcome = run_etl(uploads, "dataset", schemas, factory, storage, FILES)
    left = [path.name for path in directory.iterdir() if path.name != "storage"]
    assert sorted(left) == sorted(upload.path.name for upload in uploads)  # nothing is left of the work
    return Run(outcome, storage)


def _plain(value: Any) -> Any:
    return None if value is None or value is pd.NaT or value is pd.NA or value != value else value
