"""What a child is asked to do: plain values that are pickled, and say themselves how they are done there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class TaskFailed(Exception):
    """The task could not be done; the text says why, in one sentence for people."""


class GivenUp(BaseException):
    """The task was asked to end, and ends where it reported; nothing that it does about exceptions holds it up."""


def said(error: BaseException) -> str:
    """An exception as people read it: `ValueError: text`."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Voice(Protocol):
    """What a task says to whoever waits for it, while it is done."""

    def begin(self, limit_s: float | None = None, limit: str = "its own timeout_s") -> None:
        """It is ready, and its time runs from now on; `limit_s`: the time that it allows itself, `limit`: its name."""
        ...

    def now(self, part: str) -> None:
        """Another part of it begins; `part`: what people call that, when the process ends in it, or time is over."""
        ...

    def progress(self, percent: float, message: str | None = None) -> None:
        """How far it is: 0 to 100, and what it does, if that is to be said; cheap enough for a loop."""
        ...

    def report(self, measured: Sequence[tuple[str, int, float]]) -> None:
        """Intermediate values: metric, step, value; all finite. Raises GivenUp where the task is to end here."""
        ...


class Task(Protocol[T_co]):
    """Anything that can be pickled and done in a child process."""

    def perform(self, voice: Voice) -> T_co:
        """Do it, in the child. What it raises and is no TunesmithError reaches the caller as TaskFailed."""
        ...


@dataclass(frozen=True)
class AlgorithmTask:
    """An algorithm on a dataset, and its KPIs. The result becomes `{directory}/result.json`."""

    plugin: str
    """`package.module:object`, or `code:` and the SHA-256 of one that was shipped."""
    name: str
    """The algorithm."""
    parameters: Mapping[str, Any]
    """Values of its parameters; the others have their defaults."""
    files: str | None
    """Key prefix of the dataset's tables; None: it gets a dataset without tables."""
    data_parameters: Mapping[str, Any]
    """The dataset's own knobs."""
    kpis: Sequence[str]
    """The KPIs to compute."""
    artifacts: str
    """Root of the artefact storage."""
    directory: str
    """Where it runs, and leaves its result."""

    def perform(self, voice: Voice) -> dict[str, float]:
        """The metrics: what the run took, and the KPIs. Raises TaskFailed."""
        from tuners.hosting.algorithms import run

        return run(self, voice)


@dataclass(frozen=True)
class ModelTask:
    """A run of a model. It leaves `{directory}/rows.parquet`, and `result.json` with its summary."""

    plugin: str
    """`package.module:object`, or `code:` and the SHA-256 of one that was shipped."""
    name: str
    """The model's id."""
    inputs: Mapping[str, Any]
    """What it is given."""
    artifacts: str
    """Root of the artefact storage."""
    directory: str
    """Where it runs, and leaves its result."""

    def perform(self, voice: Voice) -> dict[str, float]:
        """The metrics: what the run took, and the summary's numbers. Raises TaskFailed."""
        from tuners.hosting.models import run

        return run(self, voice)


@dataclass(frozen=True)
class TrainTask:
    """A training of a model from a template. It leaves the model's file and `model.json` in its directory."""

    plugin: str
    """`package.module:object`, or `code:` and the SHA-256 of one that was shipped."""
    template: str
    """The template."""
    config: Mapping[str, Any]
    """The whole configuration."""
    params: Mapping[str, Any]
    """Values of keys of its `model` and `training`, laid over it."""
    data_root: str | None
    """The directory that paths of training data lie in."""
    files: str | None
    """Key prefix of the tables of the dataset that it is trained on."""
    artifacts: str
    """Root of the artefact storage."""
    key: str
    """The trial's key prefix there."""
    directory: str
    """Where it runs, and leaves the model."""

    def perform(self, voice: Voice) -> dict[str, float]:
        """The metrics: what the training took, and the model's. Raises TaskFailed."""
        from tuners.hosting.training import run

        return run(self, voice)
