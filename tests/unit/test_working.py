"""What `tunesmith work` puts into a command's arguments."""

from __future__ import annotations

import pytest

from tuners.working.filling import fill, slips

DECLARED = ("lr", "name", "deep")


@pytest.mark.parametrize(
    ("argument", "filled"),
    [
        ("{lr}", "0.001"),
        ("--lr={lr}", "--lr=0.001"),
        ("{lr}{lr}/{name}", "0.0010.001/a b; rm -rf $HOME"),
        ("{deep}", "true"),
        ("{{lr}}", "{lr}"),
        ("{{lr}} is {lr}", "{lr} is 0.001"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ('{"lr": {lr}}', '{"lr": 0.001}'),
        ("{epoch}", "{epoch}"),
        ("{{epoch}}", "{{epoch}}"),
        ("${lr}", "$0.001"),
        ("{}", "{}"),
    ],
)
def test_only_holes_of_declared_parameters_are_filled(argument: str, filled: str) -> None:
    params = {"lr": 0.001, "name": "a b; rm -rf $HOME", "deep": True}
    assert fill([argument], DECLARED, params) == [filled]


def test_a_parameter_that_is_not_active_is_empty_text() -> None:
    assert fill(["--name={name}"], DECLARED, {"lr": 1}) == ["--name="]


def test_a_nul_cannot_stand_in_an_argument() -> None:
    assert fill(["{name}"], DECLARED, {"name": "a\0b"}) == ["ab"]


def test_what_is_nearly_a_parameter_is_taken_for_a_slip() -> None:
    assert slips(["{nam}", "{epoch}", "{lr}", "{{lrr}}"], DECLARED) == [
        "{nam} is no parameter and stays as it is; did you mean {name}?"
    ]
