"""The warehouse example: its data, its costs, and algorithms that really make a day cheaper."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from warehouse import data, layout, plugin  # noqa: E402  # a namespace package of the examples

SMALL = {"products": 60, "aisles": 6, "depth": 12}


def untold(percent: float, message: str | None = None) -> None: ...


@pytest.fixture(scope="module")
def warehouse() -> Any:
    return layout.Warehouse("warehouse", data.tables(**SMALL))


def kpis(result: pd.DataFrame, warehouse: Any) -> dict[str, float]:
    return {name: kpi.compute(result, warehouse) for name, kpi in plugin.plugin.named_kpis().items()}


class TestData:
    def test_the_same_seed_makes_the_same_warehouse(self) -> None:
        first, again, other = data.tables(seed=1), data.tables(seed=1), data.tables(seed=2)
        for name, table in first.items():
            pd.testing.assert_frame_equal(table, again[name])
        assert not first["products"].equals(other["products"])

    def test_each_product_has_a_slot_of_its_own(self) -> None:
        tables = data.tables(**SMALL)
        assert tables["products"]["slot"].is_unique
        assert set(tables["products"]["slot"]) <= set(tables["slots"]["slot"])
        assert (tables["products"]["demand"] > 0).all()

    def test_more_products_than_slots_are_refused(self) -> None:
        with pytest.raises(ValueError, match="73 products do not fit into 72 slots"):
            data.tables(**SMALL | {"products": 73})

    def test_the_files_are_the_tables(self, tmp_path: Path) -> None:
        paths = data.write(tmp_path / "new", seed=3)
        assert [path.name for path in paths] == ["products.csv", "slots.csv"]
        for path in paths:
            pd.testing.assert_frame_equal(pd.read_csv(path), data.tables(seed=3)[path.stem], check_dtype=False)


class TestCosts:
    def test_kpis_of_a_warehouse_that_can_be_reckoned_by_hand(self) -> None:
        products = pd.DataFrame({"product": ["a", "b"], "demand": [30.0, 10.0], "slot": ["far", "near"]})
        slots = pd.DataFrame({"slot": ["near", "far"], "zone": ["one", "two"], "x": [0.0, 40.0], "y": [10.0, 60.0]})
        small = layout.Warehouse("small", {"products": products, "slots": slots})
        found = kpis(plugin.AsItIs().run(small, untold), small)
        assert found["Travel distance"] == pytest.approx(2 * (30 * 100 + 10 * 10) / 1000)
        assert found["Zone balance"] == pytest.approx(20 / 30)
        assert found["Moves"] == 0
        assert found["Daily cost"] == pytest.approx(1.5 * 6.2 + 2e-5 * (10**2 + 10**2))
        nearer = small.with_parameters({"depot_x": 40.0})
        assert kpis(plugin.AsItIs().run(nearer, untold), nearer)["Travel distance"] == pytest.approx(
            2 * (30 * 60 + 10 * 50) / 1000
        )
        result = plugin.Greedy().run(small, untold)
        assert dict(zip(result["product"], result["slot"], strict=True)) == {"a": "near", "b": "far"}
        assert kpis(result, small)["Moves"] == 2

    @pytest.mark.parametrize("seed", range(5))
    def test_what_a_swap_is_said_to_cost_is_what_it_costs(self, warehouse: Any, seed: int) -> None:
        random = np.random.default_rng(seed)
        here = layout.Layout.of(warehouse)
        place, cost = here.present, here.cost_eur(here.present)
        for sweep in range(300):
            a, b = plugin.pairs(here, place, 0.03, random, homeward=sweep % 2 == 1)  # one pair: nothing to be off by
            place = plugin.swapped(here, place, a, b, 0.0, random)
            assert here.cost_eur(place) <= cost + 1e-9
            cost = here.cost_eur(place)
        assert sorted(place) == list(range(len(place)))

    @pytest.mark.parametrize("homeward", [False, True])
    def test_no_item_is_in_two_pairs(self, warehouse: Any, homeward: bool) -> None:
        random = np.random.default_rng(0)
        here = layout.Layout.of(warehouse)
        place = random.permutation(here.present)
        for share in (0.01, 0.3, 1.0):
            items = np.concatenate(plugin.pairs(here, place, share, random, homeward))
            assert len(np.unique(items)) == len(items)

    def test_a_result_that_is_no_layout_is_refused(self, warehouse: Any) -> None:
        result = plugin.AsItIs().run(warehouse, untold)
        with pytest.raises(ValueError, match="each product a slot of its own"):
            plugin.Moves().compute(result.assign(slot=result["slot"].iloc[0]), warehouse)


@pytest.fixture(scope="module")
def found(warehouse: Any) -> dict[str, dict[str, float]]:
    """Algorithm -> KPI -> value, on the small warehouse."""
    return {
        name: kpis(algorithm.make({}).run(warehouse, untold), warehouse)
        for name, algorithm in plugin.plugin.named_algorithms().items()
    }


class TestAlgorithms:
    def test_greedy_has_the_shortest_way(self, found: dict[str, dict[str, float]]) -> None:
        assert found["greedy"]["Travel distance"] == min(kpi["Travel distance"] for kpi in found.values())

    def test_searching_is_cheaper_than_both(self, found: dict[str, dict[str, float]]) -> None:
        for search in ("local search", "simulated annealing"):
            cost = found[search]["Daily cost"]
            assert cost < min(found["as it is"]["Daily cost"], found["greedy"]["Daily cost"])
            assert found[search]["Moves"] < found["greedy"]["Moves"]

    def test_the_same_seed_gives_the_same_layout(self, warehouse: Any) -> None:
        first, again, other = (
            plugin.Annealing.make({"seed": seed, "sweeps": 50}).run(warehouse, untold) for seed in (1, 1, 2)
        )
        pd.testing.assert_frame_equal(first, again)
        assert not first["slot"].equals(other["slot"])

    def test_the_progress_ends_at_the_end(self, warehouse: Any) -> None:
        told: list[float] = []
        plugin.LocalSearch.make({"sweeps": 20}).run(warehouse, lambda percent, message=None: told.append(percent))
        assert told == sorted(told)
        assert told[-1] == 100
