"""What a worker shows: a line for every trial, how it stands on a terminal, and a summary."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rich.markup import escape
from rich.status import Status

from tuners.messages import Outcome
from tunesmith.cli.output import console, print_json_line, text
from tunesmith.client.asking import TrialToRun
from tunesmith.domain import Objective

SHORT = 60
"""Characters of the parameters in a line."""
SHOW_CURSOR = b"\x1b[?25h"
COLOURS = {"complete": "green", "pruned": "yellow", "failed": "red"}


@dataclass
class Tally:
    """What a worker did so far."""

    counts: Counter[str] = field(default_factory=Counter)
    """Trials by what became of them."""
    best: dict[str, Any] | None = None
    """The best trial of this worker, where there is one objective."""

    def add(self, row: Mapping[str, Any], objectives: tuple[Objective, ...]) -> None:
        """Count a trial."""
        self.counts[row["state"]] += 1
        if row["state"] != "complete" or len(objectives) != 1:
            return
        value = row["values"][objectives[0].metric] * objectives[0].sign
        if self.best is None or value < self.best["value"] * objectives[0].sign:
            self.best = {"number": row["number"], "value": value * objectives[0].sign, "params": row["params"]}

    @property
    def standing(self) -> str:
        """In a line."""
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.counts.items())) or "no trial yet"
        best = self.best
        return counts + ("" if best is None else f"; best {text(best['value'])} (trial {best['number']})")


class Show:
    """Shows trials as they end. Safe to use from threads."""

    def __init__(self, objectives: tuple[Objective, ...], as_json: bool) -> None:
        self.tally = Tally()
        self._objectives, self._as_json = objectives, as_json
        self._lock = threading.Lock()
        self._running = 0
        self._console = console()
        live = self._console.is_terminal and not as_json
        self._status: Status | None = Status("", console=self._console) if live else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
            self._update(0)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._status is not None:
            self._status.stop()

    def abandon(self) -> None:
        """Leave the terminal as it was, at once: no lock is waited for."""
        if self._status is not None:
            os.write(1, SHOW_CURSOR)

    def began(self) -> float:
        """A trial begins; the moment, for `ended`."""
        self._update(1)
        return time.monotonic()

    def ended(self, trial: TrialToRun, found: Outcome, became: str, began: float) -> None:
        """A trial ended: `became` complete, pruned, failed, released or lost."""
        names = [objective.metric for objective in self._objectives]
        row = {
            "number": trial.number,
            "state": became,
            "attempt": trial.attempt,
            "params": dict(trial.params),
            "values": {name: found.metrics[name] for name in names if name in found.metrics},
            "metrics": dict(found.metrics),
            "error": found.error,
            "seconds": round(time.monotonic() - began, 3),
        }
        with self._lock:
            self.tally.add(row, self._objectives)
            if self._as_json:
                print_json_line(row)
            else:
                self._console.print(_line(row), soft_wrap=True)
        self._update(-1)

    def summary(self, worker: str, reason: str) -> None:
        """The last line: what was done, and why it is over."""
        if self._as_json:
            print_json_line({"worker": worker, "trials": self.tally.counts, "best": self.tally.best, "reason": reason})
        else:
            self._console.print(escape(f"{reason}: {self.tally.standing}"), soft_wrap=True)

    def _update(self, more: int) -> None:
        with self._lock:
            self._running += more
            if self._status is not None:
                self._status.update(escape(f"{self._running} running; {self.tally.standing}"))


def _line(row: Mapping[str, Any]) -> str:
    params = text(row["params"])
    params = params if len(params) <= SHORT else params[: SHORT - 3] + "..."
    came = text(row["values"]) if row["error"] is None else _reason(row["error"])
    colour = COLOURS.get(row["state"], "dim")
    again = f" (attempt {row['attempt']})" if row["attempt"] > 1 else ""
    return (
        f"trial {row['number']}{again} [{colour}]{row['state']}[/] {escape(came)}{'  ' if came else ''}"
        f"[dim]{escape(params)}  {row['seconds']:.1f} s[/]"
    )


def _reason(error: str) -> str:
    """An error's first line, and the last one of the output that it quotes."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if len(lines) < 2:
        return "".join(lines)
    return f"{lines[0].removesuffix('; its output ends with:')}: {lines[-1]}"
