"""Gradient-boosted trees: growth from that of the years before, one year after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuners.models.history import KPIS, REGIONS, forecast_years, known_before, rows_of
from tuners.models.steps import Steps, Tell

if TYPE_CHECKING:
    from xgboost import XGBRegressor

    from tuners.models.history import Array

LAGS = 2
"""Years whose growth the next one is guessed from."""
THREADS = 2
"""Of a run: many may run beside one another."""


def features(growth: Array) -> Array:
    """Of the year after those of `growth` (regions, years): a row per region, its own growth, everybody's, and who."""
    import numpy as np

    latest = growth[:, -LAGS:]
    everybody = np.broadcast_to(latest.mean(axis=0), latest.shape)
    return np.column_stack([latest, everybody, np.eye(len(REGIONS))])


def fit(growth: Array, max_depth: int, seed: int) -> XGBRegressor:
    """Trees that guess a year's growth of one KPI from the years before, learnt from all regions."""
    import numpy as np
    from xgboost import XGBRegressor

    years = range(LAGS, growth.shape[1])
    known = np.concatenate([features(growth[:, :year]) for year in years])
    target = np.concatenate([growth[:, year] for year in years])
    model = XGBRegressor(
        max_depth=max_depth, n_estimators=100, learning_rate=0.1, subsample=0.8, random_state=seed, n_jobs=THREADS
    )
    model.fit(known, target)
    return model


def extend(model: XGBRegressor, growth: Array, years: int) -> Array:
    """The growth of further years, each guessed from those before it: shape (regions, years)."""
    import numpy as np

    known = growth
    for _ in range(years):
        known = np.column_stack([known, model.predict(features(known)).astype(float)])
    return known[:, growth.shape[1] :]


def forecast(inputs: Mapping[str, Any], progress: Tell) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Forecast every KPI of a region."""
    import numpy as np

    steps = Steps(progress, 2 + 2 * len(KPIS))
    history, asked = known_before(inputs), forecast_years(inputs)
    region = REGIONS.index(inputs["region"])
    steps.done()
    columns = []
    for index in range(len(KPIS)):
        growth = history.growth[:, :, index]
        model = fit(growth, inputs["max_depth"], inputs["seed"])
        steps.done()
        further = extend(model, growth, asked[-1] - history.years[-1])[region]
        columns.append((history.values[region, -1, index] * np.exp(np.cumsum(further)))[-len(asked) :])
        steps.done()
    found = rows_of(inputs, np.column_stack(columns))
    steps.done()
    return found
