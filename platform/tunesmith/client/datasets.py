"""`session.data`: the datasets of a session, uploaded as files or tables, and read as Arrow tables or data frames."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.errors import InvalidData
from tunesmith.schemas.datasets import EtlAnswer, KeyList
from tunesmith.schemas.sessions import ParameterList

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from tunesmith.data import DataSource

SILENCE_S = 120.0
"""Seconds without a byte of a dataset after which the connection counts as lost."""
ARROW = "application/vnd.apache.arrow.stream"


class Datasets:
    """The datasets of a session. Every method raises TunesmithError, DatasetNotFound among them."""

    def __init__(self, connection: Connection, session_path: str) -> None:
        self._connection = connection
        self._session_path = session_path

    def keys(self) -> tuple[str, ...]:
        """Their names, oldest first."""
        return parsed(self._connection, KeyList, self._connection.get(f"{self._session_path}/data")).keys

    def upload(self, name: str, *files: str | Path, overwrite: bool = False) -> EtlAnswer:
        """Make a dataset of files (csv, json, xlsx, parquet), each of which becomes a table; what was found in them.

        Raises:
            InvalidData: a message was critical, and nothing was stored; `details` has the messages.
            NameTaken: there is one of this name, and it is not to be overwritten.
            PayloadTooLarge: the files are larger than the platform takes.
        """
        with ExitStack() as opened:
            sent = [("files", (Path(path).name, opened.enter_context(Path(path).open("rb")))) for path in files]
            options = {"overwrite": "true" if overwrite else None}
            path = f"{self._session_path}/etl"
            body = self._connection.upload(path, options, data={"dataset_name": name}, files=sent)
        answer = parsed(self._connection, EtlAnswer, body)
        if not answer.success:
            found = [message for message in answer.messages if message.severity == "critical"]
            said = "; ".join(_said(message) for message in found[:3])
            messages = [message.model_dump() for message in answer.messages]
            raise InvalidData(f"the dataset {name!r} was not stored: {said}", messages=messages)
        return answer

    def put(self, source: DataSource, overwrite: bool = False) -> tuple[str, ...]:
        """Store tables as they are, types included; the names of the session's datasets. Raises NameTaken."""
        return self.put_json(source.to_json(), overwrite)

    def put_json(self, document: str | bytes, overwrite: bool = False) -> tuple[str, ...]:
        """Store a dataset's JSON, as `json` gives it. Raises InvalidData, NameTaken."""
        content = document if isinstance(document, bytes) else document.encode()
        options = {"overwrite": "true" if overwrite else None}
        body = self._connection.upload(f"{self._session_path}/data/from-json", options, content=content)
        return parsed(self._connection, KeyList, body).keys

    def get(self, name: str) -> DataSource:
        """The whole dataset, every table read."""
        from tunesmith.data import DataSource

        return DataSource.from_json(self.json(name))

    def json(self, name: str) -> bytes:
        """The whole dataset as JSON."""
        return self._read(name, {}, "application/json")

    def table(self, name: str, table: str | None = None) -> pyarrow.Table:
        """A table as an Arrow table; without its name: the only one. Raises BadRequest where there are several."""
        import pyarrow as pa

        return pa.ipc.open_stream(self._read(name, {"format": "arrow", "table": table}, ARROW)).read_all()

    def frame(self, name: str, table: str | None = None) -> pandas.DataFrame:
        """A table as a data frame; otherwise as `table`."""
        found: pandas.DataFrame = self.table(name, table).to_pandas()
        return found

    def parquet(self, name: str, table: str | None = None) -> bytes:
        """A table as a Parquet file; otherwise as `table`."""
        return self._read(name, {"format": "parquet", "table": table}, "*/*")

    def parameters(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """A descriptor of each of the dataset's own knobs."""
        body = self._connection.get(f"{self._path(name)}/parameters")
        return parsed(self._connection, ParameterList, body).parameters

    def derive(self, name: str, new_name: str) -> tuple[str, ...]:
        """Make another one with the same tables; the names of the session's datasets. Raises NameTaken."""
        body = self._connection.post(f"{self._path(name)}/derive", {"new_key": new_name})
        return parsed(self._connection, KeyList, body).keys

    def delete(self, name: str) -> None:
        """Delete it. Raises DataInUse."""
        self._connection.delete(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._session_path}/data/{quote(name, safe='')}"

    def _read(self, name: str, params: Mapping[str, Any], accept: str) -> bytes:
        with self._connection.stream(self._path(name), params, {"Accept": accept}, SILENCE_S) as response:
            return response.read()


def _said(message: Any) -> str:
    where = [part for part in (message.table, message.column) if part is not None]
    row = [] if message.row is None else [f"row {message.row}"]
    return ": ".join([*([", ".join([".".join(where), *row])] if where or row else []), message.message])
