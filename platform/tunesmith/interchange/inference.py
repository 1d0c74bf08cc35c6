"""The space that trials were drawn from, told from their points, where nobody says it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from pydantic import ValidationError

from tunesmith.domain import Objective, Parameter, Scalar, Space
from tunesmith.errors import InvalidSpace
from tunesmith.interchange.content import Content, Record
from tunesmith.interchange.layout import Hint
from tunesmith.interchange.studies import external
from tunesmith.schemas.fitting import CHOICES, DISTRIBUTIONS
from tunesmith.schemas.records import ExperimentForm, StudyRequest

LARGEST = 2**53
"""Beyond it floats no longer tell integers apart."""


def inferred(
    name: str,
    records: Sequence[Record],
    objectives: tuple[Objective, ...],
    hints: Mapping[str, Hint],
    notes: Sequence[str] = (),
) -> Content:
    """An experiment for trials of which only the points are known.

    Where every trial has every parameter, it has a space; else it is a study. Raises InvalidSpace: a hint does not fit.
    """
    names = list(dict.fromkeys(name for record in records for name in record.params))
    renamed = _renamed(names)
    points = [{renamed[n]: value for n, value in record.params.items()} for record in records]
    told = {renamed[n]: hint for n, hint in hints.items() if n in renamed}
    parameters = [
        _parameter(n, [point[n] for point in points if n in point], told.get(n, Hint(n))) for n in renamed.values()
    ]
    said = [*notes, *(_as_told(n, parameter) for n, parameter in zip(names, parameters, strict=True))]
    said += [f"{o.direction}s {o.metric}" for o in objectives]
    cast = [{p.name: p.cast(point[p.name]) for p in parameters if p.name in point} for point in points]
    if all(len(point) == len(parameters) for point in points):
        form = ExperimentForm(
            name=name[:200], experiment=external(name, Space(parameters=tuple(parameters)), objectives)
        )
        return Content(form, [_with(r, p) for r, p in zip(records, cast, strict=True)], tuple(said))
    asks = "some trials lack a parameter, so it becomes a study, whose trials ask for their parameters while they run"
    drawn = {parameter.name: _drawn_from(parameter) for parameter in parameters}
    study = StudyRequest(name=name, objectives=objectives)
    choices = {parameter.name: list(parameter.choices) for parameter in parameters if parameter.choices is not None}
    noted = [_with(r, p, _noted(p, drawn, choices)) for r, p in zip(records, cast, strict=True)]
    return Content(ExperimentForm(name=name[:200], study=study), noted, (*said, asks))


def _with(record: Record, point: Mapping[str, Scalar], attrs: Mapping[str, Any] | None = None) -> Record:
    return record.model_copy(update={"params": point, "system_attrs": {**record.system_attrs, **(attrs or {})}})


def _renamed(names: Sequence[str]) -> dict[str, str]:
    """Name -> an identifier, each another one."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:190] or "_"
        plain = plain if not plain[0].isdigit() else f"_{plain}"
        free = plain
        for count in range(2, len(names) + 2):
            if free not in found.values():
                break
            free = f"{plain}_{count}"
        found[name] = free
    return found


def _parameter(name: str, values: Sequence[Scalar], hint: Hint) -> Parameter:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    kind = hint.type or _type(values, numbers)
    try:
        if kind == "categorical":
            choices = list({(isinstance(value, bool), value): value for value in values}.values())
            return Parameter(name=name, type="categorical", choices=tuple(choices))
        if len(numbers) < len(values):
            other = next(v for v in values if v not in numbers or isinstance(v, bool))
            raise ValueError(f"{other!r} is no number")
        low, high = hint.bounds or (min(numbers), max(numbers))
        return Parameter(name=name, type=kind, minimum=low, maximum=high, log=hint.log)
    except ValidationError as error:
        raise InvalidSpace(f"parameter {name!r}: {error.errors()[0]['msg']}", parameter=name) from error
    except ValueError as error:
        raise InvalidSpace(f"parameter {name!r} should be of type {kind}, but {error}", parameter=name) from error


def _type(values: Sequence[Scalar], numbers: Sequence[float]) -> Any:
    if len(numbers) < len(values):
        return "categorical"
    if any(isinstance(number, float) for number in numbers):
        return "float"
    return "int" if all(abs(number) <= LARGEST for number in numbers) else "categorical"


def _as_told(given: str, parameter: Parameter) -> str:
    name = given if given == parameter.name else f"{given} (as {parameter.name})"
    if parameter.type == "categorical":
        choices = parameter.choices or ()
        shown = ", ".join(str(choice) for choice in choices[:5]) + (", ..." if len(choices) > 5 else "")
        return f"{name}: categorical, {len(choices)} choices ({shown})"
    low, high = parameter.bounds
    return f"{name}: {parameter.type} from {low:g} to {high:g}{', log' if parameter.log else ''}"


def _drawn_from(parameter: Parameter) -> str:
    if parameter.type == "categorical":
        return str(distribution_to_json(CategoricalDistribution(range(len(parameter.choices or ())))))
    low, high = parameter.bounds
    if parameter.type == "int":
        return str(distribution_to_json(IntDistribution(int(low), int(high), log=parameter.log)))
    return str(distribution_to_json(FloatDistribution(low, high, log=parameter.log)))


def _noted(point: Mapping[str, Scalar], drawn: Mapping[str, str], choices: Mapping[str, Any]) -> dict[str, Any]:
    here = {name: choices[name] for name in point if name in choices}
    return {DISTRIBUTIONS: {name: drawn[name] for name in point}} | ({CHOICES: here} if here else {})
