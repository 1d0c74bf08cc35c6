"""Datasets as JSON: what goes in comes out again, in memory and through Parquet files; what is none is refused."""

from __future__ import annotations

import copy
import json
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.data_documents import canonical, dataset_of, document, documents, through
from tunesmith.data import DataSource, open_dataset
from tunesmith.errors import InvalidData, InvalidParameter
from tunesmith.scenarios import Integer
from tunesmith.storage import Storage


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    with tempfile.TemporaryDirectory() as folder:
        yield Storage(folder)


PHASES = [
    Phase.explicit,
    Phase.reuse,
    Phase.generate,
]  # a failing dataset is small enough; making it smaller takes long


@settings(max_examples=60, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(documents())
def test_any_dataset_comes_out_as_it_went_in(storage: Storage, given: dict[str, Any]) -> None:
    text = json.dumps(given)
    source = DataSource.from_json(text)
    assert canonical(source.to_json()) == canonical(text)
    assert canonical(through(text, storage)) == canonical(text)
    for name in source.list_tables():
        assert len(source.table(name)) == source.arrow(name).num_rows == len(given["tables"][name]["data"])


VALUES: dict[str, list[Any]] = {
    "integers beyond 64 bits": [2**63, -(2**100), 10**300, 1],
    "unsigned": [2**64 - 1, 0],
    "floats": [0.1, 1e300, 5e-324, -0.0, 1.0, 1e15, 1e16, 123456789012345680.0, 1e-7, 0.1 + 0.2],
    "infinities": [float("inf"), float("-inf"), 1.5],
    "integers among floats": [1, 1.0, 1.5],
    "booleans, numbers, texts": [True, 1, 1.0, "1", "true", None],
    "booleans with nulls": [True, None, False],
    "nested": [{"a": [1, {"b": None}], "c": 2**70}, [], {}, [[1.0]], None, {"é": "\u0000"}],
    "unicode": ["日本語", "🚚", "\u0000", '"\\/\b\f\n\r\t', "\u2028", "", " ", "null"],
    "times": ["2024-02-29", "2024-02-29T23:59:59.123456789Z", "2024-W09-4", "20240229T235959+0530"],
    "nothing": [None, None],
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("where", ["column", "gaps", "index"])
def test_every_kind_of_value_is_exact(values: list[Any], where: str, storage: Storage) -> None:
    data: list[dict[str, Any]] = [{"a": value, "b": 0} for value in values]
    if where == "gaps":
        data.insert(1, {"b": 0})
    given = document(data, index=values) if where == "index" else document(data)
    text = json.dumps(given).replace("Infinity", "1e999")
    out = through(text, storage)
    assert canonical(out) == canonical(text)
    assert "Infinity" not in out  # which is no JSON


@pytest.mark.parametrize(
    "index",
    [
        ["a", "b"],
        [7, 5],
        [1.5, None],
        ["2024-01-01", "2024-01-02"],
        [["x", 1], ["y", 2]],
        [[], []],
        [[1], [2, 3]],
        [1, 1],
    ],
)
def test_an_index_of_any_kind_is_exact(index: list[Any], storage: Storage) -> None:
    given = document([{"a": 1}, {"a": 2}], index=index)
    assert canonical(through(json.dumps(given), storage)) == canonical(given)
    found = DataSource.from_json(given)["t"].index.tolist()
    plain = [list(each) if isinstance(each, tuple) else each for each in found]
    assert [None if each != each else each for each in plain] == index  # NaN is what pandas has for null


@pytest.mark.parametrize(
    ("data", "columns"), [([], []), ([], ["a", "b"]), ([{}, {}], []), ([{}, {}], ["a"]), ([{"": 1}], [""])]
)
def test_empty_tables_keep_their_rows_and_columns(data: list[Any], columns: list[str], storage: Storage) -> None:
    given = document(data, columns=columns)
    assert canonical(through(json.dumps(given), storage)) == canonical(given)
    assert DataSource.from_json(given)["t"].shape == (len(data), len(columns))


def test_types_order_and_metadata_stay_as_they_came(storage: Storage) -> None:
    dtypes = {"z": "int32", "a": "datetime64[ns, Europe/Berlin]", "m": "category", "n": "Float32"}
    row = {"z": 1, "a": "2024-01-01 00:00:00+01:00", "m": "x", "n": 1.0}
    given = document([row], dtypes=dtypes)
    given["metadata"] |= {"tables": ["t"], "note": {"deep": [1.0, None]}, "creation_datetime": "yesterday"}
    found = json.loads(through(json.dumps(given), storage))
    assert list(found["tables"]["t"]["columns"]) == ["z", "a", "m", "n"]
    assert canonical(found) == canonical(given)
    frame = DataSource.from_json(given)["t"]
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == dtypes


def test_what_a_document_does_not_tell_is_found_out() -> None:
    given = {"metadata": {"name": "d"}, "tables": {"t": {"data": [{"a": 1}, {"a": None, "b": "x"}]}}}
    found = json.loads(DataSource.from_json(given).to_json())
    assert found["tables"]["t"] == {
        "data": [{"a": 1}, {"a": None, "b": "x"}],
        "columns": ["a", "b"],
        "dtypes": {"a": "Int64", "b": "str"},
        "index": [0, 1],
    }
    assert found["metadata"]["type"] == "master"
    assert found["metadata"]["tables"] == ["t"]
    assert set(found["metadata"]) == {"id", "name", "type", "creation_datetime", "tables"}


def test_nan_is_null_as_json_has_none() -> None:
    text = json.dumps(document([{"a": float("nan")}, {"a": 1.5}]))
    assert "NaN" in text
    assert json.loads(DataSource.from_json(text).to_json())["tables"]["t"]["data"] == [{"a": None}, {"a": 1.5}]


def frames() -> dict[str, pd.DataFrame]:
    times = pd.to_datetime(["2024-01-02", None])
    return {
        "plain": pd.DataFrame({"a": [1, 2], "b": [1.5, np.nan], "c": ["x", None], "d": [True, False]}),
        "times": pd.DataFrame({"a": times, "b": times.tz_localize("Europe/Berlin"), "c": times.as_unit("ns")}),
        "nullable": pd.DataFrame({"a": pd.array([2**62 + 1, None], "Int64"), "b": pd.array([True, None], "boolean")}),
        "small": pd.DataFrame({"a": np.array([1, 2], "int8"), "b": np.array([1.5, 0.1], "float16")}),
        "objects": pd.DataFrame(
            {"a": [2**70, "x", None], "b": [{"a": 1}, [1], None], "c": [True, None, 1]}, dtype=object
        ),
        "names": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="sku")),
        "days": pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024-01-01", periods=2, tz="UTC", name="when")),
        "levels": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
        "no columns": pd.DataFrame(index=range(3)),
        "no rows": pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype="datetime64[ns]")}),
        "periods": pd.DataFrame({"a": pd.period_range("2024-01", periods=2, freq="M")}),
        "spans": pd.DataFrame({"a": pd.to_timedelta(["1D 00:00:01.5", None])}),
        "infinite": pd.DataFrame({"a": [np.inf, -np.inf, 1e300]}),
    }


