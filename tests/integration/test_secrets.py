"""Secrets of workspaces: encrypted at rest, told to nobody, and the same in AWS Secrets Manager."""

from __future__ import annotations

import json
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient
from moto import mock_aws
from sqlalchemy import select
from typer.testing import CliRunner

from serve_app.app import build
from tunesmith.cli.app import app
from tunesmith.client import Client
from tunesmith.domain import Secret
from tunesmith.errors import InvalidSettings, SecretNotFound, SecretUnusable
from tunesmith.services.aws_secrets import AwsVault
from tunesmith.services.sealing import Keyring, keyring
from tunesmith.services.secrets import DatabaseVault, Vault, open_vault
from tunesmith.settings import Settings, load_settings
from tunesmith.store import Store, open_store
from tunesmith.store.tables import secrets
from tunesmith.testing.postgres import PostgresServer

KEY, OTHER = "k" * 32, "o" * 32


@pytest.fixture(scope="module")
def here(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store on SQLite; each test has workspaces of its own in it."""
    place = tmp_path_factory.mktemp("store") / "tunesmith.db"
    shutil.copy(sqlite_template, place)
    store = open_store(f"sqlite:///{place}")
    yield store
    store.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres", "aws"])
def where(request: pytest.FixtureRequest, here: Store) -> Iterator[tuple[Store, Vault]]:
    if request.param == "aws":
        with mock_aws():
            yield here, AwsVault(here, boto3.client("secretsmanager", "eu-central-1"), "team/")
    elif request.param == "sqlite":
        yield here, DatabaseVault(here, Keyring([KEY]))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        with server.database() as url:
            store = open_store(url)
            yield store, DatabaseVault(store, Keyring([KEY]))
            store.close()


@pytest.fixture
def vault(where: tuple[Store, Vault]) -> Vault:
    return where[1]


@pytest.fixture
def rooms(where: tuple[Store, Vault]) -> tuple[str, str]:
    """The ids of two fresh workspaces."""
    return room_in(where[0]), room_in(where[0])


def room_in(store: Store) -> str:
    with store.write() as tx:
        return tx.create_workspace(f"lab-{uuid.uuid4().hex}").id


class TestVault:
    def test_a_value_comes_out_as_it_went_in(self, vault: Vault, rooms: tuple[str, str]) -> None:
        value = "geheim \n\t\u00e4\U0001f511 '\"$"
        made = vault.put(rooms[0], "wandb", value, "ada")
        assert (made.name, made.created_by) == ("wandb", "ada")
        assert vault.values(rooms[0], ["wandb"]) == {"wandb": value}

    def test_another_value_takes_its_place(self, vault: Vault, rooms: tuple[str, str]) -> None:
        first = vault.put(rooms[0], "wandb", "one", "ada")
        second = vault.put(rooms[0], "wandb", "two", "bob")
        assert vault.values(rooms[0], ["wandb"]) == {"wandb": "two"}
        assert (second.created_by, second.created_at) == ("bob", first.created_at)
        assert second.updated_at >= first.updated_at

    def test_lists_are_by_name_and_of_one_workspace(self, vault: Vault, rooms: tuple[str, str]) -> None:
        for room, name in ((0, "b"), (0, "a"), (1, "c")):
            vault.put(rooms[room], name, "value", None)
        assert [secret.name for secret in vault.secrets(rooms[0])] == ["a", "b"]
        assert [secret.name for secret in vault.secrets(rooms[1])] == ["c"]
        assert set(Secret.model_fields) == {"name", "created_by", "created_at", "updated_at"}

    def test_what_is_missing_is_named_also_if_another_workspace_has_it(
        self, vault: Vault, rooms: tuple[str, str]
    ) -> None:
        vault.put(rooms[1], "wandb", "theirs", None)
        with pytest.raises(SecretNotFound, match="no secret 'wandb' in this workspace"):
            vault.values(rooms[0], ["wandb"])
        with pytest.raises(SecretNotFound):
            vault.remove(rooms[0], "wandb")
        assert vault.values(rooms[1], ["wandb"]) == {"wandb": "theirs"}

    def test_what_was_removed_is_gone_and_may_come_back(self, vault: Vault, rooms: tuple[str, str]) -> None:
        vault.put(rooms[0], "wandb", "one", None)
        vault.remove(rooms[0], "wandb")
        assert vault.secrets(rooms[0]) == []
        vault.put(rooms[0], "wandb", "two", None)
        assert vault.values(rooms[0], ["wandb"]) == {"wandb": "two"}


class TestAtRest:
    @pytest.fixture
    def vault(self, here: Store) -> DatabaseVault:
        return DatabaseVault(here, Keyring([KEY]))

    @pytest.fixture
    def room(self, here: Store) -> str:
        return room_in(here)

    def test_the_database_holds_no_value(self, vault: DatabaseVault, here: Store, room: str) -> None:
        vault.put(room, "wandb", "geheimnis", "ada")
        database = Path(str(here.engine.url.database))
        found = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
        assert b"wandb" in found
        assert b"geheimnis" not in found

    def test_the_same_value_looks_different_each_time(self) -> None:
        keys = Keyring([KEY])
        assert keys.seal("geheimnis", "x") != keys.seal("geheimnis", "x")

    def test_a_row_that_was_moved_to_another_name_is_not_read(
        self, vault: DatabaseVault, here: Store, room: str
    ) -> None:
        vault.put(room, "mine", "geheimnis", None)
        with here.write() as tx:
            sealed = tx.connection.scalar(select(secrets.c.ciphertext))
            tx.put_secret(room, "stolen", sealed, None)
        with pytest.raises(SecretUnusable, match="'stolen' cannot be read with the key in force"):
            vault.values(room, ["stolen"])

    def test_another_key_does_not_read_it_and_a_new_one_before_the_old_one_does(
        self, vault: DatabaseVault, here: Store, room: str
    ) -> None:
        vault.put(room, "wandb", "geheimnis", None)
        with pytest.raises(SecretUnusable):
            DatabaseVault(here, Keyring([OTHER])).values(room, ["wandb"])
        both = DatabaseVault(here, Keyring([OTHER, KEY]))
        assert both.values(room, ["wandb"]) == {"wandb": "geheimnis"}
        both.put(room, "wandb", "geheimnis", None)
        assert DatabaseVault(here, Keyring([OTHER])).values(room, ["wandb"]) == {"wandb": "geheimnis"}


class TestKey:
    def test_one_is_made_for_its_owner_alone_and_stays(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path)
        sealed = keyring(settings).seal("geheimnis", "x")
        assert keyring(settings).open(sealed, "x") == "geheimnis"
        (path,) = tmp_path.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_it_comes_from_a_setting_or_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "keys").write_text(f"{OTHER}\n\n{KEY}\n")
        sealed = keyring(Settings(secret_key=KEY)).seal("geheimnis", "x")
        assert keyring(Settings(secret_key_file=tmp_path / "keys")).open(sealed, "x") == "geheimnis"
        assert keyring(Settings(secret_key=f"{OTHER},{KEY}")).open(sealed, "x") == "geheimnis"

    def test_a_file_that_is_not_there_or_holds_no_key_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "short").write_text("short\n")
        for name in ("missing", "short"):
            with pytest.raises(InvalidSettings):
                keyring(Settings(secret_key_file=tmp_path / name))

    def test_a_key_that_is_too_short_is_refused_and_not_shown(self) -> None:
        with pytest.raises(InvalidSettings) as refused:
            load_settings({"TUNESMITH_SECRET_KEY": f"{KEY},short"})
        assert "short" not in refused.value.message


def test_the_setting_opens_the_vault_of_aws(here: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with here.write() as tx:
        room = tx.default_workspace()
    with mock_aws():
        vault = open_vault(Settings(secret_backend="aws"), here)
        vault.put(room, "wandb", "geheimnis", "ada")
        there = boto3.client("secretsmanager").get_secret_value(SecretId="tunesmith/main/wandb")
        assert there["SecretString"] == "geheimnis"
        with here.read() as tx:
            assert tx.secrets(room) == []


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, here: Store) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("platform"))
    with TestClient(build(settings, store=here), base_url="http://localhost") as client:
        yield client


class TestSurface:
    def test_it_is_set_listed_and_removed_and_never_shown(self, api: TestClient) -> None:
        put = api.put("/api/v1/secrets/wandb", json={"value": "geheimnis"})
        assert (put.status_code, put.json()["name"]) == (200, "wandb")
        listed = api.get("/api/v1/secrets")
        assert [secret["name"] for secret in listed.json()["secrets"]] == ["wandb"]
        assert "geheimnis" not in put.text + listed.text
        assert api.get("/api/v1/secrets/wandb").status_code == 405
        assert api.delete("/api/v1/secrets/wandb").status_code == 204
        gone = api.delete("/api/v1/secrets/wandb")
        assert (gone.status_code, gone.json()["code"]) == (404, "SECRET_NOT_FOUND")

    @pytest.mark.parametrize(
        "body",
        [{}, {"value": ""}, {"value": 7_777_777}, {"value": "\u00e4" * 40_000}, {"value": "x", "surplus": "geheimnis"},
         {"value": ["geheimnis"]}],
    )  # fmt: skip
    def test_a_refusal_shows_nothing_of_the_body(self, api: TestClient, body: dict[str, Any]) -> None:
        refused = api.put("/api/v1/secrets/wandb", json=body)
        assert refused.status_code == 422 or refused.status_code == 400
        for shown in ("geheimnis", "7777777", "\u00e4\u00e4"):
            assert shown not in refused.text

    @pytest.mark.parametrize("name", [".hidden", "a b", "x" * 101, "%2e%2e", "a%0ab"])
    def test_a_name_that_is_none_is_refused(self, api: TestClient, name: str) -> None:
        assert api.put(f"/api/v1/secrets/{name}", json={"value": "x"}).status_code in (400, 404, 405, 422)

    def test_tools_name_secrets_and_keep_their_identity_without_any(self, api: TestClient) -> None:
        body = {"tool_name": "t", "parameters": [], "command_template_string": "true", "secrets": {"KEY": "wandb"}}
        made = api.post("/api/v1/experiments", json=body).json()
        assert made["secrets"] == {"KEY": "wandb"}
        plain = api.post("/api/v1/experiments", json={**body, "secrets": {}}).json()
        assert plain["id"] != made["id"]
        job = {"name": "nightly", "command": ["true"], "schedule": "@daily", "secrets": {"KEY": "wandb"}}
        answered = api.post("/jobs", json=job).json()
        assert answered["secrets"] == {"KEY": "wandb"}
        changed = api.put(f"/jobs/{answered['job_id']}", json={"env": {"KEY": "plain"}})
        assert changed.json()["code"] == "INVALID_BODY", json.dumps(changed.json())

    @pytest.mark.parametrize("named", [{"TUNESMITH_X": "wandb"}, {"A B": "wandb"}, {"A": "../x"}, {"A": ""}])
    def test_variables_and_names_that_are_none_are_refused(self, api: TestClient, named: dict[str, str]) -> None:
        body = {"tool_name": "t", "parameters": [], "command_template_string": "true", "secrets": named}
        assert api.post("/api/v1/experiments", json=body).status_code in (400, 422)


class TestCommands:
    @pytest.fixture(autouse=True)
    def _connected(self, api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        def connect(_url: str | None) -> Client:
            return Client("http://localhost", transport=api._transport)  # type: ignore[arg-type]

        monkeypatch.setattr("tunesmith.cli.secrets.connect", connect)

    def run(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        shown = CliRunner().invoke(app, ["secret", *words], input=stdin)
        assert shown.exit_code == code, shown.output
        return shown.output

    def test_a_secret_is_set_from_stdin_listed_and_removed(self, here: Store, api: TestClient) -> None:
        assert "geheimnis" not in self.run("set", "from-cli", stdin="geheimnis\nof two lines\n")
        with here.read() as tx:
            room = tx.default_workspace()
        settings = api.app.state.context.settings  # type: ignore[attr-defined]
        assert open_vault(settings, here).values(room, ["from-cli"]) == {"from-cli": "geheimnis\nof two lines"}
        (listed,) = [one for one in json.loads(self.run("list", "--json")) if one["name"] == "from-cli"]
        assert listed.keys() == {"name", "created_by", "created_at", "updated_at"}
        self.run("remove", "from-cli")
        assert "from-cli" not in self.run("list")
        self.run("remove", "from-cli", code=4)

    def test_an_empty_value_is_refused(self) -> None:
        assert "the value is empty" in self.run("set", "x", stdin="\n", code=2)
