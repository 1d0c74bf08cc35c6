"""Plugins are checked before a platform starts: what is wrong is said, and the supervisor stays as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from serve_app.plugin_check import check_plugins
from serve_app.up import check
from tunesmith.errors import InvalidSettings
from tunesmith.settings import Settings

GOOD = """
from tunesmith.scenarios import Algorithm, Plugin

class Pack(Algorithm):
    def run(self, data, progress):
        return 1

plugin = Plugin(algorithms=[Pack])
same = Plugin(algorithms=[Pack])
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the present directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shop_of_the_check.py"
    path.write_text(GOOD)
    return path


def checked(*plugins: str) -> None:
    check_plugins(Settings(plugins=tuple(f"shop_of_the_check:{plugin}" for plugin in plugins)))


def test_one_of_the_present_directory_is_good_and_not_imported_here(shop: Path) -> None:
    checked("plugin")
    assert shop.stem not in sys.modules


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1/0", "importing shop_of_the_check failed: ZeroDivisionError"),
        ("import no_such_module", "needs no_such_module; install that|there is no module 'no_such_module'"),
        ("plugin = 3", "int is no plugin"),
        ("import os; os._exit(9)", r"The plugins ended their process \(exit code 9\): it said nothing"),
    ],
)
def test_what_is_wrong_is_said(shop: Path, code: str, said: str) -> None:
    shop.write_text(code)
    with pytest.raises(InvalidSettings, match=said):
        checked("plugin")


def test_two_that_bring_the_same_are_refused_before_anything_starts(shop: Path) -> None:
    with pytest.raises(InvalidSettings, match="both bring the algorithm 'Pack'"):
        check(Settings(plugins=(f"{shop.stem}:plugin", f"{shop.stem}:same")))