@pytest.mark.parametrize("name", frames())
@pytest.mark.parametrize("way", ["memory", "storage", "json"])
def test_frames_come_back_with_types_and_index(name: str, way: str, storage: Storage) -> None:
    frame = frames()[name]
    source = DataSource("d", {"t": frame})
    if way == "storage":
        source = open_dataset(storage, dataset_of(source, storage))
    elif way == "json":
        source = DataSource.from_json(source.to_json())
    pd.testing.assert_frame_equal(source.table("t"), frame, check_freq=False)
    assert source.arrow("t").num_rows == len(frame)


def test_categories_keep_their_order(storage: Storage) -> None:
    frame = pd.DataFrame({"a": pd.Categorical(["x", None], ["z", "x"], ordered=True)})
    source = open_dataset(storage, dataset_of(DataSource("d", {"t": frame}), storage))
    pd.testing.assert_frame_equal(source["t"], frame)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1, object()]}), "table 't', column 'a', row 1: a object is no data"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a': there is another"),
        (pd.DataFrame([[1]]), "names of columns must be texts"),
        (pd.DataFrame({"a": [1j]}), "column 'a'.*complex128"),
        (pd.DataFrame({"a": pd.interval_range(0, 2)}), "column 'a'.*interval"),
    ],
)
def test_a_frame_that_is_no_data_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        DataSource("d", {"t": frame})


