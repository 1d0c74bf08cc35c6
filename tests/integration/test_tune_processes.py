"""Scripts that tune, as processes: killed and started again, two at once, interrupted, and on several workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tuners import load

pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import os, time
from tuners import Float, Interrupted, tune

def objective(p):
    with open({calls!r}, "a") as calls:
        calls.write(f"{{os.getpid()}} {{p.x!r}}\\n")
    time.sleep({pause})
    return (p.x - 1) ** 2

try:
    result = tune(objective, {{"x": Float(-5, 5)}}, trials={trials}, sampler="{sampler}", seed=3, name="run",
                  storage="sqlite:///{database}", workers={workers})
    print(len(result), result.best.value)
except Interrupted as stopped:
    print("so far", len(stopped.result))
"""


class Script:
    """A script that tunes, and what it did."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file, self.calls_file = directory / "script.py", directory / "calls.txt"
        self.database = directory / "runs.db"
        self.calls_file.touch()
        self.write()

    def write(self, trials: int = 20, pause: float = 0.05, workers: int = 1, sampler: str = "tpe") -> None:
        fields = {"calls": str(self.calls_file), "database": self.database, "trials": trials, "pause": pause}
        self.file.write_text(SCRIPT.format(**fields, workers=workers, sampler=sampler))

    def start(self) -> subprocess.Popen[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
        env = kept | {"MARK": str(self.directory)}
        return subprocess.Popen(
            [sys.executable, str(self.file)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def calls(self) -> list[str]:
        return [line.partition(" ")[2] for line in self.calls_file.read_text().splitlines()]

    @property
    def processes(self) -> list[int]:
        """Everything that was started with this script's environment."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if f"MARK={self.directory}".encode() in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
            except OSError:
                continue
        return found


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def until(condition: Callable[[], bool], process: subprocess.Popen[str], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_a_script_that_is_killed_goes_on_where_it_was(script: Script) -> None:
    points: Counter[str] = Counter()
    for so_far in (4, 9, 15):
        process = script.start()
        until(lambda goal=so_far: len(script.calls) >= goal, process)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert ended(script.start()).startswith("20 ")
    result = load("run", script.database)
    assert result.trials["number"].to_pylist() == list(range(20))
    assert result.counts["complete"] == 20
    points.update(script.calls)
    assert len(points) == 20, "the points that were under way are evaluated again, and no others"
    assert sum(points.values()) <= 20 + 3 * 4


@pytest.mark.slow
def test_an_interrupted_search_suggests_what_an_undisturbed_one_does(script: Script, tmp_path: Path) -> None:
    process = script.start()
    until(lambda: len(script.calls) >= 12, process)
    process.kill()
    process.communicate()
    ended(script.start())
    (tmp_path / "other").mkdir()
    undisturbed = Script(tmp_path / "other")
    ended(undisturbed.start())
    assert list(dict.fromkeys(script.calls)) == undisturbed.calls


@pytest.mark.slow
def test_two_processes_of_one_name_evaluate_each_point_once(script: Script) -> None:
    script.write(pause=0.3)
    first, second = script.start(), script.start()
    outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    told = [pid for pid in (first.pid, second.pid) for _, err in outputs if f"worked on by process {pid} on" in err]
    assert len(told) == 1, "one of them waits, and says for whom"
    assert len(script.calls) == 20


@pytest.mark.slow
def test_a_process_that_waits_takes_over_when_the_other_one_is_killed(script: Script) -> None:
    script.write(pause=0.3)
    first = script.start()
    until(lambda: len(script.calls) >= 1, first)
    second = script.start()
    assert second.stderr is not None
    assert "is being worked on by" in second.stderr.readline()
    first.kill()
    first.communicate()
    begun, there = time.monotonic(), len(script.calls)
    until(lambda: len(script.calls) > there, second)
    assert time.monotonic() - begun < 20, "at once, and not when the lease runs out"
    assert ended(second).startswith("20 ")
    assert len(set(script.calls)) == 20


def test_ctrl_c_ends_a_script_with_what_it_found(script: Script) -> None:
    process = script.start()
    until(lambda: len(script.calls) >= 5, process)
    process.send_signal(signal.SIGINT)
    assert ended(process).startswith("so far ")
    assert ended(script.start()).startswith("20 ")
    assert len(set(script.calls)) == 20


@pytest.mark.slow
def test_a_debugger_stops_inside_the_objective(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(
        textwrap.dedent("""
        from tuners import Float, tune

        def objective(p):
            breakpoint()
            return p.x

        print(len(tune(objective, {"x": Float(0, 1)}, trials=2)))
        """)
    )
    process = subprocess.run(
        [sys.executable, str(file)], input="p p.x > 2\nc\nc\n", capture_output=True, text=True, timeout=60, check=True
    )
    assert "False" in process.stdout
    assert process.stdout.rstrip().endswith("2")


@pytest.mark.slow
def test_several_workers_share_the_trials_and_leave_nothing_running(script: Script) -> None:
    script.write(trials=30, workers=2, sampler="random", pause=0.1)
    assert ended(script.start()).startswith("30 ")
    workers = {line.partition(" ")[0] for line in script.calls_file.read_text().splitlines()}
    assert len(workers) == 2
    assert len(script.calls) == 30
    assert not script.processes


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_several_workers_go_on_after(sent: signal.Signals, script: Script) -> None:
    script.write(trials=40, workers=2, sampler="random", pause=0.2)
    process = script.start()
    until(lambda: len(script.calls) >= 6, process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert sent == signal.SIGKILL or out.startswith("so far "), err
    end = time.monotonic() + 90  # Ray notices within a minute that its head has gone
    while script.processes and time.monotonic() < end:
        time.sleep(0.1)
    assert not script.processes
    assert ended(script.start()).startswith("40 ")
    assert load("run", script.database).trials["number"].to_pylist() == list(range(40))
