"""What trainings are given on the command line: configurations, and rows to predict."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.automl.config import AUTO, Config, merged
from tunesmith.cli.assignments import assignments
from tunesmith.cli.csv_rows import csv_rows
from tunesmith.cli.inputs import kind, read_document
from tunesmith.errors import BadRequest, InvalidBody
from tunesmith.scenarios.parameters import nearest

CONFIG_FILES = (".yaml", ".yml", ".json")
WRAPPING = ("config", "config_name", "config_overrides")
REQUEST = (*WRAPPING, "data")
"""What a request to train has."""
KNOWN = f"known: {', '.join(REQUEST)}; or {', '.join(Config.model_fields)}"


def training(given: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What `AutoMLClient.train` takes, of a file or a template's name, and changes. Raises InvalidBody.

    The file may hold a configuration, or what `POST /v1/train` takes.
    """
    if given is None:
        return {"config": changes}
    if given != "-" and Path(given).suffix.lower() not in CONFIG_FILES and not Path(given).is_file():
        return {"config_name": given, "config_overrides": changes}
    document = read_document(given)
    if not isinstance(document, Mapping):
        raise InvalidBody(f"{given} holds {kind(document)}; it should hold a configuration: an object with model, ...")
    if not set(WRAPPING) & document.keys():
        _check_sections(given, document)
        return {"config": merged(document, changes)}
    for name in document:
        if name not in REQUEST:
            raise InvalidBody(f"{given}: there is no field {name!r} here{nearest(name, REQUEST)}; {KNOWN}")
    return _changed(given, document, changes)


def _changed(given: str, request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A request with changes in its configuration; those of the section `data` beside it, where that is there too."""
    found, rest = dict(request), dict(changes)
    if found.get("data") is not None and "data" in rest:
        found["data"] = _merged(given, found, "data", rest.pop("data"))
    name = "config" if found.get("config") is not None else "config_overrides"
    return found | ({name: _merged(given, found, name, rest)} if rest else {})


def _merged(given: str, request: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    before = request.get(name) or {}
    if not isinstance(before, Mapping):
        raise InvalidBody(f"{given}: {name} is {kind(before)}; it should be an object")
    return merged(before, changes)


def _check_sections(given: str, document: Mapping[str, Any]) -> None:
    """Raise InvalidBody where a configuration is none, but a request with a name that is misspelt."""
    for name in document:
        if "model" not in document and name not in Config.model_fields and (near := nearest(name, WRAPPING)):
            raise InvalidBody(f"{given}: there is no field {name!r} here{near}; {KNOWN}")


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


def rows(
    file: str | None, written: Sequence[str] | None, numbers: Callable[[], Collection[str]]
) -> Iterable[Mapping[str, Any]]:
    """The rows of a file (CSV, Parquet, JSON lines; `-` is stdin), or of `--row`.

    `numbers` says which features are numbers; it is asked for where the file does not. Raises BadRequest.
    """
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
    return csv_rows("stdin" if file == "-" else file, content, numbers())


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
