"""How objectives want their parameters, read from their signatures."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tuners.tools.callable_arguments import check_arguments, takes_keywords
from tunesmith.domain import Params, space_of
from tunesmith.errors import InvalidSpace

SPACE = space_of([{"name": "x", "minimum": 0, "maximum": 1}, {"name": "n", "type": "int", "minimum": 1, "maximum": 9}])


class Model:
    def fit(self, x: float, n: int) -> float:
        return x * n

    def score(self, params: Params) -> float:
        return 0.0


def decorated(*args: Any, **kwargs: Any) -> float:
    return 0.0


@pytest.mark.parametrize(
    "function",
    [
        lambda params: 0,
        lambda config, verbose=False: 0,
        lambda config=None: 0,
        lambda x, /: 0,
        decorated,
        Model().score,
        abs,
        len,
    ],
)
def test_one_mapping_is_passed_to(function: Callable[..., Any]) -> None:
    assert not takes_keywords(function, ["x", "n"])
    check_arguments(function, SPACE)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: 0,
        lambda n, x, verbose=False: 0,
        lambda *, n, x: 0,
        lambda **params: 0,
        lambda x, **rest: 0,
        Model().fit,
    ],
)
def test_keywords_are_passed_to(function: Callable[..., Any]) -> None:
    assert takes_keywords(function, ["x", "n"])
    check_arguments(function, SPACE)


def test_an_argument_that_is_missing_is_named() -> None:
    def objective(x: float) -> float:
        return x

    with pytest.raises(InvalidSpace, match=r"objective\(\) takes no parameter 'n'; add it, or let objective\(params\)"):
        check_arguments(objective, SPACE)


def test_an_argument_that_nobody_gives_is_named() -> None:
    def objective(x: float, n: int, data: str) -> float:
        return x

    with pytest.raises(InvalidSpace, match=r"objective\(\) needs 'data', which is no parameter of the space \(x, n\)"):
        check_arguments(objective, SPACE)


def test_params_are_a_mapping_with_attributes() -> None:
    params = Params(x=0.5, n=3)
    assert (params["x"], params.n, {**params}) == (0.5, 3, {"x": 0.5, "n": 3})
    assert pickle.loads(pickle.dumps(params)) == copy.deepcopy(params) == params
    with pytest.raises(AttributeError, match="no parameter 'y' in this configuration; there are: x, n"):
        _ = params.y
