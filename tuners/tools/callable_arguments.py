"""How an objective function wants its parameters: as one mapping, as keywords, or by asking for them itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

from tunesmith.domain import Space
from tunesmith.errors import InvalidSpace

Kind = inspect._ParameterKind


def takes_keywords(function: Callable[..., Any], names: Collection[str]) -> bool:
    """Whether the function is called as `f(x=1, n=2)` and not as `f(params)`.

    It is called with one mapping when its first positional parameter is none of the space's (`names`) and nothing else
    has to be given: `f(params)`, `f(config, verbose=False)`; also when its signature cannot be read. Everything else,
    `f(x, n)` and `f(**params)` among it, gets keywords.
    """
    parameters = _signature(function)
    if parameters is None:
        return False
    positional = [p for p in parameters if p.kind in (Kind.POSITIONAL_ONLY, Kind.POSITIONAL_OR_KEYWORD)]
    if not positional:
        return all(p.kind is not Kind.VAR_POSITIONAL for p in parameters)
    first, required = positional[0], [p for p in parameters if _required(p)]
    if first.name in names:
        return first.kind is not Kind.POSITIONAL_ONLY
    return any(p is not first for p in required)


def check_arguments(function: Callable[..., Any], space: Space) -> None:
    """Raise InvalidSpace where a function that is called with keywords would not take a configuration of the space."""
    names = [parameter.name for parameter in space]
    parameters = _signature(function)
    if parameters is None or not takes_keywords(function, names):
        return
    shown = getattr(function, "__name__", "the objective")
    named = {p.name for p in parameters if p.kind in (Kind.POSITIONAL_OR_KEYWORD, Kind.KEYWORD_ONLY)}
    if not any(p.kind is Kind.VAR_KEYWORD for p in parameters):
        for name in names:
            if name not in named:
                raise InvalidSpace(
                    f"{shown}() takes no parameter {name!r}; add it, or let {shown}(params) take all in one mapping",
                    parameter=name,
                )
    for parameter in parameters:
        if _required(parameter) and parameter.name not in names:
            raise InvalidSpace(
                f"{shown}() needs {parameter.name!r}, which is no parameter of the space ({', '.join(names)}); "
                "add it to the space, or give it a default",
                parameter=parameter.name,
            )


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD)


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
