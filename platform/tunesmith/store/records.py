"""Queries on records: trials with their intermediate values, read by the page and added by the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select, update

from tunesmith.domain import Experiment, Measurement, Page, Trial
from tunesmith.domain.page import encode_cursor
from tunesmith.store.recording import RecordingQueries
from tunesmith.store.rows import measurement_of
from tunesmith.store.tables import experiments, measurements
from tunesmith.store.trials import TrialQueries

MAX_MEASUREMENTS = 100_000
"""Intermediate values of a page, at most, unless a single trial has more."""
Measured = tuple[str, int, float]
"""(metric, step, value) of an intermediate value; NaN is one too."""


class RecordQueries(TrialQueries, RecordingQueries):
    """Queries on records."""

    def records(
        self, experiment: Experiment, cursor: str | None, limit: int
    ) -> Page[tuple[Trial, Sequence[Measurement]]]:
        """A page of trials by number, each with its intermediate values by metric and step. Raises InvalidCursor."""
        page = self.trials(experiment, cursor=cursor, limit=limit)
        if not page.items:
            return Page([], None)
        numbers = [trial.number for trial in page.items]
        rows = self._measured(experiment.id, numbers[0], numbers[-1], MAX_MEASUREMENTS + 1)
        kept, following = len(numbers), page.next_cursor
        if len(rows) > MAX_MEASUREMENTS:  # the last of them may have more: it opens the next page
            kept = max(1, sum(number < rows[-1].number for number in numbers))
            following = encode_cursor(numbers[kept - 1]) if kept < len(numbers) else following
            if rows[-1].number == numbers[0]:
                rows = self._measured(experiment.id, numbers[0], numbers[0])
        of: dict[int, list[Measurement]] = {}
        for row in rows:
            of.setdefault(row.number, []).append(measurement_of(row))
        for reported in of.values():  # not by the database, which may sort texts by the rules of a language
            reported.sort(key=lambda measurement: (measurement.metric, measurement.step))
        return Page([(trial, of.get(trial.number, ())) for trial in page.items[:kept]], following)

    def add_records(
        self, experiment: Experiment, found: Sequence[Trial], measured: Mapping[int, Sequence[Measured]]
    ) -> None:
        """Add trials under numbers that are free, and what they reported: number -> (metric, step, value).

        Raises:
            ValueError: a trial has not one value per objective.
        """
        self.write_trials(experiment, found)
        rows = [
            {
                "experiment_id": experiment.id,
                "number": number,
                "metric": metric,
                "step": step,
                "value": None if math.isnan(value) else value,
            }
            for number, reported in measured.items()
            for metric, step, value in reported
        ]
        if rows:
            self.connection.execute(self.insert(measurements), rows)

    def note_study(self, experiment: Experiment, user: Mapping[str, Any], system: Mapping[str, Any]) -> None:
        """Note something about an experiment, as a study has it, beside what was noted before."""
        changes = {
            "user_attrs": {**(experiment.user_attrs or {}), **user},
            "system_attrs": {**(experiment.system_attrs or {}), **system},
        }
        self.connection.execute(update(experiments).where(experiments.c.id == experiment.id).values(changes))

    def _measured(self, experiment_id: int, first: int, last: int, limit: int | None = None) -> Sequence[Row[Any]]:
        query = (
            select(measurements)
            .where(measurements.c.experiment_id == experiment_id, measurements.c.number.between(first, last))
            .order_by(measurements.c.number)
            .limit(limit)
        )
        return self.connection.execute(query).all()
