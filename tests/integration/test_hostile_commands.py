"""Values that would be commands, if a shell saw them: they stay text, in whatever place of a tool."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import VALUES

from tuners.messages import Batch, Evaluation
from tuners.tools import command, program
from tunesmith.domain import CommandTool, ProgramTool, Scalar, TrialState
from tunesmith.testing.factories import spec

MARK = "injected"
TEMPLATES = (
    "printf '%s' ${v} > got",
    "printf '%s' \"${v}\" > got",
    "printf '%s' '${v}' > got",
    "cat > got <<E\n${v}\nE",
)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("value", VALUES)
def test_a_text_stays_a_text_in_a_template(tmp_path: Path, template: str, value: str) -> None:
    run(tmp_path, CommandTool(command=f"cd '{tmp_path}'; {template}"), value)
    assert not (tmp_path / MARK).exists()
    assert (tmp_path / "got").read_text().rstrip("\n") == value.rstrip("\n")


@pytest.mark.parametrize("value", VALUES)
def test_a_text_stays_a_text_among_the_arguments_of_a_program(tmp_path: Path, value: str) -> None:
    script = 'cd "$1"; printf "%s" "$2" > got; printf "%s" "$VALUE" > environment'
    tool = ProgramTool(command=("sh", "-c", script, "x", str(tmp_path), "${v}"), env={"VALUE": "${v}"})
    run(tmp_path, tool, value)
    assert not (tmp_path / MARK).exists()
    assert (tmp_path / "got").read_text() == (tmp_path / "environment").read_text() == value


def run(place: Path, tool: CommandTool | ProgramTool, value: Scalar) -> None:
    choices = {"name": "v", "type": "categorical", "choices": [value]}
    wanted = spec(objectives=("wall_time_s",), tool=tool, space={"parameters": [choices]})
    evaluation = Evaluation(0, {"v": value}, 1)
    batch = Batch("job-1", 1, wanted, (evaluation,), str(place / "artifacts"), 1.0)
    tool_of = command if isinstance(tool, CommandTool) else program
    outcome = tool_of.evaluate(batch, evaluation, lambda _measured: None)
    assert outcome.state is TrialState.COMPLETE, outcome
