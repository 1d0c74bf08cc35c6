"""The trial that a define-by-run objective talks to: `objective(trial)`, with the calls of Optuna's own trial."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tuners.tools.metrics import metric_of
from tunesmith.domain import Parameter, Params, Scalar, same_scalar

Suggest = Callable[[Parameter], Scalar]
"""Asks the search for one parameter of the running trial."""
Reported = Callable[[Mapping[str, Any], int], bool]
"""Takes intermediate values of a step; whether the trial should be pruned."""


class Trial:
    """A running trial: it hands out parameters one by one, takes intermediate values, and knows when to give up."""

    number: int
    """The trial's number within the experiment, from 0."""

    def __init__(self, number: int, suggest: Suggest, report: Reported, metric: str) -> None:
        """`suggest` asks the search, `report` tells it; `metric` is the name of what `report(value, step)` reports."""
        self.number = number
        self._suggest, self._report, self._metric = suggest, report, metric
        self._params = Params()
        self._attributes: dict[str, Any] = {}
        self._noted: dict[str, float] = {}
        self._pruned = False

    @property
    def params(self) -> Params:
        """What was suggested so far."""
        return Params(self._params)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """What was noted so far; only the numbers outlast the trial."""
        return dict(self._attributes)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A float in [low, high]. Raises ValueError for a range that is none."""
        value = self._ask(name, type="float", minimum=low, maximum=high, step=step, log=log)
        return float(value)  # type: ignore[arg-type]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number in [low, high]. Raises ValueError for a range that is none."""
        steps = None if step == 1 else step
        return int(self._ask(name, type="int", minimum=low, maximum=high, step=steps, log=log))  # type: ignore[arg-type]

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Any:
        """One of the choices, which are JSON scalars. Raises ValueError for choices that are none."""
        chosen = self._ask(name, type="categorical", choices=list(choices))
        return next(choice for choice in choices if same_scalar(choice, chosen))

    def report(self, value: float | Mapping[str, float], step: int) -> None:
        """Report an intermediate value of the first objective, or a mapping of metrics, at a step."""
        self._pruned = self._report(value if isinstance(value, Mapping) else {self._metric: value}, step)

    def should_prune(self) -> bool:
        """Whether the pruner gave this trial up; raise `optuna.TrialPruned` then, or just return."""
        return self._pruned

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note something: a finite number becomes a metric of the trial, anything else is not kept, with a warning."""
        number = float(value) if isinstance(value, bool) else metric_of(key, value)
        self._attributes[key] = value
        self._noted.pop(key, None)
        if number is not None:
            self._noted[key] = number
        else:  # without the value, so that Python says it once and not in every trial
            warnings.warn(f"set_user_attr({key!r}): a trial keeps finite numbers only, as metrics", stacklevel=2)

    def _ask(self, name: str, **fields: Any) -> Scalar:
        if name not in self._params:
            try:
                parameter = Parameter(name=name, **fields)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"][:1])
                raise ValueError(f"parameter {name!r}: {where} {first['msg']}".replace(":  ", ": ")) from error
            self._params[name] = self._suggest(parameter)
        return self._params[name]
