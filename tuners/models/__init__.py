"""The models that ship with the platform: forecasts of a company's KPIs, over a dataset that ships with them.

Each is asked for a region and the first of five years, and learns from the years before that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuners.models import boosted, linear, simulator
from tuners.models.history import LEAST_YEARS, REGIONS, SHIFTS, YEARS
from tunesmith.models import Model
from tunesmith.plugins import Plugin
from tunesmith.scenarios.kinds import Enum, Integer
from tunesmith.scenarios.parameters import ParameterType

INPUTS: Mapping[str, ParameterType[Any]] = {
    "region": Enum(REGIONS, description="the region that is forecast"),
    "year": Integer(
        min=YEARS.start + LEAST_YEARS,
        max=2050,
        default=YEARS.stop,
        description="the first of five years; the model learns from those before it",
    ),
    "parameter_set": Enum(
        tuple(SHIFTS), default="baseline", description="grow as in the past, or two percent a year better or worse"
    ),
    "seed": Integer(min=0, max=2**32 - 1, default=0, description="same seed, same rows"),
}
"""What each of them takes, besides its own parameters."""

linear_reg = Model("linear_reg", "Linear Regression", linear.forecast, {"alpha": [0.1, 1.0, 10.0]}, INPUTS)
xgb_forecast = Model("xgb_forecast", "XGBoost Forecast", boosted.forecast, {"max_depth": [3, 5, 7]}, INPUTS)
monte_carlo = Model("simulator", "Monte Carlo Simulator", simulator.forecast, {"trials": [100, 1000, 10000]}, INPUTS)
plugin = Plugin(models=(linear_reg, xgb_forecast, monte_carlo))
