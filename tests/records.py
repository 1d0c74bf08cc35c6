"""Any experiment with any trials, as hypothesis draws them; and when two of them are equal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import optuna
from hypothesis import strategies as st

from tunesmith.domain import Objective, TrialState, space_of
from tunesmith.interchange.content import Content
from tunesmith.interchange.studies import external, same
from tunesmith.schemas.fitting import CHOICES, DISTRIBUTIONS
from tunesmith.schemas.records import ExperimentForm, Intermediate, Record, StudyRequest

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NAMES = st.one_of(st.sampled_from(["loss", "a/b", "acc", "0", "ünï"]), TEXT.filter(bool))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CHOICES_OF = st.lists(st.one_of(TEXT, st.integers(), FINITE, st.booleans(), st.none()), min_size=1, max_size=4)
ATTRS = st.dictionaries(
    TEXT.filter(lambda key: not key.startswith(("constraints", "$"))),
    st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT), lambda inner: st.lists(inner)),
    max_size=2,
)
MOMENTS = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
SPACE = space_of(
    [
        {"name": "x", "minimum": -1e9, "maximum": 1e9},
        {"name": "n", "type": "int", "minimum": -(2**53), "maximum": 2**53},
        {
            "name": "c",
            "type": "categorical",
            "choices": ["1", 1, "", None, True, 10**30, 'say "hi", ok\r\n', "null", 0.5],
        },
    ]
)
OBJECTIVES = (Objective(metric="loss"), Objective(metric="acc/top-1", direction="maximize"))


@st.composite
def outcomes(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """All of a record but its parameters."""
    state = draw(st.sampled_from(TrialState))
    values = st.tuples(*[st.floats(allow_nan=False)] * len(OBJECTIVES))
    reported = st.dictionaries(st.tuples(NAMES, st.integers(-(2**63), 2**63 - 1)), st.floats(), max_size=3)
    steps = sorted(draw(reported).items())
    return {
        "number": number,
        "state": state,
        "values": draw(values if state is TrialState.COMPLETE else st.none() | values),
        "metrics": draw(st.dictionaries(NAMES, FINITE, max_size=2)),
        "violation": draw(st.none() | st.floats(allow_nan=False)),
        "intermediate_values": tuple(Intermediate(metric=m, step=s, value=v) for (m, s), v in steps),
        "user_attrs": draw(ATTRS),
        "system_attrs": draw(ATTRS),
        "error": draw(st.none() | TEXT),
        "worker": draw(st.none() | TEXT),
        "attempt": draw(st.integers(0, 5)),
        "created_at": draw(MOMENTS),
        "started_at": draw(MOMENTS),
        "ended_at": draw(MOMENTS),
    }


@st.composite
def numbers(draw: st.DrawFn) -> list[int]:
    return sorted(draw(st.sets(st.integers(0, 2**31 - 2), max_size=4)))


@st.composite
def experiments(draw: st.DrawFn) -> Content:
    """An experiment with a space; some points lie outside, as they do where it was narrowed."""
    points = st.fixed_dictionaries(
        {"x": FINITE, "n": st.integers(-(2**53), 2**53), "c": st.sampled_from(SPACE.parameters[2].choices or ())}
    )
    records = [Record(params=draw(points), **draw(outcomes(number))) for number in draw(numbers())]
    form = ExperimentForm(
        name=draw(TEXT.filter(bool)),
        tags=("a", "ü"),
        experiment=external("tool", SPACE, OBJECTIVES),
        user_attrs=draw(ATTRS),
        system_attrs=draw(ATTRS),
    )
    return Content(form, records)


@st.composite
def asked(draw: st.DrawFn, number: int) -> Record:
    """A trial of a study, with parameters of its own."""
    params: dict[str, Any] = {}
    drawn: dict[str, str] = {}
    choices: dict[str, list[Any]] = {}
    for name in draw(st.sets(NAMES, max_size=3)):
        found: Any = optuna.distributions.FloatDistribution(-1e9, 1e9)
        if draw(st.booleans()):
            choices[name] = draw(CHOICES_OF)
            found = optuna.distributions.CategoricalDistribution(range(len(choices[name])))
            params[name] = draw(st.sampled_from(choices[name]))
        else:
            params[name] = draw(st.floats(-1e9, 1e9))
        drawn[name] = optuna.distributions.distribution_to_json(found)
    fields = draw(outcomes(number))
    fields["system_attrs"] = {**fields["system_attrs"], DISTRIBUTIONS: drawn, CHOICES: choices}
    return Record(params=params, **fields)


@st.composite
def studies(draw: st.DrawFn) -> Content:
    """An Optuna study, whose trials have parameters of their own."""
    records = [draw(asked(number)) for number in draw(numbers())]
    study = StudyRequest(name=draw(TEXT.filter(bool)), objectives=OBJECTIVES)
    return Content(ExperimentForm(name="a study", study=study, user_attrs=draw(ATTRS)), records)


def assert_equal(found: Content, content: Content) -> None:
    assert len(found.records) == len(content.records)
    for one, other in zip(found.records, content.records, strict=True):
        different = [n for n in Record.model_fields if not same(getattr(one, n), getattr(other, n))]
        assert not different, [(n, getattr(one, n), getattr(other, n)) for n in different]
    assert same(found.form.model_dump(mode="json"), content.form.model_dump(mode="json"))
