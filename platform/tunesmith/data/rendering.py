"""Stored tables as JSON text, a batch at a time and in Arrow's own kernels: no Python object per cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pydantic import JsonValue

from tunesmith.data.cells import dump, to_json
from tunesmith.data.layout import Layout

pc: Any = compute  # its functions come into being when it is imported
CONTROL = r"[\x00-\x1f]"
"""Characters that JSON texts escape, besides quotes and backslashes."""
UNITS = ("s", "ms", "us", "ns")
BYTES = 4 * 2**20
"""What is rendered at once, about, in the size that Arrow has it."""


@dataclass(frozen=True)
class Reading:
    """A stored table that can be read, from memory or from a file."""

    name: str
    """The table's name."""
    layout: Layout
    """What its columns are."""
    rows: int
    """How many rows it has."""
    batches: Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]
    """These columns, or all of them and the index, from the first row on."""


def render(metadata: Mapping[str, JsonValue], tables: Iterable[Reading]) -> Iterator[bytes]:
    """A dataset as JSON, in pieces of a few megabytes."""
    yield f'{{"metadata":{json.dumps(metadata)},"tables":{{'.encode()
    comma = ""
    for table in tables:
        yield f'{comma}{json.dumps(table.name)}:{{"data":['.encode()
        yield from records(table.batches(None), table.layout)
        yield f'],{json.dumps(_head(table.layout))[1:-1]},"index":['.encode()
        yield from _index(table)
        yield b"]}"
        comma = ","
    yield b"}}"


def _head(layout: Layout) -> dict[str, Any]:
    index = layout.index
    named = {"index_names": index.names} if index and index.names else {}
    typed = {"index_dtypes": index.dtypes} if index and index.dtypes else {}
    return {"columns": layout.columns, "dtypes": dict(layout.dtypes), **named, **typed}


def _index(table: Reading) -> Iterator[bytes]:
    index = table.layout.index
    if index is None:
        return counted(table.rows)
    return values(table.batches([index.column]), index.column in table.layout.texts)


def records(batches: Iterator[pa.RecordBatch], layout: Layout) -> Iterator[bytes]:
    """The rows as JSON objects, with commas between, without brackets."""
    comma = b""
    for batch in slices(batches):
        yield comma + _joined(_rows(batch, layout))
        comma = b","


def values(batches: Iterator[pa.RecordBatch], text: bool) -> Iterator[bytes]:
    """The first column's values, with commas between, without brackets."""
    comma = b""
    for batch in slices(batches):
        yield comma + _joined(pc.fill_null(fragments(batch.column(0), text), "null"))
        comma = b","


def counted(rows: int, step: int = 100_000) -> Iterator[bytes]:
    """0, 1, 2... in the same way."""
    for start in range(0, rows, step):
        numbers = pa.array(np.arange(start, min(rows, start + step)))
        yield (b"," if start else b"") + _joined(numbers.cast(pa.string()))


def slices(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches that are not empty, and not much larger than BYTES."""
    for batch in batches:
        step = max(1, batch.num_rows * BYTES // max(batch.nbytes, BYTES))
        yield from (batch.slice(start, step) for start in range(0, batch.num_rows, step))


def fragments(array: pa.Array, text: bool) -> pa.Array:
    """Each value as JSON text; null for null."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return fragments(array.dictionary_decode(), text)
    if text or pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        return _floats(array.cast(pa.float32()) if pa.types.is_float16(kind) else array)
    if pa.types.is_timestamp(kind):
        return _quoted(_times(array))
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return _quoted(array.cast(pa.string()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _strings(array.cast(pa.string()))
    return pa.array([None if each is None else dump(to_json(each)) for each in array.to_pylist()], pa.string())


def _rows(batch: pa.RecordBatch, layout: Layout) -> pa.Array:
    if not layout.dtypes:
        return pa.array(["{}"] * batch.num_rows)
    gaps = bool(layout.missing or layout.texts)
    parts: list[Any] = []
    for number, name in enumerate(layout.dtypes):
        label = ("," if number or gaps else "") + json.dumps(name) + ":"
        found = fragments(batch.column(number), name in layout.texts)
        if name in layout.missing or name in layout.texts:  # null: neither the key nor its comma
            parts.append(pc.binary_join_element_wise(label, found, "", null_handling="emit_null").fill_null(""))
        else:
            parts += [label, found.fill_null("null") if found.null_count else found]
    if not gaps:
        return pc.binary_join_element_wise("{", *parts, "}", "")
    pairs = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*parts, ""), 1)
    return pc.binary_join_element_wise("{", pairs, "}", "")


def _joined(fragments: pa.Array) -> bytes:
    one = pa.ListArray.from_arrays(pa.array([0, len(fragments)], pa.int32()), fragments)
    return bytes(pc.binary_join(one, ",")[0].as_buffer())


def _floats(array: pa.Array) -> pa.Array:
    """Shortest digits that give the same float; with a point, so that it stays one; NaN is null, 1e999 infinity."""
    found = array.cast(pa.string())
    whole = pc.and_(pc.equal(pc.trunc(array), array), pc.less(pc.abs(array), 1e15))
    if pc.any(whole).as_py():
        exponent = pc.match_substring(found, "e")  # 1e-7 is one; 1e15 and above have it too
        whole = pc.and_not(whole, exponent)
        found = pc.if_else(whole, pc.binary_join_element_wise(found, ".0", ""), found)
    finite = pc.is_finite(array)
    if pc.all(finite, min_count=0).as_py():
        return found
    odd = pc.if_else(pc.is_nan(array), None, pc.if_else(pc.less(array, 0), "-1e999", "1e999"))
    return pc.if_else(finite, found, odd)


def _times(array: pa.Array) -> pa.Array:
    """ISO 8601 with as few digits of the second as the batch needs; of aware ones in UTC, with Z."""
    zone = "Z" if array.type.tz else ""
    naive = array.cast(pa.timestamp(array.type.unit, "UTC")).cast(pa.timestamp(array.type.unit)) if zone else array
    for unit in UNITS[: UNITS.index(array.type.unit)]:
        try:
            naive = naive.cast(pa.timestamp(unit))
            break
        except pa.ArrowInvalid:
            continue
    found = pc.replace_substring(naive.cast(pa.string()), " ", "T")
    return pc.binary_join_element_wise(found, zone, "") if zone else found


def _quoted(array: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', array, '"', "")


def _strings(array: pa.Array) -> pa.Array:
    found = array
    for special, escaped in (("\\", "\\\\"), ('"', '\\"')):
        if pc.any(pc.match_substring(array, special)).as_py():
            found = pc.replace_substring(found, special, escaped)
    control = pc.match_substring_regex(array, CONTROL)
    if not pc.any(control).as_py():
        return _quoted(found)
    texts = [json.dumps(each, ensure_ascii=False) for each in array.filter(control).to_pylist()]
    return pc.replace_with_mask(_quoted(found), control.fill_null(False), pa.array(texts, pa.string()))
