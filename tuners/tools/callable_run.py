"""One call of an objective function, from a configuration to an outcome, whichever of its styles it is written in.

It returns a number, one number per objective, or a dict of metrics; or it is a generator that yields such results while
it works, and can be ended at every yield; or it takes a trial and asks for its parameters itself.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools.callable_arguments import takes_keywords
from tuners.tools.callable_trial import Suggest, Trial
from tuners.tools.metrics import MAX_METRICS, metric_of
from tuners.tools.outcome import failure, outcome
from tunesmith.domain import CallableTool, Params, TrialState, utcnow

Watch = Callable[[list[tuple[str, int, float]]], Stop | None]
"""Takes new intermediate values (metric, step, value) and says whether to stop."""
WALL_TIME = "wall_time_s"


class Interrupted(BaseException):
    """Raised inside a function when it must end; a BaseException, so that `except Exception` does not swallow it."""


def call(
    function: Callable[..., Any], batch: Batch, evaluation: Evaluation, watch: Watch, suggest: Suggest | None = None
) -> Outcome:
    """Call the function with one configuration. `suggest` hands out parameters to one that asks for them."""
    return Call(function, batch, evaluation, watch, suggest).outcome()


class Call:
    """A call, its last intermediate values, and what it raised."""

    raised: BaseException | None
    """The exception that failed the trial."""

    def __init__(
        self,
        function: Callable[..., Any],
        batch: Batch,
        evaluation: Evaluation,
        watch: Watch,
        suggest: Suggest | None = None,
    ) -> None:
        self.function, self.batch, self.evaluation = function, batch, evaluation
        self.watch, self.suggest = watch, suggest
        self.raised = None
        self._last: dict[str, float] = {}
        self._first = batch.spec.objectives[0].metric

    def outcome(self) -> Outcome:
        """Call the function and judge what came of it."""
        batch, evaluation, started, begun = self.batch, self.evaluation, utcnow(), time.perf_counter()
        try:
            final, result = self._evaluate()
        except Interrupted as reason:
            return ended(batch, evaluation, started, str(reason), self._last)
        except (Exception, SystemExit) as error:
            if _is_pruned(error):
                return outcome(batch, evaluation, TrialState.PRUNED, started, self._last)
            self.raised = error
            return failure(batch, evaluation, started, traceback.format_exc(limit=-20), self._last)
        if self._wants_time:
            final.setdefault(WALL_TIME, time.perf_counter() - begun)
        missing = [name for name in _needed(batch) if name not in final]
        if missing:
            return failure(batch, evaluation, started, _explained(batch, missing, result, final), final)
        return outcome(batch, evaluation, TrialState.COMPLETE, started, final)

    @property
    def _wants_time(self) -> bool:
        return not isinstance(self.batch.spec.tool, CallableTool) or WALL_TIME in _needed(self.batch)

    def _evaluate(self) -> tuple[dict[str, float], Any]:
        """The final metrics, and what the function returned (or yielded last)."""
        result, noted = self._invoke()
        shown = result
        if inspect.isgenerator(result):
            result, shown = self._follow(cast("Generator[Any, None, Any]", result))
        metrics = {**self._last, **self._numbers(result), **noted}
        needed = {name: metrics[name] for name in _needed(self.batch) if name in metrics}
        return dict(itertools.islice({**needed, **metrics}.items(), MAX_METRICS)), shown

    def _invoke(self) -> tuple[Any, Mapping[str, float]]:
        params, tool = self.evaluation.params, self.batch.spec.tool
        if isinstance(tool, CallableTool) and tool.define_by_run:
            assert self.suggest is not None, "a function that asks for its parameters needs somebody to ask"
            trial = Trial(self.evaluation.number, self.suggest, self._report, self._first)
            return self.function(trial), trial._noted
        if takes_keywords(self.function, params.keys()):
            return self.function(**params), {}
        return self.function(Params(params)), {}

    def _follow(self, steps: Generator[Any, None, Any]) -> tuple[Any, Any]:
        """Report what a generator yields, until it ends or is to: what it returned, and its last result."""
        last = None
        with contextlib.closing(steps):
            for count in itertools.count():
                try:
                    last = next(steps)
                except StopIteration as end:
                    return end.value, last if end.value is None else end.value
                if self._report(self._pairs(last), _step_of(last, count)):
                    raise Interrupted("pruned")
        raise AssertionError("a count has no end")

    def _report(self, values: Mapping[str, Any], step: int) -> bool:
        """Pass intermediate values on; whether to prune. Raises Interrupted when the job is over."""
        numbers = {str(name): metric_of(str(name), value) for name, value in values.items() if name != "step"}
        for name, number in numbers.items():
            if number is None:
                self._last.pop(name, None)  # what became NaN has no value any more
            else:
                self._last[name] = number
        reason = self.watch([(name, step, number) for name, number in numbers.items() if number is not None])
        if reason is not None and reason != "pruned":
            raise Interrupted(reason)
        return reason == "pruned"

    def _pairs(self, result: Any) -> Mapping[str, Any]:
        """A result as metrics: a mapping as it is, numbers as the objectives, in order."""
        if result is None:
            return {}
        if isinstance(result, Mapping):
            return result
        names = [objective.metric for objective in self.batch.spec.objectives]
        several = isinstance(result, Sequence) and not isinstance(result, str) and len(result) == len(names)
        return dict(zip(names, result, strict=True)) if several else {self._first: result}

    def _numbers(self, result: Any) -> dict[str, float]:
        numbers = {str(name): metric_of(str(name), value) for name, value in self._pairs(result).items()}
        return {name: value for name, value in numbers.items() if value is not None}


def ended(
    batch: Batch, evaluation: Evaluation, started: datetime, reason: str, metrics: Mapping[str, float] | None = None
) -> Outcome:
    """The outcome of an evaluation that was interrupted: "timeout", or why it was stopped."""
    if reason == "timeout":
        limit = f"{batch.spec.trial_timeout_s:g} s (trial_timeout_s)"
        return failure(batch, evaluation, started, f"still running after {limit}; ended", metrics)
    if reason == "pruned":
        return outcome(batch, evaluation, TrialState.PRUNED, started, metrics or {})
    return outcome(batch, evaluation, TrialState.WAITING, started, {})


def _needed(batch: Batch) -> dict[str, str]:
    """Metric -> what it is needed for."""
    wanted = {o.metric: "objective" for o in batch.spec.objectives}
    return wanted | {c.metric: "constraint" for c in batch.spec.constraints if c.metric not in wanted}


def _step_of(result: Any, count: int) -> int:
    """The step of a yielded result: the one that it names, or how many came before it."""
    step = result.get("step") if isinstance(result, Mapping) else None
    if step is None:
        return count
    number = metric_of("step", step)
    if number is None or number % 1 or abs(number) >= 2**62:
        raise ValueError(f"step {step!r:.80} of a yielded result is no whole number")
    return int(number)


def _explained(batch: Batch, missing: Sequence[str], result: Any, metrics: Mapping[str, float]) -> str:
    needed = _needed(batch)
    names = ", ".join(f"{needed[name]} {name!r}" for name in missing)
    measured = f"; it measured: {', '.join(sorted(metrics))}" if metrics else ""
    return f"no finite value for {names}; the function returned {result!r:.200}{measured}"


def _is_pruned(error: BaseException) -> bool:
    """Whether it is Optuna's TrialPruned, which this process need not have imported."""
    return any(
        kind.__name__ == "TrialPruned" and kind.__module__.partition(".")[0] == "optuna" for kind in type(error).__mro__
    )
