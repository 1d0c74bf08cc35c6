"""Plugins: what one may hold, how it is found by its reference, and what a registry makes of several."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tunesmith import AlgorithmNotFound, InvalidSettings, ModelNotFound, model
from tunesmith.plugins import Registry, find_plugin
from tunesmith.scenarios import Algorithm, DataSource, EtlFactory, Integer, Kpi, Plugin, Schema


class Quick(Algorithm):
    def run(self, data: Any, progress: Any) -> Any:
        return 1


class Thorough(Algorithm):
    name = "thorough search"
    rounds = Integer(default=3)

    def run(self, data: Any, progress: Any) -> Any:
        return self.rounds


class Cost(Kpi):
    better_when = "LOWER"

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold

    def compute(self, result: Any, data: Any) -> float:
        return float(result)


@model(id="doubling", params={"times": [1, 2]})
def doubling(inputs: dict[str, Any], progress: Any) -> list[dict[str, Any]]:
    return []


PLUGIN = Plugin(algorithms=[Quick, Thorough], kpis=[Cost], models=[doubling])
LISTED = [Quick, Cost, Cost(5), doubling]
SEVERAL = (Quick, Cost, doubling)
NUMBER = 7


def make_plugin() -> Plugin:
    return PLUGIN


def make_trouble() -> Plugin:
    raise LookupError("no licence")


class Nested:
    plugin = PLUGIN


class TestPlugin:
    @pytest.mark.parametrize(
        "given", [[Quick, Thorough], (Quick(), Thorough), {"Quick": Quick, "thorough search": Thorough()}]
    )
    def test_algorithms_are_classes_or_instances_or_named_ones(self, given: Any) -> None:
        assert Plugin(algorithms=given).named_algorithms() == {"Quick": Quick, "thorough search": Thorough}

    def test_the_name_of_a_mapping_counts(self) -> None:
        plugin = Plugin(algorithms={"a": Quick, "b": Quick}, kpis={"total": Cost, "limited": Cost(3)})
        assert plugin.named_algorithms() == {"a": Quick, "b": Quick}
        assert [(kpi.name, kpi.threshold) for kpi in plugin.named_kpis().values()] == [("total", None), ("limited", 3)]
        assert Cost.name == "Cost"

    def test_a_kpi_is_an_instance_of_its_own(self) -> None:
        cost = Cost(5)
        (found,) = Plugin(kpis={"limited": cost}).named_kpis().values()
        assert (found.name, found.threshold, cost.name) == ("limited", 5, "Cost")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"algorithms": [Quick, Quick]}, "'Quick' stands there twice"),
            ({"algorithms": Quick}, "Quick is no list; put it into one"),
            ({"algorithms": [Cost]}, "Cost is no algorithm; derive it from tunesmith.scenarios.Algorithm"),
            ({"algorithms": [7]}, "an object of class int is no algorithm"),
            ({"algorithms": [type("Empty", (Algorithm,), {})]}, "Empty has no run; write def run"),
            ({"algorithms": [type("Picky", (Quick,), {"__init__": lambda self, speed: None})]},
             "Picky.__init__ needs arguments; give each a default"),
            ({"kpis": [Quick]}, "Quick is no KPI; derive it from tunesmith.scenarios.Kpi"),
            ({"kpis": [type("Empty", (Kpi,), {"better_when": "LOWER"})]}, "Empty has no compute"),
            ({"kpis": {"total cost": Cost, "total_cost": Cost}}, "the KPI 'total cost' is kept as total_cost"),
            ({"kpis": {"wall_time_s": Cost}}, "the KPI 'wall_time_s' is kept as wall_time_s"),
            ({"kpis": [type("Picky", (Cost,), {"__init__": lambda self, limit: None})]}, "Picky.__init__ needs"),
            ({"algorithms": {"a/b": Quick}}, "'a/b' is no name for Quick; give a text of 1 to 200 characters"),
            ({"schemas": ["shops"]}, "an object of class str is no schema"),
            ({"etl_factory": Quick}, "the etl_factory is Quick; derive it from tunesmith.scenarios.EtlFactory"),
            ({"data_source": dict}, "the data_source is dict; derive it from tunesmith.scenarios.DataSource"),
            ({"data_source": DataSource("a")}, "the data_source is an object of class DataSource; give its class"),
            ({"models": [Quick]}, "Quick is no model; make one with @tunesmith.model"),
            ({"models": [doubling, doubling]}, "'doubling' stands there twice"),
        ],
    )  # fmt: skip
    def test_what_it_must_not_hold_is_refused_when_it_is_made(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Plugin(**fields)

    def test_one_that_was_made_in_code_can_be_shipped(self) -> None:
        shipped = cloudpickle.loads(cloudpickle.dumps(PLUGIN))
        assert shipped.named_algorithms() == PLUGIN.named_algorithms()
        assert shipped.named_models()["doubling"].settle({}) == {"times": 1}


class TestFinding:
    def test_it_is_found_by_its_reference(self) -> None:
        assert find_plugin(f"{__name__}:PLUGIN") is PLUGIN
        assert find_plugin(f"{__name__}:make_plugin") is PLUGIN
        assert find_plugin(f"{__name__}:Nested.plugin") is PLUGIN

    def test_a_class_a_model_or_a_list_of_them_is_one_too(self) -> None:
        assert find_plugin(f"{__name__}:Quick").named_algorithms() == {"Quick": Quick}
        assert list(find_plugin(f"{__name__}:Cost").named_kpis()) == ["Cost"]
        assert find_plugin(f"{__name__}:doubling").named_models() == {"doubling": doubling}
        found = find_plugin(f"{__name__}:SEVERAL")
        assert (*found.named_algorithms(), *found.named_kpis(), *found.named_models()) == ("Quick", "Cost", "doubling")

    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            ("", 'plugin "": write package.module:object'),
            ("package.module", "write package.module:object"),
            (f"{__name__}:", "write package.module:object"),
            ("a b:c", "write package.module:object"),
            ("nowhere.at_all:plugin", "there is no module 'nowhere'; install it, or put the directory"),
            ("tunesmith.nowhere:plugin", "there is no module 'tunesmith.nowhere'"),
            (f"{__name__}:PLUGIM", r"there is no 'PLUGIM' in it \(did you mean 'PLUGIN'\?\)"),
            (f"{__name__}:NUMBER", "an object of class int is no plugin; give a Plugin, an ApiConfiguration, a Model"),
            (f"{__name__}:Nested", "Nested is no plugin"),
            (f"{__name__}:LISTED", "'Cost' stands there twice"),
            (f"{__name__}:make_trouble", r"LookupError: no licence \(.*test_plugin_finding.py, line \d+\)"),
        ],
    )
    def test_a_reference_that_leads_nowhere_is_explained(self, reference: str, message: str) -> None:
        with pytest.raises(InvalidSettings, match=message):
            find_plugin(reference)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("import surely_not_installed", "{name} needs surely_not_installed; install that"),
            ("1 / 0", r"importing {name} failed: ZeroDivisionError: division by zero \(.*{name}.py, line 1\)"),
            ("raise SystemExit(3)", "importing {name} failed: SystemExit: 3"),
            ("def f(:", "importing {name} failed: SyntaxError"),
        ],
    )
    def test_a_module_that_cannot_be_imported_is_explained(
        self, source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = f"broken_{abs(hash(source))}"
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(InvalidSettings, match=message.format(name=name)):
            find_plugin(f"{name}:plugin")


class TestRegistry:
    def test_everything_is_known_by_name_with_the_place_to_find_it(self) -> None:
        registry = Registry.of(PLUGIN, "somewhere:PLUGIN")
        known = registry.algorithm("thorough search")
        assert (known.item, known.reference) == (Thorough, "somewhere:PLUGIN")
        assert registry.model("doubling").item is doubling
        assert list(registry.kpis) == ["Cost"]
        assert registry.references == ("somewhere:PLUGIN",)

    def test_an_unknown_name_is_told_the_nearest(self) -> None:
        registry = Registry.of(PLUGIN, "somewhere:PLUGIN")
        with pytest.raises(AlgorithmNotFound, match=r'"Quikc" \(did you mean \'Quick\'\?\); known: Quick, thorough'):
            registry.algorithm("Quikc")
        with pytest.raises(ModelNotFound, match=r"\(did you mean 'doubling'\?\); known: doubling"):
            registry.model("doublin")
        with pytest.raises(ModelNotFound, match="known: none"):
            Registry({}).model("doubling")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            (
                {"algorithms": [Quick]},
                "a:A and b:B both bring the algorithm 'Quick'; rename one, or leave one plugin out",
            ),
            ({"kpis": [Cost]}, "both bring the KPI 'Cost'"),
            ({"models": [doubling]}, "both bring the model 'doubling'"),
            ({"schemas": [Schema("shops", [])]}, "both bring the schema of 'shops'"),
            ({"etl_factory": EtlFactory}, "each bring a etl_factory; only one plugin may"),
            ({"data_source": DataSource}, "a:A and b:B each bring a data_source; only one plugin may"),
        ],
    )
    def test_two_plugins_must_not_bring_the_same(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidSettings, match=message):
            Registry({"a:A": Plugin(**fields), "b:B": Plugin(**fields)})


PROGRAM = """
import json
from tunesmith.errors import InvalidSettings
from tunesmith.plugins import Registry

registry = Registry.load(["more:PLUGIN", "offered:PLUGIN"])
try:
    Registry.load(["again:PLUGIN"])
except InvalidSettings as error:
    refusal = error.message
print(json.dumps({
    "algorithms": {name: known.reference for name, known in registry.algorithms.items()},
    "models": list(registry.models), "refusal": refusal,
}))
"""
OFFERED = """
from tunesmith.scenarios import Algorithm, Plugin

class {name}(Algorithm):
    def run(self, data, progress):
        return 1

PLUGIN = Plugin(algorithms=[{name}])
"""


def test_plugins_of_installed_distributions_are_loaded_with_those_that_are_named(tmp_path: Path) -> None:
    for module, name in (("offered", "Offered"), ("more", "More"), ("again", "Offered")):
        (tmp_path / f"{module}.py").write_text(OFFERED.format(name=name))
    info = tmp_path / "offered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tunesmith.plugins]\nanything = offered:PLUGIN\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["algorithms"] == {"Offered": "offered:PLUGIN", "More": "more:PLUGIN"}
    assert {"linear_reg", "xgb_forecast", "simulator"} <= set(found["models"])
    assert found["refusal"].startswith("offered:PLUGIN and again:PLUGIN both bring the algorithm 'Offered'")
