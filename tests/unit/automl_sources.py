"""Files in a training-data directory, and sources of them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from tuners.automl.data import Source
from tunesmith.automl import Config


class Training:
    """A training-data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, contents: str | bytes | dict[str, Any] | pa.Table) -> str:
        """A file: text and bytes as they are, columns as Parquet; its name."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(contents, str | bytes):
            path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        else:
            pq.write_table(contents if isinstance(contents, pa.Table) else pa.table(contents), path, row_group_size=100)
        return name

    def source(self, train_path: str, memory_bytes: int | None = None, **data: Any) -> Source:
        """The source of such a `data` section."""
        section = {"train_path": train_path, **data}
        return Source(Config.model_validate({"data": section, "resources": {"memory_bytes": memory_bytes}}), self.root)

    def csv(self, text: str | bytes, **data: Any) -> Source:
        """The source of a CSV file of this text."""
        return self.source(self.put("t.csv", text), **data)

    def parquet(self, columns: dict[str, Any] | pa.Table, **data: Any) -> Source:
        """The source of a Parquet file of these columns."""
        return self.source(self.put("t.parquet", columns), **data)
