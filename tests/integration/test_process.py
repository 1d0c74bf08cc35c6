"""Running commands: real processes, timed, measured, and ended with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tuners.tools import process
from tuners.tools.process import Ended, run_group

PYTHON = sys.executable


@pytest.fixture
def marker() -> Iterator[str]:
    """A number of seconds that no other process sleeps: `sleep {marker}` is ours."""
    seconds = f"{1000 + time.time_ns() % 10**9 / 1e6:.6f}"
    yield seconds
    for pid in sleepers(seconds):
        os.kill(pid, signal.SIGKILL)


def sleepers(marker: str) -> list[int]:
    """The processes that have the marker in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:1] == [b"sleep"] and marker.encode() in words:
            found.append(int(path.parent.name))
    return found


def eventually(condition: Any, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


class Shell:
    """Runs bash scripts in a directory and keeps what they print."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, script: str, env: dict[str, str] | None = None, **options: Any) -> Ended:
        with (self.directory / "log").open("w+b") as log:
            try:
                return run_group(["bash", "-c", script], self.directory, os.environ | (env or {}), log, **options)
            finally:
                log.seek(0)
                self.printed = log.read().decode(errors="replace")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


# How it ends


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", -9), ("kill $$", -15), ("kill -35 $$", -35)],
)
def test_the_exit_code_is_told(shell: Shell, script: str, code: int) -> None:
    ended = shell(script)
    assert (ended.exit_code, ended.stopped) == (code, None)


def test_both_streams_go_to_the_log(shell: Shell) -> None:
    shell("echo out; echo err >&2; echo again")
    assert shell.printed == "out\nerr\nagain\n"


def test_stdin_is_empty_and_the_directory_is_the_given_one(shell: Shell) -> None:
    assert shell("cat; pwd -P").exit_code == 0
    assert shell.printed.strip() == str(shell.directory.resolve())


def test_it_inherits_no_descriptors_and_no_ignored_signals(shell: Shell) -> None:
    shell(
        "ls /proc/self/fd | wc -l; grep -E 'SigIgn|SigBlk' /proc/self/status; ps -o sid=,pgid= -p $$ | xargs; echo $$"
    )
    descriptors, blocked, ignored, groups, pid = shell.printed.splitlines()
    assert descriptors == "4"  # the three, and the directory that ls reads
    own = 0x180000000  # signals 32 and 33 belong to the C library, and stay as this process's parent had them
    assert [int(mask.split()[1], 16) & ~own for mask in (blocked, ignored)] == [0, 0]
    assert groups.split() == [pid, pid]


def test_a_missing_command_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        with pytest.raises(FileNotFoundError, match="no-such-tool"):
            run_group(["no-such-tool"], tmp_path, dict(os.environ), log)
        with pytest.raises(PermissionError):
            run_group([str(tmp_path)], tmp_path, dict(os.environ), log)
        with pytest.raises(OSError, match="Argument list too long"):
            run_group(["true"], tmp_path, {"X": "x" * 200_000, **os.environ}, log)
        assert run_group(["true"], tmp_path, dict(os.environ), log).exit_code == 0


def test_large_environments_and_commands_arrive(shell: Shell) -> None:
    env = {f"VARIABLE_{i}": "x" * 1000 for i in range(1000)}
    assert shell(f"echo ${{#VARIABLE_999}}; : {'y' * 100_000}", env).exit_code == 0
    assert shell.printed == "1000\n"


@pytest.mark.parametrize("locale", ["C", "C.utf8"])
def test_any_character_arrives_in_any_locale(tmp_path: Path, locale: str) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tuners.tools.process import run_group\n"
        "env = {**os.environ, 'X': '\\xe9\\u65e5\\u672c'}\n"
        "print(run_group(['printenv', 'X'], Path('.'), env, open('log', 'wb')).exit_code)"
    )
    env = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([PYTHON, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert done.stdout.strip() == b"0", done.stderr
    assert (tmp_path / "log").read_bytes().strip() == "é日本".encode()


# What it used


def test_times_are_plausible(shell: Shell) -> None:
    ended = shell(f"{PYTHON} -S -c 'import time\nwhile time.process_time() < 0.4: pass'; sleep 0.3")
    assert 0.7 <= ended.wall_time_s < 5
    assert 0.4 <= ended.cpu_time_s < 1.0


def test_memory_is_the_commands_own(shell: Shell) -> None:
    worker = bytearray(os.urandom(1) * 150_000_000)  # this process's size is none of the command's business
    assert 1e6 < shell("true").max_rss_bytes < 20e6
    ended = shell(f"{PYTHON} -S -c 'x = b\"x\" * 200_000_000'; true")
    assert 200e6 < ended.max_rss_bytes < 260e6
    del worker


# Timeouts and stops


def test_a_timeout_ends_the_whole_group(shell: Shell, marker: str) -> None:
    ended = shell(f"sleep {marker} & sleep {marker}; echo never", timeout_s=0.3)
    assert ended.stopped == "timeout"
    assert ended.exit_code == -signal.SIGTERM
    assert 0.3 <= ended.wall_time_s < 2
    assert not sleepers(marker)
    assert shell.printed == ""


def test_what_ignores_the_request_is_killed_after_the_grace_period(shell: Shell, marker: str) -> None:
    begun = time.monotonic()
    ended = shell(f"trap '' TERM; sleep {marker}; sleep {marker}", timeout_s=0.2, grace_s=0.6)
    assert ended.exit_code == -signal.SIGKILL
    assert 0.8 <= time.monotonic() - begun < 3
    assert not sleepers(marker)


def test_a_child_that_ignores_the_request_is_killed_too(shell: Shell, marker: str) -> None:
    begun = time.monotonic()
    shell(f"(trap '' TERM; sleep {marker}; sleep {marker}) & sleep {marker}", timeout_s=0.2, grace_s=0.6)
    assert 0.8 <= time.monotonic() - begun < 3
    assert not sleepers(marker)


def test_a_child_has_the_grace_period_though_its_shell_is_gone_at_once(shell: Shell) -> None:
    child = "import signal, sys, time\ndef end(*_):\n  time.sleep(0.3); print('saved'); sys.exit()\n"
    child += "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(60)"
    ended = shell(f'{PYTHON} -S -c "{child}"; echo never', timeout_s=1.0, grace_s=10)
    assert ended.stopped == "timeout"
    assert shell.printed == "ready\nsaved\n"


def test_the_watcher_can_end_it(shell: Shell, marker: str) -> None:
    looks = iter([None, None, "pruned"])
    ended = shell(f"sleep {marker}", watch=lambda: next(looks))
    assert ended.stopped == "pruned"
    assert not sleepers(marker)


def test_a_watcher_that_fails_ends_it(shell: Shell, marker: str) -> None:
    def watch() -> None:
        raise RuntimeError("the runner is gone")

    with pytest.raises(RuntimeError, match="the runner is gone"):
        shell(f"sleep {marker}", watch=watch)
    assert eventually(lambda: not sleepers(marker), 1.0)
    assert shell("true").exit_code == 0


@pytest.mark.parametrize(
    "background", ["sleep {0} &", "setsid sleep {0} &", "(setsid setsid sleep {0} &) &", "nohup sleep {0} &"]
)
def test_nothing_is_left_in_the_background(shell: Shell, marker: str, background: str) -> None:
    begun = time.monotonic()
    assert shell(background.format(marker) + " sleep 0.1; true").exit_code == 0
    assert time.monotonic() - begun < 3
    assert not sleepers(marker)


# Deaths


def worker_running(script: str, directory: Path, first: str = "") -> subprocess.Popen[bytes]:
    code = (
        f"import os, sys; from pathlib import Path; from tuners.tools.process import Launcher, run_group\n{first}\n"
        f"run_group(['bash', '-c', {script!r}], Path('.'), dict(os.environ), open('log', 'wb'))"
    )
    return subprocess.Popen([PYTHON, "-c", code], cwd=directory)


@pytest.mark.parametrize("background", ["", "setsid sleep {0} & "])
def test_nothing_is_left_when_the_worker_is_killed(tmp_path: Path, marker: str, background: str) -> None:
    worker = worker_running(f"trap '' TERM; {background.format(marker)} sleep {marker} & sleep {marker}", tmp_path)
    expected = 3 if background else 2
    assert eventually(lambda: len(sleepers(marker)) == expected, 20), "the command did not start"
    worker.kill()
    worker.wait()
    assert eventually(lambda: not sleepers(marker), 1.0)


def test_nothing_is_left_when_the_worker_dies_with_an_answer_unread(tmp_path: Path, marker: str) -> None:
    deaf = "Launcher._receive = lambda *_: __import__('time').sleep(60)"
    worker = worker_running(f"sleep {marker} & sleep {marker}", tmp_path, deaf)
    assert eventually(lambda: len(sleepers(marker)) == 2, 20), "the command did not start"
    worker.kill()
    worker.wait()
    assert eventually(lambda: not sleepers(marker), 1.0)


def launcher_pid() -> int:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            descriptors = [os.readlink(entry) for entry in (path / "fd").iterdir()]
        except OSError:
            continue
        if any(word.endswith(b"launcher.py") for word in words) and peer_of_ours() in descriptors:
            return int(path.name)
    raise AssertionError("there is no launcher")


def peer_of_ours() -> str:
    """The launcher's end of our socket pair was made right after ours."""
    ours = os.readlink(f"/proc/self/fd/{process._launchers[0].ours.fileno()}")
    return f"socket:[{int(ours.removeprefix('socket:[').rstrip(']')) + 1}]"


def test_a_killed_launcher_is_an_error_and_the_next_command_runs(shell: Shell, marker: str) -> None:
    shell("true")
    pid = launcher_pid()

    def watch() -> None:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(OSError, match="launcher process died"):
        shell(f"sleep {marker}", watch=watch)
    assert eventually(lambda: not sleepers(marker), 1.0)
    assert shell("echo well").exit_code == 0
    assert launcher_pid() != pid


def test_a_launcher_killed_between_two_commands_is_replaced(shell: Shell) -> None:
    shell("true")
    os.kill(launcher_pid(), signal.SIGKILL)
    time.sleep(0.1)
    assert shell("true").exit_code == 0


def test_many_quick_commands_leak_no_descriptors(shell: Shell) -> None:
    shell("true")
    pid, ours = launcher_pid(), len(os.listdir("/proc/self/fd"))
    theirs = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(100):
        shell("sleep 5 & true")
    assert launcher_pid() == pid
    assert len(os.listdir("/proc/self/fd")) == ours
    assert len(os.listdir(f"/proc/{pid}/fd")) == theirs
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


def test_commands_of_several_threads_run_at_the_same_time(shell: Shell) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        codes = [ended.exit_code for ended in pool.map(shell, [f"sleep 1; exit {code}" for code in range(4)])]
    assert codes == [0, 1, 2, 3]
    assert time.monotonic() - began < 3.5


def test_a_forked_worker_has_a_launcher_of_its_own(shell: Shell) -> None:
    shell("true")
    code = (
        "import os; from pathlib import Path; from tuners.tools import process\n"
        "run = lambda: process.run_group(['true'], Path('.'), dict(os.environ), open('/dev/null', 'wb')).exit_code\n"
        "run(); first = process._launchers[0]\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(run() or int(process._launchers[0] is first))\n"
        "print(os.waitpid(pid, 0)[1], run(), process._launchers[0] is first)"
    )
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"0", b"0", b"True"], done.stderr
