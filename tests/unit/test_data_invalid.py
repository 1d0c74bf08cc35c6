"""Dataset JSON that is none: refused, with the place and the remedy; never anything else than that."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data_documents import SCALARS, TEXT, document
from tunesmith.data import DataSource
from tunesmith.errors import InvalidData

RECORD = {"a": 1, "b": "x"}
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "no JSON"),
    "empty": ("", "no JSON"),
    "no text": (b"\xff\xfe\x00", "no JSON"),
    "no object": ("[]", "no JSON object"),
    "deep": ("[" * 100_000, "deeply"),
    "a longer integer than Python reads": ('{"a":' + "1" * 5000 + "}", "no JSON"),
    "no metadata": ({"tables": {}}, "metadata.name is missing"),
    "no name": ({"metadata": {"name": " "}, "tables": {}}, "metadata.name is missing"),
    "a name with a slash": ({"metadata": {"name": "a/b"}}, "without a slash"),
    "a long name": ({"metadata": {"name": "a" * 201}}, "at most 200"),
    "a name with NUL": ({"metadata": {"name": "a\0"}}, "NUL"),
    "no type": ({"metadata": {"name": "d", "type": "slave"}}, "'slave'.*master"),
    "no tables": ({"metadata": {"name": "d"}}, "tables is missing"),
    "tables that are null": ({"metadata": {"name": "d"}, "tables": None}, "no object of name: table"),
    "other tables": ({"metadata": {"name": "d", "tables": ["u"]}, "tables": {}}, "metadata.tables"),
    "something else": ({"metadata": {"name": "d"}, "table": {}}, "'table'.*tables"),
    "infinite metadata": ({"metadata": {"name": "d", "x": float("inf")}}, "infinity"),
    "a table that is none": ({"metadata": {"name": "d"}, "tables": {"t": []}}, "table 't'.*no object"),
    "a key that is none": (document([], nonsense=1), "'nonsense'.*columns"),
    "no records": (document({"a": [1]}, columns=["a"]), "table 't'.*list of records"),
    "a record that is none": (document([{"a": 1}, 5]), "table 't', row 1: it is no record"),
    "an unknown column": (document([RECORD, RECORD | {"c": 1}]), "table 't', column 'c', row 1: it is not in columns"),
    "an unknown column instead": (document([RECORD, {"a": 1, "c": 1}]), "column 'c', row 1"),
    "columns twice": (document([RECORD], columns=["a", "b", "a"]), "column 'a': it is in columns twice"),
    "columns that are none": (document([RECORD], columns=[1, 2]), "table 't': columns"),
    "an unknown dtype": (document([RECORD], dtypes={"a": "flaot64"}), "column 'a': dtype 'flaot64'"),
    "a dtype that is none": (document([RECORD], dtypes={"a": 5}), "column 'a': its dtype is 5"),
    "a dtype of no column": (document([RECORD], dtypes={"c": "int64"}), "column 'c'.*not in columns"),
    "a text among integers": (
        document([RECORD, {"a": "x", "b": ""}], dtypes={"a": "int64"}),
        "'a', row 1: 'x' is no int64",
    ),
    "a fraction": (document([{"a": 1}, {"a": 1.5}], dtypes={"a": "Int64"}), "'a', row 1: 1.5 is no Int64"),
    "too large": (document([{"a": 1}, {"a": 2**70}], dtypes={"a": "int64"}), "'a', row 1: 118.* is no int64"),
    "a number among booleans": (document([{"a": True}, {"a": 1}], dtypes={"a": "bool"}), "row 1: 1 is no bool"),
    "no time": (
        document([{"a": None}, {"a": "soon"}], dtypes={"a": "datetime64[ns]"}),
        "row 1: 'soon' is no datetime64",
    ),
    "a time as a number": (document([{"a": 5}], dtypes={"a": "datetime64[ns]"}), "row 0: 5 is no datetime64"),
    "a time too far": (document([{"a": "9999-12-31"}], dtypes={"a": "datetime64[ns]"}), r"row 0.*datetime64\[us\]"),
    "a short index": (document([RECORD], index=[]), "table 't': index has 0 entries, but there are 1"),
    "an index that is none": (document([RECORD], index={"0": 1}), "table 't': index is no list"),
    "a lone surrogate": (document([RECORD, {"a": "\ud800", "b": ""}]), "column 'a', row 1.*surrogate"),
    "a surrogate deep down": (document([{"a": {"x": "\ud800"}}]), "column 'a', row 0.*surrogate"),
    "a surrogate in a name": (document([{"\ud800": 1}]), "surrogate"),
    "NUL in a name": (document([{"\0": 1}]), "NUL"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_is_no_dataset_is_refused_and_says_where(given: Any, message: str) -> None:
    for form in [given] if isinstance(given, str | bytes) else [given, json.dumps(given)]:
        with pytest.raises(InvalidData, match=message):
            DataSource.from_json(form)


def test_a_dataset_may_be_without_tables_when_it_says_so() -> None:
    assert DataSource.from_json({"metadata": {"name": "d"}, "tables": {}}).list_tables() == []


ANY = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
TABLE = st.fixed_dictionaries({}, optional=dict.fromkeys(["data", "columns", "dtypes", "index", "index_names"], ANY))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(ANY, st.dictionaries(TEXT, ANY | TABLE, max_size=2))
def test_whatever_is_posted_is_a_dataset_or_invalid(metadata: Any, tables: dict[str, Any]) -> None:
    for form in ({"metadata": metadata, "tables": tables}, {"metadata": {"name": "d"}, "tables": tables}, metadata):
        with suppress(InvalidData):
            DataSource.from_json(json.dumps(form)).to_json()


def test_the_place_is_in_the_details() -> None:
    with pytest.raises(InvalidData) as raised:
        DataSource.from_json(document([RECORD, {"a": "x", "b": "x"}], dtypes={"a": "int64"}))
    assert raised.value.details == {"table": "t", "column": "a", "row": 1}
