"""Hostile input, sent for real: each is refused, nothing of it happens, and the refusal is in the audit log."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hostile import KEY, ROLES, SECRET, VALUES, Platform, files, running

from tunesmith.journal import journal_path
from tunesmith.settings import Settings
from tunesmith.store.audit import AuditFilter


@pytest.fixture(scope="module")
def platform(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(sqlite_template, tmp_path_factory.mktemp("hostile")) as made:
        yield made


class TestPaths:
    """Names that lead out of where things are kept."""

    OUT = ("../secret.txt", "..\\secret.txt", "../../../../../../etc/passwd", "..", "file:///etc/passwd", "\0")

    def test_no_parameter_of_a_path_reads_or_writes_a_file(self, platform: Platform) -> None:
        document, before = platform.ask("GET", "/openapi.json").json(), files(platform.root)
        sent: Counter[int] = Counter()
        for path, operations in document["paths"].items():
            for method in operations if "{" in path else ():
                for hostile in self.OUT:
                    escaped = quote(hostile, safe="").replace(".", "%2e")  # or the client would resolve the dots
                    target = re.sub(r"\{\w+\}", escaped, path)
                    answer = platform.ask(method.upper(), target, "admin")
                    assert 400 <= answer.status_code < 500, (method, target, answer.status_code, answer.text)
                    assert SECRET not in answer.text
                    assert "root:" not in answer.text
                    sent[answer.status_code] += 1
        platform.audited(answer, "admin")
        with platform.store.read() as tx:
            records = tx.audit(AuditFilter(principal="admin"), None, 5000).items
        assert Counter(record.status for record in records) == sent
        assert sent.total() > 500
        assert files(platform.root) == before

    @pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "..", "a/../../evil", "..\\evil", "%2e%2e%2fevil"])
    def test_a_dataset_whose_name_is_a_path_stays_where_datasets_are(self, platform: Platform, name: str) -> None:
        before = files(platform.root)
        table = {"data": [{"a": 1}], "columns": ["a"], "dtypes": {"a": "int64"}, "index": [0]}
        metadata = {"name": name, "type": "master", "creation_datetime": "2026-01-31T12:00:00+00:00", "tables": [name]}
        made = platform.ask(
            "POST", "/api/v1/sessions/main/data/from-json", json={"metadata": metadata, "tables": {name: table}}
        )
        given = {"name": (None, f"etl {name}"), "files": (f"{name}.csv", b"a\n1\n", "text/csv")}
        etl = platform.ask("POST", "/api/v1/sessions/main/etl", files=given)
        assert made.status_code < 500, made.text
        assert etl.status_code < 500, etl.text
        assert files(platform.root) == before
        if made.status_code == 201:  # it is a name like any other then
            listed = platform.ask("GET", "/api/v1/sessions/main/data").json()["keys"]
            assert name in listed
            read = platform.ask("GET", f"/api/v1/sessions/main/data/{quote(name, safe='')}")
            assert read.status_code in (200, 404)

    @pytest.mark.parametrize("name", ["/etc/passwd", "../../../etc/passwd", "..", "a\0b", "\r\nX-Evil: 1"])
    def test_no_name_of_a_job_or_experiment_becomes_a_path(self, platform: Platform, name: str) -> None:
        before = files(platform.root)
        space = [{"name": "x", "minimum": 0, "maximum": 1}]
        asked = {"tool_name": name, "tool": {"command": "true"}, "space": space, "search": {"n_iter": 1}}
        for path, body in (
            ("/jobs", {"name": name, "command": ["true"], "schedule": "0 0 1 1 *"}),
            ("/api/v1/experiments", asked),
            ("/api/v1/sessions", {"name": name}),
            ("/api/v1/secrets/" + quote(name, safe=""), {"value": "a value"}),
        ):
            answer = platform.ask("PUT" if "secrets" in path else "POST", path, json=body)
            assert answer.status_code < 500, answer.text
            assert "x-evil" not in answer.headers
        assert files(platform.root) == before

    @pytest.mark.parametrize(
        "place",
        [
            "../secret.txt", "/etc/passwd", "training/../../secret.txt", "file:///etc/passwd", "a\0.csv",
            "http://169.254.169.254/latest/meta-data", "https://localhost/x.csv", "http://[::1]/x.csv",
            "gs://bucket/key", "hdfs://10.0.0.1/x", "s3://key:word@bucket/x.csv",
            "s3://bucket/x.csv?endpoint_override=169.254.169.254", "s3://bucket/x.csv?scheme=http", "s3:///x", "s3://10.0.0.1",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("key", ["train_path", "val_path"])
    def test_training_data_comes_from_nowhere_else(self, platform: Platform, place: str, key: str) -> None:
        data = {"train_path": "x.csv", key: place}
        body = {"config_name": "classification", "config_overrides": {"data": {**data, "target": "y"}}}
        answer = platform.ask("POST", "/v1/train", json=body)
        assert answer.status_code == 400, answer.text
        assert key in answer.text
        platform.audited(answer, "editor")

    def test_a_link_out_of_the_training_data_is_not_followed(self, platform: Platform) -> None:
        link = platform.root / "training" / "link.csv"
        link.symlink_to(platform.root / "secret.txt")
        data = {"data": {"train_path": "link.csv", "target": "y"}}
        answer = platform.ask("POST", "/v1/train", json={"config_name": "classification", "config_overrides": data})
        assert answer.status_code == 400
        platform.audited(answer, "editor")
        link.unlink()


class TestRequests:
    """What HTTP itself carries: headers, and what of a request gets into the log."""

    def raw(self, platform: Platform, *lines: bytes) -> bytes:
        """What comes back for these lines of a request."""
        host, port = re.findall(r"//(.+):(\d+)", platform.url)[0]
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
            got = b""
            try:
                while part := connection.recv(65536):
                    got += part
            except ConnectionResetError:
                pass
            return got

    def test_headers_that_are_too_large_are_refused_and_the_service_goes_on(self, platform: Platform) -> None:
        bearer = platform.secrets["editor"].encode()
        for size in (20_000, 2_000_000):
            much = (b"Authorization: Bearer " + bearer, b"X-Much: " + b"a" * size)
            got = self.raw(platform, b"GET /api/v1/jobs HTTP/1.1", b"Host: localhost", *much)
            assert re.match(rb"HTTP/1.1 4(00|31) |$", got), got[:200]
        answer = platform.ask("GET", "/api/v1/jobs", headers={"X-Much": "a" * 20_000})
        assert answer.status_code == 431
        platform.audited(answer, "anonymous")  # refused before anybody looks who asks
        assert platform.ask("GET", "/api/v1/jobs").status_code == 200

    @pytest.mark.parametrize(
        "line",
        [b"X-A: a\0b", b"X-A : b", b": b", b"X-\xff: b", b"X-A: b\r\n\tc", b"Content-Length: 5\r\nContent-Length: 6",
         b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Content-Length: -1", b"Transfer-Encoding: smuggled"],
    )  # fmt: skip
    def test_what_proxies_could_read_differently_is_refused(self, platform: Platform, line: bytes) -> None:
        got = self.raw(platform, b"POST /jobs HTTP/1.1", b"Host: localhost", line)
        assert re.match(rb"HTTP/1.1 4\d\d ", got), got[:200]

    @pytest.mark.parametrize(
        "name", ["X-Workspace", "Idempotency-Key", "Last-Event-ID", "If-None-Match", "X-Forwarded-For"]
    )
    def test_no_header_comes_back_as_one(self, platform: Platform, name: str) -> None:
        for value in ("main%0d%0aX-Evil: 1", "main\\r\\nX-Evil: 1", "m\xe9\x85X-Evil: 1"):
            answer = platform.ask("POST", "/jobs/validate", json={}, headers={name: value.encode("latin-1")})
            assert answer.status_code in (400, 404)
            assert "x-evil" not in answer.headers

    def test_nothing_that_is_sent_looks_like_a_line_of_the_log(self, platform: Platform) -> None:
        forged = "\n2026-01-01T00:00:00.000Z ERROR api[1] tunesmith.api: forged"
        for who in ("editor", None):
            platform.ask("GET", f"/api/v1/jobs/{quote(forged, safe='')}", who)
            platform.ask("POST", "/jobs", who, json={"name": forged, "command": [forged]})
            platform.ask("GET", "/jobs", who, params={"q": forged}, headers={"X-Workspace": quote(forged)})
            platform.ask("POST", "/v1/auth/token", who, json={"username": forged, "password": forged})
            platform.ask("POST", "/notifications/test", who, json={"channel": f"http://{forged}/"})
        lines = journal_path(Settings(data_dir=platform.root)).read_text().split("\n")
        assert not [line for line in lines if line.startswith("2026-01-01T00:00:00.000Z")]
        with platform.store.read() as tx:
            records = tx.audit(AuditFilter(), None, 200).items
        assert not [
            record for record in records if "\n" in f"{record.target}{record.action}{record.principal}{record.address}"
        ]

    def test_the_log_and_the_audit_log_have_no_token_and_no_password(self, platform: Platform) -> None:
        platform.ask("GET", "/jobs", None, headers={"Authorization": "Bearer ts_" + "x" * 43})
        last = platform.ask("POST", "/v1/auth/token", None, json={"username": "editor", "password": "hunter2-hunter2"})
        assert last.status_code == 401
        platform.audited(last, "anonymous")
        with platform.store.read() as tx:
            told = " ".join(record.model_dump_json() for record in tx.audit(AuditFilter(), None, 1000).items)
        told += journal_path(Settings(data_dir=platform.root)).read_text()
        for secret in (*platform.secrets.values(), KEY, "hunter2", "x" * 43):
            assert secret not in told


class TestTrials:
    """Values that are none of a parameter's."""

    @pytest.mark.parametrize("kind", ["int", "float", "categorical"])
    @pytest.mark.parametrize(
        "value", [*VALUES, "1; touch injected", "1e400", ["touch", "injected"], {"a": "b"}, None, True]
    )
    def test_only_what_the_space_holds_becomes_a_trial(self, platform: Platform, kind: str, value: Any) -> None:
        """By a runner, who may start trials but not say what they run."""
        experiment_id = platform.experiment(kind)
        for path, body in (
            (f"/api/v1/experiments/{experiment_id}/trials", {"points": [{"v": value}]}),
            (f"/api/v1/experiments/{experiment_id}/trials", {"trials": [{"params": {"v": value}}]}),
            (
                f"/api/v1/experiments/{experiment_id}/records",
                {"records": [{"params": {"v": value}, "values": {"loss": 1}}]},
            ),
        ):
            answer = platform.ask("POST", path, "runner", json=body)
            assert answer.status_code == 400, (path, answer.text)
        platform.audited(answer, "runner")


