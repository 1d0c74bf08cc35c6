"""What every class that users declare is checked for, the moment it is made."""

from __future__ import annotations

import inspect
from typing import Any

MAX_NAME = 200
"""Characters of a name, at most."""
NAME_RULE = f"give a text of 1 to {MAX_NAME} characters, without a slash"


def is_name(name: object) -> bool:
    """Whether a path of REST can hold it."""
    return (
        isinstance(name, str)
        and 0 < len(name.strip()) <= len(name) <= MAX_NAME
        and "/" not in name
        and name.isprintable()
    )


def check_name(owner: type[Any]) -> None:
    """Raise ValueError unless the class's `name` is one."""
    if not is_name(owner.name):
        raise ValueError(f"{owner.__name__}.name is {owner.name!r}; {NAME_RULE}")


def check_callable(owner: type[Any], method: str, arguments: tuple[str, ...]) -> None:
    """Raise ValueError unless the class's method can be called with these arguments, and is no coroutine."""
    function = vars(owner).get(method)
    if function is None:
        return
    form = f"def {method}(self, {', '.join(arguments)})"
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        raise ValueError(f"{owner.__name__}.{method} must be a plain method; write {form}")
    try:
        inspect.signature(function).bind(None, *arguments)
    except TypeError:
        raise ValueError(f"{owner.__name__}.{method} takes other arguments; write {form}") from None
