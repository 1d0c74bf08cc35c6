"""A training, in the child: its data, the template that trains, and the model that is left."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from tuners.hosting.algorithms import load
from tuners.hosting.measuring import measured
from tuners.hosting.tasks import TaskFailed, TrainTask, Voice
from tunesmith.automl import Config, Template
from tunesmith.errors import InvalidData, StorageUnavailable, TunesmithError
from tunesmith.storage import Storage

STATE = "checkpoint/state.bin"
"""What a training goes on from, below the trial's key: a line of JSON (how long it ran, what it told last), a state."""
ON_THE_WAY_S = 10.0
"""Seconds after which what was measured has reached the database, where all is well."""
SAVING = 0.05
"""Share of the time that slow checkpoints take, at most."""
QUICK_S = 0.25
"""Seconds up to which a checkpoint is no slow one: these are written as often as is asked for."""


def run(task: TrainTask, voice: Voice) -> dict[str, float]:
    """Train. Raises TaskFailed, and whatever the template raises."""
    from tuners.automl import artifacts
    from tuners.automl.data import open_source

    template = _template(task)
    config = _config(task, template)
    source = open_source(config, task.data_root, task.files, task.artifacts)
    os.chdir(task.directory)
    under_way = TrainRun(task, template, config, voice)
    voice.begin()
    under_way.tell_again()
    with measured() as metrics, threadpool_limits(under_way.threads), _naming(config):
        trained = template().train(config, source, under_way)
    under_way.say("saving the model")
    artifacts.write(Path(task.directory), template, task.plugin, config, trained)
    under_way.forget()
    return {**_finite(trained.metrics), **metrics}


class TrainRun:
    """The `Run` of a training in this process."""

    def __init__(self, task: TrainTask, template: type[Template], config: Config, voice: Voice) -> None:
        self.seed = config.training.seed
        self.threads = max(1, int(config.resources.num_cpus))
        self.folds = template.folds(config)
        self._training, self._voice = config.training, voice
        self._storage, self._key = Storage(task.artifacts), f"{task.key}/{STATE}"
        last, _, state = b"".join(self._storage.read(self._key)).partition(b"\n")
        before: dict[str, Any] = json.loads(last) if last else {"ran_s": 0.0, "told": []}
        now = time.monotonic()
        self._began, self._saves_at = now - before["ran_s"], now + config.training.checkpoint_s
        self._percent = 0.0
        self._state = state or None
        self._told: deque[tuple[float, list[tuple[str, int, float]]]] = deque()
        self._lost: list[list[Any]] = before["told"]

    @property
    def state(self) -> bytes | None:
        """See Run."""
        return self._state

    def report(self, step: int, metrics: Mapping[str, float], percent: float | None = None) -> bool:
        """See Run."""
        finite = _finite(metrics)
        if finite:
            told = [(name, step, value) for name, value in finite.items()]
            self._told.append((time.monotonic(), told))
            self._voice.report(told)
        self._percent = 100 * step / self._training.epochs if percent is None else percent
        shown = ", ".join(f"{name} {value:.4g}" for name, value in list(finite.items())[:3])
        self._voice.progress(min(self._percent, 99.0), f"step {step}: {shown}" if shown else None)
        return self.over

    @property
    def over(self) -> bool:
        """See Run."""
        limit_s = self._training.time_limit_s
        return limit_s is not None and time.monotonic() - self._began >= limit_s

    def save(self, state: Callable[[], bytes]) -> None:
        """See Run. One that cannot be written is left out: the training goes on, and the next one may be.

        The longer a slow one takes, the longer is the time to the next one.
        """
        began = time.monotonic()
        if began < self._saves_at:
            return
        try:
            self._storage.write(self._key, self._last() + b"\n" + state())
        except StorageUnavailable as error:
            print(f"tunesmith: the checkpoint could not be written: {error}", flush=True)
        ended = time.monotonic()
        took_s = ended - began
        pause_s = took_s / SAVING if took_s > QUICK_S else 0.0
        self._saves_at = ended + max(self._training.checkpoint_s, pause_s)

    def say(self, message: str) -> None:
        """See Run."""
        self._voice.progress(min(self._percent, 99.0), message)

    def tell_again(self) -> None:
        """Tell what the attempt before told just before its last checkpoint, as it may not have been heard."""
        if self._lost:
            self._voice.report([(name, step, value) for name, step, value in self._lost])

    def forget(self) -> None:
        """The training is done: nothing is gone on from any more."""
        self._storage.remove(self._key)

    def _last(self) -> bytes:
        while self._told and self._told[0][0] < time.monotonic() - ON_THE_WAY_S:
            self._told.popleft()
        told = [one for _, told in self._told for one in told]
        return json.dumps({"ran_s": time.monotonic() - self._began, "told": told}).encode()


@contextmanager
def _naming(config: Config) -> Iterator[None]:
    """Name the data in what a template says of them, where it does not name a file itself."""
    try:
        yield
    except InvalidData as error:
        if "file" in error.details:
            raise
        name = config.data.train_path or config.data.dataset
        raise InvalidData(f"{name}: {error.message}", **{"file": name, "column": None, **error.details}) from error


def _template(task: TrainTask) -> type[Template]:
    found = load(task.plugin, task.artifacts)
    if task.template not in found.templates:
        raise TaskFailed(f"the plugin {task.plugin} has no template {task.template!r} any more")
    template: type[Template] = found.templates[task.template].item
    template.check_installed()
    return template


def _config(task: TrainTask, template: type[Template]) -> Config:
    try:
        return template.read(task.config).with_values(task.params)
    except TunesmithError as error:
        raise TaskFailed(f"the configuration is none of the template any more: {error}") from error


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
