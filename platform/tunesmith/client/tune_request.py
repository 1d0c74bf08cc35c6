"""What a call of `tune` asks for, checked and made into an experiment and a search, wherever they are to run."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from pydantic import ValidationError

from tunesmith.client.functions import name_of
from tunesmith.client.tune_space import SpaceLike, parameters_of, problem_of
from tunesmith.domain import CallableTool, Constraint, ExperimentSpec, Resources, Scalar
from tunesmith.errors import BadRequest, InvalidBody, InvalidOptimizer, InvalidSpace
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.requests import ExperimentRequest, OptimizerRequest

Direction = Literal["minimize", "maximize"]
BOUND = re.compile(r"^\s*([A-Za-z_][\w./-]*?)\s*(<=|>=)\s*(\S+)\s*$")
"""A constraint on a metric as text: `size <= 100`."""
SAME = {
    "objectives": "objectives (metric, direction)",
    "constraints": "constraints",
    "repeats": "repeats",
    "trial_timeout_s": "timeout_s",
    "resources": "resources",
}
"""What a named run keeps: field of an experiment -> argument of `tune`."""
BY_RUN = "parameters: an objective(trial) asks for its own, any other has a space"
INCIDENTAL = frozenset({"seed", "chosen", "code", "max_concurrent"})
"""Fields of a search that may differ from those of the job before, and yet ask for nothing that it did not do."""
N_INIT = 10
"""bayesopt: random points first, unless the sampler's options say otherwise."""


class TuneOptions(TypedDict, total=False):
    """What `tuners.tune` and `Client.tune` both take, besides the objective and its space."""

    trials: int | None
    """Trials in all, those of earlier calls with the same name included. Unset: 100, or as many as `budget_s` allows,
    or a grid's points."""
    direction: Direction
    """Which end of the one metric is better; `minimize` unless said otherwise."""
    metric: str
    """Name of the one metric: what a bare number is called, and which entry of a dict counts. `value` by default."""
    objectives: Mapping[str, Direction] | None
    """Instead of `metric` and `direction`: several metrics, each with its direction."""
    constraints: str | Sequence[str | Mapping[str, Any] | Constraint]
    """Bounds on metrics that a best trial keeps: `"size <= 100"`, or a list of such."""
    parameter_constraints: str | Sequence[str]
    """What must hold between parameters: `"a + b <= 1"`, or a list of such."""
    sampler: str | Mapping[str, Any]
    """A sampler's name, or `{"type": name, option: value}`."""
    pruner: str | Mapping[str, Any] | None
    """What ends hopeless trials at their intermediate values: a name, or `{"type": name, option: value}`."""
    seed: int | None
    """Makes every random choice repeatable."""
    name: str | None
    """Name of the run: a later call with it goes on with what is there. Unset: a fresh run."""
    timeout_s: float | None
    """Seconds that one evaluation may take; it fails then."""
    budget_s: float | None
    """Seconds after which no new trial starts."""
    goal: float | Mapping[str, float] | None
    """Stop when a trial is at least this good."""
    patience: int | None
    """Stop after so many finished trials without improvement."""
    repeats: int
    """How often each point is evaluated; its values are the means."""
    enqueue: Sequence[Mapping[str, Scalar]]
    """Points to try first."""
    fixed: Mapping[str, Scalar]
    """Parameters that are held at one value."""
    max_failed_trials: int | None
    """The run fails when so many of its trials failed."""
    resources: Mapping[str, float] | Resources | None
    """What one trial needs: `{"cpus": 2, "gpus": 1}`."""
    progress: bool | None
    """Whether to show a progress bar; unset: in a terminal and in a notebook."""


@dataclass(frozen=True)
class Task:
    """A call of `tune`, checked."""

    objective: Callable[..., Any]
    """The function."""
    experiment: ExperimentRequest
    """What to optimize."""
    optimizer: Mapping[str, Any]
    """How, without the number of trials: the fields of an OptimizerRequest."""
    trials: int | None
    """Trials in all."""
    name: str
    """The run's name, drawn when none was given."""
    named: bool
    """Whether the caller gave it, so that the run can be taken up again."""
    progress: bool | None
    """Whether to show how it goes."""

    def refuse_another(self, found: ExperimentSpec | ExperimentAnswer, define_by_run: bool) -> None:
        """Raise InvalidBody when the run of this name (`found`) is about something else; its space may differ."""
        wanted = self.experiment.spec()
        differs = [field for field in SAME if getattr(found, field) != getattr(wanted, field)]
        if define_by_run != wanted.define_by_run:
            differs.append("define_by_run")
        if differs:
            raise InvalidBody(
                f"the run {self.name!r} was begun with other {SAME.get(differs[0], BY_RUN)}; "
                "give it as it was, or give another name",
                name=self.name,
            )

    def search(self, trials: int | None, known: Sequence[Mapping[str, Scalar]] = ()) -> OptimizerRequest:
        """The search for so many more trials; points that were tried already (`known`) are not tried first again."""
        fields = dict(self.optimizer)
        if known:
            seen = {tuple(sorted(point.items())) for point in known}
            fields["enqueue"] = [p for p in fields["enqueue"] if tuple(sorted(p.items())) not in seen]
        if fields["type"] == "bayesopt" and "n_iter" not in fields:
            total = 100 if trials is None else trials
            left = max(0, total - len(fields["enqueue"]))
            fields["n_init"] = min(left, fields.get("n_init", N_INIT))
            fields["n_iter"] = left - fields["n_init"]
        elif trials is not None:
            fields["n_iter"] = trials
        try:
            return OptimizerRequest.model_validate(fields)
        except ValidationError as error:
            raise InvalidOptimizer(problem_of(error)) from error


