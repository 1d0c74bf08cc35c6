"""Where live studies live: in one process for all experiments, taken up from SQL and dropped when nobody asks."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from tuners.messages import Prepared
from tuners.studies.study import Outdated, Study
from tunesmith.errors import QuotaExceeded
from tunesmith.journal import keep_journal
from tunesmith.settings import load_settings
from tunesmith.store import Store, open_store

log = logging.getLogger(__name__)

IDLE_S = 600.0
"""Seconds after which a study that nobody asked is dropped from memory; SQL has it."""


class Studies:
    """Studies by experiment. Safe to call from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._live: dict[int, tuple[Study, float]] = {}
        self._loading: dict[int, threading.Lock] = {}

    def prepare(self, experiment_id: int, count: int) -> Prepared:
        """Add `count` trials for workers to take. Raises ExperimentNotFound, QuotaExceeded."""
        while True:
            with suppress(Outdated), self._at_hand(experiment_id) as study:
                return study.prepare(count)

    def refill(self, experiment_id: int, ahead: int) -> Prepared:
        """See to it that `ahead` trials wait. Raises ExperimentNotFound."""
        with suppress(Outdated), self._at_hand(experiment_id) as study:
            return study.refill(ahead)
        return Prepared(0)  # the next ask sees to it

    def prune(self, experiment_id: int, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether a trial that reported this is hopeless. Raises ExperimentNotFound."""
        with self._at_hand(experiment_id) as study:
            return study.prune(number, step, dict(metrics))

    @contextmanager
    def _at_hand(self, experiment_id: int) -> Iterator[Study]:
        """The study; one that stumbled begins again from SQL, as it may know of points that were not written."""
        study = self._study(experiment_id)
        try:
            yield study
        except QuotaExceeded:
            raise
        except BaseException:
            with self._lock:
                self._live.pop(experiment_id, None)
            raise

    def _study(self, experiment_id: int) -> Study:
        with self._lock:
            self._drop_idle()
            loading = self._loading.setdefault(experiment_id, threading.Lock())
        with loading:  # a long history is read once, and holds up nobody else
            present = self._live.get(experiment_id)
            with self._store.read() as tx:
                experiment = tx.experiment(experiment_id)
            study = present[0] if present is not None and present[0].suits(experiment) else None
            if study is None:
                study = Study(self._store, experiment_id)
        with self._lock:
            self._live[experiment_id] = study, time.monotonic()
        return study

    def _drop_idle(self) -> None:
        now = time.monotonic()
        for experiment_id in [key for key, (_, used) in self._live.items() if now - used > IDLE_S]:
            del self._live[experiment_id]


class StudyHost(Studies):
    """The studies of a platform, as a Ray actor; it can die at any moment, and begins again from SQL."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        os.environ.update(environ)
        settings = load_settings()
        keep_journal(settings, "studies")
        super().__init__(open_store(settings.database))

    def pid(self) -> int:
        """Its process, for `tunesmith status` and the tests."""
        return os.getpid()
