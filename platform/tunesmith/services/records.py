"""Records: whole trials in and out of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.domain import Experiment, ExperimentSpec, ExternalTool, Objective, Space, Trial
from tunesmith.errors import Conflict, ExperimentArchived
from tunesmith.schemas.fitting import Frame
from tunesmith.schemas.records import Record, RecordsRequest
from tunesmith.store import Tx


@dataclass(frozen=True)
class Added:
    """What came of adding records."""

    count: int
    first_number: int | None
    outside: int


def add(tx: Tx, experiment_id: int, asked: RecordsRequest) -> Added:
    """Add trials to an experiment, all of them or none.

    Raises:
        ExperimentNotFound: there is no such experiment.
        ExperimentArchived: it takes no more.
        InvalidBody: a record does not fit the experiment.
        Conflict: a number that is to be kept is taken.
        QuotaExceeded: the workspace may not have so many trials.
    """
    tx.lock_experiment(experiment_id)
    experiment = tx.experiment(experiment_id)
    if experiment.archived:
        raise ExperimentArchived(experiment_id=experiment_id)
    spec, records = experiment.spec, asked.records
    tx.check_trials(len(records))
    outside = Frame(spec.objectives, None if spec.define_by_run else spec.space).check(records)
    numbers = _numbers(tx, experiment_id, records, asked.keep_numbers)
    trials = [_trial(experiment_id, number, record) for number, record in zip(numbers, records, strict=True)]
    measured = {
        number: [(m.metric, m.step, m.value) for m in record.intermediate_values]
        for number, record in zip(numbers, records, strict=True)
    }
    tx.add_records(experiment, trials, measured)
    if asked.user_attrs or asked.system_attrs:
        tx.note_study(experiment, asked.user_attrs, asked.system_attrs)
    return Added(len(records), numbers[0] if numbers else None, outside)


def new_study(tx: Tx, name: str, objectives: tuple[Objective, ...]) -> Experiment:
    """Make an experiment whose trials ask for their parameters while they run. Raises Conflict: the name is taken."""
    tool = ExternalTool(study=name)
    spec = ExperimentSpec(tool_name=name[:200], tool=tool, space=Space(parameters=()), objectives=objectives)
    made = tx.create_study(tx.workspace(), name, spec)
    if made is None:
        raise Conflict(f"name: a study is called {name!r} already; choose another name", name=name)
    return tx.experiment(made)


def _numbers(tx: Tx, experiment_id: int, records: Sequence[Record], keep: bool | None) -> list[int]:
    following = tx.next_number(experiment_id)
    if keep is None:
        keep = following == 0
    if not records:
        return []
    if not keep:
        first = tx.reserve_numbers(experiment_id, len(records))
        return list(range(first, first + len(records)))
    taken = [(index, record.number) for index, record in enumerate(records) if record.number < following]
    if taken:
        index, number = taken[0]
        raise Conflict(
            f"records.{index}.number: {number} is taken, the next free one is {following}; "
            'set "keep_numbers": false for new ones',
            number=number,
        )
    return [record.number for record in records]


def _trial(experiment_id: int, number: int, record: Record) -> Trial:
    fields = {name: getattr(record, name) for name in Trial.model_fields if name in Record.model_fields}
    fields |= {"user_attrs": record.user_attrs or None, "system_attrs": record.system_attrs or None}
    return Trial.model_construct(
        **(fields | {"experiment_id": experiment_id, "number": number, "job_id": None, "run_number": None})
    )
