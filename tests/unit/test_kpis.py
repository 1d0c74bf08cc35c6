"""KPIs: which end is better, what a threshold means, and what may be declared."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.scenarios import Kpi


def kpi(**attributes: Any) -> Kpi:
    found = type("Cost", (Kpi,), {"compute": lambda self, result, data: 1.0, **attributes})()
    assert isinstance(found, Kpi)
    return found


class TestShown:
    def test_a_value_is_shown_with_all_that_judges_it(self) -> None:
        assert kpi(name="cost", better_when="LOWER", unit="EUR", threshold=10).spec.shown(9.5) == {
            "name": "cost", "better_when": "LOWER", "unit": "EUR", "value": 9.5, "threshold": 10, "success": True,
        }  # fmt: skip

    def test_one_that_was_not_computed_is_null(self) -> None:
        assert kpi(better_when="LOWER", threshold=10).spec.shown(None) is None

    def test_without_a_threshold_there_is_no_success(self) -> None:
        shown = kpi(better_when="HIGHER").spec.shown(1.0)
        assert shown is not None
        assert (shown["threshold"], shown["success"], shown["unit"]) == (None, None, None)

    @pytest.mark.parametrize(
        ("better_when", "below", "above"),
        [("HIGHER", False, True), ("AT_LEAST", False, True), ("LOWER", True, False), ("AT_MOST", True, False)],
    )
    @pytest.mark.parametrize("threshold", [0, 0.0, 5, -2.5])
    def test_a_threshold_of_zero_is_one_and_reaching_it_is_success(
        self, better_when: str, below: bool, above: bool, threshold: float
    ) -> None:
        judged = kpi(better_when=better_when, threshold=threshold).spec
        assert [judged.succeeded(threshold + by) for by in (-1, 0, 1)] == [below, True, above]

    @given(st.floats(allow_nan=False), st.floats(allow_nan=False, allow_infinity=False))
    def test_a_value_succeeds_for_one_of_two_opposite_kpis_at_least(self, value: float, threshold: float) -> None:
        high, low = (kpi(better_when=end, threshold=threshold).spec for end in ("AT_LEAST", "AT_MOST"))
        assert high.succeeded(value) or low.succeeded(value)

    @pytest.mark.parametrize(
        ("better_when", "direction"),
        [("HIGHER", "maximize"), ("AT_LEAST", "maximize"), ("LOWER", "minimize"), ("AT_MOST", "minimize")],
    )
    def test_it_says_how_to_optimize_it(self, better_when: str, direction: str) -> None:
        assert kpi(better_when=better_when, threshold=1).spec.direction == direction


class TestDeclarations:
    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"better_when": "lower"}, "Cost.better_when is 'lower'; give one of HIGHER, LOWER, AT_LEAST, AT_MOST"),
            ({"better_when": "LOWER", "unit": 5}, "Cost.unit is 5; give a text that can be printed, or None"),
            ({"better_when": "LOWER", "unit": "\ud800"}, "Cost.unit is"),
            ({"better_when": "LOWER", "threshold": "10"}, "Cost.threshold is '10'; give a finite number, or None"),
            ({"better_when": "LOWER", "threshold": True}, "Cost.threshold is True"),
            ({"better_when": "LOWER", "threshold": math.nan}, "Cost.threshold is nan"),
            ({"better_when": "LOWER", "name": "cost/unit"}, "Cost.name is 'cost/unit'"),
            ({"better_when": "LOWER", "compute": lambda self, result: 1.0}, r"write def compute\(self, result, data\)"),
        ],
    )
    def test_a_class_that_declares_something_wrong_cannot_be_made(
        self, attributes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            kpi(**attributes)

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({}, "Cost.better_when is None; give one of"),
            ({"better_when": "AT_MOST"}, "Cost is better AT_MOST a threshold, but has none; set threshold"),
        ],
    )
    def test_what_an_instance_may_still_set_is_checked_when_it_is_used(
        self, attributes: dict[str, Any], message: str
    ) -> None:
        made = kpi(**attributes)
        with pytest.raises(ValueError, match=message):
            made.check()

    def test_its_name_is_that_of_its_class_unless_given(self) -> None:
        assert kpi(better_when="LOWER").name == "Cost"
        assert kpi(better_when="LOWER", name="Total cost").name == "Total cost"
