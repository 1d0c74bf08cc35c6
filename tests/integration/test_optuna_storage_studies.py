"""Experiments are studies and studies are experiments: what each side writes, the other one reads."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError

from tunesmith.domain import Experiment, ExternalTool, Job, JobState, Measurement, Trial, TrialState, space_of
from tunesmith.errors import InvalidSettings, JobActive, JobNotFound, TrialTaken
from tunesmith.optuna import Storage
from tunesmith.store import Store, open_store
from tunesmith.testing import finished_trial, new_experiment, open_trial, queued_job, running_job

MIXED = space_of(
    [
        {"name": "lr", "minimum": 0.001, "maximum": 1, "log": True},
        {"name": "units", "type": "int", "minimum": 1, "maximum": 10, "step": 4},
        {"name": "kind", "type": "categorical", "choices": ["adam", "sgd", None, 1, True]},
    ]
)
POINT = {"lr": 0.1, "units": 5, "kind": "sgd"}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    opened = Storage(url)
    yield opened
    opened.close()


def mixed_experiment(store: Store, objectives: tuple[str, ...] = ("loss",), **changes: object) -> Experiment:
    return new_experiment(store, objectives, space=MIXED, **changes)


def record(
    store: Store, experiment: Experiment, job: Job, *found: Trial, measured: tuple[Measurement, ...] = ()
) -> None:
    with store.write() as tx:
        tx.record(job.id, job.lease_token, experiment, found, measured)


def quadratic(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    kind = trial.suggest_categorical("kind", ["a", "b", None])
    trial.set_user_attr("seen", True)
    trial.report(x, 1)
    return x * x + (kind == "a")


# A study as an experiment


def test_a_study_is_an_experiment_with_trials_counters_and_a_best_trial(storage: Storage, store: Store) -> None:
    study = optuna.create_study(study_name="lr search", direction="maximize", storage=storage)
    study.enqueue_trial({"x": 0.5, "kind": "b"})
    study.optimize(quadratic, n_trials=5)
    study.ask()
    with store.read() as tx:
        experiment = tx.experiment(study._study_id)
        page = tx.trials(experiment)
        (best,) = tx.best_trials(experiment)
        measured = tx.measurements(experiment.id, 0)
    assert (experiment.name, experiment.spec.tool) == ("lr search", ExternalTool(study="lr search"))
    assert [objective.direction for objective in experiment.spec.objectives] == ["maximize"]
    assert experiment.counts == {state: {"complete": 5, "running": 1}.get(state, 0) for state in TrialState}
    assert [trial.number for trial in page.items] == list(range(6))
    assert page.items[0].params == {"x": 0.5, "kind": "b"}
    assert page.items[0].metrics == {"value": 0.25}
    assert page.items[0].user_attrs == {"seen": True}
    assert best.number == study.best_trial.number
    assert best.values == tuple(study.best_trial.values)
    assert [(m.metric, m.step, m.value) for m in measured] == [("value", 1, 0.5)]


def test_the_pareto_front_of_a_study_is_the_one_that_optuna_finds(storage: Storage, store: Store) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], storage=storage)
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=30)
    study.add_trial(optuna.trial.create_trial(values=[-1, 2]))
    with store.read() as tx:
        front = tx.best_trials(tx.experiment(study._study_id))
    assert [trial.number for trial in front] == [trial.number for trial in study.best_trials] == [30]


def test_a_trial_that_breaks_a_constraint_is_never_the_best(storage: Storage, store: Store) -> None:
    study = optuna.create_study(storage=storage)
    study.add_trial(optuna.trial.create_trial(value=1.0, constraints={"memory": -1.0, "time": -0.5}))
    study.add_trial(optuna.trial.create_trial(value=0.0, constraints={"memory": 2.0, "time": 0.5}))
    study.add_trial(optuna.trial.create_trial(value=-math.inf, constraints={"memory": 1.0}))

    def objective(trial: optuna.Trial) -> float:
        trial.set_constraint("memory", 0.25)
        return -5.0

    study.optimize(objective, n_trials=1)
    with store.read() as tx:
        experiment = tx.experiment(study._study_id)
        (best,) = tx.best_trials(experiment)
        violations = [trial.violation for trial in tx.trials(experiment).items]
    assert best.number == study.best_trial.number == 0
    assert violations == [0.0, 2.5, 1.0, 0.25]


def test_a_failed_trial_says_why(storage: Storage, store: Store) -> None:
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: math.nan, n_trials=1)
    study.optimize(lambda trial: 1 / 0, n_trials=1, catch=ZeroDivisionError)
    with store.read() as tx:
        experiment = tx.experiment(study._study_id)
        assert experiment.counts[TrialState.FAILED] == 2
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.FAIL] * 2


@pytest.mark.parametrize("value", [math.inf, -math.inf, "text", None, True, 1, 2**60])
def test_any_choice_comes_back_as_it_was(storage: Storage, value: object) -> None:
    study = optuna.create_study(study_name="choices", storage=storage)
    study.enqueue_trial({"c": value})
    study.optimize(lambda trial: float(trial.suggest_categorical("c", ["other", value]) == "other"), n_trials=1)
    storage.flush()
    (read,) = optuna.load_study(study_name="choices", storage=pickle.loads(pickle.dumps(storage))).trials
    assert read.params == {"c": value}
    assert type(read.params["c"]) is type(value)
    assert read.distributions == {"c": CategoricalDistribution(["other", value])}


# An experiment as a study


def test_an_experiment_is_found_as_a_study_by_its_name_and_number(storage: Storage, store: Store) -> None:
    experiment = new_experiment(store, ("loss", "-accuracy"), tool_name="net")
    assert storage.get_study_id_from_name(f"net#{experiment.id}") == experiment.id
    assert storage.get_study_id_from_name("net") == experiment.id
    assert storage.get_study_name_from_id(experiment.id) == f"net#{experiment.id}"
    study = optuna.load_study(study_name="net", storage=storage)
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    new_experiment(store, tool_name="NET2")
    other = new_experiment(store, ("time",), tool_name="net")
    with pytest.raises(KeyError, match="several"):
        storage.get_study_id_from_name("net")
    with store.write() as tx:
        tx.update_experiment(other.id, archived=True)
    assert storage.get_study_id_from_name("net") == experiment.id
    with pytest.raises(DuplicatedStudyError):
        optuna.create_study(study_name=f"net#{experiment.id}", storage=storage)
    assert len(optuna.get_all_study_names(storage)) == 3


def test_trials_of_a_job_are_trials_of_the_study_with_their_real_choices(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store)
    job = running_job(store, experiment)
    done = finished_trial(job, 0, 0.5, params=POINT)
    curve = Measurement(experiment_id=experiment.id, number=0, metric="loss", step=3, value=0.7)
    other = Measurement(experiment_id=experiment.id, number=0, metric="accuracy", step=3, value=0.1)
    failed = finished_trial(job, 1, state=TrialState.FAILED, params=POINT | {"kind": True})
    record(store, experiment, job, done, failed, open_trial(job, 2, params=POINT), measured=(curve, other))
    first, second, third = optuna.load_study(study_name=experiment.name, storage=storage).trials
    assert first.params == POINT
    assert first.values == [0.5]
    assert first.distributions == {
        "lr": FloatDistribution(0.001, 1, log=True),
        "units": IntDistribution(1, 9, step=4),
        "kind": CategoricalDistribution(["adam", "sgd", None, 1, True]),
    }
    assert first.intermediate_values == {3: 0.7}
    assert first.duration == timedelta(seconds=1)
    assert second.state is optuna.trial.TrialState.FAIL
    assert second.params["kind"] is True
    assert third.state is optuna.trial.TrialState.RUNNING


def test_a_trial_outside_of_a_space_that_was_narrowed_since_is_still_read(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store)
    job = running_job(store, experiment)
    record(store, experiment, job, finished_trial(job, 0, 0.5, params=POINT), finished_trial(job, 1, 1.0, params=POINT))
    narrow = space_of(
        [
            {"name": "lr", "minimum": 0.5, "maximum": 1, "log": True},
            {"name": "kind", "type": "categorical", "choices": ["adam", None]},
        ]
    )
    with store.write() as tx:
        tx.update_experiment(experiment.id, space=narrow)
    found = optuna.load_study(study_name=experiment.name, storage=storage).trials
    assert [trial.params for trial in found] == [POINT, POINT]
    assert found[0].distributions == {
        "lr": FloatDistribution(0.1, 1, log=True),
        "units": FloatDistribution(5, 5),
        "kind": CategoricalDistribution(["adam", None, "sgd"]),
    }


def test_choices_that_a_trial_asked_for_while_it_ran_are_real_ones(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store)
    job = running_job(store, experiment)
    noted = {
        "tunesmith:distributions": {"kind": distribution_to_json(CategoricalDistribution(range(2)))},
        "tunesmith:choices": {"kind": ["left", "right"]},
        "mine": 1,
    }
    record(store, experiment, job, finished_trial(job, 0, 0.5, params={"kind": "right"}, system_attrs=noted))
    (trial,) = optuna.load_study(study_name=experiment.name, storage=storage).trials
    assert trial.params == {"kind": "right"}
    assert trial.distributions == {"kind": CategoricalDistribution(["left", "right"])}
    assert trial.system_attrs == {"mine": 1}


def test_bounds_of_an_experiment_are_constraints_of_its_trials(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store, constraints=[{"metric": "memory", "max": 10}, {"metric": "time", "min": 1}])
    job = running_job(store, experiment)
    broken = finished_trial(job, 0, 0.5, params=POINT, metrics={"loss": 0.5, "memory": 12.0}, violation=2.0)
    pruned = finished_trial(job, 1, state=TrialState.PRUNED, params=POINT, metrics={}, values=None)
    record(store, experiment, job, broken, pruned)
    first, second = optuna.load_study(study_name=experiment.name, storage=storage).trials
    assert first.constraints == {"memory#0": 2.0, "time#1": 0.0}
    assert second.constraints == {}


def test_an_optuna_process_takes_part_in_an_experiment_beside_its_job(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store)
    job = running_job(store, experiment)
    record(store, experiment, job, open_trial(job, 0, TrialState.WAITING, params=POINT))
    study = optuna.load_study(study_name=experiment.name, storage=storage)
    study.optimize(lambda trial: trial.suggest_float("lr", 0.001, 1, log=True), n_trials=2)
    record(store, experiment, job, finished_trial(job, 0, 0.5, params=POINT))
    with store.read() as tx:
        assert tx.experiment(experiment.id).counts[TrialState.COMPLETE] == 3
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert all(trial.state.is_finished() for trial in study.trials)


def test_a_trial_of_a_job_or_under_a_lease_is_not_for_optuna_to_change(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store)
    job = running_job(store, experiment)
    waiting = open_trial(job, 0, TrialState.WAITING, params=POINT)
    leased = open_trial(job, 1, params=POINT, job_id=None, run_number=None, lease_token="t")
    with store.write() as tx:
        tx.write_trials(experiment, [waiting, leased])
    first, second = (storage.get_trial_id_from_study_id_trial_number(experiment.id, number) for number in (0, 1))
    assert not storage.set_trial_state_values(first, optuna.trial.TrialState.RUNNING)
    for trial_id in (first, second):
        with pytest.raises(TrialTaken, match="belongs to"):
            storage.set_trial_state_values(trial_id, optuna.trial.TrialState.COMPLETE, [1.0])
        with pytest.raises(TrialTaken, match="belongs to"):
            storage.set_trial_user_attr(trial_id, "a", 1)
    with store.read() as tx:
        assert [trial.state for trial in tx.trials(experiment).items] == [TrialState.WAITING, TrialState.RUNNING]


def test_a_failed_trial_that_its_job_tries_again_is_read_again(storage: Storage, store: Store) -> None:
    experiment = mixed_experiment(store)
    job = running_job(store, experiment)
    record(store, experiment, job, finished_trial(job, 0, state=TrialState.FAILED, params=POINT))
    study = optuna.load_study(study_name=experiment.name, storage=storage)
    assert study.trials[0].state is optuna.trial.TrialState.FAIL
    with store.write() as tx:
        tx.requeue_trials(job, {TrialState.FAILED})
    record(store, experiment, job, finished_trial(job, 0, 0.25, params=POINT))
    assert study.trials[0].values == [0.25]


# Between storages, processes and people


def test_a_study_is_copied_there_and_back_without_a_difference(storage: Storage) -> None:
    there = optuna.create_study(study_name="there", directions=["minimize"], storage=storage)
    there.set_user_attr("who", {"a": [1, math.inf]})
    there.optimize(quadratic, n_trials=6)
    there.enqueue_trial({"x": 0.1})
    memory = optuna.storages.InMemoryStorage()
    optuna.copy_study(from_study_name="there", from_storage=storage, to_storage=memory, to_study_name="between")
    optuna.copy_study(from_study_name="between", from_storage=memory, to_storage=storage, to_study_name="back")
    back = optuna.load_study(study_name="back", storage=storage)
    assert back.user_attrs == there.user_attrs
    assert [trial.__dict__ | {"_trial_id": 0} for trial in back.trials] == [
        trial.__dict__ | {"_trial_id": 0} for trial in there.trials
    ]


def test_a_second_process_sees_what_the_first_one_reported_within_a_second(url: str, storage: Storage) -> None:
    study = optuna.create_study(study_name="shared", storage=storage)
    trial = study.ask({"x": FloatDistribution(0, 1)})
    trial.report(0.5, 1)
    other = Storage(url)
    seen = until_true(lambda: other.get_trial(trial._trial_id).intermediate_values == {1: 0.5})
    assert seen
    assert other.get_trial(trial._trial_id).params == trial.params
    other.close()


def test_what_another_process_writes_to_a_running_trial_is_kept(url: str, storage: Storage) -> None:
    study = optuna.create_study(study_name="shared", storage=storage)
    trial = study.ask()
    trial.set_user_attr("mine", 1)
    other = Storage(url)
    other.set_trial_user_attr(trial._trial_id, "theirs", 2)
    other.set_trial_param(trial._trial_id, "x", 0.5, FloatDistribution(0, 1))
    trial.set_user_attr("mine too", 3)
    study.tell(trial, 1.0)
    (read,) = optuna.load_study(study_name="shared", storage=other).trials
    assert read.user_attrs == {"mine": 1, "theirs": 2, "mine too": 3}
    assert read.params == study.trials[0].params == {"x": 0.5}
    other.close()


def test_a_trial_that_another_process_ended_cannot_be_ended_again(url: str, storage: Storage) -> None:
    study = optuna.create_study(study_name="shared", storage=storage)
    trial = study.ask()
    other = Storage(url)
    other.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.COMPLETE, [1.0])
    assert study.trials[0].state is optuna.trial.TrialState.FAIL
    other.close()


def test_a_study_with_an_active_job_is_not_deleted(storage: Storage, store: Store) -> None:
    experiment = new_experiment(store)
    job = queued_job(store, experiment)
    with pytest.raises(JobActive, match=f"tunesmith cancel {job.id}"):
        storage.delete_study(experiment.id)
    with store.write() as tx:
        tx.set_job_state(tx.lock_job(job.id), JobState.CANCELLED)
    storage.delete_study(experiment.id)
    with store.read() as tx, pytest.raises(JobNotFound):
        tx.job(job.id)


def test_a_deleted_study_leaves_nothing(storage: Storage, store: Store) -> None:
    study = optuna.create_study(study_name="gone", storage=storage)
    study.optimize(quadratic, n_trials=2)
    optuna.delete_study(study_name="gone", storage=storage)
    assert optuna.get_all_study_names(storage) == []
    with pytest.raises(KeyError):
        study.ask()
    with store.read() as tx:
        tables = ("trials", "measurements", "experiments")
        left = [tx.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in tables]
    assert left == [0, 0, 0]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("study.db", "sqlite:///study.db"),
        ("sqlite://", "in memory"),
        ("mysql://user:secret@host/db", "postgresql"),
        ("redis://host", "redis"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_write(url: str, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says) as caught:
        Storage(url)
    assert "secret" not in caught.value.message


def test_a_database_of_optunas_own_storage_is_refused(tmp_path: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/theirs.db")
    with pytest.raises(InvalidSettings, match="tunesmith import"):
        Storage(f"sqlite:///{tmp_path}/theirs.db")


def test_without_a_url_it_is_the_platforms_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path))
    storage = Storage()
    optuna.create_study(study_name="here", storage=storage)
    again = pickle.loads(pickle.dumps(storage))
    assert optuna.get_all_study_names(again) == ["here"]
    storage.close()
    again.close()


def until_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
