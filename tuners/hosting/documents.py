"""A dataset's JSON, read and stored: here, or, where it is large, in a child process with a memory of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuners.hosting.host import HostDied
from tuners.hosting.pool import borrowed
from tuners.hosting.tasks import TaskFailed, Voice
from tunesmith.domain import TableInfo
from tunesmith.errors import InvalidData
from tunesmith.storage import Storage


@dataclass(frozen=True)
class Stored:
    """What is known of a dataset whose tables lie in the storage."""

    name: str
    """`metadata.name`."""
    type: Any
    """`metadata.type`."""
    metadata: Mapping[str, Any]
    """The document's `metadata`."""
    tables: Sequence[TableInfo]
    """Its tables, in order."""
    bytes: int
    """What they take in the storage."""


@dataclass(frozen=True)
class DocumentTask:
    """A dataset's JSON in a file, to be stored."""

    path: Path
    """The file."""
    artifacts: str
    """Root of the artefact storage."""
    files: str
    """The key prefix that its tables get."""

    def perform(self, voice: Voice) -> Stored:
        """Store it. Raises InvalidData, StorageUnavailable."""
        voice.begin()
        return self.store()

    def store(self) -> Stored:
        """Store it, here and now. Raises InvalidData, StorageUnavailable."""
        from tunesmith.data import DataSource, write_tables

        source = DataSource.from_json(self.path.read_bytes())
        tables, size = write_tables(Storage(self.artifacts), self.files, source)
        return Stored(source.name, source.type, source.metadata, tables, size)

    def store_apart(self) -> Stored:
        """Store it in a child process. Raises InvalidData, also where the memory did not do; StorageUnavailable."""
        with tempfile.TemporaryFile(buffering=0) as log, borrowed(log) as host:
            try:
                return host.call(self, log)
            except (TaskFailed, HostDied) as error:
                raise InvalidData(
                    f"The dataset could not be read ({error}); it may take more memory than there is: send it in "
                    "smaller parts, or as files"
                ) from error
