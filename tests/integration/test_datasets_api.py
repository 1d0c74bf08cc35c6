"""Datasets as a client sees them: uploaded as JSON, read in every form, derived, deleted."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from sessions_service import DATASET, MAIN, SESSIONS, begun, dataset, finished, made, refused, stored, until, working

from serve_app.uploads import room
from tests.integration.conftest import served
from tunesmith.settings import Settings
from tunesmith.store import Store

DATA = f"{MAIN}/data"
UPLOAD = f"{DATA}/from-json"
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_body_bytes=10_000, max_upload_bytes=200_000)


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def api(settings: Settings, db: Store) -> Iterator[TestClient]:
    with working(settings, db) as app, TestClient(app) as client:
        yield client


@pytest.fixture
def live(settings: Settings, sqlite_store: Store) -> Iterator[httpx2.Client]:
    with (
        working(settings, sqlite_store) as app,
        served(app) as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def keys(api: Any) -> list[str]:
    return list(api.get(DATA).json()["keys"])


def left_over(settings: Settings) -> list[Path]:
    """Files of uploads, and of datasets, that are there."""
    folders = (settings.data_dir / "uploads", Path(settings.artifacts) / "datasets")
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def large(name: str, rows: int = 5000) -> dict[str, Any]:
    """A dataset whose JSON is larger than any other body may be."""
    table = {
        "data": [{"order": row, "pallets": 1} for row in range(rows)],
        "columns": ["order", "pallets"],
        "dtypes": {"order": "int64", "pallets": "int64"},
        "index": list(range(rows)),
    }
    return dataset(name) | {"tables": {"orders": table}}


class TestUploading:
    def test_what_goes_in_comes_out_again(self, api: TestClient) -> None:
        answer = api.post(UPLOAD, json=DATASET)
        assert (answer.status_code, answer.json()) == (201, {"keys": ["base"]})
        again = api.get(f"{DATA}/base")
        assert (again.status_code, again.headers["content-type"]) == (200, "application/json")
        assert again.json() == DATASET

    def test_it_need_not_be_announced_as_json(self, api: TestClient) -> None:
        assert api.post(UPLOAD, content=json.dumps(DATASET)).status_code == 201

    @pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
    def test_what_a_form_could_send_is_refused(self, api: TestClient, kind: str) -> None:
        refused(api.post(UPLOAD, content=json.dumps(DATASET), headers={"Content-Type": kind}), 422)

    def test_one_that_is_larger_than_other_bodies_may_be(self, live: httpx2.Client, settings: Settings) -> None:
        document = large("large")
        assert len(json.dumps(document)) > settings.max_body_bytes
        assert live.post(UPLOAD, json=document).status_code == 201
        assert live.get(f"{DATA}/large").json()["tables"] == document["tables"]
        assert not list((settings.data_dir / "uploads").iterdir())

    @pytest.mark.parametrize("small", [True, False])
    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"{}",
            b'{"metadata": {}, "tables": {}}',
            b'{"metadata": {"name": ""}, "tables": {}}',
            b'{"metadata": {"name": "a/b"}, "tables": {}}',
            b'{"metadata": {"name": "' + b"a" * 201 + b'"}, "tables": {}}',
            b'{"metadata": {"name": "x"}, "tables": {"t": {"data": [{"a": 1}], "columns": ["b"]}}}',
            b'{"metadata": {"name": "x"}, "tables": {"t": {"data": [{"a": "one"}], "dtypes": {"a": "int64"}}}}',
            b"\xff\xfe",
            b"[" * 5000,
        ],
    )
    def test_one_that_is_none_is_refused(
        self, live: httpx2.Client, settings: Settings, raw: bytes, small: bool
    ) -> None:
        body = raw if small else raw + b" " * 20_000
        answer = refused(live.post(UPLOAD, content=body, headers={"Content-Type": "application/json"}), 400)
        assert answer["code"] in ("INVALID_DATA", "INVALID_REQUEST")
        assert keys(live) == []
        assert left_over(settings) == []

    def test_a_taken_name_is_a_conflict_unless_it_may_be_replaced(self, api: TestClient, settings: Settings) -> None:
        stored(api)
        other = large("base", 3)
        before = len(left_over(settings))
        refused(api.post(UPLOAD, json=other), 409, "NAME_TAKEN")
        assert len(left_over(settings)) == before
        assert api.get(f"{DATA}/base").json() == DATASET
        assert api.post(f"{UPLOAD}?overwrite=true", json=other).json() == {"keys": ["base"]}
        assert api.get(f"{DATA}/base").json()["tables"] == other["tables"]

    def test_scenarios_are_computed_on_what_replaced_it(self, api: TestClient) -> None:
        stored(api)
        path = made(api)
        api.post(f"{UPLOAD}?overwrite=true", json=large("base", 5))
        assert finished(api, path)["result"]["pallets"] == 5

    def test_one_that_is_computed_on_is_not_replaced(self, api: TestClient) -> None:
        stored(api)
        path = begun(api, made(api, "Wait", seconds=60))
        refused(api.post(f"{UPLOAD}?overwrite=true", json=DATASET), 409, "DATA_IN_USE")
        api.post(f"{path}/cancel")
        until(api, path, "failed")

    def test_the_same_request_with_its_key_stores_it_once(self, api: TestClient) -> None:
        headers = {"Idempotency-Key": "k"}
        first, again = (api.post(UPLOAD, json=DATASET, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.headers["Idempotency-Replayed"] == "true"
        refused(api.post(UPLOAD, json=dataset("other"), headers=headers), 409, "IDEMPOTENCY_MISMATCH")

    def test_of_many_with_one_name_one_is_stored(self, live: httpx2.Client) -> None:
        with ThreadPoolExecutor(6) as clients:
            answers = list(clients.map(lambda _: live.post(UPLOAD, json=DATASET), range(6)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5

    @pytest.mark.parametrize("chunked", [False, True])
    def test_one_above_the_limit_is_refused_and_nothing_is_kept(
        self, live: httpx2.Client, settings: Settings, chunked: bool
    ) -> None:
        raw = json.dumps(large("large", 20_000)).encode()
        pieces = (raw[start : start + 10_000] for start in range(0, len(raw), 10_000))
        answer = live.post(UPLOAD, content=pieces if chunked else raw, headers={"Content-Type": "application/json"})
        assert "200,000 bytes" in refused(answer, 413, "PAYLOAD_TOO_LARGE")["error"]
        assert keys(live) == []
        assert left_over(settings) == []

    def test_an_unknown_session_is_said_before_the_body_is_read(self, live: httpx2.Client) -> None:
        refused(live.post(f"{SESSIONS}/nobody/data/from-json", content=b"{"), 404, "SESSION_NOT_FOUND")

    def test_what_a_process_that_died_left_goes_with_the_next(self, tmp_path: Path) -> None:
        (tmp_path / "uploads" / "left").mkdir(parents=True)
        (tmp_path / "uploads" / "left" / "0").write_bytes(b"x")
        with room(tmp_path) as first, room(tmp_path) as second:
            assert set((tmp_path / "uploads").iterdir()) == {first, second}
        assert not list((tmp_path / "uploads").iterdir())


class TestReading:
    @pytest.fixture(autouse=True)
    def two_tables(self, api: TestClient) -> None:
        stored(api)
        tables = {
            **DATASET["tables"],
            "shops": {"data": [], "columns": ["shop"], "dtypes": {"shop": "str"}, "index": []},
        }
        document = dataset("two", tables=["orders", "shops"]) | {"tables": tables}
        assert api.post(UPLOAD, json=document).status_code == 201

    def test_a_table_as_an_arrow_stream(self, api: TestClient) -> None:
        for path, headers in ((f"{DATA}/base", {"Accept": ARROW}), (f"{DATA}/two?format=arrow&table=orders", {})):
            answer = api.get(path, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
            table = pa.ipc.open_stream(answer.content).read_all()
            assert table.column("pallets").to_pylist() == [3, 4]

    def test_a_table_as_parquet(self, api: TestClient) -> None:
        answer = api.get(f"{DATA}/two?format=parquet&table=orders")
        assert answer.headers["content-type"] == "application/vnd.apache.parquet"
        assert pq.read_table(io.BytesIO(answer.content)).column("order").to_pylist() == [1, 2]

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/nothing", 404),
            ("/nothing?format=parquet", 404),
            ("/two?format=parquet&table=order", 404),
            ("/two?format=csv", 400),
            ("/base?table=orders", 400),
            ("/base?tabel=orders", 400),
            ("/%00", 404),
        ],
    )
    def test_what_is_not_there_is_refused(self, api: TestClient, path: str, status: int) -> None:
        refused(api.get(DATA + path), status)

    def test_one_of_several_tables_has_to_be_named(self, api: TestClient) -> None:
        answer = api.get(f"{DATA}/two", headers={"Accept": ARROW})
        assert "orders" in refused(answer, answer.status_code)["error"]
        assert answer.status_code in (400, 404)

    def test_its_knobs_have_descriptors(self, api: TestClient) -> None:
        body = api.get(f"{DATA}/base/parameters").json()
        assert body["name"] == "base"
        assert [(knob["name"], knob["type"], knob["default"]) for knob in body["parameters"]] == [
            ("scale", "float", 1.0)
        ]
        refused(api.get(f"{DATA}/nothing/parameters"), 404, "DATASET_NOT_FOUND")


class TestDeriving:
    def test_another_one_with_the_same_tables(self, api: TestClient) -> None:
        stored(api)
        answer = api.post(f"{DATA}/base/derive", json={"new_key": "trimmed"})
        assert (answer.status_code, answer.json()) == (201, {"keys": ["base", "trimmed"]})
        derived = api.get(f"{DATA}/trimmed").json()
        assert derived["tables"] == DATASET["tables"]
        assert (derived["metadata"]["name"], derived["metadata"]["type"]) == ("trimmed", "derived")

    def test_refusals(self, api: TestClient) -> None:
        stored(api)
        refused(api.post(f"{DATA}/base/derive", json={"new_key": "base"}), 409, "NAME_TAKEN")
        refused(api.post(f"{DATA}/nothing/derive", json={"new_key": "x"}), 404, "DATASET_NOT_FOUND")
        for body in ({}, {"new_key": ""}, {"new_key": "a/b"}, {"new_key": " "}, {"new_kye": "x"}):
            refused(api.post(f"{DATA}/base/derive", json=body), 422, "INVALID_BODY")
        assert keys(api) == ["base"]

    def test_the_same_request_with_its_key_makes_one(self, api: TestClient) -> None:
        stored(api)
        answers = [
            api.post(f"{DATA}/base/derive", json={"new_key": "x"}, headers={"Idempotency-Key": "k"}) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [201, 201]

    def test_one_outlives_the_other(self, api: TestClient) -> None:
        stored(api)
        api.post(f"{DATA}/base/derive", json={"new_key": "trimmed"})
        assert api.delete(f"{DATA}/base").status_code == 204
        assert api.get(f"{DATA}/trimmed").json()["tables"] == DATASET["tables"]


class TestDeleting:
    def test_it_is_gone(self, api: TestClient) -> None:
        stored(api)
        answer = api.delete(f"{DATA}/base")
        assert (answer.status_code, answer.content) == (204, b"")
        refused(api.get(f"{DATA}/base"), 404, "DATASET_NOT_FOUND")
        refused(api.delete(f"{DATA}/base"), 404, "DATASET_NOT_FOUND")

    def test_not_while_a_scenario_uses_it(self, api: TestClient) -> None:
        stored(api)
        path = made(api, tag="mine")
        assert "'mine'" in refused(api.delete(f"{DATA}/base"), 409, "DATA_IN_USE")["error"]
        api.delete(path)
        assert api.delete(f"{DATA}/base").status_code == 204
