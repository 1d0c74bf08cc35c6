"""A run of an algorithm, in the child: its dataset, its result, and what the KPIs say of it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuners.hosting import plugins
from tuners.hosting.measuring import measured
from tuners.hosting.results import to_json
from tuners.hosting.tasks import AlgorithmTask, TaskFailed, Voice, said
from tunesmith.data import DataSource
from tunesmith.domain import metric_name
from tunesmith.errors import TunesmithError
from tunesmith.scenarios import Algorithm, Kpi

RESULT = "result.json"


def run(task: AlgorithmTask, voice: Voice) -> dict[str, float]:
    """Run it. Raises TaskFailed, and whatever the algorithm raises."""
    algorithm, kpis, kind = _loaded(task)
    data = _data(task, kind)
    os.chdir(task.directory)
    voice.begin(type(algorithm).timeout_s, "the algorithm's timeout_s")
    with measured() as metrics:
        result = algorithm.run(data, voice.progress)
    keep(task.directory, to_json(result))
    for name, kpi in kpis.items():
        voice.now(f"KPI {name!r}")
        metrics[metric_name(name)] = _value(kpi, name, result, data)
    return metrics


def keep(directory: str, result: bytes) -> None:
    """Write a result; who reads it meanwhile sees none, or all of it."""
    partial = Path(directory, f"{RESULT}.partial")
    partial.write_bytes(result)
    partial.replace(Path(directory, RESULT))


def _loaded(task: AlgorithmTask) -> tuple[Algorithm, Mapping[str, Kpi], type[DataSource]]:
    found = load(task.plugin, task.artifacts)
    missing = [name for name in task.kpis if name not in found.kpis]
    if missing:
        raise TaskFailed(f"the plugin {task.plugin} has no KPI {missing[0]!r} any more")
    if task.name not in found.algorithms:
        raise TaskFailed(f"the plugin {task.plugin} has no algorithm {task.name!r} any more")
    algorithm = found.algorithms[task.name].item.make(task.parameters)
    return algorithm, {name: found.kpis[name].item for name in task.kpis}, found.data_source


def load(plugin: str, artifacts: str) -> Any:
    """What a plugin has. Raises TaskFailed when it cannot be loaded."""
    try:
        return plugins.registry(plugin, artifacts)
    except TunesmithError as error:
        raise TaskFailed(f"the plugin {plugin} could not be loaded: {error}") from error
    except (Exception, SystemExit) as error:
        raise TaskFailed(f"the plugin {plugin} could not be loaded: {said(error)}") from error


def _data(task: AlgorithmTask, kind: type[DataSource]) -> DataSource:
    if task.files is None:
        data = kind("nothing")
    else:
        try:
            data = plugins.dataset(task.files, task.artifacts, kind)
        except TunesmithError as error:
            raise TaskFailed(f"the dataset could not be read: {error}") from error
    return data.with_parameters(task.data_parameters)


def _value(kpi: Kpi, name: str, result: Any, data: DataSource) -> float:
    try:
        value: Any = kpi.compute(result, data)
    except (Exception, SystemExit) as error:
        raise TaskFailed(f"KPI {name!r}: {said(error)}") from error
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, str | bytes) or not math.isfinite(number):
        raise TaskFailed(f"KPI {name!r} gave {value!r:.80}, which is no finite number")
    return number
