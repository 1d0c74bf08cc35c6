"""Several real processes on one study: nothing lost, nothing twice, nothing half-written when one is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from tunesmith.domain import TrialState as OurState
from tunesmith.optuna import Storage
from tunesmith.store import open_store

PROCESSES, EACH = 4, 25
OPTIMIZE = """
import sys, optuna
from tunesmith.optuna import Storage
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="shared", storage=Storage(sys.argv[1]))
def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    trial.set_user_attr("who", sys.argv[3])
    trial.report(x, trial.number)
    return x
study.optimize(objective, n_trials=int(sys.argv[2]))
"""
HANG = """
import sys, time, optuna
from tunesmith.optuna import Storage
study = optuna.load_study(study_name="shared", storage=Storage(sys.argv[1], heartbeat_interval=1, grace_period=2))
def objective(trial):
    trial.suggest_float("x", -1, 1)
    trial.suggest_categorical("kind", ["a", "b"])
    time.sleep(0.5)
    print("begun", flush=True)
    time.sleep(600)
study.optimize(objective, n_trials=1)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)


def test_processes_that_optimize_one_study_lose_and_double_nothing(url: str) -> None:
    storage = Storage(url)
    study = optuna.create_study(study_name="shared", storage=storage)
    for index in range(PROCESSES):
        study.enqueue_trial({"x": index / 10})
    workers = [started(OPTIMIZE, url, str(EACH), str(index)) for index in range(PROCESSES)]
    assert [worker.wait(150) for worker in workers] == [0] * PROCESSES
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(PROCESSES * EACH))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert Counter(trial.user_attrs["who"] for trial in trials) == {str(index): EACH for index in range(PROCESSES)}
    assert all(trial.intermediate_values == {trial.number: trial.params["x"]} for trial in trials)
    assert [trial.params["x"] for trial in trials[:PROCESSES]] == [index / 10 for index in range(PROCESSES)]
    store = open_store(url)
    with store.read() as tx:
        experiment = tx.experiment(study._study_id)
        (best,) = tx.best_trials(experiment)
    assert experiment.counts == {state: PROCESSES * EACH * (state is OurState.COMPLETE) for state in OurState}
    assert best.number == study.best_trial.number
    store.close()
    storage.close()


def test_a_killed_process_leaves_a_whole_trial_that_a_heartbeat_gives_to_another_one(url: str) -> None:
    with pytest.warns(ExperimentalWarning):
        callback = RetryHeartbeatStaleTrialCallback(max_retry=1)
    storage = Storage(url, heartbeat_interval=1, grace_period=2, heartbeat_stale_trial_callback=callback)
    study = optuna.create_study(study_name="shared", storage=storage)
    worker = started(HANG, url)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "begun\n"
    assert storage._get_stale_trial_ids(study._study_id) == []
    worker.kill()
    worker.wait()
    (left,) = study.trials
    assert (left.state, left.params.keys()) == (TrialState.RUNNING, {"x", "kind"})
    end = time.monotonic() + 30
    while not storage._get_stale_trial_ids(study._study_id):
        assert time.monotonic() < end
        time.sleep(0.1)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=1)
    failed, again = study.trials
    assert failed.state is TrialState.FAIL
    assert (again.state, again.params) == (TrialState.COMPLETE, left.params)
    assert again.system_attrs["retry_history"] == [0]
    storage.close()


def test_a_waiting_trial_goes_to_one_of_many_threads(url: str) -> None:
    storage = Storage(url)
    study = optuna.create_study(storage=storage)
    trial_id = storage.create_new_trial(study._study_id, optuna.trial.create_trial(state=TrialState.WAITING))
    others = [Storage(url) for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda s: s.set_trial_state_values(trial_id, TrialState.RUNNING), [storage, *others] * 2))
    assert sum(taken) == 1
    for opened in (storage, *others):
        opened.close()


def test_threads_share_a_storage(url: str) -> None:
    storage = Storage(url)
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=40, n_jobs=4)
    assert [(trial.number, trial.state) for trial in study.trials] == [(n, TrialState.COMPLETE) for n in range(40)]
    storage.close()


def optimize(study: optuna.Study) -> None:
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=5)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.slow
def test_a_storage_goes_into_another_process(url: str, method: str) -> None:
    storage = Storage(url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    processes = [get_context(method).Process(target=optimize, args=(study,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    study.tell(trial, 1.0)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [trial.number for trial in study.trials] == list(range(11))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    storage.close()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def test_a_process_that_ends_in_the_middle_of_a_trial_has_written_what_it_knew(sqlite_url: str, tmp_path: Path) -> None:
    optuna.create_study(study_name="shared", storage=Storage(sqlite_url))
    ask = """
import sys, optuna
from tunesmith.optuna import Storage
trial = optuna.load_study(study_name="shared", storage=Storage(sys.argv[1])).ask()
trial.suggest_float("x", 0, 1)
trial.set_user_attr("last", "word")
"""
    assert started(ask, sqlite_url).wait(60) == 0
    (trial,) = optuna.load_study(study_name="shared", storage=Storage(sqlite_url)).trials
    assert (trial.state, trial.user_attrs, list(trial.params)) == (TrialState.RUNNING, {"last": "word"}, ["x"])
