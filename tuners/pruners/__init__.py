"""The pruners, by name: what they take, and how they are built for one objective (Optuna's) and for several (ours)."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuners.pruners.kinds import KINDS, Kind, Options, PatientOptions
from tuners.pruners.vector import VectorPruner, vectors_of
from tunesmith.domain import Pruner
from tunesmith.errors import InvalidOptimizer

__all__ = ["VectorPruner", "build", "build_vector", "catalogue", "check", "vectors_of"]

WHERE = "optimizer.pruner"


def catalogue() -> list[dict[str, Any]]:
    """What `GET /api/v1/pruners` lists; an option without a default is required."""
    return [
        {
            "name": kind.name,
            "description": kind.description,
            "options": kind.options.model_json_schema().get("properties", {}),
            "multi_objective": kind.multi_objective,
        }
        for kind in KINDS.values()
    ]


def check(pruner: Pruner | None, objectives: int, *, by_vectors: bool = False) -> None:
    """Raise InvalidOptimizer unless the pruner exists, takes its options, and can judge so many objectives.

    `by_vectors`: whether the search that asks prunes with `build_vector` when there are several; otherwise no pruner
    can.
    """
    if pruner is None or pruner.type == "none":
        return
    if objectives > 1 and not by_vectors:
        raise _refusal(
            f"{WHERE} ({pruner.type}): pruning needs one objective; this experiment has {objectives}. "
            "Leave the pruner out"
        )
    if objectives > 1 and not _find(pruner.type, WHERE).multi_objective:
        able = ", ".join(kind.name for kind in KINDS.values() if kind.multi_objective)
        raise _refusal(
            f"{WHERE} ({pruner.type}): it judges one objective; this experiment has {objectives}. "
            f"Those that judge several: {able}"
        )
    build(pruner)


def build(pruner: Pruner | None) -> Any:
    """The Optuna pruner, for one objective. Raises InvalidOptimizer."""
    if pruner is None:
        return _construct("none", {}, WHERE)
    return _build(pruner.type, pruner.options, WHERE)


def build_vector(pruner: Pruner | None) -> VectorPruner | None:
    """The pruner for several objectives; None where none is wanted, or it judges one only. Raises InvalidOptimizer."""
    if pruner is None:
        return None
    kind = _find(pruner.type, WHERE)
    if kind.vector is None:
        return None
    return kind.vector(**_options(kind, pruner.options, WHERE).model_dump())


def _build(name: str, given: Mapping[str, Any], where: str) -> Any:
    kind = _find(name, where)
    options = _options(kind, given, where)
    arguments = options.model_dump()
    if isinstance(options, PatientOptions):
        arguments["wrapped_pruner"] = _wrapped(arguments.pop("pruner"), f"{where} ({name}).pruner")
    return _construct(name, arguments, where)


def _wrapped(given: str | Mapping[str, Any] | None, where: str) -> Any:
    """The pruner inside a patient one: its options stand beside the type, or under `options`."""
    if given is None:
        return None
    options: dict[str, Any] = {"type": given} if isinstance(given, str) else dict(given)
    name = options.pop("type", None)
    if isinstance(options.get("options"), Mapping):
        options |= options.pop("options")
    if not isinstance(name, str):
        raise _refusal(f'{where}: needs a "type", for instance {{"type": "median"}}, not {name!r:.100}')
    if name == "patient":
        raise _refusal(f"{where}: patient cannot wrap itself; give a pruner of another type, or a larger patience")
    return _build(name, options, where)


def _construct(name: str, arguments: Mapping[str, Any], where: str) -> Any:
    import optuna

    kind = getattr(optuna.pruners, KINDS[name].optuna)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            _try_out(kind(**arguments))
            return kind(**arguments)
    except Exception as error:  # each pruner has its own ways of refusing, some only when it is used
        raise _refusal(f"{where} ({name}): {error}") from error


def _find(name: str, where: str) -> Kind:
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name, KINDS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise _refusal(f"{where}: no pruner is called {name!r:.100}; {hint}known: {', '.join(KINDS)}")


def _options(kind: Kind, given: Mapping[str, Any], where: str) -> Options:
    fields = kind.options.model_fields
    for option, value in given.items():
        if option not in fields:
            near = difflib.get_close_matches(option, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(sorted(fields)) or 'no options'}"
            raise _refusal(f"{where} ({kind.name}): unknown option {option!r} ({value!r:.100}); {hint}")
    try:
        return kind.options.model_validate(dict(given))
    except ValidationError as error:
        raise _refusal(f"{where} ({kind.name}): {_explain(kind.options, given, error.errors())}") from error


def _explain(model: type[Options], given: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> str:
    """The first thing that is wrong with the options."""
    first = errors[0]
    if not first["loc"]:  # with several together
        return first["msg"].removeprefix("Value error, ")
    option = str(first["loc"][0])
    if first["type"] == "missing":  # said as Optuna says it
        return f"missing 1 required positional argument: {option!r}; {model.model_fields[option].description}"
    problem = _problem(model, option, [error for error in errors if error["loc"][:1] == (option,)])
    return f"{option}: {problem}, not {given[option]!r:.100}"


def _problem(model: type[Options], option: str, errors: Sequence[ErrorDetails]) -> str:
    """What is wrong with one option: its whole range, or all the types that it takes."""
    schema = model.model_json_schema()["properties"][option]
    if errors[0]["type"].endswith("_than_equal") and {"minimum", "maximum"} <= schema.keys():
        return f"Input should be between {schema['minimum']:g} and {schema['maximum']:g}"
    first, *others = (error["msg"] for error in errors)
    return " or ".join([first, *(other.removeprefix("Input should be ") for other in others)])


def _refusal(message: str) -> InvalidOptimizer:
    return InvalidOptimizer(message, field="pruner")


def _try_out(pruner: Any) -> None:
    """Let it judge two trials, so that it fails here if it does at all, and not in the middle of a search."""
    import optuna

    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(2):
        trial = study.ask()
        for step in range(4):
            trial.report(float(step), step)
            trial.should_prune()
        study.tell(trial, 0.0)
