"""Files that become datasets, as a client sees it: every format, every finding, every refusal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sessions_service import MAIN, SESSIONS, refused, working

from serve_app.housekeeper import Housekeeper
from serve_app.uploads import remove_forgotten, room
from tests.integration.conftest import served
from tunesmith.settings import Settings
from tunesmith.store import Store

ETL, DATA = f"{MAIN}/etl", f"{MAIN}/data"
CSV = b"order,pallets\n1,3\n2,4\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_upload_bytes=1_000_000)


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


def sent(api: Any, *files: tuple[str, bytes], name: str | None = "base", query: str = "", **headers: str) -> Any:
    return api.post(
        ETL + query,
        data=None if name is None else {"dataset_name": name},
        files=[("files", file) for file in files] or None,
        headers={field.replace("_", "-"): value for field, value in headers.items()},
    )


def nothing_kept(api: Any, settings: Settings) -> bool:
    """Neither a dataset nor a file of one, nor what was uploaded."""
    folders = (settings.data_dir / "uploads", Path(settings.artifacts) / "datasets")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return bool(api.get(DATA).json() == {"keys": []} and not files)


def written(frame: pd.DataFrame, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "xlsx":
        frame.to_excel(out, index=False)
    elif kind == "parquet":
        frame.to_parquet(out, index=False)
    elif kind == "json":
        frame.to_json(out, orient="records")
    else:
        frame.to_csv(out, index=False)
    return out.getvalue()


class TestFiles:
    @pytest.mark.parametrize("kind", ["csv", "json", "xlsx", "parquet"])
    def test_of_every_format_become_tables(self, api: TestClient, settings: Settings, kind: str) -> None:
        frame = pd.DataFrame({"order": [1, 2], "pallets": [3, 4]})
        answer = sent(api, (f"orders.{kind}", written(frame, kind)))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.keys() == {"dataset_name", "success", "keys", "messages"}
        assert (body["dataset_name"], body["success"], body["keys"]) == ("base", True, ["base"]), body
        table = api.get(f"{DATA}/base").json()["tables"]["orders"]
        assert table["data"] == [{"order": 1, "pallets": 3}, {"order": 2, "pallets": 4}]
        assert not list((settings.data_dir / "uploads").iterdir())

    def test_several_at_once(self, api: TestClient) -> None:
        assert sent(api, ("orders.csv", CSV), ("Shops.CSV", b"shop\nNorth\n")).json()["success"]
        document = api.get(f"{DATA}/base").json()
        assert set(document["tables"]) == {"orders", "Shops"}
        assert (document["metadata"]["name"], document["metadata"]["type"]) == ("base", "master")

    def test_what_is_done_with_the_data_is_said(self, api: TestClient) -> None:
        (message, *_) = sent(api, ("orders.csv", b"order,pallets\n1,3\n2,\n")).json()["messages"]
        assert message.keys() == {"severity", "table", "column", "row", "message"}
        assert (message["severity"] in ("info", "warning"), message["table"], message["column"]) == (
            True,
            "orders",
            "pallets",
        )
        assert api.get(f"{DATA}/base").json()["tables"]["orders"]["data"][1] == {"order": 2, "pallets": 0}

    @pytest.mark.parametrize(
        ("filename", "content", "column", "row"),
        [
            ("orders.csv", b"order,pallets\n1,3\n1,4\n", "order", 2),
            ("orders.csv", b"order,pallets\n1,3\nx,4\n", "order", 2),
            ("orders.csv", b"pallets\n3\n", "order", None),
        ],
    )
    def test_what_a_schema_forbids_stores_nothing(
        self, api: TestClient, settings: Settings, filename: str, content: bytes, column: str, row: int | None
    ) -> None:
        answer = sent(api, (filename, content))
        assert (answer.status_code, answer.json()["success"]) == (200, False)
        critical = [found for found in answer.json()["messages"] if found["severity"] == "critical"]
        assert ("orders", column, row) in {(found["table"], found["column"], found["row"]) for found in critical}
        assert nothing_kept(api, settings)

    @pytest.mark.parametrize(
        ("filename", "content"),
        [
            ("shops.csv", b""),
            ("shops.json", b'{"a": '),
            ("shops.xlsx", b"PK\x03\x04 no workbook"),
            ("shops.xlsx", b"order,pallets\n"),
            ("shops.parquet", b"PAR1 not really"),
        ],
    )
    def test_a_corrupt_one_is_a_critical_message(
        self, api: TestClient, settings: Settings, filename: str, content: bytes
    ) -> None:
        answer = sent(api, (filename, content))
        assert answer.status_code == 200, answer.text
        assert not answer.json()["success"]
        assert any(found["severity"] == "critical" for found in answer.json()["messages"])
        assert nothing_kept(api, settings)

    @pytest.mark.slow
    def test_a_workbook_that_grows_without_bounds_is_not_read(self, api: TestClient, settings: Settings) -> None:
        out = io.BytesIO()
        pd.DataFrame({"a": [1]}).to_excel(out, index=False)
        bomb = io.BytesIO()
        with zipfile.ZipFile(out) as book, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as swollen:
            for name in book.namelist():
                content = book.read(name)
                filler = b" " * 400_000_000 if name.endswith("sheet1.xml") else b""
                swollen.writestr(name, content + filler)
        assert len(bomb.getvalue()) < settings.max_upload_bytes
        answer = sent(api, ("bomb.xlsx", bomb.getvalue()))
        assert answer.status_code in (200, 400)
        assert answer.status_code == 400 or not answer.json()["success"]
        assert nothing_kept(api, settings)

    def test_an_operators_code_that_fails_is_a_critical_message(self, api: TestClient, settings: Settings) -> None:
        body = sent(api, ("broken.csv", CSV)).json()
        assert not body["success"]
        assert any("the cleaning lost its way" in found["message"] for found in body["messages"])
        assert nothing_kept(api, settings)

    def test_a_typo_among_numbers_is_told_with_its_row(self, api: TestClient) -> None:
        body = sent(api, ("routes.csv", b"route,km\n" + b"a,1.5\n" * 500 + b"b,abc\n" + b"c,2\n" * 499)).json()
        assert body["success"]
        assert body["messages"] == [
            {
                "severity": "warning",
                "table": "routes",
                "column": "km",
                "row": 501,
                "message": "'abc' is no number: the column is kept as text",
            }
        ]


HOLDER = """
import sys
from pathlib import Path
from serve_app.uploads import room
with room(Path(sys.argv[1])) as folder:
    (folder / "0").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


