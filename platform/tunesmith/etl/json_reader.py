"""JSON files: arrays of records and lines as streams; objects of columns, of rows, or of tables, whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from tunesmith.etl.cells import array_of, tell
from tunesmith.etl.csv_text import as_utf8
from tunesmith.etl.json_text import JsonText
from tunesmith.etl.messages import Messages, Unreadable
from tunesmith.etl.sheets import CELLS, ROWS, Sheet, blanks_dropped

SHAPES = 'send an array of records ([{"a": 1}, ...]), one record a line, or {"columns": [...], "data": [[...], ...]}'


def read_json(path: Path, table: str, directory: Path, messages: Messages) -> Iterator[Sheet]:
    """The tables of a JSON file: one, unless it is an object of several. Raises Unreadable."""
    text = JsonText(as_utf8(path, directory / "text", table, messages))
    try:
        match text.peek():
            case "":
                raise Unreadable("the file holds nothing but spaces")
            case "[":
                text.take()
                yield Sheet(table, _blocks(_whole(text), table, messages))
            case "{":
                first = text.value()
                if text.peek():
                    yield Sheet(table, _blocks(chain([first], text.values(array=False)), table, messages))
                else:
                    yield from _object(first, table, messages)
            case _:
                raise Unreadable(f"the file holds no records; {SHAPES}")
    finally:
        text.close()


def _whole(text: JsonText) -> Iterator[Any]:
    yield from text.values(array=True)
    if text.peek():
        raise text.wrong("there is more behind the array")


def _object(value: Mapping[str, Any], table: str, messages: Messages) -> Iterator[Sheet]:
    """The tables of an object that is all there is."""
    if "tables" in value and "metadata" in value:
        raise Unreadable("the file is the JSON of a dataset, not of a table; send it to data/from-json")
    data, names = value.get("data"), value.get("columns")
    if isinstance(data, list) and isinstance(names, list) and not all(isinstance(row, dict) for row in data):
        yield Sheet(table, _blocks(_rows(data, [str(name) for name in names]), table, messages))
    elif isinstance(data, list) and all(isinstance(row, dict) for row in data):
        yield Sheet(table, _blocks(data, table, messages))
    elif value and all(_are_records(item) for item in value.values()):
        for name, records in value.items():
            yield Sheet(name if len(value) > 1 else table, _blocks(records, name, messages))
    elif value and all(isinstance(item, list) for item in value.values()):
        yield Sheet(table, _blocks(_columns(value), table, messages))
    elif value and all(isinstance(item, dict) for item in value.values()):  # what pandas' to_json gives
        keys = list(dict.fromkeys(key for item in value.values() for key in item))
        whole = {name: [item.get(key) for key in keys] for name, item in value.items()}
        yield Sheet(table, _blocks(_columns(whole), table, messages))
    else:
        yield Sheet(table, _blocks([value], table, messages))


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _rows(rows: list[Any], names: list[str]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            held = f"{len(row)} values" if isinstance(row, list) else "no array"
            raise Unreadable(f"the row is {held}, where `columns` names {len(names)}", row=number)
        yield dict(zip(names, row, strict=True))


def _columns(columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in list(lengths.items())[:5])
        raise Unreadable(f"the columns are not of one length ({shown}); {SHAPES}")
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _blocks(records: Iterable[Any], table: str, messages: Messages) -> Iterator[pa.RecordBatch]:
    held: list[dict[str, Any]] = []
    cells = number = blank = 0
    for place, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise Unreadable(f"entry {place} is {_kind(record)}, not an object; {SHAPES}", row=number + 1)
        if all(value is None for value in record.values()):
            blank += 1
            continue
        number += 1
        held.append(record)
        cells += len(record)
        if len(held) >= ROWS or cells >= CELLS:
            yield from _batches(held, number - len(held), table, messages)
            held, cells = [], 0
    yield from _batches(held, number - len(held), table, messages)
    blanks_dropped(blank, table, messages)
    if not number:
        messages.add("warning", "there are no records", table)


def _batches(records: list[dict[str, Any]], before: int, table: str, messages: Messages) -> Iterator[pa.RecordBatch]:
    if not records:
        return
    names = list(dict.fromkeys(name for record in records for name in record))
    if len(records) > 1 and len(names) * len(records) > 4 * CELLS:  # records that have little in common
        half = len(records) // 2
        yield from _batches(records[:half], before, table, messages)
        yield from _batches(records[half:], before + half, table, messages)
        return
    arrays = []
    for name in names:
        array, note = array_of([record.get(name) for record in records])
        arrays.append(array)
        tell(note, before, table, name, messages)
    yield pa.record_batch(arrays, [name if name.strip() else "column" for name in names])


def _kind(value: Any) -> str:
    words = {list: "an array", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return words.get(type(value), "null")
