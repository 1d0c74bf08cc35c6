"""What `import tunesmith` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tunesmith
from tunesmith import errors

HEAVY = ("ray", "sqlalchemy", "pyarrow", "optuna", "fastapi", "numpy", "pandas")


def test_every_exported_name_is_there_and_sorted() -> None:
    assert tunesmith.__all__ == sorted(tunesmith.__all__)
    for name in tunesmith.__all__:
        assert getattr(tunesmith, name) is not None
    assert dir(tunesmith) == tunesmith.__all__


def test_every_error_is_exported() -> None:
    assert {kind.__name__ for kind in errors.tree()} <= set(tunesmith.__all__)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tunesmith.nonsense


@pytest.mark.parametrize(
    "code",
    ["import tunesmith", "from tunesmith import Client", "from tunesmith.cli.app import app; app(['--help'])"],
    ids=["the package", "the client", "tunesmith --help"],
)
def test_heavy_packages_are_not_imported_by(code: str) -> None:
    program = f"""
import sys
try:
    {code}
except SystemExit:
    pass
print([name for name in {HEAVY} if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
