"""Tokens that are none, and pickles from who may send none: refused, and the refusal is in the audit log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hostile import KEY, Platform, files, running

from tunesmith.client.functions import python_version
from tunesmith.services import identity, tokens


@pytest.fixture(scope="module")
def platform(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(sqlite_template, tmp_path_factory.mktemp("hostile")) as made:
        yield made


class TestTokens:
    """Tokens that are none."""

    def wrong(self, platform: Platform) -> Mapping[str, str]:
        right, other = platform.secrets["editor"], platform.secrets["viewer"]
        with platform.store.write() as tx:
            editor = platform.people["editor"]
            expired = tokens.issue(tx, editor, "expired", lifetime=timedelta(seconds=-1))[0]
            revoked, kept = tokens.issue(tx, editor, "revoked")
            tokens.revoke(tx, editor, [kept.id])
            cookie = tokens.issue(tx, editor, "cookie", kind="cookie")[0]
            removed = identity.put_user(tx, f"gone-{kept.id[:8]}", "main", "admin")
            of_removed = tokens.issue(tx, removed, "test")[0]
            identity.remove_user(tx, removed.name)
        unsigned = (
            ".".join(_segment(part) for part in ({"alg": "none", "typ": "JWT"}, {"sub": "editor", "exp": 4e9})) + "."
        )
        return {
            "expired": expired,
            "revoked": revoked,
            "of a removed user": of_removed,
            "a cookie's": cookie,
            "truncated": right[:-1],
            "half": right[: len(right) // 2],
            "prefix": right[:9],
            "longer": right + "A",
            "swapped": right[:24] + other[24:],
            "other case": right.swapcase(),
            "one letter": right[:-1] + ("A" if right[-1] != "A" else "B"),
            "doubled": right + right,
            "mark": "ts_",
            "huge": "ts_" + "A" * 8000,
            "hash": tokens.hashed(right),
            "half a key": KEY[:-1],
            "key and more": KEY + "x",
            "sql": "' OR 1=1 --",
            "alg none": unsigned,
            "alg none, no dot": unsigned[:-1],
            "not a jwt": "a.b.c",
            "dots": "...",
        }

    def test_none_of_them_is_accepted_anywhere(self, platform: Platform) -> None:
        for name, secret in self.wrong(platform).items():
            for path in ("/api/v1/jobs", "/v1/models", "/v1/auth/me", "/openapi.json"):
                for headers in (
                    {"Authorization": f"Bearer {secret}"},
                    {"X-API-Key": secret},
                    {"Cookie": f"tunesmith_session={secret}"},
                ):
                    answer = platform.ask("GET", path, None, headers=headers)
                    assert answer.status_code == 401, (name, path, headers, answer.text)
                    assert secret not in answer.text
            platform.audited(answer, "anonymous")

    def test_a_token_of_another_workspace_finds_nothing_here(self, platform: Platform) -> None:
        experiment_id = platform.experiment("float")
        assert platform.ask("GET", f"/api/v1/experiments/{experiment_id}").status_code == 200
        answers = [
            platform.ask("GET", f"/api/v1/experiments/{experiment_id}", "outsider"),
            platform.ask("GET", f"/api/v1/experiments/{experiment_id}", "outsider", headers={"X-Workspace": "main"}),
            platform.ask("GET", "/api/v1/jobs", "outsider", headers={"X-Workspace": "no such"}),
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        platform.audited(answers[0], "outsider")


class TestPickles:
    """Code that is run when it is read."""

    def payload(self, mark: Path) -> dict[str, str]:
        code = f"cposix\nsystem\n(S'touch {mark}'\ntR."
        pickled = base64.b64encode(code.encode()).decode()
        return {"name": "evil:evil", "payload": pickled, "python": python_version(), "cloudpickle": "3.1.2"}

    @pytest.mark.parametrize("who", ["viewer", "runner", None])
    def test_who_may_not_write_may_send_none(self, platform: Platform, tmp_path: Path, who: str | None) -> None:
        before = files(platform.root)
        answer = platform.ask("POST", "/api/v1/functions", who, json=self.payload(tmp_path / "mark"))
        assert answer.status_code == (401 if who is None else 403)
        platform.audited(answer, who or "anonymous")
        assert files(platform.root) == before

    def test_a_token_that_is_cut_may_send_none(self, platform: Platform, tmp_path: Path) -> None:
        with platform.store.write() as tx:
            cut = tokens.issue(tx, platform.people["editor"], "cut", scopes=["read", "run"])[0]
        headers = {"Authorization": f"Bearer {cut}"}
        answer = platform.ask("POST", "/api/v1/functions", None, json=self.payload(tmp_path / "mark"), headers=headers)
        assert answer.status_code == 403
        platform.audited(answer, "editor")

    def test_the_service_reads_none_of_those_that_it_keeps(self, platform: Platform, tmp_path: Path) -> None:
        answer = platform.ask("POST", "/api/v1/functions", json=self.payload(tmp_path / "mark"))
        assert answer.status_code == 201
        assert not (tmp_path / "mark").exists()


def _segment(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
