"""Scenarios side by side: a row per KPI, a column per scenario, the best ones marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunesmith.domain import ComparedKpi, ComparedScenario, Comparison, KpiSpec, Scenario, Session, metric_name
from tunesmith.schemas.words import SCENARIO_WORDS
from tunesmith.services.scenarios import measured_by
from tunesmith.store import Tx

if TYPE_CHECKING:
    from tunesmith.plugins import Registry


def compare(tx: Tx, registry: Registry, session: Session, ids: Sequence[str]) -> Comparison:
    """Scenarios of a session, in the order of their ids; one that has no value of a KPI has None.

    Values of a KPI that was declared anew in between are not of one kind: they stand in rows of their own.

    Raises:
        ScenarioNotFound: the session has none of an id.
    """
    found = [tx.scenario(session.id, scenario_id) for scenario_id in dict.fromkeys(ids)]
    measured = [(scenario, measured_by(registry, scenario)) for scenario in found]
    kpis = dict.fromkeys(kpi for _scenario, specs in measured for kpi in specs)
    return Comparison(
        scenarios=tuple(
            ComparedScenario(id=scenario.id, tag=scenario.tag, status=SCENARIO_WORDS[scenario.state])
            for scenario in found
        ),
        rows=tuple(_row(kpi, measured) for kpi in kpis),
    )


def _row(kpi: KpiSpec, measured: Sequence[tuple[Scenario, tuple[KpiSpec, ...]]]) -> ComparedKpi:
    metric = metric_name(kpi.name)
    values = {scenario.id: scenario.metrics.get(metric) if kpi in specs else None for scenario, specs in measured}
    return ComparedKpi(
        kpi=kpi.name,
        unit=kpi.unit,
        better_when=kpi.better_when,
        threshold=kpi.threshold,
        values=values,
        best=_best(kpi, values),
    )


def _best(kpi: KpiSpec, values: Mapping[str, float | None]) -> tuple[str, ...]:
    known = [value for value in values.values() if value is not None]
    if not known:
        return ()
    best = max(known) if kpi.direction == "maximize" else min(known)
    return tuple(scenario_id for scenario_id, value in values.items() if value == best)
