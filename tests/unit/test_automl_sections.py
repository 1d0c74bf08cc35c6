"""What a template takes for a configuration, section by section."""

from __future__ import annotations

from typing import Any

import pytest

from tuners.automl.tabular import Linear
from tunesmith.errors import InvalidConfig


@pytest.mark.parametrize("section", ["model", "training", "data", "hyperparameter_search", "resources"])
@pytest.mark.parametrize(("value", "shown"), [(None, "null"), ([1], "[1]"), ("x", '"x"')])
def test_a_section_is_an_object(section: str, value: Any, shown: str) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        Linear.read({section: value})
    assert refusal.value.message == f"{section} is {shown}: must be an object"
    assert refusal.value.details["field"] == section


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train_path": None}, "data.train_path is null: name a file, or a dataset of a session in data.dataset"),
        ({"dataset": None}, "data.train_path is null: name a file, or a dataset of a session in data.dataset"),
        (
            {"train_path": "a.csv", "dataset": "sales"},
            "data.train_path names a file, and data.dataset a dataset: set one of them to null",
        ),
    ],
)
def test_the_data_come_from_one_place(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        Linear.read({"data": data})
    assert refusal.value.message == message
    assert refusal.value.details["field"] == "data.train_path"


def test_a_dataset_takes_the_place_of_the_sample() -> None:
    assert Linear.read({"data": {"dataset": "sales"}}).data.train_path is None
    assert Linear.read({"data": {}}).data.train_path == "sample:diabetes"
