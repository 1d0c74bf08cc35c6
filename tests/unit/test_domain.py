"""Domain values: an experiment's identity, the state machine, numbers and texts that can be kept, cursors."""

from __future__ import annotations

import copy
import json
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tunesmith.domain import (
    ACTIVE,
    ENDED,
    FINISHED,
    TRANSITIONS,
    Compute,
    Constraint,
    ExperimentSpec,
    JobState,
    Measurement,
    Search,
    Trial,
    TrialState,
    finite,
    finite_only,
    render_time,
)
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.errors import InvalidCursor

NAN, INF = float("nan"), float("inf")
RANGE = {"minimum": 1, "maximum": 9}
CONTENT: dict[str, Any] = {
    "tool_name": "zipTool",
    "tool": {
        "type": "command",
        "command": "zip -${level} ${codec}",
        "setup": "true",
        "finish": None,
        "patterns": {"b": "(1)", "a": "(2)"},
    },
    "space": {
        "parameters": [
            {"name": "codec", "type": "categorical", "choices": ["gzip", "zstd", 1, True, None]},
            {"name": "kind", "type": "categorical", "choices": ["a", "b"]},
            {"name": "level", "type": "int", **RANGE, "when": {"codec": ["gzip"], "kind": ["a", "b"]}},
            {"name": "ratio", "minimum": 0.5, "maximum": 1.0, "log": True},
        ]
    },
    "objectives": [{"metric": "time"}, {"metric": "size", "direction": "maximize"}],
    "constraints": [{"metric": "rss", "max": 1e9}],
    "compute": {"type": "local", "max_threads": 4},
    "trial_timeout_s": 600,
    "resources": {"cpus": 1, "gpus": 0},
}
HASH = ExperimentSpec.model_validate(CONTENT).content_hash
TRIAL: dict[str, Any] = {
    "experiment_id": 1,
    "number": 0,
    "job_id": None,
    "run_number": None,
    "state": "complete",
    "params": {},
}
NO_TEXT = r"NUL|unicode|surrogate"
CHANGES: dict[str, Any] = {
    "tool_name": "zipTool2",
    "tool.command": "zip -${level} ${codec} ",
    "tool.setup": None,
    "tool.finish": "true",
    "tool.patterns": {"b": "(1)"},
    "space.parameters.0.choices": ["zstd", "gzip", 1, True, None],
    "space.parameters.2.when": {"codec": ["gzip"], "kind": ["b", "a"]},
    "space.parameters.2.maximum": 10,
    "space.parameters.3.log": False,
    "space.parameters.3.name": "ration",
    "objectives.0.direction": "maximize",
    "objectives": [{"metric": "size", "direction": "maximize"}, {"metric": "time"}],
    "constraints": [],
    "constraints.0.max": 1e9 + 1,
    "compute.max_threads": 5,
    "trial_timeout_s": None,
    "resources.gpus": 0.5,
    "repeats": 2,
    "space.constraints": ["level < 9"],
}


@given(seed=st.integers())
def test_key_order_does_not_matter(seed: int) -> None:
    shuffled = _shuffled(CONTENT, random.Random(seed))
    assert ExperimentSpec.model_validate(shuffled).content_hash == HASH
    assert ExperimentSpec.model_validate_json(json.dumps(shuffled)).content_hash == HASH


@given(upper=st.lists(st.booleans(), min_size=7, max_size=7))
def test_the_letter_case_of_the_tool_name_does_not_matter(upper: list[bool]) -> None:
    name = "".join(c.upper() if up else c.lower() for c, up in zip(CONTENT["tool_name"], upper, strict=True))
    assert ExperimentSpec.model_validate(CONTENT | {"tool_name": name}).content_hash == HASH


@pytest.mark.parametrize("place", CHANGES)
def test_everything_else_does(place: str) -> None:
    changed = copy.deepcopy(CONTENT)
    *path, last = place.split(".")
    inner: Any = changed
    for step in path:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[last] = CHANGES[place]
    assert ExperimentSpec.model_validate(changed).content_hash != HASH


def test_the_order_of_parameters_matters() -> None:
    changed = copy.deepcopy(CONTENT)
    changed["space"]["parameters"].insert(0, changed["space"]["parameters"].pop())
    assert ExperimentSpec.model_validate(changed).content_hash != HASH


def test_a_spec_read_from_its_own_json_has_the_same_identity() -> None:
    spec = ExperimentSpec.model_validate(CONTENT)
    assert ExperimentSpec.model_validate_json(spec.model_dump_json()) == spec
    assert ExperimentSpec.model_validate(spec.model_dump(mode="json")).content_hash == HASH


def test_a_value_cannot_be_changed_in_place() -> None:
    spec = ExperimentSpec.model_validate(CONTENT)
    with pytest.raises(ValidationError, match="frozen"):
        spec.tool_name = "other"  # type: ignore[misc]
    assert spec.evolve(tool_name="other").tool_name == "other"


