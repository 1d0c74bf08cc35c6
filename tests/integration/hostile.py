"""A service in mode `prod` behind a port, for tests that send it what is hostile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from conftest import served

from serve_app.app import build
from tunesmith.domain import CommandTool, User
from tunesmith.domain.audit import AuditRecord
from tunesmith.domain.identity import Role
from tunesmith.journal import keep_journal
from tunesmith.services import identity, refusals, tokens
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.store.audit import AuditFilter
from tunesmith.testing.factories import spec

KEY = "the key of this platform"
SECRET = "canary-5f2c"
"""What lies beside the data directory, and must never come out."""
ROLES: tuple[Role, ...] = ("viewer", "runner", "editor", "admin")


@dataclass
class Platform:
    """A service in mode `prod` behind a port, a user of each role, and one of another workspace."""

    url: str
    store: Store
    root: Path
    people: dict[str, User] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=self.url, timeout=20)

    def add(self, name: str, workspace: str, role: Role) -> None:
        with self.store.write() as tx:
            self.people[name] = identity.put_user(tx, name, workspace, role)
            self.secrets[name] = tokens.issue(tx, self.people[name], "test")[0]

    def ask(self, method: str, path: str, who: str | None = "editor", **request: Any) -> httpx2.Response:
        headers = dict(request.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.secrets[who]}"
        return self.client.request(method, path, headers=headers, **request)

    def experiment(self, kind: str) -> int:
        """An experiment of one parameter `v` of this kind."""
        ranges: dict[str, Any] = {"choices": ["a", "b"]} if kind == "categorical" else {"minimum": 0, "maximum": 9}
        space = {"parameters": [{"name": "v", "type": kind, **ranges}]}
        wanted = spec(tool_name=f"hostile {kind}", tool=CommandTool(command="echo ${v}"), space=space)
        with self.store.write() as tx:
            return tx.get_or_create_experiment(tx.workspace(), wanted)[0].id

    def audited(self, answer: httpx2.Response, who: str) -> AuditRecord:
        """The newest record of a refusal, once it is written."""
        target = quote(answer.request.url.path)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with self.store.read() as tx:
                found = tx.audit(AuditFilter(principal=who), None, 100).items
            for record in found:
                if (record.status, record.target) == (answer.status_code, target):
                    return record
            time.sleep(0.02)
        raise AssertionError(f"no record of {who}'s {answer.status_code} at {target}: {found[:3]}")


@contextmanager
def running(sqlite_template: Path, around: Path) -> Iterator[Platform]:
    """The service, for as long as the block runs, with its data in a directory below `around`."""
    (around / "secret.txt").write_text(SECRET)
    root = around / "data"
    root.mkdir()
    (root / "secret.txt").write_text(SECRET)
    (root / "training").mkdir()
    (root / "tunesmith.db").write_bytes(sqlite_template.read_bytes())
    settings = Settings(data_dir=root, mode="prod", api_key=KEY, max_body_bytes=100_000, runs_rate=None)
    store = open_store(settings.database)
    keep_journal(settings, "api")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(refusals, "REFUSALS", 10_000)  # every one is looked for here
        with served(build(settings, store=store)) as url:
            made = Platform(url, store, root)
            with store.write() as tx:
                tx.default_workspace()
                tx.create_workspace("other")
            for role in ROLES:
                made.add(role, "main", role)
            made.add("outsider", "other", "admin")
            yield made
            made.client.close()
    store.close()


def files(root: Path) -> set[str]:
    """All that lies around the data directory, but for what the service itself writes."""
    own = ("tunesmith.db", "logs/", "uploads/", "artifacts/datasets/")
    found = (path.relative_to(root.parent).as_posix() for path in root.parent.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith(tuple(f"data/{one}" for one in own))}


VALUES = (
    "; touch injected",
    "$(touch injected)",
    "`touch injected`",
    "| touch injected",
    "&& touch injected",
    "\ntouch injected\n",
    "' ; touch injected ; '",
    '" ; touch injected ; "',
    "${IFS}touch${IFS}injected",
    "a[$(touch injected)]",
    "$((a[$(touch injected)]))",
    "--output=injected",
    "<(touch injected)",
    "> injected",
    "\\'; touch injected #",
    "!touch injected",
    "*",
    "~",
    "%s%n",
)
"""What a shell would run, or make something else of."""
