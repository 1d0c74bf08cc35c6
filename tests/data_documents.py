"""Dataset JSON of every kind, and how it goes into a storage and out again; for tests and benchmarks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tunesmith.data import DataSource, json_chunks, new_files, write_tables
from tunesmith.domain.session import Dataset
from tunesmith.domain.value import utcnow
from tunesmith.storage import Storage

TEXT = st.text(max_size=20) | st.sampled_from(["", "null", '"', "\\", "\x00", "\x1f", "\u2028", "日本", "🚚"])
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
INTEGERS = st.integers() | st.integers(2**62, 2**66) | st.integers(-(2**200), 2**200)
FLOATS = st.floats(allow_nan=False)
TIMES = st.datetimes().map(lambda moment: moment.isoformat())
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT
NESTED = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
KINDS = {
    "object": NESTED,
    "int64": st.integers(-(2**63), 2**63 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1) | st.none(),
    "uint64": st.integers(0, 2**64 - 1),
    "float64": FLOATS | st.none() | st.integers(-(2**53), 2**53),
    "bool": st.booleans(),
    "boolean": st.booleans() | st.none(),
    "str": TEXT | st.none(),
    "category": TEXT | st.none(),
    "datetime64[us]": TIMES | st.none(),
    "datetime64[us, UTC]": TIMES.map(lambda text: text + "Z") | TIMES.map(lambda text: text + "+02:00") | st.none(),
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A table with columns of all kinds, keys that are missing here and there, and an index of any kind."""
    columns = draw(st.dictionaries(NAMES, st.sampled_from(sorted(KINDS)), max_size=5))
    rows = draw(st.integers(0, 6))
    data: list[dict[str, Any]] = [{} for _ in range(rows)]
    for column, kind in columns.items():
        gaps = draw(st.booleans())
        for row in data:
            if not gaps or draw(st.booleans()):
                row[column] = draw(KINDS[kind])
    level = draw(st.sampled_from([st.integers(-5, 5), TEXT, TIMES, SCALARS, st.lists(SCALARS, min_size=2, max_size=2)]))
    index = draw(st.just(list(range(rows))) | st.lists(level, min_size=rows, max_size=rows))
    return {"data": data, "columns": list(columns), "dtypes": columns, "index": index}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A dataset."""
    found = draw(st.dictionaries(NAMES, tables(), max_size=3))
    metadata = {
        "id": draw(TEXT),
        "name": "sales",
        "type": draw(st.sampled_from(["master", "derived", "dummy"])),
        "creation_datetime": draw(TIMES),
        "tables": list(found),
        "more": draw(st.recursive(st.none() | st.integers() | TEXT, st.lists, max_leaves=3)),
    }
    return {"metadata": metadata, "tables": found}


def document(data: Any, **more: Any) -> dict[str, Any]:
    """A dataset of one table `t`; `more`: what is not as usual in it."""
    columns = more.pop("columns", list(data[0]) if isinstance(data, list) and data else [])
    dtypes = dict.fromkeys(columns, "object")
    metadata = {"id": "1", "name": "d", "type": "master", "creation_datetime": "2024-01-01T00:00:00Z", "tables": ["t"]}
    table = {"data": data, "columns": columns, "dtypes": dtypes, "index": list(range(len(data)))}
    return {"metadata": metadata, "tables": {"t": table | more}}


def dataset_of(source: DataSource, storage: Storage) -> Dataset:
    """Write a dataset; what SQL would know of it."""
    files = new_files()
    tables, size = write_tables(storage, files, source)
    return Dataset(
        id="d1",
        session_id="s1",
        key=source.name,
        type=source.type,
        files=files,
        tables=tuple(tables),
        metadata=source.metadata,
        bytes=size,
        created_at=utcnow(),
    )


def through(document: str | bytes, storage: Storage) -> str:
    """A document as it comes out of a storage."""
    return b"".join(json_chunks(storage, dataset_of(DataSource.from_json(document), storage))).decode()


def canonical(document: str | bytes | dict[str, Any]) -> str:
    """One text for equal documents: 1 is not 1.0, nor true; the order of a record's keys does not matter."""
    return json.dumps(json.loads(document) if isinstance(document, str | bytes) else document, sort_keys=True)