class TestFilters:
    """Text that SQL would take for more than text."""

    WILD = (
        "%",
        "_",
        "%%",
        "a%b",
        "\\",
        "\\%",
        "*",
        "?",
        "[a-z]",
        "' OR '1'='1",
        "'; DROP TABLE users; --",
        '" OR 1=1 --',
        "\0",
        "🙈'",
    )

    @pytest.mark.parametrize("text", WILD)
    def test_a_wildcard_finds_only_itself(self, platform: Platform, text: str) -> None:
        platform.experiment("int")
        for path, found in (("/api/v1/experiments", "experiments"), ("/jobs", "jobs")):
            answer = platform.ask("GET", path, params={"q": text})
            assert answer.status_code == (400 if "\0" in text else 200), answer.text
            body = answer.json()
            assert "\0" in text or body[found] == []

    @pytest.mark.parametrize("text", ["%", "'; DROP TABLE users; --", "\0"])
    def test_no_parameter_of_a_query_gets_into_sql(self, platform: Platform, text: str) -> None:
        document = platform.ask("GET", "/openapi.json").json()
        for path, operations in document["paths"].items():
            names = [each["name"] for each in operations.get("get", {}).get("parameters", []) if each["in"] == "query"]
            for name in names:
                target = re.sub(r"\{(\w+)\}", lambda found: "main" if found[1] == "session_id" else "1", path)
                answer = platform.ask("GET", target, "admin", params={name: text})
                assert answer.status_code < 500, (target, name, answer.text)
        with platform.store.read() as tx:
            assert {user.name for user in tx.users()} >= {*ROLES, "outsider"}