def test_a_frame_is_the_callers_own() -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    source = DataSource("d", {"t": frame})
    frame.loc[0, "a"] = 9
    mine = source["t"]
    mine.loc[0, "a"] = 8
    assert source.get_table("t")["a"].tolist() == [1, 2]
    other = copy.copy(source)
    other.add_table("t", mine)
    assert (source["t"]["a"].tolist(), other["t"]["a"].tolist()) == ([1, 2], [8, 2])


def test_arrow_tables_keep_their_types() -> None:
    nested = pa.table({"a": pa.array([[1], None], pa.list_(pa.int8())), "b": pa.array([b"x", None])})
    source = DataSource("d", {"t": nested})
    assert source.arrow("t").equals(nested)
    assert json.loads(source.to_json())["tables"]["t"]["data"] == [{"a": [1], "b": "eA=="}, {"a": None, "b": None}]


def test_arrow_has_times_and_numbers_in_their_own_types() -> None:
    dtypes = {"a": "datetime64[us]", "b": "float64", "c": "object"}
    data = [{"a": "2024-01-01", "b": 1, "c": "x"}, {"a": "2024-01-01T12:00:00", "b": 1.5, "c": 5}]
    found = DataSource.from_json(document(data, dtypes=dtypes)).arrow("t")
    assert found.schema.types == [pa.timestamp("us"), pa.float64(), pa.string()]
    assert found.column("c").to_pylist() == ['"x"', "5"]


def test_an_unknown_table_is_named_beside_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no table 'u'; it has t"):
        DataSource("d", {"t": pd.DataFrame({"a": [1]})}).table("u")


def test_copies_share_what_was_read() -> None:
    reads = []
    stored = DataSource("d", {"t": pd.DataFrame({"a": [1]})}).stored("t")
    source = DataSource.lazy({}, "d", "master", {"t": lambda: reads.append("t") or stored})
    for each in (copy.copy(source), source.with_parameters({}), source):
        assert each["t"]["a"].tolist() == [1]
    assert reads == ["t"]


class Weighted(DataSource):
    weight = Integer(default=1, min=1, max=5)


def test_a_subclass_has_parameters() -> None:
    source = Weighted.from_json(document([{"a": 1}]))
    assert DataSource.parameters() == {}
    assert list(Weighted.parameters()) == ["weight"]
    changed = source.with_parameters({"weight": 3})
    assert (source.weight, changed.weight, changed["t"]["a"].tolist()) == (1, 3, [1])
    with pytest.raises(InvalidParameter, match="weight"):
        source.with_parameters({"weight": 9})


def test_a_knob_cannot_take_the_name_of_something_else() -> None:
    for name in ("name", "type", "metadata", "table", "to_json"):
        with pytest.raises(ValueError, match=f"{name} has a meaning of its own"):
            type("Knobs", (DataSource,), {name: Integer(default=1)})
    with pytest.raises(ValueError, match=r"write weight = Integer\(\)"):
        type("Knobs", (DataSource,), {"weight": Integer})


def test_a_dataset_can_be_pickled() -> None:
    source = pickle.loads(pickle.dumps(Weighted("d", {"t": pd.DataFrame({"a": [1]})}).with_parameters({"weight": 2})))
    assert (source.weight, source["t"]["a"].tolist()) == (2, [1])
