"""Trains templates for tables in the test's own process, with what is reported and saved kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuners.automl.data import open_source
from tunesmith.automl import Config, Facts, Predictor, Template, Trained
from tunesmith.domain.value import utcnow


@dataclass
class Watched:
    """A run that keeps what it is told."""

    seed: int = 0
    threads: int = 1
    folds: int = 1
    state: bytes | None = None
    ends_after: int | None = None
    """Reports after which its time is over."""
    over_after: int | None = None
    """Looks at the time, those of reports too, after which it is over."""
    killed_after: int | None = None
    """Saves after which its process is lost."""
    reports: list[tuple[int, dict[str, float], float | None]] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    looks: int = 0

    @property
    def over(self) -> bool:
        self.looks += 1
        by_looks = self.over_after is not None and self.looks > self.over_after
        return by_looks or (self.ends_after is not None and len(self.reports) >= self.ends_after)

    def report(self, step: int, metrics: Mapping[str, float], percent: float | None = None) -> bool:
        self.reports.append((step, dict(metrics), percent))
        return self.over

    def save(self, state: Callable[[], bytes]) -> None:
        self.states.append(state())
        if len(self.states) == self.killed_after:
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        self.said.append(message)


def config_of(template: type[Template], path: str, **sections: Mapping[str, Any]) -> Config:
    data = {"train_path": path, **sections.pop("data", {})}
    return template.read({**sections, "data": data})


def train(
    template: type[Template], path: str, root: Path, run: Watched | None = None, **sections: Mapping[str, Any]
) -> Trained:
    """`path`: of the data, below `root`; the sections are those of the configuration."""
    config = config_of(template, path, **sections)
    return template().train(config, open_source(config, str(root), None, ""), run or Watched(seed=config.training.seed))


def load(template: type[Template], trained: Trained, directory: Path) -> Predictor:
    """What was trained, written and read again."""
    file = directory / f"model.{trained.suffix}"
    trained.write(file)
    facts = Facts(
        format=trained.suffix,
        file=file.name,
        sha256="",
        bytes=file.stat().st_size,
        template=template.name,
        plugin="",
        config={},
        metrics=trained.metrics,
        versions={},
        features=tuple(trained.features),
        target=trained.target,
        classes=None if trained.classes is None else tuple(trained.classes),
        rows=trained.rows,
        seed=0,
        trained_at=utcnow(),
        details=trained.details,
    )
    return template().load(file, facts)
