"""Secrets in trials: given to the environment by name, masked in what is printed, and nowhere else to be found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.images import ENGINE, OPTIONS, busybox_image
from tuners.handing import Hand
from tuners.loading import load
from tuners.messages import Batch, Containers, Evaluation, Outcome
from tuners.tools.evaluate import evaluate
from tuners.writer import Writer
from tunesmith.domain import CommandTool, FunctionTool, JobState, ProgramTool, Tool, TrialState, space_of
from tunesmith.services.secrets import open_vault
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.testing.factories import new_experiment, running_job, spec

VALUE = "geheimnis-0815"
KEY = {"KEY": VALUE}


class Bench:
    """Evaluates tools whose trials get the secret `KEY`."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts

    def __call__(self, tool: Tool, objective: str = "wall_time_s", **changes: Any) -> Outcome:
        wanted = spec(tool=tool, objectives=(objective,), space=space_of([]), repeats=changes.pop("repeats", 1))
        evaluation = Evaluation(7, {}, run=1)
        batch = Batch("job-1", 42, wanted, (evaluation,), str(self.artifacts), 1.0, secrets=KEY)
        return evaluate(replace(batch, **changes), evaluation, lambda _measured: None)

    def log(self, found: Outcome) -> str:
        assert found.log is not None
        return (self.artifacts / found.log).read_text()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "artifacts")
    yield bench
    kept = [path for path in bench.artifacts.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]
    assert kept == [], "a file of the trial holds the secret"


# Functions under test; they are imported by name from this very module.


def shows() -> float:
    print("the key is", os.environ["KEY"])
    print(os.environ["KEY"][:7], end="", file=sys.stderr)
    print(os.environ["KEY"][7:])
    return float(len(os.environ["KEY"]))


def breaks() -> float:
    raise ValueError(f"refused: {os.environ['KEY']}")


# What trials get


def test_a_command_has_it_in_all_its_scripts_and_its_log_has_a_mask(run: Bench) -> None:
    scripts = {name: f"echo {name}: $KEY" for name in ("setup", "finish")}
    found = run(CommandTool(command="printf gehe; sleep 0.3; echo imnis-0815; echo $KEY >&2", **scripts))
    assert found.state is TrialState.COMPLETE
    assert run.log(found) == "setup: ***\n***\n***\nfinish: ***\n"


def test_patterns_see_what_was_printed_and_the_log_does_not(run: Bench) -> None:
    tool = CommandTool(command="echo $KEY; echo loss=3 $KEY; echo again $KEY", patterns={"loss": "loss=(.)"})
    found = run(tool, "loss")
    assert (found.state, found.metrics["loss"]) == (TrialState.COMPLETE, 3)
    assert run.log(found) == "***\nloss=3 ***\nagain ***\n"


def test_an_error_quotes_a_masked_output(run: Bench) -> None:
    found = run(CommandTool(command="echo sent $KEY; exit 3"))
    assert found.error == "exit code 3; its output ends with:\nsent ***"


def test_lines_of_metrics_that_cannot_be_read_are_not_quoted(run: Bench) -> None:
    written = 'echo "{\\"loss\\": \\"$KEY\\"}" > $TUNESMITH_METRICS'
    found = run(CommandTool(command=written, finish="> $TUNESMITH_METRICS"))
    assert run.log(found) == "tunesmith: 1 of the lines in $TUNESMITH_METRICS could not be read\n"


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_program_has_it_too(run: Bench, repeats: int) -> None:
    found = run(ProgramTool(command=("sh", "-c", "echo $KEY")), repeats=repeats)
    assert run.log(found).count("***\n") == repeats


def test_a_function_has_it_while_it_is_called_and_the_process_has_not(run: Bench) -> None:
    found = run(FunctionTool(entrypoint=f"{__name__}:shows"), "loss")
    assert (found.state, found.metrics["loss"]) == (TrialState.COMPLETE, len(VALUE))
    assert run.log(found) == "the key is ***\n***\n"
    assert "KEY" not in os.environ


def test_the_traceback_of_a_function_is_masked(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "as it was")
    found = run(FunctionTool(entrypoint=f"{__name__}:breaks"), "loss")
    assert found.error is not None
    assert "ValueError: refused: ***" in found.error
    assert VALUE not in found.error
    assert os.environ["KEY"] == "as it was"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with busybox_image(tmp_path_factory.mktemp("image")) as name:
        yield name


@pytest.mark.slow
def test_a_container_has_it_and_no_command_line_names_it(run: Bench, image: str) -> None:
    seen = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done | grep -c 0815"
    tool = ProgramTool(command=("sh", "-c", f"echo key $KEY; {seen}"), image=image)
    found = run(tool, containers=Containers(ENGINE, OPTIONS))
    assert run.log(found).splitlines()[0] == "key ***"


def test_no_command_line_names_it(run: Bench) -> None:
    seen = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null | grep -c 'geheim[n]is'; true"
    found = run(CommandTool(command=seen))
    assert run.log(found) == "0\n"


def test_a_batch_does_not_show_it() -> None:
    batch = Batch("job-1", 42, spec(), (), "artifacts", 1.0, secrets=KEY)
    assert VALUE not in repr(batch)


# How they get them


class TestHandingOut:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path)

    def begin(self, store: Store, name: str = "wandb") -> Any:
        tool = CommandTool(command="true", secrets={"KEY": name})
        experiment = new_experiment(store, tool=tool)
        job = running_job(store, experiment)
        writer = Writer(store, 30)
        with store.read() as tx:
            run = load(tx, job, lambda _spec: (("CPU", 1.0),), partial(writer.reserve, job), writer.claim)
        return experiment, run

    def test_it_is_read_anew_for_each_batch(self, sqlite_store: Store, settings: Settings) -> None:
        experiment, run = self.begin(sqlite_store)
        hand, vault = Hand(sqlite_store, settings), open_vault(settings, sqlite_store)
        for value in ("one", "two"):
            vault.put(experiment.workspace_id, "wandb", value, None)
            batch = hand.take(run, 1, 0.0)
            assert batch is not None
            assert batch.secrets == {"KEY": value}

    def test_a_missing_one_fails_the_job_before_a_trial_starts(self, sqlite_store: Store, settings: Settings) -> None:
        _, run = self.begin(sqlite_store)
        assert Hand(sqlite_store, settings).take(run, 1, 0.0) is None
        assert run.over
        assert run.running == {}
        state, changes = run.verdict()
        assert state is JobState.FAILED
        expected = "There is no secret 'wandb' in this workspace; `tunesmith secret set wandb` makes one"
        assert changes == {"error": expected}

    def test_one_of_another_workspace_is_missing(self, sqlite_store: Store, settings: Settings) -> None:
        _, run = self.begin(sqlite_store)
        with sqlite_store.write() as tx:
            other = tx.create_workspace("lab").id
        open_vault(settings, sqlite_store).put(other, "wandb", "theirs", None)
        assert Hand(sqlite_store, settings).take(run, 1, 0.0) is None
        assert "There is no secret 'wandb'" in run.error
