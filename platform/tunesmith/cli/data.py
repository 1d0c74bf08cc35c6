"""Commands on datasets: data list, upload, put, show, get, derive, delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import hint, print_json, print_table, stderr
from tunesmith.cli.saving import save
from tunesmith.cli.sessions import SessionOption
from tunesmith.errors import BadRequest, InvalidData
from tunesmith.schemas.datasets import MessageAnswer

if TYPE_CHECKING:
    import pyarrow

Key = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's name.")]
Table = Annotated[
    str | None, typer.Option("--table", metavar="TABLE", help="The table, where there are several.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the dataset of this name.")]
SHOWN_ROWS = 20
"""Rows that are printed, at most."""


class FormatOption(StrEnum):
    """What a file of a dataset is."""

    JSON = "json"
    PARQUET = "parquet"
    CSV = "csv"


def list_datasets(session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """List the datasets of a session."""
    with connect(url) as client:
        keys = client.sessions(session).data.keys()
    if as_json:
        print_json({"keys": keys})
        return
    print_table(("dataset",), [(key,) for key in keys], empty="no datasets; `tunesmith data upload` makes one")


def upload(
    key: Key,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="csv, json, xlsx or parquet: a table each.")],
    session: SessionOption = None,
    overwrite: Overwrite = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a dataset of files: tunesmith data upload sales orders.csv shops.xlsx."""
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise BadRequest(f"{missing} is no file that could be read")
    with connect(url) as client, stderr().status("uploading"):
        try:
            answer = client.sessions(session).data.upload(key, *files, overwrite=overwrite)
        except InvalidData as error:
            if not as_json:
                _tell([MessageAnswer.model_validate(one) for one in error.details.pop("messages", ())])
            raise
    if as_json:
        print_json(answer)
        return
    if answer.messages:
        _tell(answer.messages)
    hint(f"{key} is stored; `tunesmith data show {key}` looks into it")


def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A dataset as JSON, as `data get` writes it.")],
    session: SessionOption = None,
    overwrite: Overwrite = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Store a dataset's JSON, types included."""
    try:
        document = file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from error
    with connect(url) as client:
        keys = client.sessions(session).data.put_json(document, overwrite)
    if as_json:
        print_json({"keys": keys})
    else:
        hint(f"stored; the session has {', '.join(keys)}")


def show(key: Key, table: Table = None, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Show a dataset: its tables, or the first rows of one."""
    with connect(url) as client:
        data = client.sessions(session).data
        if table is not None:
            _show_table(key, table, data.table(key, table), as_json)
            return
        document = json.loads(data.json(key))
    if as_json:
        print_json(document["metadata"])
        return
    tables = document["tables"].items()
    rows = [
        (name, len(one["data"]), ", ".join(f"{c} {one['dtypes'].get(c, '')}" for c in one["columns"]))
        for name, one in tables
    ]
    print_table(("table", "rows", "columns"), rows, empty="it has no tables")


def get(
    key: Key,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="FILE.json, FILE.parquet or FILE.csv.", show_default=False),
    ] = None,
    file_format: Annotated[
        FormatOption | None, typer.Option("--format", help="What is written; json by default.", show_default=False)
    ] = None,
    table: Table = None,
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write a dataset as JSON, or a table of it as Parquet or CSV, to a file or to stdout."""
    chosen = _format(output, file_format)
    with connect(url) as client:
        data = client.sessions(session).data
        if chosen is FormatOption.JSON:
            content = data.json(key)
        elif chosen is FormatOption.PARQUET:
            content = data.parquet(key, table)
        else:
            content = data.frame(key, table).to_csv(index=False).encode()
    save(content, output)
    if output is None:
        return
    if as_json:
        print_json({"key": key, "file": str(output), "bytes": len(content)})
    else:
        hint(f"{output}: {len(content):,} bytes")


def derive(
    key: Key,
    new_key: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new dataset's name.")],
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make another dataset with the same tables."""
    with connect(url) as client:
        keys = client.sessions(session).data.derive(key, new_key)
    if as_json:
        print_json({"keys": keys})
    else:
        hint(f"{new_key} is derived from {key}")


def delete(key: Key, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Delete a dataset; not while a scenario uses it."""
    with connect(url) as client:
        client.sessions(session).data.delete(key)
    if as_json:
        print_json({"key": key, "deleted": True})
    else:
        hint(f"{key} is deleted")


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("list", list_datasets),
    ("upload", upload),
    ("put", put),
    ("show", show),
    ("get", get),
    ("derive", derive),
    ("delete", delete),
)


def _show_table(key: str, name: str, table: pyarrow.Table, as_json: bool) -> None:
    rows = table.slice(0, SHOWN_ROWS).to_pylist()
    if as_json:
        print_json({"rows": table.num_rows, "first": rows})
        return
    print_table(table.column_names, [list(row.values()) for row in rows], empty="it has no rows")
    if table.num_rows > SHOWN_ROWS:
        hint(f"{table.num_rows - SHOWN_ROWS:,} more; `tunesmith data get {key} --table {name} -o FILE.csv` writes all")


def _tell(messages: Sequence[MessageAnswer]) -> None:
    rows = [(one.severity, one.table, one.column, one.row, one.message) for one in messages]
    print_table(("severity", "table", "column", "row", "message"), rows, empty="there are no messages")


def _format(output: Path | None, chosen: FormatOption | None) -> FormatOption:
    if chosen is not None or output is None:
        return chosen or FormatOption.JSON
    ending = output.suffix.lower().removeprefix(".")
    if ending not in set(FormatOption):
        raise BadRequest(f"{output}: it should end with .json, .parquet or .csv; or say which with --format")
    return FormatOption(ending)
