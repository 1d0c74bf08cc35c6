"""Isolation of trials: as another Unix user and in a sandbox of bubblewrap, with real processes that try to get out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.isolating import check, close_to_others
from tuners.messages import Batch, Evaluation, Isolation, Outcome, Stop
from tuners.told import told_to_workers
from tuners.tools.evaluate import evaluate
from tunesmith.cli.safety import BWRAP
from tunesmith.domain import CommandTool, FunctionTool, ProgramTool, Tool, TrialState, space_of
from tunesmith.errors import InvalidSettings
from tunesmith.settings import Settings
from tunesmith.storage import trial_key
from tunesmith.testing.factories import spec

USER = "nobody"
HIDDEN = "the platform's own"
Watch = Callable[[list[tuple[str, int, float]]], Stop | None]


def no_bwrap() -> str | None:
    """Why no sandbox can be made here, if so."""
    try:
        done = subprocess.run(BWRAP, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return "bwrap is not installed"
    return f"bwrap cannot make a sandbox here: {done.stderr.strip()}" if done.returncode else None


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_bwrap = pytest.mark.skipif(no_bwrap() is not None, reason=str(no_bwrap()))


class Bench:
    """Evaluates tools of trials that are kept apart from the platform, whose data directory holds a key."""

    def __init__(self, data_dir: Path, isolation: Isolation) -> None:
        self.data_dir, self.artifacts, self.isolation = data_dir, data_dir / "artifacts", isolation
        self.key = data_dir / "secret_key"
        self.key.write_text(HIDDEN)

    def __call__(
        self, tool: Tool | str, watch: Watch | None = None, attempt: int = 1, grace_s: float = 1.0, **changes: Any
    ) -> Outcome:
        tool = CommandTool(command=tool) if isinstance(tool, str) else tool
        given = {"objectives": ("wall_time_s",), "space": space_of([]), **changes}
        evaluation = Evaluation(7, {}, attempt, run=1)
        batch = Batch("job-1", 42, spec(tool=tool, **given), (evaluation,), str(self.artifacts), grace_s)
        batch = replace(batch, data_dir=str(self.data_dir), isolation=self.isolation)
        return evaluate(batch, evaluation, watch or (lambda _measured: None))

    def log(self, found: Outcome) -> str:
        assert found.log is not None, found.error
        return (self.artifacts / found.log).read_text(errors="replace")

    @property
    def directory(self) -> Path:
        return self.artifacts / trial_key(42, 7)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory as `tunesmith up` leaves it where trials run as another user."""
    place = Path(tempfile.mkdtemp(prefix="tunesmith-test-"))
    umask = os.umask(0o022)
    close_to_others(Settings(data_dir=place, trial_user=USER))
    yield place
    os.umask(umask)
    shutil.rmtree(place)


# As another user


