"""Scenarios side by side: a row per KPI, a column per scenario, the best ones marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunesmith.domain import ComparedKpi, ComparedScenario, Comparison, Scenario, Session, metric_name
from tunesmith.schemas.words import SCENARIO_WORDS
from tunesmith.services.scenarios import kpis_of
from tunesmith.store import Tx

if TYPE_CHECKING:
    from tunesmith.plugins import Registry
    from tunesmith.scenarios import Kpi


def compare(tx: Tx, registry: Registry, session: Session, ids: Sequence[str]) -> Comparison:
    """Scenarios of a session, in the order of their ids; one that has no value of a KPI has None.

    Raises:
        ScenarioNotFound: the session has none of an id.
    """
    found = [tx.scenario(session.id, scenario_id) for scenario_id in dict.fromkeys(ids)]
    kpis = {kpi.name: kpi for scenario in found for kpi in kpis_of(registry, scenario.algorithm)}
    return Comparison(
        scenarios=tuple(
            ComparedScenario(id=scenario.id, tag=scenario.tag, status=SCENARIO_WORDS[scenario.state])
            for scenario in found
        ),
        rows=tuple(_row(kpi, found) for kpi in kpis.values()),
    )


def _row(kpi: Kpi, found: Sequence[Scenario]) -> ComparedKpi:
    values = {scenario.id: scenario.metrics.get(metric_name(kpi.name)) for scenario in found}
    return ComparedKpi(
        kpi=kpi.name,
        unit=kpi.unit,
        better_when=kpi.better_when,
        threshold=kpi.threshold,
        values=values,
        best=_best(kpi, values),
    )


def _best(kpi: Kpi, values: Mapping[str, float | None]) -> tuple[str, ...]:
    known = [value for value in values.values() if value is not None]
    if not known:
        return ()
    best = max(known) if kpi.direction == "maximize" else min(known)
    return tuple(scenario_id for scenario_id, value in values.items() if value == best)
