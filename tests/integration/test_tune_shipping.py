"""Shipping functions: what goes into the pickle, what the service keeps, and which jobs it refuses."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from fastapi.testclient import TestClient

from tuners.tools.callable_load import function_key
from tunesmith.client.functions import beside, name_of, pack, python_version
from tunesmith.errors import InvalidBody
from tunesmith.settings import Settings
from tunesmith.storage import Storage

READ = "import sys, pickle; print(pickle.load(sys.stdin.buffer)(3))"


def elsewhere(payload: bytes, directory: Path) -> str:
    """What the function gives for 3 in a process that has none of its modules."""
    done = subprocess.run([sys.executable, "-c", READ], input=payload, cwd=directory, capture_output=True, check=False)
    return done.stdout.decode().strip() or done.stderr.decode()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a script's module, one beside it, and a package."""
    root = tmp_path / "project"
    (root / "shipped_package").mkdir(parents=True)
    (root / "shipped_package" / "__init__.py").write_text("")
    (root / "shipped_package" / "scale.py").write_text("FACTOR = 10\n\ndef scaled(x):\n    return x * FACTOR\n")
    (root / "shipped_shift.py").write_text("def shifted(x):\n    return x + 1\n")
    (root / "shipped_script.py").write_text(
        "import shipped_package.scale\nfrom shipped_shift import shifted\n\n"
        "def objective(x):\n    return shipped_package.scale.scaled(shifted(x))\n"
    )
    monkeypatch.syspath_prepend(str(root))
    yield root
    for name in [name for name in sys.modules if name.startswith("shipped_")]:
        del sys.modules[name]


class TestThePickle:
    def test_modules_beside_the_functions_own_travel_with_it(self, project: Path, tmp_path: Path) -> None:
        script = importlib.import_module("shipped_script")
        names = {module.__name__ for module in beside(script.objective)}
        assert names == {"shipped_script", "shipped_shift", "shipped_package", "shipped_package.scale"}
        before = cloudpickle.list_registry_pickle_by_value()
        shipped = pack(script.objective)
        assert cloudpickle.list_registry_pickle_by_value() == before
        assert (shipped.name, shipped.python) == ("shipped_script:objective", python_version())
        assert elsewhere(shipped.payload, tmp_path) == "40"

    def test_what_is_installed_is_imported_where_it_runs(self) -> None:
        assert beside(importlib.import_module("json").dumps) == []
        assert beside(cloudpickle.dumps) == []
        assert len(pack(cloudpickle.dumps).payload) < 200

    @pytest.mark.parametrize("make", ["lambda", "closure", "partial", "method", "exec"])
    def test_every_kind_of_function_travels(self, make: str, tmp_path: Path) -> None:
        offset = 4

        def added(x: float, y: float) -> float:
            return x + y

        class Model:
            offset = 4

            def predict(self, x: float) -> float:
                return x + self.offset

        cell: dict[str, Any] = {"__name__": "__main__"}
        exec("def objective(x):\n    return x + 4", cell)
        functions: dict[str, Callable[..., Any]] = {
            "lambda": lambda x: x + 4,
            "closure": lambda x: x + offset,
            "partial": functools.partial(added, y=4),
            "method": Model().predict,
            "exec": cell["objective"],
        }
        assert elsewhere(pack(functions[make]).payload, tmp_path) == "7"

    def test_what_cannot_be_pickled_is_said_with_a_remedy(self) -> None:
        lock = threading.Lock()
        with pytest.raises(InvalidBody, match=r"cannot be shipped.*inside the function, not around it"):
            pack(lambda x: lock)

    def test_functions_have_names_that_people_know(self) -> None:
        assert name_of(functools.partial(os.path.join, "a")) == "posixpath:join"
        assert name_of(io.StringIO().write).endswith("StringIO.write")
        assert name_of(lambda: 0).endswith("<lambda>")


def upload(payload: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(payload).decode()
    versions = {"python": python_version(), "cloudpickle": cloudpickle.__version__}
    return {"name": "m:f", "payload": encoded, **versions}


EXPERIMENT = {
    "tool_name": "shipped",
    "parameters": [{"name": "x", "minimum": 0, "maximum": 1}],
    "callable": {"name": "m:f"},
    "objectives": [{"metric": "loss"}],
}


class TestTheService:
    def test_a_function_is_kept_by_its_content(self, api: TestClient, settings: Settings) -> None:
        first, second = (api.post("/api/v1/functions", json=upload(b"content")) for _ in range(2))
        digest = hashlib.sha256(b"content").hexdigest()
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json() == {"digest": digest}
        assert b"".join(Storage(settings.artifacts).read(function_key(digest))) == b"content"

    def test_one_that_was_kept_in_part_is_kept_again(self, api: TestClient, settings: Settings) -> None:
        digest = hashlib.sha256(b"content").hexdigest()
        Storage(settings.artifacts).write(function_key(digest), b"con")
        assert api.post("/api/v1/functions", json=upload(b"content")).status_code == 201
        assert b"".join(Storage(settings.artifacts).read(function_key(digest))) == b"content"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"python": "3.8"}, "pickled by Python 3.8, and the platform runs"),
            ({"cloudpickle": "1.6.0"}, "pip install cloudpickle=="),
            ({"payload": "no base64"}, "payload: it is no base64"),
            ({"payload": ""}, "payload"),
            ({"python": "three"}, "python"),
        ],
    )
    def test_what_no_worker_could_read_is_refused(self, changes: Any, message: str, api: TestClient) -> None:
        answer = api.post("/api/v1/functions", json=upload(b"content") | changes)
        assert answer.status_code == 400
        assert message in answer.json()["error"]

    def test_one_that_is_too_large_is_refused(self, api: TestClient, settings: Settings) -> None:
        answer = api.post("/api/v1/functions", json=upload(bytes(settings.max_body_bytes)))
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")

    def test_a_job_without_its_function_is_refused(self, api: TestClient) -> None:
        experiment = api.post("/api/v1/experiments", json=EXPERIMENT).json()["id"]
        digest = hashlib.sha256(b"content").hexdigest()
        for code, message in ((None, "submit it from Python with Client.tune()"), (digest, "no such function")):
            optimizer = {"type": "random", "n_iter": 1} | ({"code": code} if code else {})
            answer = api.post(f"/api/v1/experiments/{experiment}/trials", json={"optimizer": optimizer})
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_OPTIMIZER")
            assert message in answer.json()["error"]
        api.post("/api/v1/functions", json=upload(b"content"))
        optimizer = {"type": "random", "n_iter": 1, "code": digest}
        answer = api.post(f"/api/v1/experiments/{experiment}/trials", json={"optimizer": optimizer})
        assert answer.status_code == 202

    def test_a_function_for_a_command_is_refused(self, api: TestClient) -> None:
        command = {**EXPERIMENT, "callable": None, "command_template_string": "true"}
        experiment = api.post("/api/v1/experiments", json=command).json()["id"]
        optimizer = {"type": "random", "n_iter": 1, "code": "0" * 64}
        answer = api.post(f"/api/v1/experiments/{experiment}/trials", json={"optimizer": optimizer})
        assert answer.status_code == 400
        assert "belongs to an experiment with a callable" in answer.json()["error"]
