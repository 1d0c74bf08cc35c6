"""An analysis from question to bytes, and what tells one answer from the next."""

from __future__ import annotations

import hashlib
import time

from sqlalchemy import func, select

from tuners.analysis.material import read
from tuners.analysis.query import KINDS, Query, check, lacking, misfit
from tunesmith import __version__
from tunesmith.domain import Experiment, TrialState
from tunesmith.optuna.reading import uncollected
from tunesmith.schemas.analysis import AnalysesAnswer, AnalysisKind
from tunesmith.store import Store, Tx
from tunesmith.store.tables import experiments, jobs, measurements, trials

RUNNING_S = 5.0
"""Seconds for which a figure is the same whose bars grow while trials run."""


def look(store: Store, experiment_id: int, query: Query) -> tuple[Experiment, str]:
    """The experiment, and the name of the answer: another one as soon as the answer may be another.

    Raises:
        ExperimentNotFound: there is none.
        BadRequest: the analysis does not fit it.
    """
    with store.read() as tx:
        experiment = tx.experiment(experiment_id)
        check(experiment, query)
        stamp = _stamp(tx, experiment, query)
    said = "\n".join((__version__, experiment.model_dump_json(), repr(query), stamp))
    return experiment, hashlib.sha256(said.encode()).hexdigest()[:32]


def answer(store: Store, experiment: Experiment, query: Query) -> bytes:
    """The analysis as JSON. The database is let go before anything is reckoned.

    Raises:
        BadRequest: a parameter is in no trial, or there are too few trials.
    """
    # Late: the service starts without Plotly and all that comes with it.
    from tuners.analysis.figures import figure
    from tuners.analysis.traces import traces

    with uncollected():
        with store.read() as tx:
            found = read(tx, experiment, query)
        if query.form == "plotly":
            return str(figure(found).to_json(engine="json")).encode()
        return traces(found).model_dump_json().encode()


def kinds(tx: Tx, experiment: Experiment) -> AnalysesAnswer:
    """Every analysis, and whether it fits the experiment."""
    reasons = {kind: misfit(experiment, kind) or lacking(experiment, kind) for kind in KINDS}
    reported = select(measurements.c.step).where(measurements.c.experiment_id == experiment.id).limit(1)
    if tx.connection.execute(reported).first() is None:
        reasons["intermediate_values"] = "no trial has reported an intermediate value yet"
    return AnalysesAnswer(
        analyses=tuple(
            AnalysisKind(
                kind=kind,
                description=known.description,
                url=f"/api/v1/experiments/{experiment.id}/analysis/{kind}",
                fits=reasons[kind] is None,
                reason=reasons[kind],
            )
            for kind, known in KINDS.items()
        )
    )


def _stamp(tx: Tx, experiment: Experiment, query: Query) -> str:
    """What changes when a trial does, beside the experiment's counters; no query here reads finished trials."""
    following = select(experiments.c.next_number).where(experiments.c.id == experiment.id)
    recorded = select(func.sum(jobs.c.next_seq)).where(jobs.c.experiment_id == experiment.id)
    mine = (trials.c.experiment_id == experiment.id, trials.c.state == TrialState.RUNNING.value)
    running = select(func.sum(trials.c.number), func.sum(trials.c.attempt), func.max(trials.c.started_at)).where(*mine)
    parts = [tx.connection.scalar(following), tx.connection.scalar(recorded), *tx.connection.execute(running).one()]
    if query.kind == "intermediate_values" and experiment.counts[TrialState.RUNNING]:
        reported = select(func.count(), func.sum(measurements.c.step), func.sum(measurements.c.value)).where(
            measurements.c.experiment_id == experiment.id,
            measurements.c.number.in_(select(trials.c.number).where(*mine)),
        )
        parts += tx.connection.execute(reported).one()
    if query.kind == "timeline" and query.form == "plotly" and experiment.counts[TrialState.RUNNING]:
        parts.append(int(time.time() / RUNNING_S))
    return repr(parts)