@needs_root
class TestUser:
    @pytest.fixture
    def run(self, data_dir: Path) -> Bench:
        return Bench(data_dir, Isolation(user=USER))

    def test_a_command_is_that_user_and_writes_to_its_own_directory(self, run: Bench) -> None:
        script = "id -un; echo $USER; echo '{\"loss\": 3}' >> $TUNESMITH_METRICS; echo made > file; stat -c %U file"
        found = run(CommandTool(command=script, setup="id -un", finish="id -un; cat file"), objectives=("loss",))
        assert (found.state, found.metrics["loss"]) == (TrialState.COMPLETE, 3)
        assert run.log(found).split() == [USER, USER, USER, USER, USER, "made"]

    def test_a_program_is_too_and_keeps_its_checkpoint(self, run: Bench) -> None:
        script = "id -un; cat $CHECKPOINT_DIR/step; echo 1 >> $CHECKPOINT_DIR/step; exit 3"
        program = ProgramTool(command=("sh", "-c", script))
        assert run.log(run(program)).split()[0] == USER
        assert run.log(run(program, attempt=2)).split() == [USER, "1"]
        assert run.log(run(program, attempt=3)).split() == [USER, "1", "1"]

    def test_so_is_each_of_several_repeats(self, run: Bench) -> None:
        found = run("id -un > who; cat who", repeats=2)
        assert found.state is TrialState.COMPLETE
        assert run.log(found).count(USER) == 2

    @pytest.mark.parametrize("who", ["$PPID", pytest.param(str(os.getpid()), id="this process"), "1"])
    def test_the_environment_of_the_platforms_processes_cannot_be_read(self, run: Bench, who: str) -> None:
        assert "Permission denied" in run.log(run(f"tr '\\0' '\\n' < /proc/{who}/environ"))

    def test_nothing_else_of_the_data_directory_can_be_read_or_listed(self, run: Bench) -> None:
        found = run(f"cat {run.key}; ls {run.data_dir}; ls {run.artifacts}; kill -9 {os.getpid()}; true")
        assert found.state is TrialState.COMPLETE
        assert run.log(found).lower().count("not permitted") == 1
        assert run.log(found).count("Permission denied") == 3

    def test_the_log_and_the_scripts_stay_the_platforms(self, run: Bench) -> None:
        target = run.data_dir / "target"
        setup = f"ln -sf {run.key} log.txt; rm -f log.txt command.sh setup.sh; ln -s {target} finish.sh; ls"
        found = run(CommandTool(command="true", setup=setup, finish="echo finished"))
        assert found.state is TrialState.COMPLETE
        assert run.log(found).endswith("finished\n")
        assert not target.exists()
        assert (run.directory / "finish.sh").is_file()

    def test_metrics_are_not_read_through_a_link(self, run: Bench) -> None:
        run.key.write_text('{"loss": 7}\n')
        found = run(f"ln -s {run.key} $TUNESMITH_METRICS", objectives=("loss",))
        assert found.state is TrialState.FAILED
        assert "7" not in str(found.metrics.get("loss"))
        assert "it is a link; write a file" in run.log(found)

    def test_a_file_that_makes_others_root_does_not(self, run: Bench) -> None:
        program = run.data_dir / "artifacts" / "id"
        program.parent.mkdir(exist_ok=True)
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
        assert run.log(run(f"{program} -un")).split() == [USER]

    def test_what_runs_too_long_is_ended_with_all_that_it_left(self, run: Bench) -> None:
        found = run("setsid sleep 47.11 & sleep 47.11", trial_timeout_s=0.5)
        assert "still running after 0.5 s" in str(found.error)
        deadline = time.monotonic() + 10
        while running("47.11") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not running("47.11")

    def test_a_user_that_is_not_there_is_named(self, data_dir: Path) -> None:
        found = Bench(data_dir, Isolation(user="nobody-knows"))("true")
        assert found.error == "TUNESMITH_TRIAL_USER='nobody-knows': this node has no such user; add it there"
        with pytest.raises(InvalidSettings, match="no such user"):
            check(Settings(trial_user="nobody-knows"))
        with pytest.raises(InvalidSettings, match="name another one"):
            check(Settings(trial_user="root"))


