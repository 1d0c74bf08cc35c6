"""`tunesmith optuna-server` and `tunesmith up --optuna-port` as their users have them: commands and processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from running import Platform, until

from tunesmith import Client
from tunesmith.optuna import connect

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
COMMAND = [sys.executable, "-m", "tunesmith.cli"]
KEY = "a key of the platform"


class Server:
    """A `tunesmith optuna-server` process on a port of its own choice."""

    def __init__(self, data_dir: Path, *arguments: str, **settings: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
        self.process = subprocess.Popen(
            [*COMMAND, "optuna-server", "--data-dir", str(data_dir), "--json", *(arguments or ("--port", "0"))],
            env={**inherited, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.port: int = json.loads(line)["port"] if line else 0

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """(exit code, what it wrote to stderr)."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on one database, which end with the test."""
    started: list[Server] = []

    def start(*arguments: str, **settings: str) -> Server:
        started.append(Server(tmp_path / "data", *arguments, **settings))
        return started[-1]

    yield start
    for server in started:
        server.close()


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    return subprocess.run([*COMMAND, *arguments], env={**inherited, **environ}, capture_output=True, text=True)


class TestCommand:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_makes_its_database_says_where_it_listens_and_ends_in_order(
        self, serve: Callable[..., Server], number: int
    ) -> None:
        server = serve()
        storage = connect(f"localhost:{server.port}")
        study = optuna.create_study(storage=storage, study_name="s")
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        code, said = server.stop(number)
        assert (code, "stopped" in said, "Traceback" in said) == (0, True, False), said
        again = serve("--port", str(server.port))
        assert again.port == server.port
        assert study.trials[0].params == {"x": x}, "what was held back is written at the end"
        study.tell(trial, x)
        assert study.best_value == x
        storage.close()

    def test_workers_go_on_when_it_was_killed_and_started_again(self, serve: Callable[..., Server]) -> None:
        server = serve("--port", "0", "--lease", "5")
        storage = connect(f"localhost:{server.port}")
        study = optuna.create_study(storage=storage, study_name="s")
        dead = connect_elsewhere(server.port)
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        server.stop(signal.SIGKILL)
        again = serve("--port", str(server.port), "--lease", "5")
        assert again.port == server.port
        until(lambda: study.get_trials(states=[TrialState.WAITING]), 20)
        assert [t.number for t in study.get_trials(states=[TrialState.WAITING])] == [dead]
        assert study.trials[trial.number].state is TrialState.RUNNING, "its worker's heartbeats go on"
        study.tell(trial, 1.0)
        assert study.best_trial.params == {"x": x}, "also what the server had not written yet"
        storage.close()

    @pytest.mark.parametrize(
        ("arguments", "remedy"),
        [
            (["--host", "0.0.0.0"], "TUNESMITH_API_KEY"),
            (["--tls-cert", "cert.pem"], "--tls-key is missing"),
            (["--tls-cert", "none.pem", "--tls-key", "none.pem"], "none.pem"),
            (["--database", "mysql://localhost/x"], "use sqlite or postgresql"),
            (["--lease", "0"], "--lease"),
        ],
    )
    def test_what_cannot_be_is_refused_in_one_line(self, arguments: list[str], remedy: str, tmp_path: Path) -> None:
        ended = run("optuna-server", "--port", "0", "--data-dir", str(tmp_path), *arguments)
        assert ended.returncode == 2
        assert remedy in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_its_help_shows_both_clients(self) -> None:
        said = " ".join(run("optuna-server", "--help").stdout.split())
        assert "GrpcStorageProxy(host=" in said
        assert "tunesmith.optuna.connect(" in said

    def test_with_a_key_it_asks_for_the_key(
        self, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(TUNESMITH_API_KEY=KEY)
        monkeypatch.setenv("TUNESMITH_API_KEY", KEY)
        storage = connect(f"localhost:{server.port}")
        assert storage.get_all_studies() == []
        storage.close()


class TestBesideThePlatform:
    @pytest.mark.slow
    def test_it_serves_the_platforms_experiments_and_ends_with_it(self, tmp_path: Path) -> None:
        with Platform(tmp_path / "data", TUNESMITH_OPTUNA_PORT="0", TUNESMITH_NUM_CPUS="1") as platform:
            address = platform.record["optuna"]
            shown = json.loads(run("status", "--data-dir", str(platform.data_dir), "--json").stdout)
            assert shown["optuna"] == address
            storage = connect(address)
            study = optuna.create_study(storage=storage, study_name="s")
            study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
            with Client(platform.url) as client:
                (experiment,) = client.experiments()
                assert len(list(experiment.trials())) == 5

            (child,) = platform.pids("optuna-server")
            os.kill(child, signal.SIGKILL)
            study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
            assert len(study.trials) == 6, "the supervisor has started it again"
            storage.close()
            platform.stop()
            assert platform.pids() == []

    @pytest.mark.slow
    def test_it_ends_when_the_supervisor_is_killed(self, tmp_path: Path) -> None:
        with Platform(tmp_path / "data", TUNESMITH_OPTUNA_PORT="0", TUNESMITH_NUM_CPUS="1") as platform:
            assert platform.process is not None
            platform.process.kill()
            until(lambda: not platform.pids("optuna-server"), 20)


def connect_elsewhere(port: int) -> int:
    """The number of the trial that another process asked for and did not finish."""
    script = f"""
import optuna, tunesmith.optuna
study = optuna.load_study(study_name='s', storage=tunesmith.optuna.connect('localhost:{port}'))
print(study.ask().number)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(ended.stdout)
