"""Sessions, their datasets and scenarios, and runs of models: experiments of one point under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from tunesmith.domain.job import JobState
from tunesmith.domain.tool import KpiSpec
from tunesmith.domain.value import Time, Value


class Session(Value):
    """A workspace of datasets, and of scenarios over them."""

    id: str
    """A UUID; it stays when the session is renamed."""
    workspace_id: str
    """The workspace it belongs to."""
    display_name: str
    """Unique in its workspace; stands for the id in every path."""
    max_parallel: int = 1
    """Scenarios that run at once, at most."""
    created_at: Time
    """When it was made."""


class TableInfo(Value):
    """What is known of a dataset's table without reading it."""

    name: str
    """The table's name."""
    columns: tuple[str, ...]
    """Its columns, in order."""
    dtypes: Mapping[str, str]
    """Column -> pandas' name of its type."""
    rows: int
    """How many rows it has."""


class Dataset(Value):
    """A set of tables; a change is another version under other keys, so that no reader sees half of one."""

    id: str
    """A UUID."""
    session_id: str
    """The session it belongs to."""
    key: str
    """Its name, unique in the session."""
    type: Literal["master", "derived", "dummy"] = "master"
    """Where it comes from."""
    files: str
    """Key prefix of this version's tables in the artefact storage: `{files}/{number}.parquet`, in the tables' order."""
    tables: tuple[TableInfo, ...]
    """Its tables, in order."""
    metadata: Mapping[str, JsonValue]
    """The document's `metadata` as it came: id, creation_datetime, and what else stood there."""
    bytes: int
    """What its tables take in the storage."""
    created_at: Time
    """When this version was stored."""


class Scenario(Value):
    """An algorithm with its parameters on a dataset, and where its run stands."""

    id: str
    """A UUID."""
    session_id: str
    """The session it belongs to."""
    tag: str
    """Its name, unique in the session."""
    dataset_id: str
    """The dataset it is computed on."""
    dataset_key: str
    """What that is called."""
    algorithm: str
    """The algorithm's name."""
    parameters: Mapping[str, JsonValue]
    """Every parameter of the algorithm, defaults included."""
    data_parameters: Mapping[str, JsonValue]
    """The dataset's own knobs."""
    experiment_id: int | None = None
    """The experiment of one point that it is, once it was asked to run."""
    job_id: str | None = None
    """Its run; None before the first one, and after a reset."""
    state: JobState = JobState.CREATED
    """Where its run stands; one that waits for its turn in the session is queued."""
    waits: bool = False
    """Whether its run waits for its turn: it begins with the end of another one."""
    progress: int = 0
    """Percent of the run that is done."""
    error: str | None = None
    """Why the run failed."""
    metrics: Mapping[str, float] = {}
    """What its KPIs, and the run itself, measured."""
    kpis: tuple[KpiSpec, ...] = ()
    """The KPIs of its run, as they were declared when that was asked for."""
    trial_number: int | None = None
    """The trial that its result and log lie under."""
    created_at: Time
    """When it was made."""
    started_at: Time | None = None
    """When its run began."""
    ended_at: Time | None = None
    """When its run ended."""


class Standing(Value):
    """Where a scenario stands, and no more: what is asked for again and again."""

    id: str
    """The scenario's UUID."""
    tag: str
    """Its name."""
    state: JobState
    """Where its run stands; one that waits for its turn in the session is queued."""
    progress: int
    """Percent of the run that is done."""


class ComparedScenario(Value):
    """A column of a comparison."""

    id: str
    """The scenario's UUID."""
    tag: str
    """Its name."""
    status: str
    """Where it stands, in the words of the surface."""


class ComparedKpi(Value):
    """A row of a comparison."""

    kpi: str
    """The KPI's name."""
    unit: str | None
    """The unit of its values."""
    better_when: Literal["HIGHER", "LOWER", "AT_LEAST", "AT_MOST"]
    """Which end is better."""
    threshold: float | None
    """The value from which on it is a success."""
    values: Mapping[str, float | None]
    """Scenario's id -> what it reached; None where it was not computed."""
    best: tuple[str, ...]
    """The ids of the scenarios that reached the best value; several when they reached the same."""


class Comparison(Value):
    """Scenarios side by side."""

    scenarios: tuple[ComparedScenario, ...]
    """In the order that was asked for."""
    rows: tuple[ComparedKpi, ...]
    """One per KPI that any of them is measured by; of one that was declared anew in between, one per declaration."""


class ModelRun(Value):
    """One run of a model."""

    id: str
    """A UUID."""
    model_id: str
    """The model."""
    inputs: Mapping[str, JsonValue]
    """What it was given."""
    experiment_id: int
    """The experiment of one point that it is."""
    job_id: str
    """Its job."""
    state: JobState
    """Where it stands."""
    progress: int = 0
    """Percent that is done; never goes back."""
    message: str | None = None
    """What it is doing, in a sentence, or why it failed."""
    trial_number: int | None = None
    """The trial that its results lie under."""
    submitted_by: str | None = None
    """Who asked for it."""
    created_at: Time
    """When it was submitted."""
    started_at: Time | None = None
    """When it began."""
    updated_at: Time
    """When it moved on last."""


class RunFilter(Value):
    """Which models, and which of their runs, somebody sees."""

    closed: frozenset[str] = frozenset()
    """The models that only others see."""
    attributes: Mapping[str, tuple[str, ...]] = {}
    """By input, the values that a run must have; without one: any."""

    def refused(self, inputs: Mapping[str, JsonValue]) -> str | None:
        """The first input that keeps a run from being seen; None: there is none."""
        for name, values in self.attributes.items():
            if inputs.get(name) is None or str(inputs[name]) not in values:
                return name
        return None


def metric_name(kpi: str) -> str:
    """The name of the metric that a KPI is kept as: what no metric may be called becomes `_`."""
    name = re.sub(r"[^A-Za-z0-9_./-]", "_", kpi)
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"
