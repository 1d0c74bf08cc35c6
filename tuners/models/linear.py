"""Ridge regression: each KPI's logarithm is linear in the year, with a level of its own in each region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuners.models.history import HORIZON, KPIS, REGIONS, YEARS, History, forecast_years, known_before, rows_of
from tuners.models.steps import Steps, Tell

if TYPE_CHECKING:
    from sklearn.linear_model import Ridge  # type: ignore[import-untyped]

    from tuners.models.history import Array

DECADE = 10.0
"""Years are counted in decades from the first one, so that the penalty weighs on all columns alike."""


def design(regions: list[str], years: list[int]) -> Array:
    """One row per pair: decades since the first year, then one column per region, 1 in that of its own."""
    import numpy as np

    decades = (np.array(years, dtype=float) - YEARS.start) / DECADE
    own = np.array(regions)[:, None] == np.array(REGIONS)[None, :]
    return np.column_stack([decades, own.astype(float)])


def fit(history: History, kpi: str, alpha: float) -> Ridge:
    """The regression of one KPI."""
    import numpy as np
    from sklearn.linear_model import Ridge

    pairs = [(region, year) for region in REGIONS for year in history.years]
    target = np.log(history.values[:, :, KPIS.index(kpi)]).ravel()
    return Ridge(alpha=alpha).fit(design([region for region, _ in pairs], [year for _, year in pairs]), target)


def forecast(inputs: Mapping[str, Any], progress: Tell) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Forecast every KPI of a region."""
    import numpy as np

    steps = Steps(progress, 2 + 2 * len(KPIS))
    history = known_before(inputs)
    asked = design([inputs["region"]] * HORIZON, list(forecast_years(inputs)))
    steps.done()
    columns = []
    for kpi in KPIS:
        model = fit(history, kpi, inputs["alpha"])
        steps.done()
        columns.append(np.exp(model.predict(asked)))
        steps.done()
    found = rows_of(inputs, np.column_stack(columns))
    steps.done()
    return found
