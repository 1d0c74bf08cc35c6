"""Monte Carlo: paths whose growth is drawn as that of the past was, all KPIs together; their mean and quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuners.models.history import REGIONS, forecast_years, known_before, rows_of
from tuners.models.steps import Steps, Tell

if TYPE_CHECKING:
    from tuners.models.history import Array

BATCHES = 10
QUANTILES: Mapping[str, float] = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


def forecast(inputs: Mapping[str, Any], progress: Tell) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Simulate every KPI of a region; beside `value`, the mean, rows have the quantiles `p10`, `p50` and `p90`."""
    import numpy as np

    steps = Steps(progress, BATCHES)
    history, asked = known_before(inputs), forecast_years(inputs)
    region = REGIONS.index(inputs["region"])
    growth, start = history.growth[region], history.values[region, -1]
    generator = np.random.default_rng(inputs["seed"])
    batches = []
    for _ in range(BATCHES):
        drawn = simulate(growth, start, inputs["trials"] // BATCHES, asked[-1] - history.years[-1], generator)
        batches.append(drawn[:, -len(asked) :])
        steps.done()
    paths = np.concatenate(batches)
    quantiles = {name: np.quantile(paths, share, axis=0) for name, share in QUANTILES.items()}
    return rows_of(inputs, paths.mean(axis=0), quantiles)


def simulate(growth: Array, start: Array, paths: int, years: int, generator: Any) -> Array:
    """Values by path, year and KPI, from `start` on, with growth of the mean and covariance of `growth`'s rows."""
    import numpy as np

    covariance = np.cov(growth, rowvar=False)
    drawn = generator.multivariate_normal(growth.mean(axis=0), covariance, (paths, years), method="eigh")
    simulated: Array = start * np.exp(np.cumsum(drawn, axis=1))
    return simulated
