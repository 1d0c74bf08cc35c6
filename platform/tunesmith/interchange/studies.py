"""Optuna's studies as experiments with records, and back; what Optuna has no place for stays beside it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from pydantic import ValidationError

from tunesmith.domain import Experiment, ExperimentSpec, ExternalTool, Objective, Parameter, Space, utcnow
from tunesmith.domain.experiment import METRIC_NAME
from tunesmith.interchange.content import Content
from tunesmith.optuna.frozen import OUR_STATES, OURS, Freezer, Row, aware
from tunesmith.schemas.fitting import CHOICES, DISTRIBUTIONS, INTERNAL
from tunesmith.schemas.records import ExperimentForm, Intermediate, Record, StudyRequest
from tunesmith.schemas.requests import ExperimentRequest

FORM = OURS + "experiment"
"""System attribute of a study: the form of the experiment that it was."""
REST = OURS + "record"
"""System attribute of a trial: the fields of its record that Optuna has no place for."""
METRIC_NAMES = "study:metric_names"
"""Where Optuna keeps the names of a study's objectives."""


def read_study(storage: BaseStorage, study_id: int, name: str) -> Content:
    """A study of a storage: an experiment with a space where all its trials agree on one, else a study."""
    attrs = storage.get_study_system_attrs(study_id)
    trials = sorted(storage.get_all_trials(study_id, deepcopy=False), key=lambda trial: trial.number)
    if FORM in attrs:
        form = ExperimentForm.model_validate(attrs[FORM])
        return Content(form, _records(trials, _objectives_of(form), form.study is not None))
    objectives = _objectives(storage.get_study_directions(study_id), attrs.get(METRIC_NAMES))
    space = one_space(trials)
    form = ExperimentForm(
        name=name[:200],
        experiment=None if space is None else external(name, space, objectives),
        study=StudyRequest(name=name, objectives=objectives) if space is None else None,
        user_attrs=storage.get_study_user_attrs(study_id),
        system_attrs=attrs,
    )
    asks = "its trials do not agree on one space, so it becomes a study, whose trials ask for their parameters"
    return Content(form, _records(trials, objectives, space is None), (asks,) if space is None else ())


def external(name: str, space: Space, objectives: Sequence[Objective]) -> dict[str, Any]:
    """The body that makes an experiment for trials which were made elsewhere."""
    return {
        "tool_name": name[:200],
        "external": True,
        "parameters": [parameter.model_dump(mode="json", exclude_defaults=True) for parameter in space],
        "objectives": [objective.model_dump(mode="json") for objective in objectives],
    }


def one_space(trials: Sequence[FrozenTrial]) -> Space | None:
    """The space of all trials; None where one has other parameters or distributions, or a space cannot say them."""
    if not trials or not trials[0].distributions:
        return None
    shared = trials[0].distributions
    if any(trial.distributions != shared for trial in trials[1:]):
        return None
    try:
        return Space(parameters=tuple(parameter_of(name, found) for name, found in shared.items()))
    except (ValidationError, ValueError, TypeError):
        return None


def parameter_of(name: str, found: BaseDistribution) -> Parameter:
    """The parameter that is drawn from a distribution. Raises ValueError: a space cannot say it."""
    if isinstance(found, CategoricalDistribution):
        if len(set(found.choices)) < len(found.choices):  # Optuna takes 1 and true for one
            raise ValueError(f"{name}: two choices are equal")
        return Parameter(name=name, type="categorical", choices=found.choices)
    if isinstance(found, FloatDistribution | IntDistribution):
        kind = "float" if isinstance(found, FloatDistribution) else "int"
        step = None if found.log else found.step
        return Parameter.model_validate(
            {"name": name, "type": kind, "minimum": found.low, "maximum": found.high, "log": found.log, "step": step}
        )
    raise ValueError(f"{name}: {found} is of a kind that nobody knows")


def record_of(trial: FrozenTrial, metric: str, asks: bool) -> Record:
    """A trial of a study as a record; `metric` is the one that it reports, `asks`: it has distributions of its own."""
    visible = {name: value for name, value in trial.system_attrs.items() if name != REST}
    violations = [float(value) for value in trial.constraints.values()]
    params, noted = _noted(trial) if asks else (dict(trial.params), {})
    record = Record.model_construct(
        number=trial.number,
        state=OUR_STATES[trial.state],
        params=params,
        values=None if trial.values is None else tuple(map(float, trial.values)),
        violation=sum(max(0.0, value) for value in violations) if violations else None,
        intermediate_values=tuple(
            Intermediate.model_construct(metric=metric, step=step, value=float(value))
            for step, value in sorted(trial.intermediate_values.items())
        ),
        user_attrs=dict(trial.user_attrs),
        system_attrs=visible | noted,
        started_at=aware(trial.datetime_start),
        ended_at=aware(trial.datetime_complete),
    )
    rest = trial.system_attrs.get(REST)
    return record if not rest else Record.model_validate(record.model_dump(mode="json") | rest)


