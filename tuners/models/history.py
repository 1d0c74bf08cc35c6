"""The dataset of the bundled models: a company's KPIs by region and year, and how forecasts of them become rows."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, numpy.dtype[numpy.float64]]

FILE = Path(__file__).with_name("history.csv")
REGIONS = ("NA", "EU", "APAC", "LATAM", "MEA")
KPIS = ("revenue", "cost", "customers", "units")
"""Revenue and cost in thousands of dollars; customers and sold units as numbers."""
YEARS = range(2008, 2024)
HORIZON = 5
"""Years of a forecast."""
LEAST_YEARS = 8
"""Years that a forecast learns from, at least."""
BETTER_LOW = ("cost",)
SHIFTS: Mapping[str, float] = {"baseline": 0.0, "optimistic": 0.02, "pessimistic": -0.02}
"""Parameter set -> how much more the good KPIs grow each year than the past says; costs, that much less."""


@dataclass(frozen=True)
class History:
    """What is known before a year."""

    values: Array
    """Shape (regions, years, KPIs), in the order of `REGIONS`, of the years, and of `KPIS`."""

    @property
    def years(self) -> range:
        """The years that are known."""
        return YEARS[: self.values.shape[1]]

    @property
    def growth(self) -> Array:
        """Growth from each year to the next, as the logarithm of the quotient: shape (regions, years - 1, KPIs)."""
        import numpy as np

        return np.diff(np.log(self.values), axis=1)

    def before(self, year: int) -> History:
        """What was known before a year: a forecast from a past year on never sees what it forecasts."""
        return History(self.values[:, : max(0, year - YEARS.start)])


@cache
def load_history() -> History:
    """The bundled dataset."""
    import numpy as np

    with FILE.open(newline="") as file:
        found = {(row["region"], int(row["year"]), row["kpi"]): float(row["value"]) for row in csv.DictReader(file)}
    return History(np.array([[[found[region, year, kpi] for kpi in KPIS] for year in YEARS] for region in REGIONS]))


def forecast_years(inputs: Mapping[str, Any]) -> range:
    """The years that are asked for."""
    return range(inputs["year"], inputs["year"] + HORIZON)


def known_before(inputs: Mapping[str, Any]) -> History:
    """What a forecast may learn from."""
    return load_history().before(inputs["year"])


def rows_of(
    inputs: Mapping[str, Any], values: Array, more: Mapping[str, Array] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and summary of a forecast, its parameter set applied; `values` (and `more` columns) by year and KPI."""
    rows = []
    last = known_before(inputs).years[-1]
    for index, year in enumerate(forecast_years(inputs)):
        for column, kpi in enumerate(KPIS):
            factor = _shift(inputs["parameter_set"], kpi) ** (year - last)
            numbers = {name: array[index, column] for name, array in {"value": values, **(more or {})}.items()}
            shown = {name: round(float(number) * factor, 2) for name, number in numbers.items()}
            rows.append({"region": inputs["region"], "year": year, "kpi": kpi, **shown})
    return rows, summarize(rows)


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows say on the whole: how many there are, and the mean, least, greatest and mean-by-KPI value."""
    values = [float(row["value"]) for row in rows]
    return {
        "rows": len(rows),
        "avg_value": _mean(values),
        "min_value": min(values),
        "max_value": max(values),
        "avg_by_kpi": {kpi: _mean([row["value"] for row in rows if row["kpi"] == kpi]) for kpi in KPIS},
    }


def _mean(values: Sequence[float]) -> float:
    return round(math.fsum(values) / len(values), 6)


def _shift(parameter_set: str, kpi: str) -> float:
    shift = SHIFTS[parameter_set]
    return 1 - shift if kpi in BETTER_LOW else 1 + shift
