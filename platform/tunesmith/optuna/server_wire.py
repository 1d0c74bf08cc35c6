"""Reading a study for many clients: one read for all who ask at once, and only what is new is looked at and sent."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from optuna.storages import BaseStorage
from optuna.storages._grpc.auto_generated import api_pb2
from optuna.storages._grpc.servicer import _to_proto_trial
from optuna.trial import FrozenTrial

MESSAGES = 20_000
"""Trials that are kept as they were sent, at most: some 50 MB."""


class Wire:
    """The trials of a storage as messages; threads may share it."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._studies: defaultdict[int, SharedRead] = defaultdict(lambda: SharedRead(storage))
        self._sent: dict[int, tuple[FrozenTrial, Any]] = {}

    def trials(self, study_id: int, above_id: int, among: Sequence[int]) -> Any:
        """The answer to a client that has every finished trial up to an id: newer ones, and those of these ids.

        Raises KeyError.
        """
        try:
            found, ids = self._studies[study_id].trials(study_id)
        except KeyError:
            self._studies.pop(study_id, None)
            raise
        return api_pb2.GetTrialsReply(trials=map(self._message, _chosen(found, ids, above_id, among)))

    def _message(self, trial: FrozenTrial) -> Any:
        known = self._sent.get(trial._trial_id)
        if known is not None and known[0] is trial:  # a trial that changed is another object
            return known[1]
        message = _to_proto_trial(trial)
        if len(self._sent) >= MESSAGES:
            self._sent.clear()
        self._sent[trial._trial_id] = trial, message
        return message


class SharedRead:
    """Reads the trials of one study; whoever asks gets a read that began after it asked, with others who did."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._next: Future[tuple[list[FrozenTrial], list[int] | None]] | None = None
        self._joining, self._reading = threading.Lock(), threading.Lock()
        self._ids: list[int] = []

    def trials(self, study_id: int) -> tuple[list[FrozenTrial], list[int] | None]:
        """The trials by number, and their ids where those are in order too. Raises KeyError."""
        with self._joining:
            coming, leads = self._next, self._next is None
            if coming is None:
                coming = self._next = Future()
        if leads:
            with self._reading:
                with self._joining:
                    self._next = None  # who comes from here on may miss something, and waits for the next read
                try:
                    found = self._storage.get_all_trials(study_id, deepcopy=False)
                    coming.set_result((found, self._ordered(found)))
                except BaseException as error:
                    coming.set_exception(error)
        return coming.result()

    def _ordered(self, found: Sequence[FrozenTrial]) -> list[int] | None:
        known = len(self._ids)
        if known > len(found) or (known and found[known - 1]._trial_id != self._ids[-1]):
            self._ids, known = [], 0
        for trial in found[known:]:
            if self._ids and trial._trial_id < self._ids[-1]:  # jobs reserve numbers, and use them later
                self._ids = []
                return None
            self._ids.append(trial._trial_id)
        return self._ids  # readers may see it grow: they look no further than their own trials


def _chosen(
    found: Sequence[FrozenTrial], ids: Sequence[int] | None, above_id: int, among: Sequence[int]
) -> Iterator[FrozenTrial]:
    if ids is None:
        wanted = set(among)
        yield from (trial for trial in found if trial._trial_id > above_id or trial._trial_id in wanted)
        return
    first = bisect_right(ids, above_id, 0, len(found))
    for trial_id in among:
        place = bisect_left(ids, trial_id, 0, first)
        if place < first and ids[place] == trial_id:
            yield found[place]
    yield from found[first:]
