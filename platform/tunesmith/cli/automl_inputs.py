"""What trainings are given on the command line: configurations, and rows to predict."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.automl.config import AUTO, merged
from tunesmith.cli.assignments import assignments
from tunesmith.cli.inputs import kind, read_document
from tunesmith.errors import BadRequest, InvalidBody

CONFIG_FILES = (".yaml", ".yml", ".json")


def training(given: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What `AutoMLClient.train` takes, of a configuration file or a template's name, and changes. Raises InvalidBody.

    A file may hold a configuration, or an object with one as `config`.
    """
    if given is None:
        return {"config": changes}
    if given != "-" and Path(given).suffix.lower() not in CONFIG_FILES and not Path(given).is_file():
        return {"config_name": given, "config_overrides": changes}
    document = read_document(given)
    if not isinstance(document, Mapping):
        raise InvalidBody(f"{given} holds {kind(document)}; it should hold a configuration: an object with model, ...")
    inner = document.get("config")
    return {"config": merged(inner if isinstance(inner, Mapping) else document, changes)}


def changes(
    settings: Iterable[str] | None, train_path: str | None, target: str | None, trials: int | None
) -> dict[str, Any]:
    """The configuration that options make: `training.epochs=5`, and those that have options of their own."""
    found: dict[str, Any] = {}
    data = {"train_path": train_path, "target": target}
    for name, value in data.items():
        if value is not None:
            found = merged(found, {"data": {name: value}})
    if trials is not None:
        search = {"enabled": True, "n_trials": trials, "models": [AUTO]}
        found = merged(found, {"hyperparameter_search": search})
    for path, value in assignments("--set", settings).items():
        *sections, key = path.split(".")
        nested: dict[str, Any] = {key: value}
        for section in reversed(sections):
            nested = {section: nested}
        found = merged(found, nested)
    return found


def rows(file: str | None, written: Sequence[str] | None) -> Iterable[Mapping[str, Any]]:
    """The rows of a file (CSV, Parquet, JSON lines; `-` is stdin) and of `--row`. Raises BadRequest, InvalidBody."""
    if (file is None) == (not written):
        raise BadRequest("give a file of rows, or rows with --row")
    if file is None:
        return [_row(text, f"--row {text}") for text in written or ()]
    suffix = Path(file).suffix.lower()
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidBody(f"{file} cannot be read: {error.strerror}") from error
    if suffix == ".parquet":
        return _parquet(file, content)
    if suffix in (".json", ".jsonl", ".ndjson") or content.lstrip()[:1] in (b"{", b"["):
        return _json(file, content)
    return _csv(file, content)


def _csv(file: str, content: bytes) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(io.BytesIO(content), convert_options=csv.ConvertOptions(strings_can_be_null=True))
    except pa.ArrowInvalid as error:
        raise InvalidBody(f"{file} is no CSV: {error}") from error
    return _pieces(table)


def _parquet(file: str, content: bytes) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return _pieces(parquet.read_table(io.BytesIO(content)))
    except pa.ArrowInvalid as error:
        raise InvalidBody(f"{file} is no Parquet file: {error}") from error


def _pieces(table: Any) -> Iterator[Mapping[str, Any]]:
    for batch in table.to_batches(1000):
        yield from batch.to_pylist()


def _json(file: str, content: bytes) -> list[Mapping[str, Any]]:
    if content.lstrip().startswith(b"["):
        try:
            return list(json.loads(content))
        except ValueError as error:
            raise InvalidBody(f"{file} is no JSON: {error}") from error
    lines = enumerate(content.decode(errors="replace").splitlines(), 1)
    return [_row(line, f"{file}, line {number}") for number, line in lines if line.strip()]


def _row(text: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise InvalidBody(f"{where}: this is no JSON: {error}") from error
    if not isinstance(row, Mapping):
        raise InvalidBody(f"{where}: this is {kind(row)}; it should be an object, feature -> value")
    return row
