"""Scenarios as they are shown: with their KPIs, and with the results that their runs left in the storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_app.context import Context
from tunesmith.domain import JobState, Scenario, metric_name
from tunesmith.plugins import Registry
from tunesmith.schemas.scenarios import ScenarioAnswer
from tunesmith.services.scenarios import measured_by
from tunesmith.storage import Storage, trial_key


def shown(registry: Registry, scenario: Scenario) -> ScenarioAnswer:
    """A scenario with its KPIs, without what the algorithm returned."""
    values = {
        kpi.name: kpi.shown(scenario.metrics.get(metric_name(kpi.name))) for kpi in measured_by(registry, scenario)
    }
    return ScenarioAnswer.showing(scenario, values)


def with_result(here: Context, scenario: Scenario) -> Iterator[bytes]:
    """The JSON of a scenario with its result, which goes as it lies there. Raises StorageUnavailable."""
    head = shown(here.registry, scenario).model_dump_json().encode()
    if scenario.state is not JobState.SUCCEEDED:
        yield head
        return
    chunks = _result(here.storage, scenario)
    yield head.removesuffix(b"null}") + next(chunks, b"null")
    yield from chunks
    yield b"}"


def all_with_results(here: Context, scenarios: Sequence[Scenario]) -> Iterator[bytes]:
    """The JSON array of scenarios with their results, one after the other. Raises StorageUnavailable."""
    before = b"["
    for scenario in scenarios:
        chunks = with_result(here, scenario)
        yield before + next(chunks)
        yield from chunks
        before = b","
    yield b"]" if scenarios else b"[]"


def _result(storage: Storage, scenario: Scenario) -> Iterator[bytes]:
    if scenario.experiment_id is None or scenario.trial_number is None:
        return iter(())
    return storage.read(f"{trial_key(scenario.experiment_id, scenario.trial_number)}/result.json")
