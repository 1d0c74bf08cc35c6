"""What is shown while a search runs: in a terminal, in a notebook, and nowhere else."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tunesmith.client.tune_progress import ProgressBar, rate_of
from tunesmith.domain import Progress

STANDING = Progress(finished=7, failed=2, total=10, best={"number": 3, "outcome": 0.25, "params": {}})


def test_a_terminal_sees_how_far_it_is_and_the_best_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("run", "loss", wanted=True, before=5) as bar:
        bar.update(STANDING)
    shown = " ".join(capsys.readouterr().err.split())
    for part in ("run", "12/15", "best loss 0.25, 2 failed"):
        assert part in shown


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (None, False):  # stderr is captured here, so it is no terminal
        with ProgressBar("run", "loss", wanted) as bar:
            bar.update(STANDING)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_gets_an_element_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython)["get_ipython"] = lambda: SimpleNamespace(config={"IPKernelApp": {}})

    def display(element: str, display_id: bool) -> Any:
        drawn.append(element)
        return SimpleNamespace(update=drawn.append)

    vars(shown).update(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    with ProgressBar("a <run>", "loss", wanted=None) as bar:
        bar.update(STANDING)
    assert drawn[0] == "a &lt;run&gt;"
    assert '<progress value="7" max="10">' in drawn[-1]
    assert "best loss 0.25, 2 failed" in drawn[-1]


@pytest.mark.parametrize(
    ("done", "seconds", "text"), [(0, 5.0, ""), (10, 5.0, "2.0/s"), (2, 5.0, "2.5 s each"), (3, 0.0, "")]
)
def test_a_rate_is_told_as_it_reads_best(done: int, seconds: float, text: str) -> None:
    assert rate_of(done, seconds) == text
