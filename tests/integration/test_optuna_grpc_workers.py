"""Workers behind Optuna's gRPC protocol: real processes, the leases of what they evaluate, and many of them at once."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.trial import TrialState
from optuna_wire import CONNECTED, UNMODIFIED, Worker, proxy, serving, wait_for

from tunesmith.optuna.server import OptunaServer
from tunesmith.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def worker() -> Iterator[Callable[..., Worker]]:
    """Start workers, which end with the test."""
    started: list[Worker] = []

    def start(port: int, client: str, body: str) -> Worker:
        started.append(Worker(port, client, body))
        return started[-1]

    yield start
    for one in started:
        one.end()


ASK = textwrap.dedent("""
    study = optuna.load_study(study_name='s', storage=storage)
    trial = study.ask()
    x = trial.suggest_float('x', 0, 1)
    trial.report(0.5, step=1)
    say(trial.number, x)
""")
THEN_TELL = textwrap.dedent("""
    hear()
    try:
        storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.COMPLETE, [99.0])
        say('told')
    except Exception as error:
        say(type(error).__name__, error.__cause__.details())
""")


class TestLeases:
    @pytest.fixture
    def short(self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OptunaServer]:
        """A server whose leases are short, with a study `s`."""
        monkeypatch.delenv("TUNESMITH_API_KEY", raising=False)
        with serving(sqlite_url, lease_s=2) as server, proxy(server) as storage:
            optuna.create_study(storage=storage, study_name="s")
            yield server

    @pytest.mark.parametrize("client", [UNMODIFIED, CONNECTED], ids=["unmodified", "connected"])
    def test_the_trial_of_a_dead_worker_goes_to_another_with_its_number_and_parameters(
        self, short: OptunaServer, sqlite_store: Store, worker: Callable[..., Worker], client: str
    ) -> None:
        dead = worker(short.port, client, ASK + "hear()")
        number, x = dead.hear().split()
        dead.end()
        with proxy(short) as storage:
            study = optuna.load_study(study_name="s", storage=storage)
            wait_for(lambda: study.get_trials(states=[TrialState.WAITING]))
            trial = study.ask()
            assert (trial.number, trial.suggest_float("x", 0, 1)) == (int(number), float(x))
            assert not study.trials[0].intermediate_values
            study.tell(trial, 1.0)
            assert [(t.number, t.state, t.value) for t in study.trials] == [(0, TrialState.COMPLETE, 1.0)]
            assert attempts(sqlite_store) == [2]

    @pytest.mark.parametrize("client", [UNMODIFIED, CONNECTED], ids=["unmodified", "connected"])
    def test_what_a_late_worker_tells_is_refused_and_changes_nothing(
        self, short: OptunaServer, sqlite_store: Store, worker: Callable[..., Worker], client: str
    ) -> None:
        silent = "storage._beat.stop()\n" if client is CONNECTED else ""
        late = worker(short.port, client, silent + ASK + THEN_TELL * 2)
        late.hear()
        with proxy(short) as storage:
            study = optuna.load_study(study_name="s", storage=storage)
            wait_for(lambda: study.get_trials(states=[TrialState.WAITING]))
            late.say("tell what waits for another")
            assert late.hear().startswith("UpdateFinishedTrialError Trial id 1 is not yours any more")
            trial = study.ask()
            late.say("tell what another has")
            assert late.hear().startswith("UpdateFinishedTrialError Trial id 1 is not yours any more")
            assert (study.trials[0].state, study.trials[0].values) == (TrialState.RUNNING, None)
            study.tell(trial, 1.0)
            assert study.trials[0].value == 1.0

    def test_heartbeats_keep_a_trial_for_as_long_as_its_process_lives(
        self, short: OptunaServer, sqlite_store: Store, worker: Callable[..., Worker]
    ) -> None:
        patient = worker(short.port, CONNECTED, ASK + THEN_TELL)
        patient.hear()
        time.sleep(5)
        assert attempts(sqlite_store) == [1]
        patient.say("now")
        assert patient.hear() == "told"

    def test_every_call_keeps_the_trial_of_an_unmodified_client(self, short: OptunaServer, sqlite_store: Store) -> None:
        with proxy(short) as storage:
            study = optuna.load_study(study_name="s", storage=storage)
            trial = study.ask()
            for step in range(10):
                trial.report(step, step)
                time.sleep(0.5)
            study.tell(trial, 1.0)
        assert attempts(sqlite_store) == [1]

    def test_a_trial_that_another_process_tells_is_told_while_it_was_never_lost(
        self, short: OptunaServer, worker: Callable[..., Worker]
    ) -> None:
        asking = worker(short.port, UNMODIFIED, ASK + "hear()")
        asking.hear()
        with proxy(short) as storage:
            study = optuna.load_study(study_name="s", storage=storage)
            study.tell(0, 3.0)
            assert study.best_value == 3.0

    def test_they_go_on_in_the_next_server(
        self, sqlite_url: str, sqlite_store: Store, worker: Callable[..., Worker]
    ) -> None:
        with serving(sqlite_url, lease_s=4) as server:
            with proxy(server) as storage:
                optuna.create_study(storage=storage, study_name="s")
            late = worker(server.port, CONNECTED, "storage._beat.stop()\n" + ASK + THEN_TELL)
            late.hear()
            port = server.port
        next_server = OptunaServer(sqlite_url, port=port, lease_s=4)
        next_server.start()
        try:
            with proxy(next_server) as storage:
                study = optuna.load_study(study_name="s", storage=storage)
                assert study.trials[0].state is TrialState.RUNNING
                wait_for(lambda: study.get_trials(states=[TrialState.WAITING]))
                study.ask()
            late.say("tell")
            assert late.hear().startswith("UpdateFinishedTrialError")
        finally:
            next_server.stop()
        assert attempts(sqlite_store) == [2]


OPTIMIZE = textwrap.dedent("""
    study = optuna.load_study(study_name='s', storage=storage, sampler=optuna.samplers.RandomSampler())
    def objective(trial):
        trial.set_user_attr('evaluations', trial.user_attrs.get('evaluations', 0) + 1)
        return sum(trial.suggest_float(f'x{i}', 0, 1) for i in range(3))
    mine = 0
    def count(study, trial):
        global mine
        mine += 1
    study.optimize(objective, n_trials={trials}, callbacks=[count])
    say(mine)
