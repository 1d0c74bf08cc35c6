"""The layout: folders are import names, `platform` stays Python's own, and the wheel holds what it must."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from ray import cloudpickle

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"tunesmith": "platform/tunesmith", "tuners": "tuners", "serve_app": "serve_app"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built from this checkout."""
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(path)


def run_python(code: str, cwd: Path, path: str = "") -> str:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_folder_platform_is_no_package_and_holds_no_module() -> None:
    assert [
        path.name for path in (ROOT / "platform").iterdir() if path.suffix == ".py" or path.name == "__init__.py"
    ] == []


def test_platform_is_pythons_own_also_from_the_root_of_the_repository() -> None:
    assert platform.python_version().startswith("3.")
    found = run_python("import platform; print(platform.__file__, platform.system())", ROOT)
    assert str(ROOT) not in found
    found = run_python("import sys; sys.path.insert(0, ''); import platform; print(platform.__file__)", ROOT)
    assert str(ROOT) not in found


@pytest.mark.parametrize(("name", "folder"), PACKAGES.items())
def test_each_folder_keeps_its_import_name(name: str, folder: str) -> None:
    assert importlib.import_module(name).__file__ == str(ROOT / folder / "__init__.py")


@pytest.mark.parametrize("folder", PACKAGES.values())
def test_every_module_lies_in_a_package_and_says_what_lives_there(folder: str) -> None:
    modules = [path for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts]
    assert [path for path in modules if not (path.parent / "__init__.py").exists()] == []
    assert [path for path in modules if not path.read_text().startswith(('"""', "#!"))] == []


def test_the_wheel_holds_the_packages_at_its_top_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES.values()],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    expected = {path.removeprefix("platform/") for path in listed if (ROOT / path).exists()}
    assert expected - set(wheel.namelist()) == set()
    assert "tunesmith/store/migrations/env.py" in expected
    assert any(name.startswith("tunesmith/store/migrations/versions/0001") for name in expected)


def test_the_wheel_works_where_there_is_no_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import tunesmith, tuners, serve_app, platform\n"
        "from tunesmith.store import open_store\n"
        "store = open_store('sqlite:///made.db'); store.upgrade(); store.ping()\n"
        "print(tunesmith.__file__)"
    )
    assert run_python(code, tmp_path, str(tmp_path)) == str(tmp_path / "tunesmith" / "__init__.py")


def test_a_function_of_tuners_travels_by_reference() -> None:
    from tuners.grid import points

    pickled = cloudpickle.dumps(points)
    assert cloudpickle.loads(pickled) is points
    assert len(pickled) < 200
    assert b"tuners.grid" in pickled
