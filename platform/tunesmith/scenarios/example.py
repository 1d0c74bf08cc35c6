"""A small application of sessions to try everything with: two algorithms, a KPI and a dataset."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from tunesmith.data import DataSource
from tunesmith.scenarios.algorithm import Algorithm, Progress
from tunesmith.scenarios.configuration import ApiConfiguration
from tunesmith.scenarios.kinds import Integer
from tunesmith.scenarios.kpi import Kpi

STEP_S = 0.05


class Instant(Algorithm):
    """Ends at once."""

    def run(self, data: DataSource, progress: Progress) -> dict[str, Any]:
        """The tables of the dataset, and no delay."""
        progress(100)
        return {"tables": data.list_tables(), "delay_s": 0.0}


class Slow(Algorithm):
    """Waits, and tells how far it is."""

    duration = Integer(default=1, min=1, max=60)

    def run(self, data: DataSource, progress: Progress) -> dict[str, Any]:
        """The tables of the dataset, after `duration` seconds."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < self.duration:
            progress(100 * passed / self.duration, f"waited {passed:.1f} of {self.duration} s")
            time.sleep(STEP_S)
        return {"tables": data.list_tables(), "delay_s": passed}


class Delay(Kpi):
    """How long the result was waited for."""

    better_when = "LOWER"
    unit = "s"

    def compute(self, result: Any, data: DataSource) -> float:
        """The result's delay in seconds."""
        return float(result["delay_s"])


def example_data() -> DataSource:
    """Four shops and what they ordered."""
    shops = pd.DataFrame({"shop": ["North", "East", "South", "West"], "opened": [2015, 2018, 2021, 2024]})
    orders = pd.DataFrame(
        {
            "order": range(1, 9),
            "shop": ["North", "East", "East", "South", "West", "North", "West", "South"],
            "day": pd.date_range("2026-01-05", periods=8, freq="D"),
            "pallets": [3, 1, 4, 1, 5, 9, 2, 6],
        }
    )
    return DataSource("example_data", {"shops": shops, "orders": orders}, type="dummy")


def build_example_config() -> ApiConfiguration:
    """The configuration of the example: nothing is kept when it ends."""
    return ApiConfiguration(
        algorithms=[Instant, Slow], kpis=[Delay], datasets=[example_data()], title="tunesmith sessions: the example"
    )
