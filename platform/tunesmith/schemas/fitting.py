"""Whether records fit an experiment: asked by whoever sends them, before anything is made, and by the platform."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from tunesmith.domain import Objective, Parameter, Scalar, Space, TrialState
from tunesmith.errors import InvalidBody
from tunesmith.schemas.records import ExperimentForm, Record
from tunesmith.schemas.requests import ExperimentRequest

DISTRIBUTIONS = "tunesmith:distributions"
"""System attribute of a trial that asked for its parameters: name -> Optuna's distribution as JSON."""
CHOICES = "tunesmith:choices"
"""The same for its categorical parameters, whose distributions are over indices: name -> choices."""
INTERNAL = "tunesmith:internal"
"""System attribute of a trial: parameter -> Optuna's internal value, where the real one is no JSON scalar."""


@dataclass(frozen=True)
class Frame:
    """What a record has to fit."""

    objectives: Sequence[Objective]
    space: Space | None
    """None where trials ask for their parameters while they run."""

    def check(self, records: Sequence[Record]) -> int:
        """How many lie outside the space, which is allowed: it may have been narrowed since.

        Raises:
            InvalidBody: a record does not fit; `details.fields` names its place, the value and what would.
        """
        twice = [number for number, count in Counter(record.number for record in records).items() if count > 1]
        if twice:
            index = max(i for i, record in enumerate(records) if record.number == twice[0])
            raise _refused(index, "number", twice[0], "stands there twice; every trial has a number of its own")
        outside = 0
        for index, record in enumerate(records):
            for field, value, message in self._problems(record):
                raise _refused(index, field, value, message)
            outside += self.space is not None and bool(self.space.problems(record.params))
        return outside

    def _problems(self, record: Record) -> Iterable[tuple[str, Any, str]]:
        count = len(self.objectives)
        if record.state is TrialState.COMPLETE and record.values is None:
            yield "values", None, f"a complete trial has {count}, one per objective; give them, or another state"
        if record.values is not None and len(record.values) != count:
            names = ", ".join(objective.metric for objective in self.objectives)
            yield "values", list(record.values), f"there are {count} objectives ({names}); give one value for each"
        reported = Counter((m.metric, m.step) for m in record.intermediate_values)
        for (metric, step), times in reported.items():
            if times > 1:
                yield "intermediate_values", step, f"{metric!r} has {times} values at this step; keep one"
        yield from self._misplaced(record) if self.space is not None else _unasked(record)

    def _misplaced(self, record: Record) -> Iterable[tuple[str, Any, str]]:
        assert self.space is not None
        known = {parameter.name: parameter for parameter in self.space}
        for name, value in record.params.items():
            if name not in known:
                yield f"params.{name}", value, f"no such parameter; there are {', '.join(known) or 'none'}"
            elif not _of_type(known[name], value):
                yield f"params.{name}", value, f"is no value of a parameter of type {known[name].type}"


def frame_of(form: ExperimentForm) -> Frame:
    """What the records of such an experiment have to fit. Raises InvalidBody: it is none."""
    if form.study is not None:
        return Frame(form.study.objectives, None)
    try:
        spec = ExperimentRequest.model_validate(form.experiment).spec()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidBody(f"the experiment's {where or 'form'}: {first['msg']}", field=where) from error
    return Frame(spec.objectives, None if spec.define_by_run else spec.space)


def _of_type(parameter: Parameter, value: Scalar) -> bool:
    if parameter.type == "categorical":
        return True
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return parameter.type == "float" or value == int(value)


def _unasked(record: Record) -> Iterable[tuple[str, Any, str]]:
    """What keeps the trial of a study from saying how it came to its parameters."""
    noted, choices = record.system_attrs.get(DISTRIBUTIONS, {}), record.system_attrs.get(CHOICES, {})
    if not isinstance(noted, Mapping) or not isinstance(choices, Mapping):
        yield "system_attrs", None, f"{DISTRIBUTIONS} and {CHOICES} are objects: parameter -> what it was drawn from"
        return
    for name in record.params.keys() - record.system_attrs.get(INTERNAL, {}).keys():
        value = record.params[name]
        problem = _drawn_from(noted.get(name), choices.get(name), value)
        if problem:
            yield f"params.{name}", value, f"{problem}; note it in system_attrs[{DISTRIBUTIONS!r}]"


def _drawn_from(distribution: Any, choices: Any, value: Scalar) -> str | None:
    found = _distribution(distribution) if isinstance(distribution, str) else None
    if found is None:
        return "has no distribution, which a trial of a study needs"
    if choices is not None:
        return None if isinstance(choices, list) and value in choices else "is none of its choices"
    return None if type(found).__name__ == "CategoricalDistribution" or not isinstance(value, str) else "is no number"


@lru_cache(maxsize=1024)
def _distribution(text: str) -> Any:
    from optuna.distributions import json_to_distribution

    try:
        return json_to_distribution(text)
    except (ValueError, KeyError, TypeError):
        return None


def _refused(index: int, field: str, value: Any, message: str) -> InvalidBody:
    where = f"records.{index}.{field}"
    shown = repr(value) if len(repr(value)) <= 200 else repr(value)[:200] + "..."
    field_error = {"field": where, "message": message, "value": shown}
    return InvalidBody(f"{where}: {message} (given: {shown})", fields=[field_error], record=index)
