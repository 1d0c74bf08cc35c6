"""`tunesmith jobs export`, `import` and `validate`: what leaves one platform comes to another one equal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_platform import Platform, another, platform
from typer.testing import CliRunner, Result

from tunesmith.cli.app import app
from tunesmith.schemas.training_jobs import TrainingRequest
from tunesmith.store import Store

CHANNELS = {"team": "json://127.0.0.1:9/x"}
JOBS: list[dict[str, Any]] = [
    {"name": "evaluate", "command": ["python", "evaluate.py"], "depends_on": ["train", "clean"], "max_retries": 0},
    {
        "name": "train", "command": ["python", "train.py", "--lr", "1e-5", "--n", "100", "yes", "", "a\n\"b\" #é"],
        "image": "trainer:1", "schedule": "0 2 * * *", "timezone": "Europe/Berlin", "env": {"A": "1", "B": "null"},
        "timeout_s": 90.5, "priority": "critical", "catch_up": "all", "overlap": "queue", "retry_backoff_s": 1,
        "resources": {"cpus": 2, "gpus": 0.5, "memory_bytes": 1000}, "tags": ["b", "a"], "resume_flag": None,
        "notify": [{"channel": "team", "on": ["failed"]}], "checkpoint_path": "s3://bucket/x", "depends_on": ["clean"],
    },
    {"name": "clean", "command": ["true"], "schedule": "@weekly"},
    {
        "name": "search", "command": ["x", "${lr}", "${kind}"], "schedule": "@monthly",
        "parameters": [
            {"name": "lr", "minimum": 1e-5, "maximum": 1, "log": True},
            {"name": "kind", "type": "categorical", "choices": ["a", 1, True]},
        ],
        "parameter_constraints": ["lr < 0.5"], "objectives": [{"metric": "loss"}],
        "optimizer": {"type": "tpe", "n_iter": 5, "n_startup_trials": 3, "pruner": {"type": "median"}},
    },
    {
        "name": "auto", "command": ["x", "${lr}"], "schedule": "@monthly",
        "parameters": [{"name": "lr", "minimum": 0, "maximum": 1}], "optimizer": {"type": "auto", "n_iter": 5},
    },
    {
        "name": "by default", "command": ["x", "${lr}"], "schedule": "@monthly",
        "parameters": [{"name": "lr", "minimum": 0, "maximum": 1}],
    },
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    for name in [name for name in os.environ if name.startswith("TUNESMITH_")]:
        monkeypatch.delenv(name)
    with platform(tmp_path, sqlite_store, channels=CHANNELS) as found:
        monkeypatch.setenv("TUNESMITH_URL", found.url)
        yield found


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["jobs", *args], input=stdin)


def imported(jobs: Any, *options: str) -> list[dict[str, Any]]:
    shown = run("import", "-", "--json", *options, stdin=jobs if isinstance(jobs, str) else json.dumps(jobs))
    assert shown.exit_code == 0, shown.output
    return list(json.loads(shown.stdout))


def actions(jobs: Any, *options: str) -> dict[str, str]:
    return {line["name"]: line["action"] for line in imported(jobs, *options)}


def refusal(jobs: Any, *options: str) -> str:
    shown = run("import", "-", *options, stdin=jobs if isinstance(jobs, str) else json.dumps(jobs))
    assert shown.exit_code == 2, shown.output
    return str(shown.stderr)


def requested(found: Platform) -> dict[str, Any]:
    """Name -> all that a request can say of the jobs that are there."""
    fields = set(TrainingRequest.model_fields)
    return {job.name: job.info.model_dump(mode="json", include=fields) for job in found.client.training_jobs.list()}


def names(found: Platform) -> set[str]:
    return {job.name for job in found.client.training_jobs.list()}


class TestRoundTrip:
    def test_what_is_exported_comes_to_an_empty_platform_equal(self, here: Platform, tmp_path: Path) -> None:
        imported(JOBS)
        there = requested(here)
        text = run("export").stdout
        assert set(actions(text).values()) == {"unchanged"}
        file = tmp_path / "jobs.yaml"
        file.write_text(text)
        with another(tmp_path / "other", channels=CHANNELS) as other:
            shown = run("import", str(file), "--url", other.url)
            assert shown.exit_code == 0, shown.output
            assert requested(other) == there
            assert run("export", "--url", other.url).stdout == text

    def test_json_is_a_file_too(self, here: Platform) -> None:
        imported(JOBS)
        shown = run("export", "--json")
        assert {job["name"] for job in json.loads(shown.stdout)} == names(here)
        assert set(actions(shown.stdout).values()) == {"unchanged"}

    def test_fields_that_are_as_by_default_are_left_out(self, here: Platform) -> None:
        imported([{"name": "a", "command": ["true"]}])
        assert run("export").stdout == "- name: a\n  command: ['true']\n"

    def test_some_are_exported_by_name_or_id(self, here: Platform) -> None:
        imported(JOBS)
        by_id = here.client.training_jobs.get("clean").id
        assert [job["name"] for job in yaml.safe_load(run("export", "train", by_id).stdout)] == ["train", "clean"]
        assert run("export", "nonsense").exit_code == 4

    def test_nothing_is_an_empty_list(self, here: Platform) -> None:
        assert yaml.safe_load(run("export").stdout) == []
        assert imported(run("export").stdout) == []


class TestYaml:
    def test_words_are_words_and_numbers_numbers(self, here: Platform) -> None:
        text = """
        - name: a
          command: [echo, on, no, 'yes', "1e-5"]
          schedule: 0 2 * * *
          retry_backoff_s: 1e2
          notify: [{channel: team, on: [failed]}]
          resources: {cpus: 2}
        """
        imported(text)
        job = here.client.training_jobs.get("a").info
        assert (job.command, job.retry_backoff_s) == (("echo", "on", "no", "yes", "1e-5"), 100)
        assert job.notify[0].on == ("failed",)


class TestImport:
    def test_jobs_come_in_any_order_and_a_second_time_nothing_happens(self, here: Platform) -> None:
        assert set(actions(JOBS).values()) == {"created"}
        assert here.client.training_jobs.get("evaluate").info.depends_on == ("clean", "train")
        before = requested(here)
        assert set(actions(JOBS).values()) == {"unchanged"}
        assert requested(here) == before

    def test_a_dry_run_names_each_field_and_writes_nothing(self, here: Platform) -> None:
        imported([{"name": "a", "command": ["true"], "schedule": "@daily", "max_retries": 7}])
        wanted = json.dumps([{"name": "a", "command": ["true"], "schedule": "@weekly"}, JOBS[2]])
        shown = run("import", "-", "--dry-run", stdin=wanted)
        assert shown.stdout.splitlines() == [
            "update a", '  schedule: "@daily" -> "@weekly"', "  max_retries: 7 -> 3", "create clean",
        ]  # fmt: skip
        assert "nothing was written" in shown.stderr
        assert names(here) == {"a"}
        assert imported(wanted)[0]["changes"]["max_retries"] == {"before": 7, "after": 3}
        job = here.client.training_jobs.get("a").info
        assert (job.schedule, job.max_retries) == ("@weekly", 3)

    def test_dependencies_may_be_turned_around(self, here: Platform) -> None:
        a, b = ({"name": name, "command": ["true"], "schedule": "@daily"} for name in "ab")
        imported([{**a, "depends_on": ["b"]}, b])
        assert actions([a, {**b, "depends_on": ["a"]}]) == {"a": "updated", "b": "updated"}
        assert here.client.training_jobs.get("b").info.depends_on == ("a",)

    def test_a_search_changes_and_stops_being_one(self, here: Platform) -> None:
        imported(JOBS)
        search = {**JOBS[3], "optimizer": {**JOBS[3]["optimizer"], "n_iter": 9}}
        (line,) = imported([search])
        assert set(line["changes"]) == {"optimizer"}
        plain = {"name": "search", "command": ["x"], "schedule": "@monthly"}
        imported([plain])
        assert here.client.training_jobs.get("search").info.optimizer is None
        assert actions([plain]) == {"search": "unchanged"}

    def test_prune_deletes_what_the_file_does_not_have(self, here: Platform) -> None:
        imported(JOBS)
        assert actions([JOBS[2]]) == {"clean": "unchanged"}
        assert actions([JOBS[2]], "--prune", "--dry-run")["train"] == "delete"
        assert names(here) == {job["name"] for job in JOBS}
        assert actions([JOBS[2]], "--prune")["train"] == "deleted"
        assert names(here) == {"clean"}

    def test_what_is_pruned_may_not_be_depended_on(self, here: Platform) -> None:
        imported(JOBS)
        assert "--prune deletes the one that is there" in refusal([{**JOBS[0], "depends_on": ["clean"]}], "--prune")
        assert names(here) == {job["name"] for job in JOBS}


class TestInvalidFiles:
    def test_every_problem_names_its_job_and_field_and_nothing_is_written(self, here: Platform) -> None:
        shown = refusal(
            [
                {"name": "good", "command": ["true"]},
                {"name": "typo", "command": ["true"], "max_retrys": 1},
                {"command": ["true"]},
                {"name": "numbers", "command": ["x", 1], "env": {"A": 2}},
            ]
        )
        assert "-, typo: max_retrys: is no field of a training job" in shown
        assert "-, entry 3: name: Field required" in shown
        assert "-, numbers: command.1: Input should be a valid string" in shown
        assert "-, numbers: env.A" in shown
        assert names(here) == set()

    def test_what_only_the_platform_knows_is_checked_before_anything_is_written(self, here: Platform) -> None:
        imported([{"name": "there", "command": ["true"], "schedule": "@daily"}])
        shown = refusal(
            [
                {"name": "good", "command": ["true"]},
                {"name": "when", "command": ["true"], "schedule": "0 25 * * *"},
                {"name": "whom", "command": ["true"], "notify": [{"channel": "nobody"}]},
                {"name": "there", "command": ["x", "${hole}"], "schedule": "@daily"},
            ]
        )
        assert "-, when: " in shown
        assert "hour" in shown
        assert "-, whom: " in shown
        assert "-, there: command.1" in shown
        assert names(here) == {"there"}

    @pytest.mark.parametrize(
        ("jobs", "message"),
        [
            ([{"name": "a", "command": ["x"], "depends_on": ["z"]}], "-, a: depends_on: no training job is called 'z'"),
            ([{"name": "a", "command": ["x"]}, {"name": "a", "command": ["y"]}], "-, a: name: also the name of"),
            (
                [{"name": n, "command": ["x"], "depends_on": [m]} for n, m in ("ab", "bc", "ca")],
                "depend on one another in a circle",
            ),
            ("- [1]", "entry 1: a list"),
            ("3", "a int"),
            ("", "nothing"),
            ("a: [", "neither JSON nor YAML"),
        ],
    )
    def test_a_file_that_cannot_be_says_why(self, here: Platform, jobs: Any, message: str) -> None:
        assert message in refusal(jobs)

    def test_one_that_runs_cannot_be_changed_so_nothing_is(self, here: Platform) -> None:
        imported([{"name": "a", "command": ["true"]}])
        here.claim()
        shown = refusal([{"name": "a", "command": ["false"]}, {"name": "b", "command": ["true"]}])
        assert "-, a: it is running" in shown
        assert names(here) == {"a"}
        assert actions([{"name": "a", "command": ["true"]}]) == {"a": "unchanged"}
        assert "a: it is running, and cannot be deleted" in refusal([{"name": "b", "command": ["true"]}], "--prune")


class TestSecrets:
    HOOK = {"channel": "https://ci.example.com/hooks/secret", "on": ["failed"]}

    def job(self, *rules: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"name": "a", "command": ["true"], "schedule": "@daily", "notify": list(rules)}]

    def stored(self, here: Platform) -> list[str]:
        with here.store.read() as tx:
            training = tx.training(here.client.training_jobs.get("a").id)
        return sorted(rule.channel for rule in training.plan.notify)

    def test_they_are_left_out_of_an_export_and_that_is_said(self, here: Platform) -> None:
        imported(self.job(self.HOOK, {"channel": "team"}))
        shown = run("export")
        assert "secret" not in shown.stdout.replace("secrets are not shown", "")
        assert "# left out, for secrets are not shown: notify https://ci.example.com/*** on failed" in shown.stdout
        assert "a: notify https://ci.example.com/*** is left out" in shown.stderr
        assert yaml.safe_load(shown.stdout)[0]["notify"] == [{"channel": "team"}]

    def test_an_import_leaves_those_that_are_there(self, here: Platform) -> None:
        imported(self.job(self.HOOK, {"channel": "team"}))
        text = run("export").stdout
        assert actions(text) == {"a": "unchanged"}
        imported(text.replace("@daily", "@weekly").replace("channel: team", "channel: team, on: [failed]"))
        assert self.stored(here) == [self.HOOK["channel"], "team"]

    def test_a_secret_of_a_file_takes_the_place_of_the_one_before(self, here: Platform) -> None:
        imported(self.job(self.HOOK))
        other = {**self.HOOK, "channel": "https://ci.example.com/hooks/new"}
        assert actions(self.job(other)) == {"a": "updated"}
        assert self.stored(here) == [other["channel"]]

    def test_a_masked_one_cannot_be_made(self, here: Platform) -> None:
        assert "write the whole one" in refusal(self.job({"channel": "https://ci.example.com/***"}))

    def test_a_paused_job_is_said_to_be_one(self, here: Platform) -> None:
        imported(self.job())
        here.client.training_jobs.get("a").pause()
        shown = run("export")
        assert "# paused" in shown.stdout
        assert "a is paused" in shown.stderr
        assert actions(shown.stdout) == {"a": "unchanged"}


class TestValidate:
    def test_schedules_are_said_in_words_with_the_next_five(self, here: Platform, tmp_path: Path) -> None:
        imported([JOBS[2]])
        file = tmp_path / "jobs.yaml"
        file.write_text(json.dumps(JOBS))
        shown = run("validate", str(file))
        assert shown.exit_code == 0, shown.output
        lines = shown.stdout.splitlines()
        at = lines.index("train: at 02:00 every day (Europe/Berlin)")
        assert all(" 02:00 CE" in line for line in lines[at + 1 : at + 6])
        assert "evaluate: when train, clean completed" in lines
        assert names(here) == {"clean"}

    def test_with_json_each_is_an_object(self, here: Platform) -> None:
        (found,) = json.loads(run("validate", "-", "--json", stdin=json.dumps(JOBS[2])).stdout)
        assert (found["name"], found["valid"], len(found["next_runs"])) == ("clean", True, 5)

    def test_what_is_invalid_is_2(self, here: Platform) -> None:
        shown = run("validate", "-", stdin="{name: x, command: [a], schedule: nonsense}")
        assert shown.exit_code == 2
        assert "-, x: " in shown.stderr