""")


class TestManyWorkers:
    @pytest.mark.parametrize("database", ["sqlite", "postgres"])
    @pytest.mark.parametrize(
        "client",
        [pytest.param(UNMODIFIED, id="unmodified"), pytest.param(CONNECTED, id="connected", marks=pytest.mark.slow)],
    )
    def test_four_finish_200_trials_with_none_lost_or_doubled(
        self, database: str, client: str, request: pytest.FixtureRequest, worker: Callable[..., Worker]
    ) -> None:
        check_workers(request.getfixturevalue(f"{database}_url"), client, worker, workers=4, trials=50)

    @pytest.mark.slow
    @pytest.mark.parametrize("database", ["sqlite", "postgres"])
    def test_eight_finish_2000_trials_with_none_lost_or_doubled(
        self, database: str, request: pytest.FixtureRequest, worker: Callable[..., Worker]
    ) -> None:
        check_workers(request.getfixturevalue(f"{database}_url"), UNMODIFIED, worker, workers=8, trials=250)


def check_workers(url: str, client: str, worker: Callable[..., Worker], workers: int, trials: int) -> None:
    with serving(url) as server, proxy(server) as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        started = [worker(server.port, client, OPTIMIZE.replace("{trials}", str(trials))) for _ in range(workers)]
        assert [one.hear() for one in started] == [str(trials)] * workers
        found = study.trials
    assert [trial.number for trial in found] == list(range(workers * trials))
    assert Counter(trial.state for trial in found) == {TrialState.COMPLETE: workers * trials}
    assert {trial.user_attrs["evaluations"] for trial in found} == {1}
    assert all(trial.value == pytest.approx(sum(trial.params.values())) for trial in found)


def attempts(store: Store) -> list[int]:
    with store.read() as tx:
        return [trial.attempt for trial in tx.trials(tx.experiment(1)).items]
