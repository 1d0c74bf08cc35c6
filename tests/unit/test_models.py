"""Models: what one declares, what inputs it takes, and the decorator that makes one of a function."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import tunesmith
from tunesmith import InvalidParameter, Model
from tunesmith.scenarios import Enum, Float, Integer, Time


@tunesmith.model(
    id="doubling",
    name="Doubling",
    params={"times": [1, 2, 3]},
    inputs={"start": Float(default=1.0), "begin": Time(default=None)},
)
def doubling(inputs: dict[str, Any], progress: Any) -> list[dict[str, Any]]:
    progress(50, "half of it")
    return [{"step": step, "value": inputs["start"] * 2**step} for step in range(inputs["times"])]


def test_the_decorator_makes_a_model_that_can_still_be_called() -> None:
    assert isinstance(doubling, Model)
    assert (doubling.id, doubling.name, doubling.params) == ("doubling", "Doubling", {"times": [1, 2, 3]})
    assert doubling({"times": 2}) == [{"step": 0, "value": 1.0}, {"step": 1, "value": 2.0}]


def test_it_tells_its_progress_to_whoever_listens() -> None:
    told: list[tuple[float, str | None]] = []
    doubling({}, lambda percent, message=None: told.append((percent, message)))
    assert told == [(50, "half of it")]


def test_inputs_are_settled_with_their_defaults_the_first_choice_being_one() -> None:
    assert doubling.settle({}) == {"start": 1.0, "begin": None, "times": 1}
    assert doubling.settle({"times": 3.0, "start": 2})["times"] == 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"times": 4}, "doubling.times: 4 is none of the choices; give one of 1, 2, 3"),
        ({"times": "1"}, 'doubling.times: "1" is none of the choices; give one of 1, 2, 3'),
        ({"start": "1"}, 'doubling.start: "1" is no number; give a number'),
        ({"strat": 1}, "doubling has no parameter \"strat\" (did you mean 'start'?); it takes start, begin, times"),
    ],
)
def test_inputs_that_it_does_not_take_are_refused_by_name(inputs: dict[str, Any], message: str) -> None:
    for refusing in (doubling.settle, doubling):
        with pytest.raises(InvalidParameter) as refusal:
            refusing(inputs)
        assert refusal.value.message == message


def test_the_name_is_the_id_unless_given() -> None:
    assert tunesmith.model(id="plain")(lambda inputs, progress: []).name == "plain"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"id": "a b"}, "a model's id is 'a b'"),
        ({"id": "a/b"}, "a model's id is 'a/b'"),
        ({"id": "m", "name": " "}, "m: its name is ' '"),
        ({"id": "m", "params": {"x": []}}, "m: params must be lists of choices by name"),
        ({"id": "m", "params": {"x": [1, 1]}}, "a choice stands there twice"),
        ({"id": "m", "params": {"x": [1]}, "inputs": {"x": Integer()}}, "m: 'x' is among its params and its inputs"),
        ({"id": "m", "inputs": {"x": 5}}, "m: the input 'x' is no parameter; declare it as one"),
        ({"id": "m", "timeout_s": 0}, "m: timeout_s is 0"),
    ],
)
def test_a_model_that_declares_something_wrong_cannot_be_made(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tunesmith.model(**declared)(lambda inputs, progress: [])


def test_its_choices_are_parameters_like_any_other() -> None:
    assert doubling.parameters()["times"] == Enum([1, 2, 3], default=1)


def test_a_model_can_be_pickled() -> None:
    model = Model("m", "M", len, {"x": [1, 2]})  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(model)).settle({}) == {"x": 1}