def task_of(objective: Callable[..., Any], space: SpaceLike | None, options: TuneOptions, **extra: Any) -> Task:
    """Check a call of `tune`; `extra` are further fields of the search.

    Raises:
        InvalidSpace: a parameter says no range, or a wrong one.
        InvalidOptimizer: a field of the search is wrong.
        InvalidBody: any other argument is.
    """
    unknown = options.keys() - TuneOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"tune() got an unexpected keyword argument {min(unknown)!r}")
    if not callable(objective):
        raise InvalidBody(f"the objective must be a function, not {objective!r:.80}")
    trials = options.get("trials")
    if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or trials < 1):
        raise InvalidBody(f"trials: {trials!r} is no number of trials; give a whole number, at least 1")
    name = options.get("name")
    if name is not None and not name.strip():
        raise InvalidBody("name: it is empty; leave it out for a fresh run")
    called = name_of(objective)
    drawn = f"{called.rpartition(':')[2].rpartition('.')[2].strip('<>')}-{secrets.token_hex(4)}"
    return Task(
        objective=objective,
        experiment=_experiment(called, name or drawn, space, options),
        optimizer=_optimizer(options) | {field: value for field, value in extra.items() if value is not None},
        trials=trials,
        name=name or drawn,
        named=name is not None,
        progress=options.get("progress"),
    )


def _experiment(called: str, name: str, space: SpaceLike | None, options: TuneOptions) -> ExperimentRequest:
    parameters = parameters_of(space) if space is not None else ()
    if space is not None and not parameters:
        raise InvalidSpace("the space is empty; name its parameters, or leave it out for an objective(trial)")
    fields: dict[str, Any] = {
        "tool_name": name,
        "callable": CallableTool(name=called[:500], define_by_run=space is None),
        "parameters": parameters,
        "objectives": _objectives(options),
        "constraints": tuple(_constraint(given) for given in _several(options.get("constraints", ()))),
        "parameter_constraints": _several(options.get("parameter_constraints", ())),
        "repeats": options.get("repeats", 1),
        "trial_timeout_s": options.get("timeout_s"),
        "resources": options.get("resources") or Resources(),
    }
    try:
        return ExperimentRequest.model_validate(fields)
    except ValidationError as error:
        where = {str(part) for part in error.errors()[0]["loc"]}
        kind: type[BadRequest] = InvalidSpace if where & {"parameters", "parameter_constraints"} else InvalidBody
        raise kind(problem_of(error)) from error


def _several(given: str | Sequence[Any]) -> tuple[Any, ...]:
    """Constraints in order; a bare string is one of them, and no sequence of letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def _objectives(options: TuneOptions) -> list[dict[str, Any]]:
    given = options.get("objectives")
    if given is None:
        return [{"metric": options.get("metric", "value"), "direction": options.get("direction", "minimize")}]
    for alternative in ("metric", "direction"):
        if alternative in options:
            raise InvalidBody(
                f'objectives and {alternative} exclude each other; write objectives={{"loss": "minimize"}}'
            )
    return [{"metric": metric, "direction": direction} for metric, direction in given.items()]


def _constraint(given: str | Mapping[str, Any] | Constraint) -> Constraint | Mapping[str, Any]:
    if not isinstance(given, str):
        return given
    found = BOUND.match(given)
    try:
        if found is None:
            raise ValueError(given)
        return {"metric": found[1], "max" if found[2] == "<=" else "min": float(found[3])}
    except ValueError as error:
        raise InvalidBody(f'constraints: {given!r} is no bound on a metric; write "size <= 100"') from error


def _optimizer(options: TuneOptions) -> dict[str, Any]:
    sampler = options.get("sampler", "auto")
    fields: dict[str, Any] = {"type": sampler} if isinstance(sampler, str) else dict(sampler)
    if not isinstance(fields.get("type"), str):
        raise InvalidOptimizer('sampler: it needs a "type", for instance {"type": "tpe"}', field="type")
    asked = {
        "pruner": options.get("pruner"),
        "seed": options.get("seed"),
        "budget_s": options.get("budget_s"),
        "goal": options.get("goal"),
        "converge_steps": options.get("patience"),
        "max_failed_trials": options.get("max_failed_trials"),
        "enqueue": [dict(point) for point in options.get("enqueue", ())],
        "fixed": dict(options.get("fixed", {})),
    }
    return {**{field: value for field, value in asked.items() if value is not None}, **fields}
