"""A plugin for tests: algorithms with every type of parameter, and ones that go wrong in every way."""

from __future__ import annotations

import os
import time
from typing import Any

from tunesmith.data import DataSource
from tunesmith.scenarios import (
    Algorithm,
    Boolean,
    Column,
    Enum,
    EtlFactory,
    Float,
    Integer,
    Interval,
    Kpi,
    MultiEnum,
    Plugin,
    Schema,
    String,
    Time,
)

DAY = "2026-03-01T08:00:00Z", "2026-03-01T16:00:00Z"


class Plan(Algorithm):
    """Counts pallets, with a parameter of every type."""

    trucks = Integer(default=2, min=1, max=9, description="how many drive")
    speed = Float(default=1.5, min=0.5)
    night = Boolean(default=False)
    note = String(default="")
    mode = Enum(["fast", "cheap"], default="fast")
    zones = MultiEnum(["north", "south"], default=["north"])
    start = Time(default=DAY[0])
    window = Interval(default=DAY)

    def run(self, data: DataSource, progress: Any) -> dict[str, Any]:
        """What the pallets cost: least with five trucks."""
        print(f"planning with {self.trucks} trucks")
        pallets = int(data["orders"]["pallets"].sum())
        return {
            "cost": (self.trucks - 5) ** 2,
            "share": self.speed,
            "pallets": pallets,
            "start": self.start.isoformat(),
        }


class Wait(Algorithm):
    """Tells that it is half done, and waits until it is stopped, or the time is over."""

    seconds = Float(min=0, description="required")

    def run(self, data: DataSource, progress: Any) -> dict[str, Any]:
        """The same as Plan gives."""
        print("waiting")
        progress(50, "half done")
        time.sleep(self.seconds)
        return {"cost": 0, "share": 1}


class Wrong(Algorithm):
    """Goes wrong."""

    how = Enum(["raise", "exit", "unserializable", "kpi", "nan", "large"], default="raise")

    def run(self, data: DataSource, progress: Any) -> Any:
        """Whatever is wrong."""
        if self.how == "raise":
            raise ValueError("no route to the north")
        if self.how == "exit":
            print("leaving")
            os._exit(3)
        if self.how == "unserializable":
            return {"cost": 1, "share": 1, "worker": object()}
        if self.how == "large":
            return {"cost": 1, "share": 1, "rows": ["x" * 1000] * 1000}
        return {"cost": "much" if self.how == "kpi" else float("nan"), "share": 1}


class Cost(Kpi):
    """What a plan costs; nothing is the best."""

    better_when = "AT_MOST"
    unit = "EUR"
    threshold = 0

    def compute(self, result: Any, data: DataSource) -> float:
        """The result's cost."""
        return float(result["cost"])


class Share(Kpi):
    """How much of the orders is served."""

    better_when = "HIGHER"

    def compute(self, result: Any, data: DataSource) -> float:
        """The result's share."""
        return float(result["share"])


class Depot(DataSource):
    """Datasets with a knob."""

    scale = Float(default=1.0, min=0)


class Cleaner(EtlFactory):
    """Fails on a table called `broken`."""

    def clean(self, table: str, batch: Any) -> Any:
        """The batch."""
        if table == "broken":
            raise RuntimeError("the cleaning lost its way")
        return batch


ORDERS = Schema(
    "orders",
    [Column("order", "integer", primary_key=True), Column("pallets", "integer", default=0)],
    required=False,
)
plugin = Plugin(
    algorithms=[Plan, Wait, Wrong], kpis=[Cost, Share], schemas=[ORDERS], etl_factory=Cleaner, data_source=Depot
)
