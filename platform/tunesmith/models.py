"""Models: functions from inputs to a table, that users run by id with `POST /api/runs`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from tunesmith.scenarios.kinds import Enum
from tunesmith.scenarios.parameters import ParameterType, parse, settle

if TYPE_CHECKING:
    from tunesmith.scenarios.algorithm import Progress

Choice = str | int | float | bool
ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")
"""What an id may be: it stands in paths and in permissions."""


@dataclass(frozen=True)
class Model:
    """A function from inputs to a table. `@tunesmith.model(...)` makes one of a function."""

    id: str
    """What it is run by."""
    name: str
    """What people call it."""
    function: Callable[[dict[str, Any], Progress], Any] = field(repr=False)
    """From the inputs, by name, to rows (dicts, a data frame or an Arrow table), or to (rows, summary)."""
    params: Mapping[str, Sequence[Choice]] = field(default_factory=dict)
    """Inputs with choices, as the list of models shows them; the first choice is the default."""
    inputs: Mapping[str, ParameterType[Any]] = field(default_factory=dict)
    """What else it takes."""
    timeout_s: float | None = None
    """Seconds that a run may take; it has failed then. None: any number."""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not ID.fullmatch(self.id):
            raise ValueError(f"a model's id is {self.id!r}; give letters, digits and _ . -, a letter first")
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"{self.id}: its name is {self.name!r}; give a text")
        twice = [name for name in self.params if name in self.inputs]
        if twice:
            raise ValueError(f"{self.id}: {twice[0]!r} is among its params and its inputs; declare it once")
        odd = [name for name, found in self.inputs.items() if not isinstance(found, ParameterType)]
        if odd:
            raise ValueError(f"{self.id}: the input {odd[0]!r} is no parameter; declare it as one: Integer(default=1)")
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise ValueError(f"{self.id}: timeout_s is {self.timeout_s!r}; give a number of seconds above 0, or None")
        object.__setattr__(self, "_parameters", {**self.inputs, **_choices(self.id, self.params)})

    def parameters(self) -> Mapping[str, ParameterType[Any]]:
        """All that it takes, by name."""
        return self._parameters  # type: ignore[attr-defined, no-any-return]  # set by __post_init__

    def settle(self, inputs: Mapping[str, Any]) -> dict[str, JsonValue]:
        """Every input in JSON form, defaults included.

        Raises InvalidParameter that names the input, the value and the remedy.
        """
        return settle(self.parameters(), inputs, self.id)

    def __call__(self, inputs: Mapping[str, Any], progress: Progress | None = None) -> Any:
        """What the function gives for these inputs, checked and with defaults. Raises as `settle` and as it does."""
        return self.function(parse(self.parameters(), inputs, self.id), progress or _untold)


def model(
    *,
    id: str,  # noqa: A002  # what it is called everywhere
    name: str | None = None,
    params: Mapping[str, Sequence[Choice]] | None = None,
    inputs: Mapping[str, ParameterType[Any]] | None = None,
    timeout_s: float | None = None,
) -> Callable[[Callable[[dict[str, Any], Progress], Any]], Model]:
    """Make a Model of a function.

        @tunesmith.model(id="doubling", params={"times": [1, 2, 3]}, inputs={"start": Float(default=1.0)})
        def doubling(inputs, progress):
            return [{"step": n, "value": inputs["start"] * 2**n} for n in range(inputs["times"])]

    Raises ValueError when a declaration is wrong.
    """

    def made(function: Callable[[dict[str, Any], Progress], Any]) -> Model:
        return Model(id, name or id, function, dict(params or {}), dict(inputs or {}), timeout_s)

    return made


def _choices(owner: str, params: Mapping[str, Sequence[Choice]]) -> dict[str, Enum[Choice]]:
    try:
        return {name: Enum(choices, default=choices[0]) for name, choices in params.items()}
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{owner}: params must be lists of choices by name: {error}") from None


def _untold(percent: float, message: str | None = None) -> None:
    """Where nobody listens to the progress."""