def running(word: str) -> bool:
    """Whether there is a process with this word on its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


# In a sandbox


@needs_bwrap
class TestSandbox:
    @pytest.fixture(params=[None, pytest.param(USER, marks=needs_root)], ids=["own user", "another user"])
    def run(self, request: pytest.FixtureRequest, data_dir: Path) -> Bench:
        return Bench(data_dir, Isolation(user=request.param, sandbox="bwrap"))

    def test_a_command_works_in_it(self, run: Bench) -> None:
        script = "echo '{\"loss\": 3}' >> $TUNESMITH_METRICS; echo made > file; pwd -P; echo $(cat file) a=5; exit 0"
        tool = CommandTool(command=script, patterns={"a": "a=(.)"}, finish="cat file; exit 4")
        found = run(tool, objectives=("loss", "a"))
        assert (found.metrics["loss"], found.metrics["a"]) == (3, 5)
        assert str(found.error).startswith("the finish script: exit code 4")
        assert run.log(found) == f"{run.directory.resolve()}\nmade a=5\nmade\n"

    def test_it_has_no_network_unless_the_tool_asks_for_one(self, run: Bench) -> None:
        interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | sort"
        mine = subprocess.run(interfaces, shell=True, capture_output=True, text=True, check=True).stdout
        assert run.log(run(interfaces)).split() == ["lo"]
        assert run.log(run(CommandTool(command=interfaces, network=True))) == mine

    def test_it_writes_to_its_own_directory_only(self, run: Bench) -> None:
        places = ("/etc", "/usr/bin", str(Path.cwd()), str(run.data_dir / ".."))
        found = run("; ".join(f"touch {place}/made-by-a-trial && echo {place}" for place in places) + "; touch made")
        assert found.state is TrialState.COMPLETE
        assert (run.directory / "made").exists()
        assert not [place for place in places if Path(place, "made-by-a-trial").exists()]

    def test_it_sets_nothing_of_the_kernel(self, run: Bench) -> None:
        found = run("(: >> /proc/sys/kernel/core_pattern) && echo open; ls /proc/sys/kernel/core_pattern")
        assert run.log(found).splitlines()[-1] == "/proc/sys/kernel/core_pattern"
        assert "open" not in run.log(found).split()

    def test_it_sees_nothing_of_the_platform(self, run: Bench) -> None:
        with tempfile.NamedTemporaryFile(dir="/tmp") as other:
            found = run(
                f"ls {run.data_dir} {run.artifacts} {other.name} /run; cat {run.key}; ls /proc | grep -c '^[0-9]'"
            )
        assert HIDDEN not in run.log(found)
        assert Path(other.name).name not in run.log(found).replace(f"'{other.name}'", "")
        assert int(run.log(found).split()[-1]) < 10

    def test_its_log_leads_nowhere_else(self, run: Bench) -> None:
        found = run(f"rm -f log.txt; ln -s {run.key} log.txt; true")
        assert found.log is None or HIDDEN not in run.log(found)

    def test_a_program_keeps_its_checkpoint(self, run: Bench) -> None:
        program = ProgramTool(command=("sh", "-c", "cat $CHECKPOINT_DIR/step; echo 1 >> $CHECKPOINT_DIR/step; exit 3"))
        run(program)
        assert run.log(run(program, attempt=2)) == "1\n"

    def test_it_is_asked_to_end_before_it_is_killed(self, run: Bench) -> None:
        begun = run.directory / "begun"

        def watch(_measured: list[tuple[str, int, float]]) -> Stop | None:
            return "cancelled" if begun.exists() else None

        found = run(
            "trap 'sleep 0.2; echo asked > asked; exit 0' TERM; touch begun; sleep 60 & wait", watch, grace_s=10
        )
        assert found.state is TrialState.WAITING
        assert (run.directory / "asked").read_text() == "asked\n"


# What is not isolated


def returns() -> float:
    return 1.0


@pytest.mark.parametrize("isolation", [Isolation(user=USER), Isolation(sandbox="bwrap")])
def test_functions_are_refused_where_trials_are_kept_apart(tmp_path: Path, isolation: Isolation) -> None:
    run = Bench(tmp_path, isolation)
    found = run(FunctionTool(entrypoint=f"{__name__}:returns"))
    assert str(found.error).startswith("a Python function runs inside of a worker of the platform")


@pytest.mark.parametrize("isolation", [Isolation(user=USER), Isolation(sandbox="bwrap")])
@pytest.mark.parametrize("path", ["/etc", "deep/er"])
def test_a_directory_of_the_node_is_no_checkpoint_there(tmp_path: Path, isolation: Isolation, path: str) -> None:
    found = Bench(tmp_path, isolation)(ProgramTool(command=("true",), checkpoint_path=path))
    assert "none may name a directory of its node" in str(found.error)


# The environment of all trials


def test_nothing_of_the_platform_is_in_the_environment_nor_in_that_of_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://db/tunes", storage="s3://bucket")
    secret = ("TUNESMITH_API_KEY", "TUNESMITH_DATABASE_URL", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD")
    for name in secret:
        monkeypatch.setenv(name, HIDDEN)
    run = Bench(tmp_path, told_to_workers(settings)["isolation"])
    script = "tr '\\0' '\\n' < /proc/$PPID/environ | grep -E '^(TUNESMITH|RAY)_'; env"
    assert HIDDEN not in run.log(run(script))


def test_credentials_that_are_not_the_platforms_stay(tmp_path: Path) -> None:
    assert told_to_workers(Settings(data_dir=tmp_path))["isolation"] == Isolation()