@pytest.mark.parametrize("broken", ["a\0b", "\ud800"])
def test_a_text_that_nothing_can_hold_is_refused(broken: str) -> None:
    for changes in ({"tool_name": broken}, {"tool": {"type": "command", "command": broken}}):
        with pytest.raises(ValidationError, match=NO_TEXT):
            ExperimentSpec.model_validate(CONTENT | changes)
    for wanted in ({"options": {"a": [broken]}}, {"enqueue": [{"p": broken}]}, {"type": broken}):
        with pytest.raises(ValidationError, match=NO_TEXT):
            Search.model_validate(wanted)


@pytest.mark.parametrize("fine", ["\\u0000", "\\\\u0000", "tab\there", "ünïcode \U0001f600", 'printf "\\0"'])
def test_a_text_that_only_looks_like_one_is_fine(fine: str) -> None:
    tool = {"type": "command", "command": fine}
    assert ExperimentSpec.model_validate(CONTENT | {"tool": tool}).tool.command == fine  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [NAN, INF, -INF])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    for refuse in (
        lambda: Constraint(metric="a", max=number),
        lambda: Search(budget_s=abs(number)),
        lambda: Search(converge_thres=abs(number)),
        lambda: Measurement(experiment_id=1, number=0, metric="a", step=0, value=number),
        lambda: Trial.model_validate(TRIAL | {"metrics": {"a": number}}),
    ):
        with pytest.raises(ValidationError, match="finite"):
            refuse()


def test_a_value_may_be_infinite_but_not_nan() -> None:
    assert Trial.model_validate(TRIAL | {"values": ["inf", -INF]}).values == (INF, -INF)
    with pytest.raises(ValidationError, match="not NaN"):
        Trial.model_validate(TRIAL | {"values": [NAN]})


@given(value=st.floats(allow_nan=False, allow_infinity=False), low=st.floats(-1e308, 0), high=st.floats(0, 1e308))
def test_a_violation_is_positive_just_outside_the_bounds_and_always_a_number(
    value: float, low: float, high: float
) -> None:
    violation = Constraint(metric="a", min=low, max=high).violation(value)
    assert (violation <= 0) is (low <= value <= high)
    assert finite(violation) is not None


def test_what_a_constraint_and_compute_need_is_said() -> None:
    with pytest.raises(ValidationError, match="needs min or max"):
        Constraint(metric="a")
    with pytest.raises(ValidationError, match="min 2 is above max 1"):
        Constraint(metric="a", min=2, max=1)
    with pytest.raises(ValidationError, match="needs instance_model"):
        Compute(type="ec2")
    with pytest.raises(ValidationError, match="belong to compute of type ec2"):
        Compute(ami="ami-1")


def test_objectives_are_distinct() -> None:
    with pytest.raises(ValidationError, match="'time' stands there twice"):
        ExperimentSpec.model_validate(CONTENT | {"objectives": [{"metric": "time"}, {"metric": "time"}]})


def test_every_state_has_its_place_in_the_state_machine() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert ACTIVE | ENDED | {JobState.CREATED} == set(JobState)
    assert not ACTIVE & ENDED
    assert all(state not in following for state, following in TRANSITIONS.items())


@given(data=st.data())
def test_any_walk_stays_in_the_state_machine_and_ends_only_through_a_retry(data: st.DataObject) -> None:
    state = JobState.CREATED
    for _ in range(20):
        following = data.draw(st.sampled_from(sorted(TRANSITIONS[state])))
        assert following in JobState
        assert not state.ended or following is JobState.QUEUED
        assert following is not JobState.RUNNING or state is JobState.QUEUED
        state = following


def test_every_ended_and_every_active_state_can_be_reached() -> None:
    reached, new = set[JobState](), {JobState.CREATED}
    while new:
        reached |= new
        new = {following for state in new for following in TRANSITIONS[state]} - reached
    assert reached >= set(JobState) - {JobState.CREATED}


def test_a_trial_is_finished_in_three_states() -> None:
    assert {state for state in TrialState if state.finished} == FINISHED == set(TrialState) - {"waiting", "running"}


def test_times_are_utc_with_z_to_the_millisecond() -> None:
    moment = datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=2)))
    assert render_time(moment) == "2025-12-31T23:02:03.456Z"
    assert render_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_only_finite_metrics_are_kept() -> None:
    metrics = {"a": 1, "b": NAN, "c": "2.5", "d": INF, "e": None, "f": "x", "g": 10**400, "h": True}
    assert finite_only(metrics) == {"a": 1.0, "c": 2.5, "h": 1.0}


KEYS = st.text(max_size=10) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(key=st.lists(KEYS, max_size=3))
def test_a_cursor_gives_its_key_back(key: list[Any]) -> None:
    assert decode_cursor(encode_cursor(*key), *map(type, key)) == tuple(key)


@given(cursor=st.text())
def test_any_other_text_is_no_cursor(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(cursor, int, str, float)


def _shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return {key: _shuffled(inner, rng) for key, inner in items}
    return [_shuffled(inner, rng) for inner in value] if isinstance(value, list) else value