class TestRequestsElsewhere:
    """Addresses that the service must not ask for anybody (SSRF); test_outgoing.py has their spellings."""

    INSIDE = ("http://127.0.0.1:{port}/", "http://127.1:{port}/", "http://localhost:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
              "slack+http://127.0.0.1:{port}/", "json://127.0.0.1:{port}/", "http://169.254.169.254/latest/meta-data/",
              "http://10.0.0.1/", "workflows://example.com/workflow/signature?template=/etc/passwd")  # fmt: skip

    @pytest.mark.parametrize("url", INSIDE)
    def test_no_webhook_of_a_request_leads_inside(self, platform: Platform, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as inside:
            inside.setblocking(False)
            channel = url.format(port=inside.getsockname()[1])
            answer = platform.ask("POST", "/notifications/test", json={"channel": channel})
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CHANNEL"), answer.text
            with pytest.raises(BlockingIOError):
                inside.accept()
        platform.audited(answer, "editor")

    def test_no_training_job_names_one(self, platform: Platform) -> None:
        for url in ("http://169.254.169.254/", "https://localhost/x", "http://10.1.2.3/"):
            body = {"name": "hook", "command": ["true"], "schedule": "0 0 1 1 *", "notify": [{"channel": url}]}
            answer = platform.ask("POST", "/jobs", json=body)
            assert (answer.status_code, answer.json()["details"]["fields"][0]["field"]) == (400, "notify.0.channel")
            platform.audited(answer, "editor")
