"""Hosts: child processes that do what they are handed, and are ended with all that they started, whatever they do."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tuners.hosting import pool
from tuners.hosting.host import Host, HostDied, Stopped, TimedOut
from tuners.hosting.pool import borrowed
from tuners.hosting.tasks import TaskFailed, Voice
from tunesmith.errors import InvalidData


@dataclass(frozen=True)
class Do:
    """A task that calls a function of this module."""

    name: str
    arguments: tuple[Any, ...] = ()
    ready: bool = True

    def perform(self, voice: Voice) -> Any:
        if self.ready:
            voice.begin()
        return globals()[self.name](voice, *self.arguments)


# What the children are asked to do


def echo(_voice: Voice, value: Any) -> Any:
    return value


def pid(_voice: Voice) -> int:
    return os.getpid()


def shout(_voice: Voice) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"to the descriptor\n")
    ctypes.CDLL(None).puts(b"from C")


def raise_it(_voice: Voice) -> None:
    raise ValueError("the slots are full \0 \ud800")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raise_unspeakable(_voice: Voice) -> None:
    raise Unspeakable


def refuse(_voice: Voice) -> None:
    raise InvalidData("row 3 is wrong", row=3)


def give_a_lock(_voice: Voice) -> Any:
    return threading.Lock()


def leave(_voice: Voice, code: Any) -> None:
    sys.exit(code)


def vanish(_voice: Voice, code: int) -> None:
    os._exit(code)


def kill_itself(_voice: Voice) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash(_voice: Voice) -> None:
    ctypes.string_at(0)


def sleep(_voice: Voice) -> None:
    time.sleep(1e9)


def ignore_and_sleep(voice: Voice) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    voice.progress(1, "deaf")
    time.sleep(1e9)


def hold_the_interpreter(voice: Voice) -> None:
    voice.progress(1, "deaf")
    ctypes.PyDLL(None).sleep(1_000_000)  # in C, and no other thread gets a turn


def eat_memory(_voice: Voice) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    held = []
    while True:
        held.append(bytearray(64 << 20))


def leave_a_process(_voice: Voice, marker: str) -> None:
    subprocess.Popen(["sleep", marker])


def leave_a_daemon(_voice: Voice, marker: str) -> None:
    subprocess.run(["bash", "-c", f"setsid sleep {marker} & disown"], check=True)


def leave_a_process_and_vanish(_voice: Voice, marker: str) -> None:
    subprocess.Popen(["sleep", marker], start_new_session=True)
    if os.fork() == 0:  # it holds the connection open
        time.sleep(1e9)
    os._exit(3)


def sleep_beside_a_process(_voice: Voice, marker: str) -> None:
    subprocess.Popen(["sleep", marker], start_new_session=True)
    time.sleep(1e9)


def leave_a_thread(_voice: Voice) -> None:
    threading.Thread(target=time.sleep, args=(1e9,)).start()


def fork_and_return(_voice: Voice) -> str:
    child = os.fork()
    return "child" if child == 0 else "parent"


def print_much(_voice: Voice) -> None:
    for _ in range(200):
        print("x" * 99_999)


def close_streams(_voice: Voice) -> None:
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)


def write_everywhere(_voice: Voice) -> None:
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, b"garbage" * 10)
        except OSError:
            continue


def close_everything(_voice: Voice) -> None:
    os.closerange(3, 256)
    time.sleep(1e9)


def wander(_voice: Voice) -> None:
    os.chdir("/")


def here(_voice: Voice) -> str:
    return os.getcwd()


def variables(_voice: Voice) -> dict[str, str]:
    return dict(os.environ)


def tell(voice: Voice, *words: tuple[float, str | None]) -> None:
    for percent, message in words:
        voice.progress(percent, message)
        time.sleep(0.08)


def chatter(voice: Voice) -> None:
    for step in range(200_000):
        voice.progress(step / 4000, f"step {step}")
    time.sleep(0.3)


def tell_nonsense(voice: Voice) -> None:
    voice.progress("half")  # type: ignore[arg-type]


def count_descriptors(_voice: Voice) -> int:
    return len(os.listdir("/proc/self/fd"))


# Fixtures


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Any]:
    with (tmp_path / "log.txt").open("ab", buffering=0) as stream:
        yield stream
    pool.close_idle()


@pytest.fixture
def do(log: Any) -> Callable[..., Any]:
    """Have a task done by whatever host is at hand."""

    def call(name: str, *arguments: Any, **options: Any) -> Any:
        with borrowed(log) as host:
            return host.call(Do(name, arguments), log, **options)

    return call


@pytest.fixture
def marker() -> Iterator[str]:
    """A number of seconds that no other process sleeps."""
    seconds = f"{1000 + time.time_ns() % 10**9 / 1e6:.6f}"
    yield seconds
    for process in processes_with("sleep", seconds):
        os.kill(process, signal.SIGKILL)


def processes_with(*words: str) -> list[int]:
    """The processes whose command line holds all of these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if all(word.encode() in command for word in words):
            found.append(int(path.parent.name))
    return found


