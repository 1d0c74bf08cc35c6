"""Predictions of trained models: loaded when they are first asked for, shared by all requests, unloaded when idle."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelUnusable, TunesmithError, Unavailable
from tunesmith.journal import keep_journal
from tunesmith.settings import Settings, load_settings
from tunesmith.storage import Storage

if TYPE_CHECKING:  # the process that only deploys or asks does without
    from threadpoolctl import ThreadpoolController

    from tunesmith.automl import Facts, Predictions, Predictor

log = logging.getLogger("tunesmith.predictions")

DEPLOYMENT = "predictions"
"""The deployment's name."""
MODELS, BYTES = 32, 2 * 1024**3
"""Models that a process keeps loaded, and bytes of their files; beyond, those go that were used longest ago."""
THREADS = 32
"""Predictions of the deployment's process that are under way at once; most of them wait for a model that is loaded."""
ANSWER_S = 60.0
"""Seconds that a prediction may take, with the start of its process and the loading of its model."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Model:
    facts: Facts
    predictor: Predictor
    threads: ThreadpoolController
    """The native libraries that it may use."""


@dataclass
class _Loaded:
    """A model that is loaded, or is being loaded."""

    model: Future[_Model] = field(default_factory=Future)
    used_at: float = field(default_factory=time.monotonic)


class Models:
    """The trained models that this process has loaded. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str], _Loaded] = {}  # in the order of their last use
        self._timer: threading.Timer | None = None
        self._directory: TemporaryDirectory[str] | None = None

    def predict(self, artifact: str, plugin: str, rows: Rows) -> Predictions:
        """What the model under a key prefix says of rows; see Platform."""
        held = self._held((artifact, plugin))
        try:
            model = held.model.result()
            # Of a thread its own: many small predictions at once are faster with a core each.
            with model.threads.limit(limits=1, user_api="openmp"):
                return model.predictor.predict(rows)
        except TunesmithError:
            raise
        except Exception as error:
            log.exception("the model %s could not predict", artifact)
            raise ModelUnusable(f"The model's template could not predict: {type(error).__name__}: {error}") from error
        finally:
            held.used_at = time.monotonic()

    @property
    def loaded(self) -> list[str]:
        """The key prefixes of the models that are loaded, the one used longest ago first."""
        with self._lock:
            return [artifact for artifact, _ in self._ready()]

    def _held(self, key: tuple[str, str]) -> _Loaded:
        """A model that is loaded or will be: whoever asks first loads it."""
        with self._lock:
            known = self._loaded.pop(key, None)
            held = self._loaded[key] = known or _Loaded()
            held.used_at = time.monotonic()
        if known is None:
            try:
                held.model.set_result(self._open(*key))
            except BaseException as error:
                with self._lock:
                    self._loaded.pop(key, None)
                held.model.set_exception(error)
            self._keep_few()
        return held

    def _open(self, artifact: str, plugin: str) -> _Model:
        from threadpoolctl import ThreadpoolController

        from tuners.automl.artifacts import open_model
        from tuners.hosting.algorithms import load
        from tuners.hosting.tasks import TaskFailed

        began = time.monotonic()
        try:
            templates = load(plugin, self.settings.artifacts).templates
        except TaskFailed as error:
            raise ModelUnusable(f"The model's template is gone: {error}") from error
        facts, predictor = open_model(Storage(self.settings.artifacts), artifact, templates, self._cache())
        log.info("loaded the model %s of %d bytes in %.2f s", artifact, facts.bytes, time.monotonic() - began)
        return _Model(facts, predictor, ThreadpoolController())

    def _cache(self) -> Path:
        """Where copies of models lie; a node without the data directory keeps them until the process ends."""
        home = self.settings.data_dir.absolute()
        if home.is_dir():
            return home / "cache" / "models"
        with self._lock:
            self._directory = self._directory or TemporaryDirectory(prefix="tunesmith-models-")
            return Path(self._directory.name)

    def _ready(self) -> dict[tuple[str, str], _Loaded]:
        """Those that are loaded."""
        return {key: held for key, held in self._loaded.items() if held.model.done()}

    def _keep_few(self) -> None:
        """Unload those that are too many."""
        with self._lock:
            ready = self._ready()
            total = sum(held.model.result().facts.bytes for held in ready.values())
            for key, held in list(ready.items())[:-1]:
                if len(ready) > MODELS or total > BYTES:
                    total -= held.model.result().facts.bytes
                    del ready[key], self._loaded[key]
            if self._timer is None:
                self._watch()

    def _watch(self) -> None:
        """Wake up when the next model has been idle for long enough, if there is any."""
        self._timer = None
        if ready := self._ready():
            due = min(held.used_at for held in ready.values()) + self.settings.predict_idle_s
            self._timer = threading.Timer(max(0.0, due - time.monotonic()), self._unload_idle)
            self._timer.daemon = True
            self._timer.start()

    def _unload_idle(self) -> None:
        with self._lock:
            since = time.monotonic() - self.settings.predict_idle_s
            idle = [key for key, held in self._ready().items() if held.used_at <= since]
            for key in idle:
                del self._loaded[key]
            self._watch()
        if idle:
            log.info("unloaded %s", ", ".join(artifact for artifact, _ in idle))
            gc.collect()


class Predicting:
    """The deployment: one process, which is started when the first prediction is asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        os.environ.update(environ)
        settings = load_settings()
        keep_journal(settings, "predictions")
        self.models = Models(settings)
        self.threads = ThreadPoolExecutor(THREADS, "prediction")

    async def predict(self, artifact: str, plugin: str, rows: Rows) -> Predictions | TunesmithError:
        """What the model says. An error is given back: one that is raised, Serve wraps and logs with its traceback."""
        ask = partial(self.models.predict, artifact, plugin, rows)
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, ask)
        except TunesmithError as error:
            return error


class Deployed:
    """The deployment, as an API replica asks it on its event loop."""

    def __init__(self) -> None:
        self._method: Any = None

    async def predict(self, artifact: str, plugin: str, rows: Rows) -> Predictions:
        """What the model says; see Platform."""
        found: Predictions | TunesmithError = await self._answer(artifact, plugin, rows)
        if isinstance(found, TunesmithError):
            raise found
        return found

    async def _answer(self, artifact: str, plugin: str, rows: Rows) -> Any:
        """Serve starts a process that died again; a prediction that it took with it is asked for once more."""
        from ray import serve
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import RayServeException

        for again in (True, False):
            try:
                async with asyncio.timeout(ANSWER_S):
                    if self._method is None:
                        handle = await asyncio.to_thread(serve.get_deployment_handle, DEPLOYMENT)
                        self._method = handle.predict
                    return await self._method.remote(artifact, plugin, rows)
            except TimeoutError:
                raise Unavailable(f"No prediction within {ANSWER_S:.0f} s; try again in a moment") from None
            except RayTaskError:
                raise
            except (RayError, RayServeException) as error:
                if not again:
                    raise Unavailable("The process that predicts died; try again in a moment") from error
                log.warning("the process that predicts died; asking its successor")
        return None
