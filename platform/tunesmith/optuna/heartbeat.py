"""The open trials of a client: heartbeats for them, and what was set on them, in case that the server forgets it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable
from typing import Any

import grpc
from optuna.exceptions import UpdateFinishedTrialError

BEAT = "/tunesmith.Leases/Beat"
"""What a heartbeat calls: a JSON list of trial ids in; out come `held` (those still the caller's), `every_s` (seconds
until the next one) and `server` (another word for each start of a server)."""
NEVER_S = 1e6
"""Seconds until the next heartbeat for a server that wants none."""
Writes = dict[tuple[Any, ...], tuple[Callable[..., None], tuple[Any, ...]]]
"""(kind, key) -> the call that sets it last, and its further arguments."""


class Heartbeat:
    """Tells the server every few seconds which trials this process still works on."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.server = ""
        """The server that has everything that was set on the open trials; empty until it was asked."""
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(BEAT)
        self._open: dict[int, Writes] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, trial_id: int) -> None:
        """Send heartbeats for a trial from now on."""
        with self._lock:
            self._open[trial_id] = {}
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tunesmith-heartbeat", daemon=True)
                self._thread.start()

    def remove(self, trial_id: int) -> None:
        """Send none for it any more."""
        with self._lock:
            self._open.pop(trial_id, None)

    def note(self, trial_id: int, what: tuple[str, Hashable], call: Callable[..., None], *values: Any) -> None:
        """Set something on a trial: `call(trial_id, key, *values)`, which is kept while the trial is open."""
        writes = self._open.get(trial_id)
        if writes is not None:
            writes[what] = call, values
        call(trial_id, what[1], *values)

    def send(self, timeout_s: float) -> float:
        """Send one for every open trial; seconds until the next. Raises grpc.RpcError.

        A server that was started since the last one may have lost what was set just before: it is set again.
        """
        with self._sending:
            trials = sorted(self._open)
            try:
                answer = json.loads(self._call(json.dumps(trials).encode(), timeout=timeout_s))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                return NEVER_S  # Optuna's own server knows no leases
            for trial_id in set(trials) - set(answer["held"]):
                self.remove(trial_id)
            if self.server not in ("", answer["server"]):
                self._set_again()
            self.server = answer["server"]
            return float(answer["every_s"])

    def stop(self) -> None:
        """Send none at all any more."""
        self._stopped.set()

    def _set_again(self) -> None:
        for trial_id, writes in list(self._open.items()):
            try:
                for what, (call, values) in list(writes.items()):
                    call(trial_id, what[1], *values)
            except (UpdateFinishedTrialError, KeyError):
                self.remove(trial_id)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                pause = self.send(timeout_s=5)
            except (grpc.RpcError, ValueError):  # ValueError: the channel was closed
                pause = 1.0
