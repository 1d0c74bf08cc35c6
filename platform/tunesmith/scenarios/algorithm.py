"""Algorithms: what users write to turn a dataset into a result."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from pydantic import JsonValue

from tunesmith.scenarios.declarations import check_callable, check_name
from tunesmith.scenarios.parameters import ParameterType, check_names, declared, parse, settle


class Progress(Protocol):
    """Tells how far a run is; what it is doing, in a sentence, is seen while it runs."""

    def __call__(self, percent: float, message: str | None = None) -> None:
        """`percent`: 0 to 100. Call it as often as you like."""


class Algorithm(ABC):
    """Turns a dataset into a result. Its parameters are attributes; its docstring says what it does.

        class Slow(Algorithm):
            \"""Waits.\"""

            duration = Integer(default=1, min=1, max=60, description="seconds")

            def run(self, data: DataSource, progress: Progress) -> dict[str, int]:
                time.sleep(self.duration)
                return {"waited": self.duration}

    Each run is made in a process of its own, on whatever node has room.
    """

    name: ClassVar[str]
    """What people call it; unless given, the name of the class."""
    timeout_s: ClassVar[float | None] = None
    """Seconds that a run may take; it has failed then. None: any number."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        check_name(cls)
        check_names(cls, RESERVED)
        limit = cls.timeout_s
        if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
            raise ValueError(f"{cls.__name__}.timeout_s is {limit!r}; give a number of seconds above 0, or None")
        check_callable(cls, "run", ("data", "progress"))

    @abstractmethod
    def run(self, data: Any, progress: Progress) -> Any:
        """The result: anything that JSON can hold, with tables (data frames, Arrow tables) and arrays in it or not.

        `data` is the dataset: a DataSource, or the class of one that the plugin names.
        """

    @classmethod
    def parameters(cls) -> Mapping[str, ParameterType[Any]]:
        """Its parameters by name, those of its base classes first."""
        return declared(cls)

    @classmethod
    def settle(cls, values: Mapping[str, Any]) -> dict[str, JsonValue]:
        """Every parameter in JSON form, defaults included.

        Raises InvalidParameter that names the parameter, the value and the remedy.
        """
        return settle(cls.parameters(), values, cls.name)

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """One whose parameters have these values, given in JSON form or as the algorithm sees them.

        Raises InvalidParameter that names the parameter, the value and the remedy.
        """
        parsed = parse(cls.parameters(), values, cls.name)
        made = cls.__new__(cls)
        vars(made).update(parsed)  # before __init__, which may use them
        cls.__init__(made)
        return made


RESERVED = frozenset(name for name in (*vars(Algorithm), "name") if not name.startswith("_"))
"""Names that no parameter may have."""
