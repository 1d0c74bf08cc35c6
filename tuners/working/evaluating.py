"""One trial that was asked for, evaluated on this machine with the tools of the platform's own workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import command
from tuners.tools.command import CommandRun
from tuners.tools.metrics import MAX_METRICS
from tuners.working.filling import fill
from tunesmith.client.asking import TrialToRun
from tunesmith.domain import CommandTool, ExperimentSpec, TrialState
from tunesmith.errors import BadRequest, TrialFinished, TrialTaken
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.requests import ExperimentRequest

GRACE_S = 5.0
"""Seconds between TERM and KILL when a command is ended."""


class OwnCommand(CommandRun):
    """A command of the worker's own: its arguments see no shell, and it runs where the worker does."""

    def __init__(self, words: Sequence[str], place: Path, *args: Any) -> None:
        super().__init__(*args)
        self.words, self.place = words, place

    def arguments(self) -> list[str]:
        """The command line with the values of the parameters."""
        return fill(self.words, self.declared, self.evaluation.params)


class Evaluator:
    """Evaluates trials of one experiment. Safe to use from threads."""

    def __init__(
        self,
        info: ExperimentAnswer,
        words: Sequence[str],
        root: Path,
        patterns: dict[str, str],
        timeout_s: float | None,
    ) -> None:
        """`words`: the command of the worker's own, without any the experiment's; `root`: where trials have their
        directories; `patterns` over its output and `timeout_s` instead of the experiment's own.

        Raises:
            BadRequest: there is no command to run.
        """
        spec = _spec_of(info)
        tool = spec.tool
        if not words and not isinstance(tool, CommandTool):
            raise BadRequest(
                f"experiment {info.id} ({info.name!r}) has no command template that could be run here; "
                "put a command of your own after --"
            )
        known = dict(tool.patterns) if isinstance(tool, CommandTool) else {}
        own = CommandTool(command=" ".join(words)) if words else tool
        assert isinstance(own, CommandTool)
        self.spec = spec.evolve(
            tool=own.evolve(patterns=known | patterns),
            trial_timeout_s=spec.trial_timeout_s if timeout_s is None else timeout_s,
        )
        self._experiment_id, self._root = info.id, root
        self._run: Callable[..., CommandRun] = partial(OwnCommand, words, Path.cwd()) if words else CommandRun

    def evaluate(self, trial: TrialToRun, is_stopping: Callable[[], bool]) -> Outcome:
        """Run the command for a trial, and report while it runs; WAITING when it was ended from outside."""
        evaluation = Evaluation(trial.number, dict(trial.params), trial.attempt)
        batch = Batch("", self._experiment_id, self.spec, (evaluation,), str(self._root), GRACE_S, watched=True)

        def watch(measured: list[tuple[str, int, float]]) -> Stop | None:
            if is_stopping() or trial.lost:
                return "cancelled"
            try:
                pruned = [trial.report(step, metrics) for step, metrics in _by_step(measured)]
            except (TrialTaken, TrialFinished):
                return "cancelled"
            return "pruned" if any(pruned) else None

        return command.evaluate(batch, evaluation, watch, self._run)


def tell(trial: TrialToRun, found: Outcome, objectives: Sequence[str]) -> None:
    """Tell the platform what came of a trial. Raises as `TrialToRun.tell` does."""
    metrics = {name: value for name, value in found.metrics.items() if name not in objectives}
    values = {name: found.metrics[name] for name in objectives if name in found.metrics}
    if found.state is TrialState.COMPLETE:
        trial.tell(values, metrics=dict(islice(metrics.items(), MAX_METRICS - len(values))))
    elif found.state is TrialState.PRUNED:
        trial.prune(dict(islice(found.metrics.items(), MAX_METRICS)))
    elif found.state is TrialState.FAILED:
        trial.fail(found.error)
    else:
        trial.release()


def _by_step(measured: Sequence[tuple[str, int, float]]) -> list[tuple[int, dict[str, float]]]:
    """Intermediate values as reports: those of one step that came together are one."""
    groups = groupby(measured, key=lambda row: row[1])
    return [(step, {metric: value for metric, _, value in rows}) for step, rows in groups]


def _spec_of(info: ExperimentAnswer) -> ExperimentSpec:
    if info.program is not None:
        raise BadRequest(f"experiment {info.id} ({info.name!r}) is a training job's; the platform runs it by itself")
    answer = info.model_dump(mode="json", exclude_none=True)
    return ExperimentRequest.model_validate(
        {name: answer[name] for name in ExperimentRequest.model_fields if name in answer}
    ).spec()
