"""A warehouse in numbers: where everything lies, and what a day of picking costs.

An *item* is a product, or the emptiness of a slot that holds none: there are as many items as slots, so that every
layout is a permutation `place` (item -> slot), and two items can always be swapped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tunesmith.scenarios import DataSource, Float

EUR_PER_KM = 1.5
"""What it costs to walk a kilometre; a picker fetches several orders on one way."""
EUR_PER_MOVE = 0.1
"""What it costs to move a product to another slot, spread over the days that it stays there."""
EUR_PER_CROWDING = 2e-5
"""What pickers who stand in each other's way cost: per squared pick that a zone has more, or less, than the average."""


class Warehouse(DataSource):
    """Tables `products` (product, demand in picks a day, slot where it is now) and `slots` (slot, zone, x, y in m)."""

    depot_x = Float(default=0.0, min=0, max=1000, description="metres along the front from the corner to the depot")


@dataclass(frozen=True)
class Layout:
    """The warehouse as arrays; all by item or by slot."""

    products: NDArray[np.object_]
    """Names of the products; they are the first items."""
    slots: NDArray[np.object_]
    """Names of the slots."""
    demand: NDArray[np.float64]
    """Picks a day by item; 0 where a slot is empty."""
    distance_m: NDArray[np.float64]
    """Metres from the depot by slot."""
    zone: NDArray[np.int64]
    """Number of the zone by slot."""
    zone_names: NDArray[np.object_]
    """Names of the zones."""
    present: NDArray[np.int64]
    """Where every item lies now: a slot by item."""

    @classmethod
    def of(cls, data: Warehouse) -> Layout:
        """The layout of a dataset. Raises ValueError when it makes no sense."""
        products, slots = data["products"], data["slots"]
        known = pd.Series(np.arange(len(slots)), index=slots["slot"])
        taken = known.reindex(products["slot"])
        if taken.isna().any() or taken.duplicated().any():
            raise ValueError("each product needs a slot of its own in table slots")
        zone, zone_names = pd.factorize(slots["zone"], sort=True)
        held = taken.to_numpy(dtype=np.int64)
        empty = np.setdiff1d(np.arange(len(slots)), held)
        return cls(
            products=products["product"].to_numpy(dtype=object),
            slots=slots["slot"].to_numpy(dtype=object),
            demand=np.concatenate([products["demand"].to_numpy(dtype=float), np.zeros(len(empty))]),
            distance_m=((slots["x"] - data.depot_x).abs() + slots["y"]).to_numpy(dtype=float),
            zone=zone.astype(np.int64),
            zone_names=np.asarray(zone_names, dtype=object),
            present=np.concatenate([held, empty]),
        )

    def place_of(self, result: pd.DataFrame) -> NDArray[np.int64]:
        """The layout that an algorithm gave, products only."""
        slot_of = pd.Series(result["slot"].to_numpy(), index=result["product"]).reindex(self.products)
        found = pd.Series(np.arange(len(self.slots)), index=self.slots).reindex(slot_of)
        if found.isna().any() or found.duplicated().any():
            raise ValueError("the result does not give each product a slot of its own")
        return found.to_numpy(dtype=np.int64)

    def table(self, place: NDArray[np.int64]) -> pd.DataFrame:
        """A layout as people read it: where each product lies, and what it was before."""
        count = len(self.products)
        return pd.DataFrame(
            {
                "product": self.products,
                "slot": self.slots[place[:count]],
                "zone": self.zone_names[self.zone[place[:count]]],
                "distance_m": self.distance_m[place[:count]],
                "slot_before": self.slots[self.present[:count]],
            }
        )

    def moved(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each product lies elsewhere than now."""
        count = len(self.products)
        return np.asarray(place[:count] != self.present[:count])

    def travel_km(self, place: NDArray[np.int64]) -> float:
        """Kilometres a day, from the depot to each pick and back."""
        return float(2 * self.demand[: len(place)] @ self.distance_m[place] / 1000)

    def zone_picks(self, place: NDArray[np.int64]) -> NDArray[np.float64]:
        """Picks a day by zone."""
        picks = np.bincount(self.zone[place], self.demand[: len(place)], minlength=len(self.zone_names))
        return picks.astype(np.float64)

    def cost_eur(self, place: NDArray[np.int64]) -> float:
        """What a day costs: walking, crowding, and the moves that lead to this layout."""
        picks = self.zone_picks(place)
        crowding = float(np.square(picks - picks.mean()).sum())
        moves = int(self.moved(place).sum())
        return EUR_PER_KM * self.travel_km(place) + EUR_PER_CROWDING * crowding + EUR_PER_MOVE * moves