def frozen_trials(content: Content) -> Iterator[FrozenTrial]:
    """Records as Optuna's trials, each with the rest that Optuna has no place for."""
    metric, asks = content.objectives[0].metric, content.form.study is not None
    frozen = Freezer(_experiment(content)).freeze([_row(record) for record in content.records], _curves(content))
    for index, (record, trial) in enumerate(zip(content.records, frozen, strict=True)):
        again = record_of(_stored(trial, index), metric, asks)
        lost = [name for name in Record.model_fields if not same(getattr(again, name), getattr(record, name))]
        if lost:
            whole = record.model_dump(mode="json")
            trial.system_attrs = {**trial.system_attrs, REST: {name: whole[name] for name in lost}}
        yield trial


def write_study(storage: BaseStorage, study_id: int, content: Content) -> None:
    """Note what the experiment is in a study that was made for it; its trials are added one by one."""
    for name, value in content.form.user_attrs.items():
        storage.set_study_user_attr(study_id, name, value)
    names = [objective.metric for objective in content.objectives]
    named = {} if names == _unnamed(len(names)) else {METRIC_NAMES: names}
    for name, value in {**named, **content.form.system_attrs}.items():
        storage.set_study_system_attr(study_id, name, value)
    storage.set_study_system_attr(study_id, FORM, content.form.model_dump(mode="json"))


def directions(content: Content) -> list[StudyDirection]:
    """Optuna's words for what is better."""
    return [StudyDirection[objective.direction.upper()] for objective in content.objectives]


def same(a: Any, b: Any) -> bool:
    """Whether two fields of records are the same: NaN is NaN, and 1 is neither 1.0 nor true."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Intermediate) and isinstance(b, Intermediate):
        return (a.metric, a.step) == (b.metric, b.step) and same(a.value, b.value)
    return type(a) is type(b) and a == b


def _records(trials: Sequence[FrozenTrial], objectives: Sequence[Objective], asks: bool) -> list[Record]:
    found = [record_of(trial, objectives[0].metric, asks) for trial in trials]
    return sorted(found, key=lambda record: record.number)


def _objectives(found: Sequence[StudyDirection], names: Any) -> tuple[Objective, ...]:
    given = names if isinstance(names, list) and len(names) == len(found) == len(set(names)) else []
    if not all(isinstance(name, str) and re.fullmatch(METRIC_NAME, name) and len(name) <= 200 for name in given):
        given = []
    maximized = [direction == StudyDirection.MAXIMIZE for direction in found]
    return tuple(
        Objective(metric=name, direction="maximize" if up else "minimize")
        for name, up in zip(given or _unnamed(len(found)), maximized, strict=True)
    )


def _unnamed(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"value_{index}" for index in range(count)]


def _objectives_of(form: ExperimentForm) -> tuple[Objective, ...]:
    return Content(form, ()).objectives


def _noted(trial: FrozenTrial) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters that JSON can hold, and what they were drawn from."""
    params: dict[str, Any] = {}
    drawn: dict[str, str] = {}
    choices: dict[str, list[Any]] = {}
    internal: dict[str, float] = {}
    for name, value in trial.params.items():
        found = params_of = trial.distributions[name]
        if isinstance(found, CategoricalDistribution):
            params_of = CategoricalDistribution(range(len(found.choices)))
            choices[name] = list(found.choices)
        drawn[name] = distribution_to_json(params_of)
        params[name] = value
        if not _is_scalar(value):
            params[name], internal[name] = str(value), found.to_internal_repr(value)
    attrs = {DISTRIBUTIONS: drawn, CHOICES: choices, INTERNAL: internal}
    return params, {name: noted for name, noted in attrs.items() if noted}


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


def _stored(trial: FrozenTrial, index: int) -> FrozenTrial:
    """The trial as a storage gives it back: numbered without gaps, its parameters through Optuna's internal form."""
    trial.number = index
    trial.params = {
        name: trial.distributions[name].to_external_repr(trial.distributions[name].to_internal_repr(value))
        for name, value in trial.params.items()
    }
    return trial


def _experiment(content: Content) -> Experiment:
    form = content.form
    if form.study is not None:
        spec = ExperimentSpec(
            tool_name=form.study.name[:200],
            tool=ExternalTool(study=form.study.name),
            space=Space(parameters=()),
            objectives=form.study.objectives,
        )
    else:
        spec = ExperimentRequest.model_validate(form.experiment).spec()
    return Experiment(
        id=1, workspace_id="", spec=spec, name=form.name, tags=(), archived=False, created_at=utcnow(), counts={}
    )


def _row(record: Record) -> Row:
    return Row(
        id=record.number,
        number=record.number,
        state=record.state.value,
        params=dict(record.params),
        values=None if record.values is None else list(record.values),
        metrics=record.metrics,
        user_attrs=json.dumps(dict(record.user_attrs)) if record.user_attrs else None,
        system_attrs=json.dumps(dict(record.system_attrs)) if record.system_attrs else None,
        started_at=record.started_at,
        ended_at=record.ended_at,
    )


def _curves(content: Content) -> dict[int, dict[int, float]]:
    metric = content.objectives[0].metric
    return {
        record.number: {m.step: m.value for m in record.intermediate_values if m.metric == metric}
        for record in content.records
        if record.intermediate_values
    }
