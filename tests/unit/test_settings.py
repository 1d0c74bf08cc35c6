"""Settings: read once, refused with the variable's name, handed on whole, each with its sentence."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from tunesmith import settings as module
from tunesmith.errors import InvalidSettings
from tunesmith.settings import PREFIX, TRIAL_VARIABLES, Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]


def test_without_variables_the_defaults_hold() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.database == f"sqlite:///{Path('.tunesmith').absolute()}/tunesmith.db"
    assert settings.artifacts == str(Path(".tunesmith/artifacts").absolute())
    assert settings.training_root == Path(".tunesmith/training").absolute()
    assert settings.embedded


def test_a_variable_sets_its_field_and_an_empty_one_nothing() -> None:
    settings = load_settings({"TUNESMITH_PORT": "9000", "TUNESMITH_HOST": "", "PATH": "/bin", "TUNESMITHY": "1"})
    assert (settings.port, settings.host) == (9000, "127.0.0.1")


def test_an_option_wins_over_a_variable_unless_it_is_unset() -> None:
    environ = {"TUNESMITH_PORT": "9000", "TUNESMITH_HOST": "localhost"}
    settings = load_settings(environ, port=1234, host=None)
    assert (settings.port, settings.host) == (1234, "localhost")


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("TUNESMITH_DATABASE", "TUNESMITH_DATABASE_URL"),
        ("TUNESMITH_DATADIR", "TUNESMITH_DATA_DIR"),
        ("TUNESMITH_port", "TUNESMITH_PORT"),
        ("TUNESMITH_MAX_RUNING_JOBS", "TUNESMITH_MAX_RUNNING_JOBS"),
    ],
)
def test_an_unknown_variable_names_the_nearest_one(variable: str, nearest: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{variable} is no setting; did you mean {nearest}\\?") as caught:
        load_settings({variable: "1"})
    assert caught.value.details == {"variable": variable}


def test_an_unknown_variable_that_is_near_nothing_is_refused_too() -> None:
    with pytest.raises(InvalidSettings, match="TUNESMITH_QQQQQQQQQQQQ is no setting"):
        load_settings({"TUNESMITH_QQQQQQQQQQQQ": "1"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TUNESMITH_PORT", "many"),
        ("TUNESMITH_PORT", "65536"),
        ("TUNESMITH_PORT", "-1"),
        ("TUNESMITH_MODE", "test"),
        ("TUNESMITH_LEASE_S", "0"),
        ("TUNESMITH_DASHBOARD", "perhaps"),
        ("TUNESMITH_API_REPLICAS", "0"),
        ("TUNESMITH_MAX_RUNNING_JOBS", "1.5"),
        ("TUNESMITH_NODE_TYPES", '["t2.micro"'),
        ("TUNESMITH_LOG_LEVEL", "LOUD"),
        ("TUNESMITH_RUNS_RATE", "often"),
        ("TUNESMITH_MAX_UPLOAD_BYTES", "2 GB"),
        ("TUNESMITH_PUBLIC_URL", "http://tunesmith.example.org"),
        ("TUNESMITH_PUBLIC_URL", "https://tunesmith.example.org/under/here"),
        ("TUNESMITH_PUBLIC_URL", "tunesmith.example.org"),
        ("TUNESMITH_OIDC_ISSUER", "http://id.example.org"),
        ("TUNESMITH_OIDC_ISSUER", "https://id.example.org"),
        ("TUNESMITH_OIDC_ROLE", "root"),
    ],
)
def test_a_bad_value_names_its_variable_and_itself(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings({variable: value})
    assert caught.value.message.startswith(f"{variable}={value!r}")
    assert caught.value.details == {"variable": variable}


@pytest.mark.parametrize("variable", ["TUNESMITH_API_KEY", "TUNESMITH_ADMIN_PASSWORD"])
def test_a_bad_secret_is_not_shown(variable: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{variable}=") as caught:
        load_settings({variable: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_variables_of_a_trial_are_no_settings_and_no_error() -> None:
    environ = {PREFIX + name: "1" for name in TRIAL_VARIABLES} | {"TUNESMITH_PARAM_X": "1", "TUNESMITH_URL": "http://h"}
    assert load_settings(environ) == Settings()


@pytest.mark.parametrize("url", ["postgresql://u:p@h/d", "postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_postgresql_goes_through_psycopg(url: str) -> None:
    settings = load_settings({"TUNESMITH_DATABASE_URL": url})
    assert settings.database == "postgresql+psycopg://u:p@h/d"
    assert not settings.embedded


def test_the_cluster_of_ray_is_joined_by_rays_own_variable_too() -> None:
    assert load_settings({"RAY_ADDRESS": "h:6379"}).ray_address == "h:6379"
    assert load_settings({"RAY_ADDRESS": "h:6379", "TUNESMITH_RAY_ADDRESS": "i:1"}).ray_address == "i:1"


@pytest.mark.parametrize("plugins", ["shop", "shop:", ":plugin", "shop:a b"])
def test_what_names_no_plugin_is_refused_with_a_remedy(plugins: str) -> None:
    with pytest.raises(InvalidSettings, match=f"'{plugins}' names no plugin; write package.module:object"):
        load_settings({"TUNESMITH_PLUGINS": f"a.b:c,{plugins}"})


def test_no_rate_at_all_reaches_another_process_too() -> None:
    settings = load_settings({"TUNESMITH_RUNS_RATE": "none"})
    assert settings.runs_rate is None
    assert load_settings(settings.environment()).runs_rate is None
    assert load_settings({"TUNESMITH_RUNS_RATE": "10/second"}).runs_rate == "10/second"


@pytest.mark.parametrize("value", ["t2.micro, t3.large", '["t2.micro", "t3.large"]'])
def test_a_list_is_json_or_separated_by_commas(value: str) -> None:
    assert load_settings({"TUNESMITH_NODE_TYPES": value}).node_types == ("t2.micro", "t3.large")


def test_another_process_gets_the_same_settings_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        data_dir=Path("here"), storage="there", training_data=Path("data"), node_types=("a", "b,c"), lease_s=2
    )
    environ = settings.environment()
    monkeypatch.chdir("/")
    there = load_settings(environ)
    assert (there.data_dir, there.artifacts) == (tmp_path / "here", str(tmp_path / "there"))
    assert there.training_root == tmp_path / "data"
    changes = {"data_dir": there.data_dir, "storage": there.storage, "training_data": there.training_data}
    assert there == settings.model_copy(update=changes)
    assert json.loads(environ["TUNESMITH_NODE_TYPES"]) == ["a", "b,c"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_has_a_sentence_and_stands_in_the_readme_and_the_example() -> None:
    (found,) = [node for node in ast.parse(inspect.getsource(module)).body if getattr(node, "name", "") == "Settings"]
    assert isinstance(found, ast.ClassDef)
    fields = [
        (node.target.id, isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
        for node, after in zip(found.body, found.body[1:], strict=False)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert [name for name, _ in fields] == list(Settings.model_fields)
    assert [name for name, documented in fields if not documented] == []
    for page in ("README.md", "config/.example.env"):
        text = (ROOT / page).read_text()
        assert [name for name in Settings.model_fields if PREFIX + name.upper() not in text] == []


class TestStaticKeyByOtherNames:
    def test_enable_api_auth_takes_the_api_key(self) -> None:
        settings = load_settings({"ENABLE_API_AUTH": "true", "API_KEY": "0123456789abcdef"})
        assert settings.api_key == "0123456789abcdef"

    def test_an_api_key_alone_turns_nothing_on(self) -> None:
        assert load_settings({"API_KEY": "0123456789abcdef"}).api_key is None
        assert load_settings({"API_KEY": "0123456789abcdef", "ENABLE_API_AUTH": "false"}).api_key is None

    def test_our_own_name_goes_first(self) -> None:
        environ = {"ENABLE_API_AUTH": "1", "API_KEY": "x" * 16, "TUNESMITH_API_KEY": "y" * 16}
        assert load_settings(environ).api_key == "y" * 16

    @pytest.mark.parametrize("key", ["", "short"])
    def test_without_a_key_it_is_refused(self, key: str) -> None:
        with pytest.raises(InvalidSettings, match="API_KEY"):
            load_settings({"ENABLE_API_AUTH": "true", "API_KEY": key})

    def test_what_is_neither_true_nor_false_is_refused(self) -> None:
        with pytest.raises(InvalidSettings, match="ENABLE_API_AUTH"):
            load_settings({"ENABLE_API_AUTH": "maybe"})


def test_an_openid_provider_and_issuers_of_jwts_survive_being_handed_on(tmp_path: Path) -> None:
    issuer = {"issuer": "https://id.example.org", "audience": "tunesmith", "algorithms": ["ES256"], "role": "runner"}
    environ = {
        "TUNESMITH_DATA_DIR": str(tmp_path),
        "TUNESMITH_PUBLIC_URL": "https://Tunesmith.example.org/",
        "TUNESMITH_OIDC_ISSUER": "https://id.example.org/realm",
        "TUNESMITH_OIDC_CLIENT_ID": "tunesmith",
        "TUNESMITH_OIDC_DOMAINS": "@Example.org, example.com",
        "TUNESMITH_JWT_ISSUERS": json.dumps([issuer]),
    }
    settings = load_settings(environ)
    assert settings.public_url == "https://tunesmith.example.org"
    assert settings.oidc_domains == ("example.org", "example.com")
    assert load_settings(settings.environment()) == settings


@pytest.mark.parametrize(
    "changes",
    [{"algorithms": ["HS256"]}, {"algorithms": ["none"]}, {"algorithms": []}, {"audience": ""}, {"keys": "x"},
     {"jwks_url": "http://id.example.org/keys"}],
)  # fmt: skip
def test_an_issuer_that_anybody_could_be_is_refused(changes: dict[str, object]) -> None:
    issuer = {"issuer": "https://id.example.org", "audience": "tunesmith"}
    with pytest.raises(InvalidSettings, match="TUNESMITH_JWT_ISSUERS"):
        load_settings({"TUNESMITH_JWT_ISSUERS": json.dumps([issuer | changes])})
    with pytest.raises(InvalidSettings, match="each issuer may stand there once"):
        load_settings({"TUNESMITH_JWT_ISSUERS": json.dumps([issuer, issuer])})
