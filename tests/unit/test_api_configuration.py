"""The configuration of an application of sessions: what it takes, what it refuses, and the example that ships."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunesmith import InvalidSettings
from tunesmith.plugins import find_plugin
from tunesmith.scenarios import Algorithm, ApiConfiguration, DataSource, EtlFactory, Integer, Kpi, build_example_config


class Quick(Algorithm):
    def run(self, data: Any, progress: Any) -> Any:
        return 1


class Needy(Algorithm):
    size = Integer(min=1)

    def run(self, data: Any, progress: Any) -> Any:
        return self.size


class Cost(Kpi):
    better_when = "LOWER"

    def compute(self, result: Any, data: Any) -> float:
        return float(result)


CONFIGURATION = ApiConfiguration(algorithms=[Quick])


def configuration(**arguments: Any) -> ApiConfiguration:
    return ApiConfiguration(**{"etl_factory": EtlFactory, "kpis": [Cost], "algorithms": [Quick, Needy], **arguments})


class TestArguments:
    def test_the_arguments_of_the_quick_start_are_taken(self) -> None:
        made = ApiConfiguration(
            etl_factory=EtlFactory,
            kpis={"cost": Cost},
            algorithms={"quick": Quick},
            schemas=[],
            data_object_type=DataSource,
            has_persistent_state=True,
            data_path="data",
            autocreate=False,
            autorun=False,
        )
        assert (made.host, made.port, made.prefix, made.max_parallel) == ("127.0.0.1", 8051, "/api/v1", 1)
        assert list(made.plugin.named_algorithms()) == ["quick"]
        assert made.plugin.data_source is DataSource

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"algorithms": [Cost]}, "ApiConfiguration: Cost is no algorithm"),
            ({"kpis": [Cost, Cost]}, "ApiConfiguration: 'Cost' stands there twice"),
            ({"port": 70000}, "ApiConfiguration: port=70000; give an integer from 0 to 65535"),
            ({"port": "8051"}, "port='8051'; give an integer"),
            ({"max_parallel": True}, "max_parallel=True; give an integer from 1"),
            ({"max_parallel": 0}, "max_parallel=0; give an integer from 1"),
            ({"autorun": "yes"}, "autorun='yes'; give True or False"),
            ({"prefix": "api"}, "prefix='api'; begin with a slash and end without one"),
            ({"prefix": "/api/"}, "prefix='/api/'; begin with a slash and end without one"),
            ({"host": ""}, "host=''; give a text"),
            ({"data_path": None}, "data_path=None; give the path of a directory"),
            ({"cors_origins": "https://a.example"}, "give a list of origins"),
            ({"cors_origins": ["https://a.example/"]}, r"give origins: scheme and host without a path, or \*"),
            ({"datasets": ["data"]}, "datasets='data'; give a list of DataSource objects"),
            ({"datasets": [DataSource("a"), DataSource("a")]}, "datasets: 'a' stands there twice"),
            ({"default_algo": "Quikc"}, r"default_algo: No algorithm is called \"Quikc\" \(did you mean 'Quick'\?\)"),
            ({"default_algo": "Needy"}, "default_algo: Needy.size is required"),
            (
                {"default_algo": "Needy", "default_algo_params_values": {"size": 0}},
                "default_algo: Needy.size: 0 is below 1",
            ),
            ({"default_algo_params_values": {"size": 1}}, "default_algo_params_values belong to default_algo"),
            ({"algorithms": [Needy], "autocreate": True}, "autocreate finds no algorithm without required parameters"),
        ],
    )
    def test_an_argument_that_cannot_be_is_named_with_its_remedy(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidSettings, match=message):
            configuration(**arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"prefix": ""},
            {"cors_origins": ["*"]},
            {"cors_origins": ["https://a.example", "http://localhost:3000"]},
            {"data_path": Path("data")},
            {"autocreate": True, "autorun": True},
            {"default_algo": "Needy", "default_algo_params_values": {"size": 1}},
            {"etl_factory": EtlFactory()},
        ],
    )
    def test_what_can_be_is_taken(self, arguments: dict[str, Any]) -> None:
        made = configuration(**arguments)
        assert all(getattr(made, name) == value for name, value in arguments.items())

    def test_it_is_a_plugin_too(self) -> None:
        assert find_plugin(f"{__name__}:CONFIGURATION") is CONFIGURATION.plugin


class TestExample:
    def test_it_has_what_the_contract_says(self) -> None:
        made = build_example_config()
        algorithms = made.plugin.named_algorithms()
        assert list(algorithms) == ["Instant", "Slow"]
        assert [found.descriptor(name) for name, found in algorithms["Slow"].parameters().items()] == [
            {"name": "duration", "type": "integer", "required": False, "value": 1, "default": 1, "min": 1, "max": 60}
        ]
        assert list(made.plugin.named_kpis()) == ["Delay"]
        assert [dataset.name for dataset in made.datasets] == ["example_data"]

    @pytest.mark.parametrize(("name", "low", "high"), [("Instant", 0.0, 0.0), ("Slow", 1.0, 1.5)])
    def test_its_algorithms_give_a_result_that_json_holds_and_a_delay(self, name: str, low: float, high: float) -> None:
        made, told = build_example_config(), [0.0]
        (data,), (delay,) = made.datasets, made.plugin.named_kpis().values()
        algorithm = made.plugin.named_algorithms()[name].make({})
        result = algorithm.run(data, lambda percent, message=None: told.append(percent))
        assert json.loads(json.dumps(result))["tables"] == data.list_tables()
        assert low <= delay.compute(result, data) <= high
        assert told == sorted(told)
        assert told[-1] <= 100


def test_a_plugin_is_imported_without_what_it_does_not_use() -> None:
    code = (
        "import sys, tunesmith\n"
        "from tunesmith.scenarios import Algorithm, Integer, Kpi, Plugin\n"
        "print([name for name in ('pandas', 'pyarrow', 'pandera', 'duckdb', 'fastapi', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_exported_name_is_there_and_sorted() -> None:
    from tunesmith import scenarios

    assert scenarios.__all__ == sorted(scenarios.__all__)
    assert dir(scenarios) == scenarios.__all__
    assert all(getattr(scenarios, name) is not None for name in scenarios.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = scenarios.nonsense
