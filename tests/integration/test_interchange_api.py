"""`tunesmith export` and `tunesmith import` against a real platform: what leaves one comes to another one equal."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import served
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from serve_app.app import build
from tests.records import assert_equal, experiments, studies
from tunesmith.cli.app import app as commands
from tunesmith.client import Client
from tunesmith.interchange.content import Content, form_of, named
from tunesmith.interchange.studies import same
from tunesmith.schemas.records import Record
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.testing import memory_store
from tunesmith.testing.postgres import PostgresServer

DATA = Path(__file__).resolve().parents[1] / "data"
FILES = ("x.csv", "x.parquet", "x.log", "x.db")


@pytest.fixture
def url(settings: Settings, store: Store) -> Iterator[str]:
    """A platform on every kind of database in turn."""
    with served(build(settings, store=store)) as found:
        yield found


@pytest.fixture
def other(settings: Settings) -> Iterator[str]:
    """Another platform; its request bodies are small."""
    small = settings.model_copy(update={"max_body_bytes": 3000})
    there = memory_store()
    with served(build(small, store=there)) as found:
        yield found
    there.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as found:
        yield found


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments, "--url", url])


def imported(url: str, *arguments: str) -> list[dict[str, Any]]:
    ended = run(url, "import", *arguments, "--json")
    assert ended.exit_code == 0, ended.output
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


def records(url: str, experiment_id: int) -> list[Record]:
    with Client(url) as found:
        return [answer.record for answer in found.experiment(experiment_id).records()]


def assert_same(one: list[Record], other: list[Record]) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        different = [name for name in Record.model_fields if not same(getattr(a, name), getattr(b, name))]
        assert not different, [(name, getattr(a, name), getattr(b, name)) for name in different]


def objective(trial: optuna.Trial) -> float:
    x, kind = trial.suggest_float("x", -5, 5), trial.suggest_categorical("kind", ["a", 1, None])
    if trial.number == 3:
        trial.suggest_int("only here", 1, 2**60)
    for step in range(3):
        trial.report(float("nan") if trial.number == 2 else x * step, step)
    trial.set_user_attr("ünï", {"a": [1, None]})
    if trial.number == 5:
        raise optuna.TrialPruned
    if trial.number == 6:
        raise ValueError("boom")
    return float("inf") if trial.number == 4 else x**2 + (kind is None)


def study_in(storage: Any, name: str = "by hand", **options: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, study_name=name, **options)
    study.optimize(objective, n_trials=8, catch=ValueError)
    return study


def opened(place: str) -> Any:
    """A storage as plain Optuna opens it."""
    if place.endswith(".log"):
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))
    return place if "://" in place else f"sqlite:///{place}"


def tool(**changes: Any) -> dict[str, Any]:
    return {
        "tool_name": "sleep",
        "command_template_string": "sleep ${s}",
        "parameters": [
            {"name": "s", "minimum": 0, "maximum": 1},
            {"name": "mode", "type": "categorical", "choices": ["a", 1, None]},
        ],
        "objectives": [{"metric": "loss"}, {"metric": "acc", "direction": "maximize"}],
    } | changes


def some_records(count: int = 20) -> list[Record]:
    return [
        Record(
            number=number * 2,
            state="complete" if number % 3 else "failed",
            params={"s": number / count, "mode": ["a", 1, None][number % 3]},
            values=(number / 7, float("-inf")) if number % 3 else None,
            metrics={"exit_code": 0.0},
            error=None if number % 3 else "exit 1",
            user_attrs={"note": "ünï\n", "nan": float("nan")},
            worker="host:1",
            started_at=datetime(2026, 1, 1, 0, 0, 0, number, UTC),
            intermediate_values=[
                {"metric": m, "step": n, "value": float("nan")} for m in ("acc", "loss") for n in (1, 2)
            ],
        )
        for number in range(count)
    ]


class TestRoundTrip:
    @pytest.mark.parametrize("file", FILES)
    def test_an_experiment_comes_to_another_platform_equal(
        self, client: Client, other: str, file: str, tmp_path: Path
    ) -> None:
        experiment = client.create_experiment(tool())
        experiment.add_records(some_records(), noted={"user_attrs": {"by": "me"}, "system_attrs": {}})
        experiment.update(name="renamed", tags=["demo"])
        assert run(client.url, "export", str(experiment.id), "-o", str(tmp_path / file)).exit_code == 0
        (found,) = imported(other, str(tmp_path / file))
        assert_same(records(other, found["experiment"]), records(client.url, experiment.id))
        with Client(other) as there:
            again = there.experiment(found["experiment"])
            assert again.info.command_template_string == "sleep ${s}"
            assert (again.info.name, again.info.tags) == ("renamed", ("demo",))
            assert again.info.objectives == experiment.info.objectives
            assert again.study().user_attrs == {"by": "me"}
            assert [trial.number for trial in again.front()] == [trial.number for trial in experiment.front()]

    @pytest.mark.parametrize("file", FILES)
    def test_a_study_comes_to_another_platform_equal(self, url: str, other: str, file: str, tmp_path: Path) -> None:
        study_in(f"sqlite:///{tmp_path}/by_hand.db")
        (first,) = imported(url, str(tmp_path / "by_hand.db"))
        assert run(url, "export", str(first["experiment"]), "-o", str(tmp_path / file)).exit_code == 0
        (found,) = imported(other, str(tmp_path / file))
        assert_same(records(other, found["experiment"]), records(url, first["experiment"]))


class TestAnything:
    """Whatever trials there are, a platform gives them back as they came, on SQLite and PostgreSQL."""

    @given(content=st.one_of(experiments(), studies()))
    @examples(
        max_examples=15,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        phases=[Phase.explicit, Phase.generate],
    )
    def test_a_platform_gives_back_what_it_was_given(self, client: Client, content: Content) -> None:
        name = secrets.token_hex(8)
        experiment = client.import_trials(named(content, name).form, content.records)
        answers = list(experiment.records())
        found = Content(form_of(experiment.refresh(), experiment.study()), [answer.record for answer in answers])
        assert_equal(Content(content.form, found.records), content)
        assert same(found.form.user_attrs, content.form.user_attrs)
        assert same(found.form.system_attrs, content.form.system_attrs)


class TestOptuna:
    @pytest.mark.parametrize("target", ["y.db", "y.log", "postgres"])
    def test_what_is_exported_is_what_plain_optuna_had(
        self, url: str, target: str, tmp_path: Path, postgres: PostgresServer
    ) -> None:
        before = study_in(f"sqlite:///{tmp_path}/x.db", directions=["maximize"])
        before.set_user_attr("a", [1, {"b": None}])
        (found,) = imported(url, str(tmp_path / "x.db"))
        with postgres.database(migrated=False) as empty:
            place = empty if target == "postgres" else str(tmp_path / target)
            ended = run(url, "export", str(found["experiment"]), "--to", place)
            assert ended.exit_code == 0, ended.output
            after = optuna.load_study(study_name="by hand", storage=opened(place))
            assert after.directions == before.directions
            assert after.user_attrs == before.user_attrs
            for one, two in zip(after.trials, before.trials, strict=True):
                one._trial_id = two._trial_id
                assert repr(one) == repr(two)  # NaN is NaN there
            (again,) = imported(url, place, "--name", "again")
            assert_same(records(url, again["experiment"]), records(url, found["experiment"]))

    def test_a_platforms_own_database_is_no_target(self, client: Client, sqlite_url: str) -> None:
        experiment = client.create_experiment(tool())
        ended = run(client.url, "export", str(experiment.id), "-o", sqlite_url)
        assert (ended.exit_code, "is not Optuna's; name another database" in " ".join(ended.output.split())) == (
            2,
            True,
        )

    def test_one_space_makes_an_experiment_that_can_be_asked(self, client: Client, tmp_path: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(storage=f"sqlite:///{tmp_path}/x.db", study_name="plain")
        study.optimize(lambda t: t.suggest_int("n", 1, 9) + t.suggest_float("lr", 1e-5, 1, log=True), n_trials=3)
        (found,) = imported(client.url, str(tmp_path / "x.db"))
        info = client.experiment(found["experiment"]).info
        assert [(p.name, p.type, p.log) for p in info.parameters] == [("n", "int", False), ("lr", "float", True)]
        assert info.external
        assert client.experiment(found["experiment"]).front()[0].outcome == study.best_value

    def test_all_studies_or_the_one_of_a_name(self, url: str, tmp_path: Path) -> None:
        file = f"sqlite:///{tmp_path}/x.db"
        for name in ("a", "b"):
            study_in(file, name)
        assert [found["name"] for found in imported(url, file, "--study", "b")] == ["b"]
        refused = run(url, "import", file, "--study", "c")
        assert (refused.exit_code, "no study is called 'c'; there are a, b" in refused.output) == (2, True)

    def test_a_name_that_is_taken_there_is_refused(self, client: Client, tmp_path: Path) -> None:
        experiment = client.create_experiment(tool())
        experiment.add_records(some_records(3))
        for _ in range(2):
            ended = run(client.url, "export", str(experiment.id), "-o", str(tmp_path / "x.log"))
        assert ended.exit_code == 5
        assert "has a study 'sleep' already" in ended.output
        assert (
            run(client.url, "export", str(experiment.id), "-o", str(tmp_path / "x.log"), "--name", "two").exit_code == 0
        )


class TestForeign:
    def test_a_data_frame_of_optunas(self, client: Client, tmp_path: Path) -> None:
        study = optuna.create_study()
        study.optimize(lambda t: t.suggest_int("n", 1, 9) + t.suggest_float("x", 0, 1), n_trials=5)
        frame = study.trials_dataframe()
        frame.to_csv(tmp_path / "frame.csv")
        frame.to_parquet(tmp_path / "frame.parquet")
        for file in ("frame.csv", "frame.parquet"):
            (found,) = imported(client.url, str(tmp_path / file), "--name", file)
            trials = list(client.experiment(found["experiment"]).records())
            assert [(trial.params, trial.values) for trial in trials] == [
                (t.params, tuple(t.values)) for t in study.trials
            ]
            assert trials[0].started_at == study.trials[0].datetime_start.astimezone(UTC)
            assert any(note.startswith("n: int from ") for note in found["notes"])

    def test_columns_are_named_by_hand(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "runs.csv").write_text("learning rate,opt,who,score\n0.1,adam,me,0.5\n0.2,sgd,you,0.9\n")
        (found,) = imported(
            client.url, str(tmp_path / "runs.csv"), "--param", "learning rate:float:0.001:1:log", "--param", "opt",
            "--objective", "score:maximize",
        )  # fmt: skip
        experiment = client.experiment(found["experiment"])
        assert found["notes"][0] == "left out: who (neither parameter nor objective)"
        assert [(p.name, p.type) for p in experiment.info.parameters] == [
            ("learning_rate", "float"),
            ("opt", "categorical"),
        ]
        assert experiment.info.parameters[0].log
        assert experiment.front()[0].params == {"learning_rate": 0.2, "opt": "sgd"}

    def test_rows_that_lack_a_parameter_make_a_study(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "runs.csv").write_text("params_a,params_b,value\n1,x,0.5\n2,,0.9\n")
        (found,) = imported(client.url, str(tmp_path / "runs.csv"))
        assert client.experiment(found["experiment"]).study().name == "runs"
        assert [r.params for r in records(client.url, found["experiment"])] == [{"a": 1, "b": "x"}, {"a": 2}]

    def test_a_result_folder_of_ray_tunes(self, client: Client) -> None:
        (found,) = imported(client.url, str(DATA / "ray_tune"))
        first, second = records(client.url, found["experiment"])[:2]
        assert first.params == {"lr": 0.1, "opt": "sgd", "model_units": 8}
        assert (first.values, first.state) == ((0.30000000000000004,), "complete")
        curve = [(m.step, m.value) for m in first.intermediate_values if m.metric == "loss"]
        assert curve == [(1, 0.1), (2, 0.2), (3, 0.30000000000000004)]
        assert (second.state, second.values) == ("failed", None)
        assert "RuntimeError: boom" in (second.error or "")
        assert "left out: tags (no JSON scalars)" in found["notes"]

    @pytest.mark.slow
    def test_a_folder_that_ray_tune_makes_now(self, client: Client, tmp_path: Path) -> None:
        script = [sys.executable, str(DATA / "make_ray_tune.py"), str(tmp_path / "made")]
        subprocess.run(script, check=True, capture_output=True, timeout=170)
        (now,), (before,) = (
            imported(client.url, str(p), "--name", p.name) for p in (tmp_path / "made", DATA / "ray_tune")
        )
        one, two = records(client.url, now["experiment"]), records(client.url, before["experiment"])
        assert [(r.params, r.values, r.state) for r in one] == [(r.params, r.values, r.state) for r in two]


class TestBadFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.csv", "", "is empty; its first line should name the columns"),
            ("x.csv", "a,a\n1,2\n", "two columns are called 'a'"),
            ("x.csv", "params_a,value\n1\n", "line 2 has 1 cells for 2 columns"),
            ("x.csv", "params_a,value\n1,2\n1,high\n", "line 3, column 'value': 'high' is no number"),
            (
                "x.csv",
                "params_a,value,state\n1,2,done\n",
                "line 2, column 'state': 'done' is no state; there are waiting",
            ),
            ("x.csv", "params_a,value,number\n1,2,0\n1,2,0\n", "line 3, column 'number': stands there twice"),
            ("x.csv", "params_a,value,datetime_start\n1,2,noon\n", "line 2, column 'datetime_start'"),
            ("x.csv", "lr,loss\n1,2\n", "no column is known to be a parameter"),
            ("x.csv", "params_a,loss\n1,2\n", "no column is known to be an objective"),
            ("x.parquet", "no parquet", "is no Parquet file"),
            ("x.log", "hello\nworld\n", "line 1 is no JSON"),
            ("x.db", "hello", "the storage cannot be used"),
            ("x.xls", "", "should end in .csv or .parquet"),
        ],
    )
    def test_it_says_where_and_nothing_is_made(
        self, client: Client, tmp_path: Path, name: str, content: str, message: str
    ) -> None:
        (tmp_path / name).write_text(content)
        ended = run(client.url, "import", str(tmp_path / name))
        assert (ended.exit_code, message in " ".join(ended.output.split())) == (2, True), ended.output
        assert list(client.experiments(archived=True)) == []

    def test_what_is_not_there(self, url: str, tmp_path: Path) -> None:
        for name in ("x.csv", "x.log", "x.db"):
            ended = run(url, "import", str(tmp_path / name))
            assert (ended.exit_code, "there is no such file" in ended.output) == (2, True)
        assert list(tmp_path.glob("x.*")) == []

    def test_a_database_that_is_none_of_optunas_stays_as_it_is(self, url: str, sqlite_url: str) -> None:
        ended = run(url, "import", sqlite_url)
        assert "there is no table `studies`" in ended.output


class TestAgain:
    def test_the_same_file_twice_is_refused_and_into_adds(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("params_a,value\n1,2\n2,3\n")
        file = str(tmp_path / "x.csv")
        (first,) = imported(client.url, file)
        again = run(client.url, "import", file)
        assert (again.exit_code, f"--into {first['experiment']}" in again.output) == (5, True), again.output
        imported(client.url, file, "--into", str(first["experiment"]), "--skip", "1")
        assert [r.params["a"] for r in records(client.url, first["experiment"])] == [1, 2, 2]

    def test_a_platform_that_stops_taking_says_how_to_go_on(self, other: str, tmp_path: Path) -> None:
        rows = ["1,1,2", *(f"2,{'x' * 4000},{n}" for n in range(2))]
        (tmp_path / "x.csv").write_text("params_a,user_attrs_b,value\n" + "\n".join(rows) + "\n")
        ended = run(other, "import", str(tmp_path / "x.csv"))
        assert ended.exit_code == 2
        assert "has the first 1 of 3 trials; go on with `--into 1 --skip 1`" in " ".join(ended.output.split())