def eventually(condition: Callable[[], Any], within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def printed(log: Any) -> str:
    return Path(log.name).read_text(errors="replace")


# What works


def test_a_host_does_one_task_after_the_other(do: Callable[..., Any]) -> None:
    first = do("pid")
    assert do("echo", {"x": [1, 2.5, None]}) == {"x": [1, 2.5, None]}
    assert do("pid") == first != os.getpid()


def test_what_a_task_prints_goes_to_its_own_log(do: Callable[..., Any], log: Any, tmp_path: Path) -> None:
    do("shout")
    with (tmp_path / "other").open("ab", buffering=0) as other, borrowed(other) as host:
        host.call(Do("shout"), other)
    for text in (printed(log), printed(other)):
        assert sorted(text.splitlines()) == ["from C", "to stderr", "to stdout", "to the descriptor"]


def test_values_of_any_size_travel(do: Callable[..., Any]) -> None:
    large = os.urandom(20_000_000)
    assert do("echo", large) == large


def test_several_threads_have_hosts_of_their_own(do: Callable[..., Any]) -> None:
    found: list[int] = []
    barrier = threading.Barrier(3)

    def work() -> None:
        barrier.wait()
        found.append(do("pid"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3


def test_no_descriptor_is_lost(do: Callable[..., Any]) -> None:
    before = do("count_descriptors"), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        do("echo", 1)
    assert (do("count_descriptors"), len(os.listdir("/proc/self/fd"))) == before


def test_the_platforms_variables_are_none_of_its_business(
    do: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "for the storage")
    found = do("variables")
    assert not [name for name in found if name.startswith(("TUNESMITH_", "RAY_"))]
    assert found["AWS_ACCESS_KEY_ID"] == "for the storage"


# Progress


def test_progress_arrives_in_order_and_within_bounds(do: Callable[..., Any]) -> None:
    heard: list[tuple[int, str | None]] = []
    words = ((-5, None), (10.9, "reading"), (float("nan"), "still reading"), (5, None), (1e300, "done"))
    do("tell", *words, told=lambda *word: heard.append(word))
    assert heard == [(10, "reading"), (10, "still reading"), (5, "still reading"), (100, "done")]


def test_a_flood_of_progress_is_thinned_out_and_its_end_is_heard(do: Callable[..., Any]) -> None:
    heard: list[tuple[int, str | None]] = []
    do("chatter", told=lambda *word: heard.append(word))
    assert len(heard) < 500
    assert heard[-1] == (49, "step 199999")


def test_progress_that_is_no_number_fails_the_task(do: Callable[..., Any]) -> None:
    with pytest.raises(TaskFailed, match="ValueError: could not convert string to float: 'half'"):
        do("tell_nonsense")


# What goes wrong, and the next task on the same worker


BAD: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("raise_it", (), TaskFailed, "ValueError: the slots are full"),
    ("raise_unspeakable", (), TaskFailed, r"Unspeakable: \(its text cannot be read\)"),
    ("refuse", (), InvalidData, "row 3 is wrong"),
    ("give_a_lock", (), TaskFailed, "TypeError: cannot pickle '_thread.lock' object"),
    ("leave", (3,), HostDied, "exit code 3"),
    ("leave", (None,), HostDied, "exit code 0"),
    ("leave", ("a text",), HostDied, "exit code 1"),
    ("vanish", (3,), HostDied, "exit code 3"),
    ("vanish", (0,), HostDied, "exit code 0"),
    ("kill_itself", (), HostDied, "killed by SIGKILL"),
    ("crash", (), HostDied, "killed by SIGSEGV"),
    ("eat_memory", (), TaskFailed, "MemoryError"),
    ("write_everywhere", (), HostDied, "it wrote into the platform's connection, and was ended"),
    ("close_everything", (), HostDied, "it closed its connection, and was ended"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "text"), BAD)
def test_whatever_a_task_does_the_next_one_works(
    do: Callable[..., Any], name: str, arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        do(name, *arguments)
    assert do("echo", "sound") == "sound"


def test_a_traceback_is_in_the_log(do: Callable[..., Any], log: Any) -> None:
    with pytest.raises(TaskFailed):
        do("raise_it")
    with pytest.raises(HostDied):
        do("crash")
    assert 'raise ValueError("the slots are full' in printed(log)
    assert "Fatal Python error: Segmentation fault" in printed(log)


@pytest.mark.parametrize("name", ["sleep", "ignore_and_sleep", "hold_the_interpreter"])
def test_what_hangs_is_ended_within_a_second(do: Callable[..., Any], name: str) -> None:
    asked: list[float] = []

    def watch(_measured: list[tuple[str, int, float]]) -> str | None:
        asked.append(time.monotonic())
        return "cancelled" if len(asked) > 2 else None

    with pytest.raises(Stopped, match="cancelled"):
        do(name, watch=watch)
    assert time.monotonic() - asked[2] < 1.5
    assert do("echo", 1) == 1


def test_a_task_that_goes_gently_leaves_its_process_to_the_next_one(do: Callable[..., Any]) -> None:
    before = do("pid")
    for name in ("report_for_ever", "report_once"):
        with pytest.raises(Stopped, match="pruned"):
            do(name, watch=lambda measured: "pruned" if measured else None, gently="pruned")
        assert do("pid") == before


def test_a_task_that_does_not_go_gently_is_ended(do: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuners.hosting.host.GIVE_UP_S", 0.2)
    for why in ("pruned", "cancelled"):
        before, seen = do("pid"), list[tuple[str, int, float]]()

        def later(measured: list[tuple[str, int, float]], why: str = why, seen: list[Any] = seen) -> str | None:
            seen += measured
            return why if seen and not measured else None

        with pytest.raises(Stopped, match=why):
            do("report_and_sleep", watch=later, gently="pruned")
        assert do("pid") != before


def report_for_ever(voice: Voice) -> None:
    try:
        for step in itertools.count():
            voice.report([("loss", step, 1.0)])
            time.sleep(0.01)
    except Exception:  # nothing that a task does about errors keeps it from ending
        time.sleep(1e9)


def report_once(voice: Voice) -> None:
    voice.report([("loss", 1, 1.0)])


def report_and_sleep(voice: Voice) -> None:
    voice.report([("loss", 1, 1.0)])
    time.sleep(1e9)


def test_time_runs_out(do: Callable[..., Any]) -> None:
    with pytest.raises(TimedOut, match=r"still running after 0.3 s \(trial_timeout_s\); ended"):
        do("sleep", limit_s=0.3, limit="0.3 s (trial_timeout_s)")
    assert do("echo", 1) == 1


def test_the_tasks_own_limit_counts_when_it_is_the_shorter_one(log: Any) -> None:
    task = Do("begin_and_sleep", ready=False)
    for limit_s, text in ((None, "0.2 s (the algorithm's timeout_s)"), (5.0, "0.2 s"), (0.1, "0.1 s")):
        with borrowed(log) as host, pytest.raises(TimedOut) as raised:
            host.call(task, log, limit_s=limit_s)
        assert text in str(raised.value)


def test_the_part_of_a_task_that_ends_the_process_is_known(log: Any) -> None:
    with borrowed(log) as host:
        host.call(Do("begin_a_part"), log)
        with pytest.raises(HostDied, match="exit code 3") as died:
            host.call(Do("vanish", (3,)), log)
    assert died.value.part is None
    with borrowed(log) as host, pytest.raises(HostDied, match="exit code 3") as died:
        host.call(Do("begin_a_part", ("vanish", 3)), log)
    assert died.value.part == "the second part"
    with borrowed(log) as host, pytest.raises(TimedOut, match=r"^the second part: still running after 0\.3 s"):
        host.call(Do("begin_a_part", ("sleep",)), log, limit_s=0.3)


def begin_a_part(voice: Voice, what: str = "pid", *arguments: Any) -> None:
    voice.now("the first part")
    voice.now("the second part")
    globals()[what](voice, *arguments)


def begin_and_sleep(voice: Voice) -> None:
    voice.begin(0.2, "the algorithm's timeout_s")
    time.sleep(1e9)


@pytest.mark.parametrize("name", ["leave_a_process", "leave_a_daemon"])
def test_what_a_task_leaves_behind_is_ended(do: Callable[..., Any], marker: str, name: str) -> None:
    do(name, marker)
    assert eventually(lambda: not processes_with("sleep", marker))
    assert do("echo", 1) == 1


def test_what_a_task_started_dies_with_it(do: Callable[..., Any], marker: str) -> None:
    with pytest.raises(HostDied, match="exit code 3"):
        do("leave_a_process_and_vanish", marker)
    assert eventually(lambda: not processes_with("sleep", marker))
    assert do("echo", 1) == 1


def test_what_a_task_started_is_stopped_with_it(do: Callable[..., Any], marker: str) -> None:
    watch = lambda _measured: "pruned" if processes_with("sleep", marker) else None  # noqa: E731
    with pytest.raises(Stopped):
        do("sleep_beside_a_process", marker, watch=watch)
    assert eventually(lambda: not processes_with("sleep", marker))


def test_a_thread_that_stays_costs_the_process(do: Callable[..., Any]) -> None:
    before = do("pid")
    do("leave_a_thread")
    assert do("pid") != before


def test_a_task_that_forks_and_returns_twice_answers_once(do: Callable[..., Any]) -> None:
    assert do("fork_and_return") == "parent"
    assert [do("echo", number) for number in range(5)] == list(range(5))


def test_much_output_is_kept_and_costs_nothing_here(do: Callable[..., Any], log: Any) -> None:
    do("print_much")
    assert Path(log.name).stat().st_size == 200 * 100_000


def test_closed_streams_are_open_for_the_next_task(do: Callable[..., Any], log: Any) -> None:
    before = do("pid")
    do("close_streams")
    do("shout")
    assert "to stdout" in printed(log)
    assert do("pid") == before


def test_the_directory_is_the_same_for_every_task(do: Callable[..., Any]) -> None:
    before = do("here")
    do("wander")
    assert do("here") == before


def test_a_host_that_died_while_idle_is_not_used(do: Callable[..., Any]) -> None:
    first = do("pid")
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not pool._idle[0].usable)
    assert do("pid") != first


def test_a_module_that_is_not_there_is_an_error_of_the_task(log: Any, tmp_path: Path) -> None:
    (tmp_path / "gone_soon.py").write_text(
        "class Gone:\n    def __init__(self): self.x = 1\n    def perform(self, voice): return 1\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import gone_soon  # type: ignore[import-not-found]

        task = gone_soon.Gone()
        (tmp_path / "gone_soon.py").unlink()
        with borrowed(log) as host, pytest.raises(TaskFailed, match=r"ModuleNotFoundError: .*gone_soon"):
            host.call(task, log)
    finally:
        sys.path.remove(str(tmp_path))


# The end of the parent

PARENT = """
import sys, time
sys.path[:0] = {path!r}
from tuners.hosting.pool import borrowed
from test_hosting import Do
with open({log!r}, "ab", buffering=0) as log, borrowed(log) as host:
    print(host.call(Do("pid"), log), flush=True)
    if {busy}:
        host.call(Do("ignore_and_sleep"), log)
if {wait}:
    time.sleep(1000)
"""


@pytest.mark.parametrize("busy", [False, True])
def test_a_host_dies_with_a_parent_that_is_killed(tmp_path: Path, busy: bool) -> None:
    with parent(tmp_path, busy=busy, wait=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        time.sleep(0.2 if busy else 0)  # until it is deaf
        process.kill()
        assert eventually(lambda: not Path(f"/proc/{child}").exists())


def test_nothing_is_left_when_the_parent_ends(tmp_path: Path) -> None:
    with parent(tmp_path, busy=False, wait=False) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.wait(10) == 0
        assert eventually(lambda: not Path(f"/proc/{child}").exists())


def parent(directory: Path, busy: bool, wait: bool) -> subprocess.Popen[str]:
    script = PARENT.format(path=[str(Path(__file__).parent)], log=str(directory / "log"), busy=busy, wait=wait)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_a_fork_of_the_parent_has_no_part_in_its_hosts(log: Any) -> None:
    host = Host(log)
    host.call(Do("echo", (1,)), log)
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write_end, json.dumps(host.usable).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 10) == b"false"
    assert host.usable
    host.close()
    os.close(read_end)
    os.close(write_end)
