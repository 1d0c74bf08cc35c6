"""Trials in other people's formats: what is written and read again is equal."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.records import FINITE, TEXT, assert_equal, experiments, studies
from tunesmith.domain import TrialState
from tunesmith.interchange.cells import from_text, to_text
from tunesmith.interchange.content import Content
from tunesmith.interchange.layout import Said
from tunesmith.interchange.storages import read_storage, write_storage
from tunesmith.interchange.studies import same
from tunesmith.interchange.trial_tables import read_trials, write_trials
from tunesmith.schemas.records import Record


def through_table(ending: str) -> Callable[[Content, Path], Content]:
    def travel(content: Content, directory: Path) -> Content:
        write_trials(directory / f"runs{ending}", content)
        return read_trials(directory / f"runs{ending}", Said())

    return travel


def through_storage(place: str) -> Callable[[Content, Path], Content]:
    def travel(content: Content, directory: Path) -> Content:
        write_storage(place.format(directory), content, "study")
        (found,) = read_storage(place.format(directory))
        return found

    return travel


TRAVELS = {
    "csv": through_table(".csv"),
    "parquet": through_table(".parquet"),
    "sqlite": through_storage("sqlite:///{}/x.db"),
    "journal": through_storage("journal:{}/x.log"),
}


class TestRoundTrip:
    @pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)
    @given(content=experiments())
    @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate])
    def test_an_experiment_comes_back_equal(self, travel: Callable[[Content, Path], Content], content: Content) -> None:
        with tempfile.TemporaryDirectory() as directory:
            assert_equal(travel(content, Path(directory)), content)

    @pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)
    @given(content=studies())
    @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate])
    @pytest.mark.slow
    def test_a_study_comes_back_equal(self, travel: Callable[[Content, Path], Content], content: Content) -> None:
        with tempfile.TemporaryDirectory() as directory:
            assert_equal(travel(content, Path(directory)), content)

    @given(
        st.one_of(TEXT, st.integers(), FINITE, st.booleans(), st.none(), st.sampled_from(["NaN", "1e999", '"', "[]"]))
    )
    def test_a_cell_gives_its_value_back(self, value: Any) -> None:
        assert same(from_text(to_text(value)), value)

    def test_a_wire_record_is_read_back(self) -> None:
        record = Record(
            number=1,
            state=TrialState.COMPLETE,
            params={"x": 1},
            values=(math.inf, -math.inf),
            user_attrs={"a": [math.nan]},
            started_at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        )
        again = Record.model_validate_json(record.model_dump_json(), strict=True)
        assert all(same(getattr(again, name), getattr(record, name)) for name in Record.model_fields)
