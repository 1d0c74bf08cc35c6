"""Trials that were asked for: what a worker reports about one that it holds, and what it tells in the end."""

from __future__ import annotations

import operator
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, SupportsIndex

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.client.retry import Patience
from tunesmith.client.unwinding import LEAVING, explained
from tunesmith.domain import Params, finite
from tunesmith.errors import (
    BadRequest,
    ConnectionFailed,
    NotFound,
    TrialFinished,
    TrialTaken,
    TunesmithError,
    Unavailable,
)
from tunesmith.schemas.asking import LEASE_S, MAX_COUNT, AskAnswer, AskedTrial, ReportAnswer, TellAllAnswer, Told

AWAY = (ConnectionFailed, Unavailable)
"""The server does not answer, or cannot: it may in a moment."""
PATIENCE_S = 60.0
"""Seconds that a server which does not answer is waited for, unless told otherwise."""
MAX_ERROR = 8000
"""Characters of an error that are sent: its end."""


@dataclass(frozen=True)
class Desk:
    """Where trials are asked for, and how they are held."""

    connection: Connection
    """The way to the platform."""
    path: str
    """The experiment's URL path."""
    objectives: tuple[str, ...]
    """The metrics that are optimized, in order."""
    worker: str | None = None
    """What the worker calls itself."""
    lease_s: float = LEASE_S
    """Seconds that a trial is held without a word."""
    patience_s: float = PATIENCE_S
    """Seconds that a server which does not answer is waited for."""

    def ask(self, count: int, optimizer: Any = None, key: str | None = None) -> tuple[list[TrialToRun], float]:
        """Trials, and where there are none the seconds after which to ask again. Raises TunesmithError."""
        wanted = {"count": count, "worker": self.worker, "lease_s": self.lease_s, "optimizer": optimizer}
        answer = parsed(self.connection, AskAnswer, self.connection.post(f"{self.path}/ask", wanted, key))
        return [TrialToRun(self, trial) for trial in answer.trials], answer.retry_after_s or 0.0

    def tell(self, results: Iterable[tuple[TrialToRun, Any]]) -> list[Told]:
        """Tell of several trials in few requests; what became of each. Raises TunesmithError."""
        rows = list(results)
        told: list[Told] = []
        for start in range(0, len(rows), MAX_COUNT):
            part = rows[start : start + MAX_COUNT]
            body = {"trials": [{"number": t.number, "token": t.token, **t.measured((value,))} for t, value in part]}
            answers = parsed(self.connection, TellAllAnswer, self.patiently(f"{self.path}/tell", body))
            for (trial, _), answer in zip(part, answers.trials, strict=True):
                trial.settle(answer)
            told += answers.trials
        return told

    def patiently(self, path: str, body: Any, key: str | None = None) -> Any:
        """The answer to a POST that is done once, however often it has to be sent until the server is back."""
        patience, key = Patience(self.patience_s), key or uuid.uuid4().hex
        while True:
            try:
                return self.connection.post(path, body, key)
            except AWAY as error:
                patience.bear(error)