class TestFolders:
    """Of an upload: its own as long as its process lives, and gone soon after."""

    def test_the_housekeeper_removes_those_of_processes_that_were_killed(
        self, settings: Settings, sqlite_store: Store
    ) -> None:
        keeper = Housekeeper(sqlite_store, settings)
        command = [sys.executable, "-c", HOLDER, str(settings.data_dir)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                folder = Path(process.stdout.readline().strip())
                with room(settings.data_dir) as own:
                    keeper.look()
                    assert (folder / "0").exists()
                    assert own.exists()
            finally:
                process.kill()
        assert (folder / "0").exists()
        keeper.look()
        assert not list((settings.data_dir / "uploads").iterdir())

    def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, make = [], tempfile.mkdtemp

        def robbed(*args: Any, **kwargs: Any) -> str:
            made.append(make(*args, **kwargs))
            if len(made) == 1:
                remove_forgotten(tmp_path)
            return made[-1]

        monkeypatch.setattr(tempfile, "mkdtemp", robbed)
        with room(tmp_path) as folder:
            assert [str(folder)] == made[1:]
            assert list((tmp_path / "uploads").iterdir()) == [folder]


class TestRefusals:
    @pytest.mark.parametrize("filename", ["orders.txt", "orders", "orders.csv.exe", "orders.xls", ".csv", "é.pdf"])
    def test_other_extensions(self, live: httpx2.Client, settings: Settings, filename: str) -> None:
        assert ".csv" in refused(sent(live, ("shops.csv", CSV), (filename, CSV)), 400, "INVALID_DATA")["error"]
        assert nothing_kept(live, settings)

    def test_missing_fields(self, api: TestClient, settings: Settings) -> None:
        for answer, field in ((sent(api, ("orders.csv", CSV), name=None), "dataset_name"), (sent(api), "files")):
            fields = refused(answer, 422, "INVALID_BODY").get("details", {}).get("fields", [])
            assert not fields or field in [found["field"] for found in fields]
        only_name = api.post(ETL, files=[("dataset_name", (None, b"base"))])
        (found,) = refused(only_name, 422)["details"]["fields"]
        assert (found["field"], "missing" in found["message"]) == ("files", True)
        assert nothing_kept(api, settings)

    def test_unknown_fields_name_the_nearest(self, api: TestClient) -> None:
        answer = api.post(ETL, data={"dataset_name": "a"}, files=[("file", ("orders.csv", CSV))])
        assert "did you mean 'files'?" in refused(answer, 422)["error"]
        answer = api.post(ETL, data={"dataset_name": "a", "datasetname": "b"}, files=[("files", ("orders.csv", CSV))])
        assert "did you mean 'dataset_name'?" in refused(answer, 422)["error"]

    @pytest.mark.parametrize("name", ["", " ", "a/b", "a" * 201])
    def test_a_name_that_is_none(self, api: TestClient, name: str) -> None:
        (found,) = refused(sent(api, ("orders.csv", CSV), name=name), 422)["details"]["fields"]
        assert found["field"] == "dataset_name"

    @pytest.mark.parametrize(
        ("kind", "raw"),
        [
            ("application/json", b"{}"),
            ("multipart/form-data", b"--x\r\n"),
            ("multipart/form-data; boundary=x", b"no parts at all"),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.csv"',
            ),
            ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/csv\r\n\r\na\r\n--x--\r\n"),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\na\r\n--x--',
            ),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\0\r\n--x--\r\n',
            ),
            ("", b""),
        ],
    )
    def test_a_body_that_is_no_form(self, api: TestClient, settings: Settings, kind: str, raw: bytes) -> None:
        headers = {"Content-Type": kind} if kind else {}
        refused(api.post(ETL, content=raw, headers=headers), 422, "INVALID_BODY")
        assert nothing_kept(api, settings)

    def test_too_many_parts_and_too_long_texts(self, api: TestClient) -> None:
        refused(sent(api, *[("orders.csv", b"")] * 201), 422)
        refused(sent(api, ("orders.csv", CSV), name="a" * 200_000), 422)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_above_the_limit(self, live: httpx2.Client, settings: Settings, chunked: bool) -> None:
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="orders.csv"\r\n\r\n'
        pieces = [head, *[b"1,2\n" * 25_000] * 12]
        answer = live.post(
            ETL,
            content=iter(pieces) if chunked else b"".join(pieces),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert "1,000,000 bytes" in refused(answer, 413, "PAYLOAD_TOO_LARGE")["error"]
        assert nothing_kept(live, settings)
        assert sent(live, ("orders.csv", CSV)).json()["success"]

    def test_an_unknown_session(self, api: TestClient) -> None:
        refused(api.post(f"{SESSIONS}/nobody/etl", files=[("files", ("a.csv", CSV))]), 404, "SESSION_NOT_FOUND")


class TestNames:
    def test_a_taken_one_is_a_conflict_unless_it_may_be_replaced(self, api: TestClient) -> None:
        assert sent(api, ("orders.csv", CSV)).json()["success"]
        refused(sent(api, ("orders.csv", CSV)), 409, "NAME_TAKEN")
        assert sent(api, ("orders.csv", b"order,pallets\n7,8\n"), query="?overwrite=true").json()["success"]
        assert api.get(f"{DATA}/base").json()["tables"]["orders"]["data"] == [{"order": 7, "pallets": 8}]

    def test_one_that_would_be_replaced_by_nothing_stays(self, api: TestClient) -> None:
        sent(api, ("orders.csv", CSV))
        body = sent(api, ("orders.csv", b"order,pallets\n1,1\n1,1\n"), query="?overwrite=true").json()
        assert (body["success"], body["keys"]) == (False, ["base"])
        assert len(api.get(f"{DATA}/base").json()["tables"]["orders"]["data"]) == 2

    def test_the_same_request_with_its_key_is_done_once(self, api: TestClient) -> None:
        first, again = (sent(api, ("orders.csv", CSV), Idempotency_Key="k") for _ in range(2))
        assert (first.status_code, again.status_code) == (200, 200), again.text
        assert first.json() == again.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        refused(sent(api, ("orders.csv", CSV + b"3,3\n"), Idempotency_Key="k"), 409, "IDEMPOTENCY_MISMATCH")

    def test_a_file_that_came_as_records_reads_as_one_that_came_as_columns(self, api: TestClient) -> None:
        for name, document in (
            ("records", [{"order": 1, "pallets": 3}]),
            ("columns", {"columns": ["order", "pallets"], "data": [[1, 3]]}),
        ):
            assert sent(api, ("orders.json", json.dumps(document).encode()), name=name).json()["success"]
            assert api.get(f"{DATA}/{name}").json()["tables"]["orders"]["data"] == [{"order": 1, "pallets": 3}]
