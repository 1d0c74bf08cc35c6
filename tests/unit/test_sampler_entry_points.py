"""Samplers of other distributions: found by entry point, and no danger to the platform."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import optuna
from pydantic import Field
from tuners.samplers import Options, Sampler

class StepOptions(Options):
    width: float = Field(default=0.5, gt=0)
    '''How far it steps.'''

class Stepping(optuna.samplers.RandomSampler):
    def __init__(self, width, seed):
        super().__init__(seed=seed)
        self.width = width

def build(options, seed):
    return Stepping(options.width, seed)

STEPPING = Sampler(name="stepping", description="Steps.", options=StepOptions, build=build, multi_objective=False)

def lazily():
    return Sampler(name="lazy", description="Comes when called.", build=build)

TPE = Sampler(name="tpe", description="Not ours.", build=build)
NOTHING = 7

def failing():
    raise SystemError("no licence")
"""
PROGRAM = """
import json, logging
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
from tuners import samplers
from tuners.search import PointSearch
from tunesmith.domain import Search
from tunesmith.errors import InvalidOptimizer
from tunesmith.testing import memory_store
from tunesmith.testing.factories import new_experiment

experiment = new_experiment(memory_store())
planned = samplers.plan(experiment, Search(type="stepping", seed=1, options={"width": 2}), 1000)
points = PointSearch(experiment, planned.search, (), 0)
try:
    samplers.plan(experiment, Search(type="stepping", options={"widht": 2}), 1000)
except InvalidOptimizer as error:
    refusal = error.message
print(json.dumps({
    "names": list(samplers.SAMPLERS), "tpe": samplers.SAMPLERS["tpe"].description, "total": planned.total,
    "points": [points.ask(number) for number in range(3)], "refusal": refusal,
    "options": samplers.catalogue()[-2]["options"],
}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    """What the platform sees with a distribution installed that offers six things, of which two are samplers."""
    site = tmp_path_factory.mktemp("site")
    (site / "strange.py").write_text(MODULE)
    info = site / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    offers = ("STEPPING", "lazily", "TPE", "NOTHING", "failing", "missing")
    entries = "".join(f"entry{index} = strange:{name}\n" for index, name in enumerate(offers))
    (info / "entry_points.txt").write_text(f"[tunesmith.samplers]\n{entries}")
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(site), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_a_sampler_of_another_distribution_is_one_of_the_platform(seen: tuple[dict[str, object], str]) -> None:
    found, _log = seen
    assert isinstance(found["names"], list)
    assert found["names"][-2:] == ["stepping", "lazy"]
    assert found["total"] == 100
    assert isinstance(found["points"], list)
    assert all(point.keys() == {"x", "n"} for point in found["points"])
    assert found["refusal"] == "optimizer (stepping): unknown field 'widht' (2); did you mean 'width'?"
    assert isinstance(found["options"], dict)
    assert found["options"]["width"]["description"] == "How far it steps."


def test_one_that_has_the_name_of_ours_is_left_out(seen: tuple[dict[str, object], str]) -> None:
    found, log = seen
    assert found["tpe"] == "Tree-structured Parzen estimator (Bergstra et al. 2011)."
    assert "WARNING the sampler 'tpe' of entry point strange:TPE is left out: the name is taken" in log


def test_what_cannot_be_loaded_is_left_out(seen: tuple[dict[str, object], str]) -> None:
    _found, log = seen
    for name in ("NOTHING", "failing", "missing"):
        assert f"WARNING the entry point strange:{name} of group tunesmith.samplers is left out" in log
    assert "SystemError: no licence" in log
