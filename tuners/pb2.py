"""Population-based bandits (Parker-Holder et al. 2020): the numbers of a copied member from Tune's Gaussian process.

The process models how much a segment improves its member's score per step, from the time, the score before and the
hyperparameters; the point with the highest upper confidence bound at the donor's place is tried next.
"""

from __future__ import annotations

import contextlib
import math
import random
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.domain import Parameter, Point

WINDOW = 150
"""Segments that the process looks at: the latest. Tune fits it dozens of times over where there are 200 or more."""


@dataclass(frozen=True)
class Progress:
    """One finished segment, as the process sees it."""

    number: int
    """Its trial's number."""
    params: Point
    """Its configuration."""
    start: int
    """Training steps before it."""
    end: int
    """Training steps after it."""
    before: float
    """The score that it started from; more is better."""
    after: float
    """The score that it came to."""


def chosen(
    parameters: Sequence[Parameter],
    donor: Progress,
    recent: Iterable[Progress],
    running: Iterable[Point],
    rng: random.Random,
) -> dict[str, float]:
    """Values for `parameters`, all numbers that the donor has, to go on with from its checkpoint.

    `recent`: finished segments in the order of their numbers; `running`: configurations that are being tried just now,
    which makes their surroundings less interesting. The values are not yet moved to a parameter's steps.
    """
    names = [parameter.name for parameter in parameters]
    scales = {parameter.name: _scale(parameter) for parameter in parameters}
    bounds = {p.name: tuple(scales[p.name](bound) for bound in p.bounds) for p in parameters}
    fitting = (segment for segment in recent if all(p.contains(segment.params.get(p.name)) for p in parameters))
    known = {segment.number: segment for segment in (*fitting, donor)}
    current = [[scales[name](point[name]) for name in names] for point in running]
    explore = _explore(np.random.RandomState(rng.getrandbits(32)))
    with _swift():
        found, _data = explore(
            _table(known.values(), scales),
            bounds,
            np.array(current) if current else None,
            donor.number,
            "next",
            {name: scales[name](donor.params[name]) for name in names},
        )
    return {p.name: math.exp(found[p.name]) if p.log else found[p.name] for p in parameters}


def rebound(function: Callable[..., Any], **names: Any) -> Any:
    """The function with other globals of these names: Tune's draws then come from a generator of ours.

    Seeding Python's and NumPy's global generators instead would not be exact where several jobs run in threads.
    """
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(function.__code__, function.__globals__ | names, function.__name__, function.__defaults__)


@contextlib.contextmanager
def _swift() -> Iterator[None]:
    """Thousands of predictions from small matrices: no threads for each, no checks, no word about fits at a bound."""
    from sklearn import config_context  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(1),
        config_context(assume_finite=True, skip_parameter_validation=True),
        warnings.catch_warnings(action="ignore"),
    ):
        yield


def _explore(rng: np.random.RandomState) -> Any:
    from ray.tune.schedulers import pb2, pb2_utils

    numpy = types.SimpleNamespace(**{**vars(np), "random": rng})
    select = rebound(pb2._select_config, optimize_acq=rebound(pb2_utils.optimize_acq, np=numpy))
    return rebound(pb2._explore, _select_config=select)


def _scale(parameter: Parameter) -> Callable[[Any], float]:
    return math.log if parameter.log else float


def _table(segments: Iterable[Progress], scales: Mapping[str, Callable[[Any], float]]) -> Any:
    """Two rows for each segment, before and after it; Tune takes their difference for its improvement."""
    import pandas as pd

    rows = [
        [str(segment.number), time, *(scale(segment.params[name]) for name, scale in scales.items()), score]
        for segment in segments
        for time, score in ((segment.start, segment.before), (segment.end, segment.after))
    ]
    return pd.DataFrame(rows, columns=["Trial", "Time", *scales, "Reward"])
