"""How often a training writes its checkpoint: seldom enough that it costs little."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuners.automl.tabular import Linear
from tuners.hosting.tasks import TrainTask
from tuners.hosting.training import TrainRun


class Silent:
    """A voice that nobody hears."""

    def begin(self, limit_s: float | None = None, limit: str = "its own timeout_s") -> None: ...

    def now(self, part: str) -> None: ...

    def progress(self, percent: float, message: str | None = None) -> None: ...

    def report(self, measured: Sequence[tuple[str, int, float]]) -> None: ...


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("tuners.hosting.training.time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def under_way(root: Path, **training: Any) -> TrainRun:
    config = Linear.read({"training": training})
    task = TrainTask("", "linear", {}, {}, None, None, str(root), "trial", str(root))  # type: ignore[arg-type]
    return TrainRun(task, Linear, config, Silent())


@pytest.mark.parametrize(("checkpoint_s", "takes_s", "pause_s"), [(10, 0.1, 10), (10, 2.0, 40), (0.6, 0.1, 0.6)])
def test_slow_saving_takes_no_more_than_a_twentieth_of_the_time(
    checkpoint_s: float, takes_s: float, pause_s: float, clock: Clock, tmp_path: Path
) -> None:
    run, saved = under_way(tmp_path, checkpoint_s=checkpoint_s), list[float]()

    def state() -> bytes:
        clock.now += takes_s
        saved.append(clock.now)
        return b"state"

    clock.now += 10
    run.save(state)
    clock.now += pause_s - 0.5
    run.save(state)
    assert len(saved) == 1
    clock.now += 0.5
    run.save(state)
    assert len(saved) == 2
    assert under_way(tmp_path).state == b"state"


def test_its_time_is_over_without_a_report_too(clock: Clock, tmp_path: Path) -> None:
    run = under_way(tmp_path, time_limit_s=5)
    clock.now += 4.9
    assert not run.over
    assert not run.report(1, {})
    clock.now += 0.1
    assert run.over
    assert run.report(1, {})
    assert not under_way(tmp_path).over
