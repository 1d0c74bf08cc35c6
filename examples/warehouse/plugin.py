"""Algorithms that decide where the products of a warehouse lie, and KPIs that judge it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from warehouse.layout import EUR_PER_CROWDING, EUR_PER_KM, EUR_PER_MOVE, Layout, Warehouse

from tunesmith.scenarios import Algorithm, Column, Float, Integer, Kpi, Plugin, Progress, Schema


class AsItIs(Algorithm):
    """Leaves everything where it is: what the others are compared with."""

    name = "as it is"

    def run(self, data: Warehouse, progress: Progress) -> pd.DataFrame:
        layout = Layout.of(data)
        return layout.table(layout.present)


class Greedy(Algorithm):
    """What is asked for most lies nearest to the depot: the shortest way, whatever it costs to get there."""

    name = "greedy"

    def run(self, data: Warehouse, progress: Progress) -> pd.DataFrame:
        layout = Layout.of(data)
        place = np.empty_like(layout.present)
        place[np.argsort(-layout.demand, kind="stable")] = np.argsort(layout.distance_m, kind="stable")
        return layout.table(place)


class LocalSearch(Algorithm):
    """Swaps two items wherever that makes a day cheaper."""

    name = "local search"
    sweeps = Integer(default=2000, min=1, max=100_000, description="rounds of swaps")
    share = Float(default=0.1, min=0.001, max=1, description="part of the slots that a round looks at")
    seed = Integer(default=0, min=0, max=2**31)

    def run(self, data: Warehouse, progress: Progress) -> pd.DataFrame:
        layout, random = Layout.of(data), np.random.default_rng(self.seed)
        place = best = layout.present
        cost = least = layout.cost_eur(place)
        for sweep in range(self.sweeps):
            temperature = self.temperature_eur(sweep / self.sweeps)
            a, b = pairs(layout, place, self.share, random, homeward=sweep % 2 == 1)
            place = swapped(layout, place, a, b, temperature, random)
            cost = layout.cost_eur(place)
            if cost < least:
                best, least = place, cost
            progress(100 * (sweep + 1) / self.sweeps, f"{least:,.2f} EUR a day")
        return layout.table(best)

    def temperature_eur(self, done: float) -> float:
        """The loss in EUR a day that a swap may well bring; `done`: 0 at the beginning, 1 at the end."""
        return 0.0


class Annealing(LocalSearch):
    """Simulated annealing: at first also takes swaps that cost something, later fewer and fewer of them."""

    name = "simulated annealing"
    start_eur = Float(default=1.0, min=1e-4, max=100, description="loss that a swap may well bring at the beginning")
    end_eur = Float(default=0.01, min=1e-6, max=1, description="the same at the end")

    def temperature_eur(self, done: float) -> float:
        return float(self.start_eur * (min(self.end_eur, self.start_eur) / self.start_eur) ** done)


Items = NDArray[np.int64]


def pairs(
    layout: Layout, place: Items, share: float, random: np.random.Generator, homeward: bool
) -> tuple[Items, Items]:
    """Items to swap, each in one pair: any two of `share` of them, or (`homeward`) one with what is in its old slot."""
    count = max(2, int(share * len(place)) // 2 * 2)
    items = random.permutation(len(place))[:count]
    if not homeward:
        return items[::2], items[1::2]
    lying = np.empty_like(place)
    lying[place] = np.arange(len(place))  # slot -> item
    other = lying[layout.present[items]]
    free = ~np.isin(other, items)  # also leaves out what is at home already
    return items[free], other[free]


def swapped(
    layout: Layout, place: Items, a: Items, b: Items, temperature_eur: float, random: np.random.Generator
) -> Items:
    """Another layout: pairs are swapped where that saves something, or by the temperature's chance.

    All pairs are judged at once, as if each were the only one: that is exact but for what they do to a zone together.
    """
    at_a, at_b = place[a], place[b]
    more = layout.demand[a] - layout.demand[b]  # what the way from a's slot to b's carries along
    picks = layout.zone_picks(place)
    zone_a, zone_b = layout.zone[at_a], layout.zone[at_b]
    apart = zone_a != zone_b
    change = EUR_PER_KM * 2 * more * (layout.distance_m[at_b] - layout.distance_m[at_a]) / 1000
    change += EUR_PER_CROWDING * apart * 2 * more * (picks[zone_b] - picks[zone_a] + more)
    products = len(layout.products)
    for item, here, there in ((a, at_a, at_b), (b, at_b, at_a)):
        home = layout.present[item]
        moves = (there != home).astype(int) - (here != home).astype(int)
        change += EUR_PER_MOVE * moves * (item < products)
    patience = -temperature_eur * np.log1p(-random.random(len(a)))  # exponentially distributed: Metropolis' rule
    taken = change < patience
    after = place.copy()
    after[a[taken]], after[b[taken]] = at_b[taken], at_a[taken]
    return after


class Travel(Kpi):
    name = "Travel distance"
    better_when = "LOWER"
    unit = "km/day"

    def compute(self, result: pd.DataFrame, data: Warehouse) -> float:
        layout = Layout.of(data)
        return layout.travel_km(layout.place_of(result))


class Balance(Kpi):
    """Picks of the average zone over those of the busiest one: 1 when all are equal."""

    name = "Zone balance"
    better_when = "AT_LEAST"
    threshold = 0.5

    def compute(self, result: pd.DataFrame, data: Warehouse) -> float:
        layout = Layout.of(data)
        picks = layout.zone_picks(layout.place_of(result))
        return float(picks.mean() / picks.max())


class Moves(Kpi):
    better_when = "LOWER"
    unit = "products"

    def compute(self, result: pd.DataFrame, data: Warehouse) -> float:
        layout = Layout.of(data)
        return float(layout.moved(layout.place_of(result)).sum())


class Cost(Kpi):
    name = "Daily cost"
    better_when = "LOWER"
    unit = "EUR/day"

    def compute(self, result: pd.DataFrame, data: Warehouse) -> float:
        layout = Layout.of(data)
        return layout.cost_eur(layout.place_of(result))


PRODUCTS = Schema(
    "products",
    [
        Column("product", "string", primary_key=True),
        Column("demand", "float", checks=[lambda demand: demand >= 0]),
        Column("slot", "string", unique=True, foreign_key="slots.slot"),
    ],
)
SLOTS = Schema(
    "slots",
    [
        Column("slot", "string", primary_key=True),
        Column("zone", "string"),
        Column("x", "float"),
        Column("y", "float"),
    ],
)

plugin = Plugin(
    algorithms=[AsItIs, Greedy, LocalSearch, Annealing],
    kpis=[Cost, Travel, Balance, Moves],
    schemas=[PRODUCTS, SLOTS],
    data_source=Warehouse,
)
