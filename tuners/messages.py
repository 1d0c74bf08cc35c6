"""What runner and trial workers say to each other: plain values, pickled by Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tunesmith.domain import ExperimentSpec, Scalar, TrialState

Stop = Literal["pruned", "cancelled"]
"""Why an evaluation is ended early: by its pruner, or because its job stops (or its runner does)."""

Shape = tuple[tuple[str, float], ...]
"""What one trial needs of its node: resources, sorted by name."""


EXCHANGE_S = 0.002
"""Seconds that an exchange of worker and runner is reckoned with until it was measured."""


@dataclass(frozen=True)
class Evaluation:
    """One point to evaluate."""

    number: int
    """The trial's number within the experiment."""
    params: Mapping[str, Scalar]
    """The configuration."""
    attempt: int = 1
    """How often it was started, this time included."""
    checkpoint: str | None = None
    """Key of the checkpoint to go on from, in the artefact storage."""
    step: int = 0
    """Training steps that are done (populations)."""
    steps: int | None = None
    """Training steps to do, where the search says so (populations)."""
    run: int | None = None
    """Number of the execution that it is an attempt of."""


@dataclass(frozen=True)
class Containers:
    """How the nodes run containers."""

    engine: str | None = None
    """The engine's command, options included; None: podman or docker, whichever is there."""
    options: tuple[str, ...] = ()
    """More options of its `run`."""
    pull: str = "missing"
    """When an image is fetched: `missing`, `always` or `never`."""
    auth_file: str | None = None
    """File with the credentials of registries."""


@dataclass(frozen=True)
class Isolation:
    """What keeps commands and programs of trials from the platform."""

    user: str | None = None
    """The Unix user that they run as; None: the platform's own."""
    sandbox: Literal["none", "bwrap"] = "none"
    """Whether they run in a sandbox: without a network, and with one directory to write to."""
    without: tuple[str, ...] = ()
    """Variables of the workers that are the platform's, besides those with its prefix."""

    @property
    def active(self) -> bool:
        """Whether anything is kept apart."""
        return self.user is not None or self.sandbox != "none"


@dataclass(frozen=True)
class Batch:
    """Evaluations of one job, for one worker, in order."""

    job_id: str
    """The job."""
    experiment_id: int
    """Its experiment."""
    spec: ExperimentSpec
    """What to evaluate, and how."""
    evaluations: tuple[Evaluation, ...]
    """The points."""
    artifacts: str
    """Root of the artefact storage."""
    grace_s: float
    """Seconds between TERM and KILL."""
    watched: bool = False
    """Whether a pruner looks at the intermediate values."""
    held_s: float = 0.0
    """Seconds that the runner held the worker's request: waiting for work, and choosing the points."""
    code: str | None = None
    """callable: SHA-256 of the function that was shipped for the job."""
    training_id: str | None = None
    """The training job that it is a firing of."""
    data_dir: str | None = None
    """The data directory, absolute: relative checkpoint paths lie in it."""
    containers: Containers = Containers()
    """How the nodes run containers."""
    max_log_bytes: int = 50_000_000
    """Bytes of a program's output that are kept."""
    isolation: Isolation = Isolation()
    """What keeps the trials from the platform."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variable -> the secret that the trials get in it; masked in what they print."""


@dataclass(frozen=True)
class Outcome:
    """What came of one evaluation."""

    job_id: str
    """The job."""
    number: int
    """The trial's number."""
    state: TrialState
    """`complete`, `pruned` or `failed`; `waiting` when it was interrupted and may run again."""
    started_at: datetime
    """When it began."""
    ended_at: datetime
    """When it ended."""
    metrics: Mapping[str, float]
    """Final values of everything measured, all finite."""
    error: str | None = None
    """Why it failed, with the tail of its output."""
    worker: str | None = None
    """Host and process that ran it."""
    log: str | None = None
    """Key of its log."""
    resumed_from: str | None = None
    """The checkpoint that it went on from."""


@dataclass(frozen=True)
class Report:
    """One intermediate value."""

    job_id: str
    """The job."""
    number: int
    """The trial's number."""
    metric: str
    """The metric."""
    step: int
    """The step."""
    value: float
    """The value, finite."""


@dataclass(frozen=True)
class Advance:
    """How far an evaluation is, as its tool tells."""

    number: int
    """The trial's number."""
    percent: int
    """0 to 100."""
    message: str | None = None
    """What it does, if it said so."""


@dataclass(frozen=True)
class Prepared:
    """What became of a wish for points."""

    added: int
    """Trials that are waiting now, and were not before."""
    state: Literal["more", "later", "over"] = "more"
    """Whether there are more points, some when another outcome is known, or none."""
    reason: str | None = None
    """Why it is over."""
