"""The promises around the code: README, example settings and `--help` name all that there is, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from searching import experiment_of
from typer.core import TyperGroup
from typer.main import get_command

from serve_app.app import build
from tuners.samplers import catalogue, plan
from tunesmith.cli.app import app
from tunesmith.domain import Parameter, Search, Space
from tunesmith.errors import InvalidOptimizer
from tunesmith.settings import PREFIX, TRIAL_VARIABLES, Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE_ENV = (ROOT / "config" / ".example.env").read_text()
SEARCHING = (ROOT / "docs" / "searching.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def as_variable(value: Any) -> str:
    """A default as an environment variable; unset and empty ones are the same."""
    if value is None or value == ():
        return ""
    return json.dumps(value) if isinstance(value, bool) else str(value)


DEFAULTS = {PREFIX + name.upper(): as_variable(field.default) for name, field in Settings.model_fields.items()}


def readme_blocks(language: str) -> list[str]:
    return [code for found, code in CODE.findall(README) if found == language]


def commands(group: TyperGroup, *path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, *path, name)
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            yield " ".join((*path, name))


def command_tree() -> TyperGroup:
    tree = get_command(app)
    assert isinstance(tree, TyperGroup)
    return tree


def operations() -> set[str]:
    paths = build(Settings(database_url="sqlite://")).openapi()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def sampler_table() -> dict[str, dict[str, str]]:
    """Sampler -> column -> cell, from the page on searching."""
    section = SEARCHING.partition("## Samplers")[2].partition("\n## ")[0]
    heads, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return {name: dict(zip(heads, row, strict=True)) for row in rows for name in re.findall(r"`(\w+)`", row[0])}


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestSettings:
    def test_the_example_file_has_every_setting_with_its_default(self) -> None:
        listed = dict(re.findall(rf"^#({PREFIX}\w+)=(.*)$", EXAMPLE_ENV, re.MULTILINE))
        assert listed == DEFAULTS

    def test_every_variable_of_the_example_file_is_explained_above_it(self) -> None:
        lines = EXAMPLE_ENV.splitlines()
        variables = [i for i, line in enumerate(lines) if re.match(r"#?[A-Z_]+=", line)]
        naked = [lines[i] for i in variables if not re.match(r"# \w", lines[i - 1]) and i - 1 not in variables]
        assert not naked

    def test_the_readme_lists_every_setting_with_its_default(self) -> None:
        rows = re.findall(rf"^\| `({PREFIX}\w+)` \| (.*?) ?\| .+ \|$", README, re.MULTILINE)
        assert {name: default.strip("` ") for name, default in rows} == DEFAULTS

    def test_the_readme_names_every_variable_of_a_trial(self) -> None:
        assert not [name for name in TRIAL_VARIABLES if f"{PREFIX}{name}`" not in README]


class TestCommands:
    def test_the_readme_names_every_command(self) -> None:
        missing = [name for name in commands(command_tree()) if not re.search(rf"`tunesmith {name}[ `]", README)]
        assert not missing

    def test_the_readme_names_no_command_that_is_not_there(self) -> None:
        known = set(commands(command_tree()))
        named = set(re.findall(r"^\| (`tunesmith .*?) \|", README, re.MULTILINE))
        words = {words for cell in named for words in re.findall(r"`tunesmith ([a-z]+(?:[ -][a-z]+)*)", cell)}
        assert words == known

    @pytest.mark.parametrize("name", sorted(commands(command_tree())))
    def test_every_command_and_every_option_explains_itself(self, name: str) -> None:
        command: Any = command_tree()
        for word in name.split():
            command = command.commands[word]
        assert command.help
        assert not [option.name for option in command.params if not getattr(option, "help", None)]

    @pytest.mark.parametrize("name", sorted(set(commands(command_tree())) - {"logs"}))
    def test_every_command_can_answer_in_json(self, name: str) -> None:
        command: Any = command_tree()
        for word in name.split():
            command = command.commands[word]
        assert any("--json" in option.opts for option in command.params)

    def test_the_readme_says_what_every_exit_code_means(self) -> None:
        from tunesmith.cli.exits import EPILOG

        meanings = EPILOG.removeprefix("Exit codes: ").rstrip(".").split("; ")
        flowing = " ".join(README.split())
        assert not [meaning for meaning in meanings if meaning not in flowing]


class TestEndpoints:
    def test_the_readme_lists_the_operations_of_the_service_and_no_others(self) -> None:
        assert set(re.findall(r"`((?:GET|POST|PATCH|PUT|DELETE) /[^`?]*)`", README)) == operations()

    @pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
    def test_the_readme_names_the_pages_that_describe_them(self, path: str) -> None:
        assert f"`{path}`" in README


class TestSamplers:
    def test_the_table_has_every_sampler_and_no_other(self) -> None:
        assert sampler_table().keys() == {sampler["name"] for sampler in catalogue()}

    @pytest.mark.parametrize("sampler", catalogue(), ids=lambda sampler: sampler["name"])
    def test_the_table_says_of_each_what_the_catalogue_says(self, sampler: dict[str, Any]) -> None:
        cells = sampler_table()[sampler["name"]]
        abilities = [cells[column] for column in ("mixed spaces", "conditions", "objectives", "outcome constraints")]
        if sampler["name"] == "partial_fixed":
            assert set(abilities) == {"as its base"}
            return
        mixed, conditions, objectives, constraints = abilities
        assert mixed == ("yes" if sampler["mixed_spaces"] else "numbers; choices at random")
        assert (conditions == "yes") == sampler["conditional_spaces"]
        assert conditions in ("yes", "at random", "refused")
        assert objectives == ("several" if sampler["multi_objective"] else "one")
        assert constraints == ("steered" if sampler["constraints"] else "")

    @pytest.mark.parametrize(
        "name", [name for name, cells in sampler_table().items() if cells["conditions"] in ("at random", "refused")]
    )
    def test_conditional_parameters_are_drawn_at_random_or_refused_as_the_table_says(self, name: str) -> None:
        parameters = (
            Parameter(name="kind", type="categorical", choices=("a", "b")),
            Parameter(name="rate", minimum=0, maximum=1, when={"kind": ["a"]}),
        )
        experiment = experiment_of(Space(parameters=parameters))
        search = Search(type=name, n_iter=10, seed=1)
        if sampler_table()[name]["conditions"] == "refused":
            with pytest.raises(InvalidOptimizer, match="rate exists only under a condition"):
                plan(experiment, search, 1000)
        else:
            assert any("rate at random" in warning for warning in plan(experiment, search, 1000).warnings)


class TestText:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_every_link_leads_somewhere(self, page: Path) -> None:
        for link in LINK.findall(page.read_text()):
            target, _, fragment = link.partition("#")
            if "://" in target:
                continue
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), link
            assert not fragment or fragment in anchors(file), link

    def test_the_ten_lines_are_ten_and_valid(self) -> None:
        example = readme_blocks("python")[0]
        compile(example, "README.md", "exec")
        assert len(example.strip().splitlines()) == 10

    def test_the_searches_in_a_script_run_as_they_are_printed(self, tmp_path: Path) -> None:
        (shown,) = re.findall(r"^```python\n(.*?)^```$", SEARCHING, re.M | re.S)
        for script in (readme_blocks("python")[1], shown):
            ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
            assert (ended.returncode, "x" in ended.stdout) == (0, True), ended.stderr
        assert (tmp_path / "runs.db").exists()

    def test_the_readme_names_every_make_target(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
        targets = set(phony.split()) - {"help"}
        assert not [target for target in targets if f"`make {target}" not in README]
        listed = subprocess.run(
            ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert not [target for target in targets if f"make {target} " not in listed]

    def test_the_python_and_yaml_examples_are_the_same_experiment(self) -> None:
        import yaml

        from tunesmith.schemas.requests import ExperimentRequest

        (document,) = readme_blocks("yaml")
        example = readme_blocks("python")[0]
        call = re.search(r"create_experiment\((.*?)^\)$", example, re.DOTALL | re.MULTILINE)
        assert call
        given = eval(f"dict({call.group(1)})")
        assert ExperimentRequest(**given).spec() == ExperimentRequest(**yaml.safe_load(document)).spec()