class TrialToRun:
    """A trial that this worker holds, and may evaluate. Its methods may be called from any thread.

        with trial:
            for epoch in range(20):
                if trial.report(epoch, train(trial.params.lr)):
                    trial.prune()
                    break
            else:
                trial.tell(loss)

    `with` is for what goes wrong: an exception fails the trial, and goes on; Ctrl-C and `sys.exit` give it back.
    `optuna.TrialPruned` prunes it, and ends there.
    """

    number: int
    """The trial's number within the experiment, from 0."""
    params: Params
    """The configuration to try: `params["lr"]` or `params.lr`."""
    attempt: int
    """1 at first; more when workers before went silent, or gave it back."""
    token: str
    """What the server knows this hold on the trial by."""
    lost: bool
    """Whether somebody else has it now, or had it, since its lease ran out: nothing can be told about it any more."""

    def __init__(self, desk: Desk, asked: AskedTrial) -> None:
        self.number, self.params, self.attempt = asked.number, Params(asked.params), asked.attempt
        self.token, self.lost = asked.token, False
        self._desk, self._path = desk, f"{desk.path}/trials/{asked.number}"
        self._ended = False
        self._key = uuid.uuid4().hex
        self._reporting = threading.Lock()
        self._unsent: list[tuple[int, dict[str, float]]] = []
        self._last: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"TrialToRun({self.number}, {dict(self.params)})"

    @property
    def open(self) -> bool:
        """Whether it is held still, and nothing final was told."""
        return not (self._ended or self.lost)

    def report(self, step: SupportsIndex, value: float | Mapping[str, Any] | None = None, /, **metrics: Any) -> bool:
        """Report an intermediate value of the first objective, or several metrics, at a step; whether to give up.

        NaN and infinities are left out. While the server is away, what is reported is kept, and sent with what comes
        later. Raises TrialTaken, BadRequest.
        """
        several = value if isinstance(value, Mapping) else {} if value is None else {self._desk.objectives[0]: value}
        found = {name: _number(name, number) for name, number in {**several, **metrics}.items()}
        known = {name: number for name, number in found.items() if finite(number) is not None}
        with self._reporting:
            if known:
                self._last |= known
                self._unsent.append((_whole(step), known))
            try:
                return self._send_reports(self._desk.connection.post)
            except AWAY:
                return False

    def tell(self, *values: Any, metrics: Mapping[str, Any] | None = None) -> None:
        """Finish it with a value for every objective, in order, or with a mapping of metrics that has them.

        `metrics` is whatever else was measured. After an error for want of a server, the same may be told again.

        Raises:
            TrialTaken: the lease ran out, and somebody else has it, or had it.
            TrialFinished: it is finished.
            BadRequest: an objective has no value, or one that is no finite number.
            ConnectionFailed, Unavailable: the server did not come back in time.
        """
        self._end("tell", self.measured(values, metrics))

    def prune(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Finish it as pruned, with what was reported last. Raises as `tell` does."""
        self._end("tell", {"state": "pruned", "metrics": self._last | _finite(metrics or {})})

    def fail(self, error: object) -> None:
        """Finish it as failed; `error` says why, to people. Raises as `tell` does."""
        text = str(error).replace("\0", "\ufffd").encode(errors="replace").decode()  # what a database can hold
        self._end("fail", {"error": text[-MAX_ERROR:]})

    def release(self) -> None:
        """Give it back: another worker is to try the same point. Raises as `tell` does, but waits for no server."""
        self._check()
        self._asked(self._desk.connection.post, f"{self._path}/fail", {"token": self.token, "again": True}, self._key)
        self._ended = True

    def heartbeat(self) -> None:
        """Hold it for another `lease_s` seconds. In a loop over `trials_to_run` this is done for you.

        Raises:
            TrialTaken: the lease ran out, and somebody else has it.
        """
        self._check()
        self._asked(self._desk.connection.post, f"{self._path}/heartbeat", self._held())

    def measured(self, values: Sequence[Any], metrics: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What `tell` sends. Raises BadRequest."""
        objectives = self._desk.objectives
        if len(values) == 1 and isinstance(values[0], list | tuple):
            values = values[0]
        if len(values) == 1 and isinstance(values[0], Mapping):
            given = values[0]
        elif len(values) in (0, len(objectives)):
            given = dict(zip(objectives, values, strict=False))
        else:
            wanted = ", ".join(objectives)
            raise BadRequest(f"{len(values)} values told, but the objectives are {wanted}; tell one value for each")
        return {"values": _finite(given), "metrics": _finite(metrics or {})}

    def settle(self, told: Told) -> None:
        """Take note of what became of it where several were told at once."""
        self._ended = told.status == "told" or told.code == TrialFinished.code
        self.lost = told.code == TrialTaken.code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not self.open:
            return False
        if is_pruned(error):
            self.prune()
            return True
        with suppress(TunesmithError):  # the error is what matters now, and the lease runs out
            self.release() if isinstance(error, LEAVING) else self.fail(explained(error, trace))
        return False

    def _held(self) -> dict[str, Any]:
        return {"token": self.token, "lease_s": self._desk.lease_s}

    def _check(self) -> None:
        if self.lost:
            raise TrialTaken(f"Trial {self.number} was lost: its lease ran out before a heartbeat came through")
        if self._ended:
            raise TrialFinished(f"Trial {self.number} is told already, or given back", number=self.number)

    def _asked(self, post: Callable[..., Any], *request: Any) -> Any:
        try:
            return post(*request)
        except (TrialTaken, TrialFinished, NotFound):
            self.lost = not self._ended  # what was told meanwhile, from another thread, is no loss
            raise

    def _send_reports(self, post: Callable[..., Any]) -> bool:
        """Send what was reported and is not sent; whether the last answer was to prune."""
        self._check()
        prune = False
        while self._unsent:
            step, metrics = self._unsent.pop(0)
            try:
                answer = self._asked(post, f"{self._path}/report", {**self._held(), "step": step, "metrics": metrics})
            except AWAY:
                self._unsent.insert(0, (step, metrics))
                raise
            prune = parsed(self._desk.connection, ReportAnswer, answer).prune
        return prune

    def _end(self, how: str, body: Mapping[str, Any]) -> None:
        with self._reporting:
            self._send_reports(self._desk.patiently)
            self._check()
            self._asked(self._desk.patiently, f"{self._path}/{how}", {"token": self.token, **body}, self._key)
            self._ended, self.lost = True, False


def is_pruned(error: BaseException | None) -> bool:
    """Whether it is Optuna's TrialPruned, which need not be installed."""
    kinds = type(error).__mro__
    return any(kind.__name__ == "TrialPruned" and kind.__module__.partition(".")[0] == "optuna" for kind in kinds)


def _finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(name, value) for name, value in metrics.items()}
    for name, number in found.items():
        if finite(number) is None:
            raise BadRequest(f"{name}: {number} is told, but must be a finite number; `fail` ends a trial without one")
    return found


def _whole(step: SupportsIndex) -> int:
    """A step as an int, of whatever library it is. Raises BadRequest."""
    try:
        return operator.index(step)
    except TypeError as error:
        raise BadRequest(f"step: {step!r:.100} is no whole number", field="step") from error


def _number(name: str, value: Any) -> float:
    """A number of any library's as a float. Raises BadRequest."""
    if not isinstance(value, str | bytes | bool):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise BadRequest(f"{name}: {value!r:.100} is no number", field=name)
