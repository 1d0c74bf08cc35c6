"""Housekeeping: what is old goes, archived before, and never what a job needs that has not ended."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from s3 import bucket
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from serve_app.housekeeper import Housekeeper
from tunesmith.cli.app import app as command_line
from tunesmith.domain import Job, JobState, Search, TrainingJob, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.services import trainings
from tunesmith.services.firing import fire_due, new_firing
from tunesmith.services.housekeeping import Removed, housekeep, survey
from tunesmith.settings import Settings
from tunesmith.storage import Storage, run_key, trial_key
from tunesmith.store import Store
from tunesmith.store.rows import COUNTERS
from tunesmith.store.tables import events, experiments, jobs, leftovers, trials
from tunesmith.testing import finished_trial, new_experiment, running_job
from tunesmith.testing.races import race
from tunesmith.testing.training_contract import claim, finish, new_training, run_once

NOW = utcnow()
OLD = NOW - timedelta(days=100)
HOURLY = "0 * * * *"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket on a local S3 service."""
    with bucket("artifacts/kept") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "artifacts"))


def ninety(**settings: Any) -> Settings:
    return Settings(**{"retention_executions_days": 90, **settings})


def fire(store: Store, training: TrainingJob) -> Job:
    """Let it run once more; its firing."""
    with store.write() as tx:
        trainings.run(tx, tx.training(training.id))
    (job,) = [job for job in claim(store) if job.training_id == training.id]
    return finish(store, job)


def with_executions(store: Store, storage: Storage, count: int = 3, days: float = 100) -> TrainingJob:
    """A training job that was fired so often, with files; all of it ended so many days ago."""
    training = new_training(store, schedule=HOURLY)
    for _ in range(count):
        write_files(store, storage, fire(store, training))
    age(store, training, days)
    return training


def write_files(store: Store, storage: Storage, job: Job) -> None:
    """A log and a file of each attempt, and a checkpoint of the firing."""
    storage.write(f"{run_key(job.experiment_id, job.run_number)}/checkpoint/state", b"state")
    with store.write() as tx:
        numbers = tx.connection.scalars(select(trials.c.number).where(trials.c.job_id == job.id)).all()
        for number in numbers:
            key = trial_key(job.experiment_id, number)
            storage.write(f"{key}/log.txt", b"a line\n")
            storage.write(f"{key}/metrics.jsonl", b"{}\n")
            here = (trials.c.experiment_id == job.experiment_id, trials.c.number == number)
            tx.connection.execute(update(trials).where(*here).values(log=f"{key}/log.txt"))


def age(store: Store, training: TrainingJob, days: float) -> None:
    """Let its firings have ended so many days ago."""
    with store.write() as tx:
        ended = (jobs.c.training_id == training.id, jobs.c.ended_at.is_not(None))
        tx.connection.execute(update(jobs).where(*ended).values(ended_at=NOW - timedelta(days=days)))


def exists(storage: Storage, key: str) -> bool:
    return next(storage.read(key), None) is not None


def attempts(store: Store, training: TrainingJob) -> list[int]:
    """The numbers of its firings that have attempts, oldest first."""
    with store.read() as tx:
        return sorted({job.run_number for _trial, job in tx.executions(training, limit=1000).items})


def counters_are_true(store: Store) -> bool:
    """Whether every experiment counts the trials that there are."""
    with store.read() as tx:
        rows = tx.connection.execute(select(experiments)).all()
        group = select(trials.c.experiment_id, trials.c.state, func.count()).group_by(
            *trials.c["experiment_id", "state"]
        )
        there = {(experiment, state): count for experiment, state, count in tx.connection.execute(group)}
    return all(
        getattr(row, column) == there.get((row.id, state.value), 0)
        for row in rows
        for state, column in COUNTERS.items()
    )


def test_old_executions_go_with_their_files_but_the_latest(database: Store, storage: Storage) -> None:
    training, young = with_executions(database, storage), with_executions(database, storage, days=10)
    assert survey(database, ninety(), NOW) == Removed(executions=2, firings=2)
    removed = housekeep(database, storage, ninety(archive=False), NOW)
    assert removed == Removed(executions=2, firings=2)
    assert attempts(database, training) == [3]
    assert attempts(database, young) == [1, 2, 3]
    here = training.experiment_id
    for run in (1, 2):
        assert not exists(storage, f"{run_key(here, run)}/checkpoint/state")
        assert not exists(storage, f"{trial_key(here, run - 1)}/log.txt")
        assert not exists(storage, f"{trial_key(here, run - 1)}/metrics.jsonl")
    assert exists(storage, f"{run_key(here, 3)}/checkpoint/state")
    assert exists(storage, f"{trial_key(here, 2)}/log.txt")
    assert storage.local is not None
    assert not (storage.local / run_key(here, 1)).exists()
    assert not (storage.local / "archive").exists()
    assert counters_are_true(database)
    with database.read() as tx:
        left = {job.run_number for job in tx.firings(training, set(JobState))}
        known = set(tx.connection.scalars(select(jobs.c.id)))
        assert set(tx.connection.scalars(select(events.c.job_id))) <= known
        assert tx.connection.scalar(select(func.count()).select_from(leftovers)) == 0
    assert left == {3}
    assert housekeep(database, storage, ninety(), NOW) == Removed()
    assert fire(database, training).run_number == 4


def test_nothing_goes_unless_a_setting_says_so(database: Store, storage: Storage) -> None:
    training = with_executions(database, storage)
    assert housekeep(database, storage, Settings(), NOW) == Removed()
    assert attempts(database, training) == [1, 2, 3]


def test_executions_are_archived_whole(database: Store, storage: Storage) -> None:
    training = with_executions(database, storage)
    with database.read() as tx:
        before = {trial.number: trial for trial, _job in tx.executions(training).items}
    removed = housekeep(database, storage, ninety(), NOW)
    assert removed.archive is not None
    assert removed.archive.startswith("archive/executions-")
    assert storage.local is not None
    rows = parquet.read_table(storage.local / removed.archive).to_pylist()
    assert [row["number"] for row in rows] == [0, 1]
    for row in rows:
        trial = before[row["number"]]
        assert (row["training_id"], row["training_name"]) == (training.id, training.name)
        assert (row["state"], row["attempt"], row["run_number"]) == ("complete", 1, row["number"] + 1)
        assert row["firing_state"] == "succeeded"
        assert (row["started_at"], row["ended_at"], row["log"]) == (trial.started_at, trial.ended_at, trial.log)
        assert json.loads(row["values"]) == [1.0]
        assert row.keys() >= {column.name for column in trials.c}
    assert len(list((storage.local / "archive").iterdir())) == 1


def test_nothing_goes_that_could_not_be_archived(database: Store, storage: Storage, tmp_path: Path) -> None:
    training = with_executions(database, storage)
    (tmp_path / "artifacts" / "archive").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        housekeep(database, storage, ninety(), NOW)
    assert attempts(database, training) == [1, 2, 3]
    assert exists(storage, f"{run_key(training.experiment_id, 1)}/checkpoint/state")


def test_files_that_could_not_be_removed_go_the_next_time(database: Store, storage: Storage, tmp_path: Path) -> None:
    training = with_executions(database, storage)
    away = Storage(str(tmp_path / "artifacts" / run_key(training.experiment_id, 1) / "checkpoint" / "state"))
    housekeep(database, away, ninety(archive=False), NOW)
    with database.read() as tx:
        assert run_key(training.experiment_id, 1) in tx.leftover_keys()
    housekeep(database, storage, ninety(), NOW)
    assert not exists(storage, f"{run_key(training.experiment_id, 1)}/checkpoint/state")
    with database.read() as tx:
        assert tx.leftover_keys() == []


def test_in_s3(postgres_store: Store, s3: str) -> None:
    storage = Storage(s3)
    training = with_executions(postgres_store, storage)
    removed = housekeep(postgres_store, storage, ninety(), NOW)
    assert (removed.executions, removed.firings) == (2, 2)
    assert exists(storage, str(removed.archive))
    here = training.experiment_id
    assert not exists(storage, f"{run_key(here, 1)}/checkpoint/state")
    assert not exists(storage, f"{trial_key(here, 0)}/log.txt")
    assert exists(storage, f"{run_key(here, 3)}/checkpoint/state")
    logs = Settings(retention_logs_days=90)
    fire(postgres_store, training)
    age(postgres_store, training, 100)
    assert housekeep(postgres_store, storage, logs, NOW) == Removed(logs=1)
    assert not exists(storage, f"{trial_key(here, 2)}/log.txt")
    assert exists(storage, f"{trial_key(here, 2)}/metrics.jsonl")


def test_logs_alone(database: Store, storage: Storage) -> None:
    training = with_executions(database, storage)
    settings = Settings(retention_logs_days=30)
    assert survey(database, settings, NOW) == housekeep(database, storage, settings, NOW) == Removed(logs=2)
    with database.read() as tx:
        logs = {trial.number: trial.log for trial, _job in tx.executions(training).items}
    assert (logs[0], logs[1]) == (None, None)
    assert logs[2] is not None
    assert not exists(storage, f"{trial_key(training.experiment_id, 0)}/log.txt")
    assert exists(storage, f"{trial_key(training.experiment_id, 0)}/metrics.jsonl")
    assert exists(storage, f"{run_key(training.experiment_id, 1)}/checkpoint/state")


def test_events_of_ended_jobs_but_the_last(database: Store, storage: Storage) -> None:
    training = with_executions(database, storage, count=2)
    active = running_job(database, new_experiment(database))
    settings = Settings(retention_events_days=1)
    planned = survey(database, settings, NOW)
    with database.read() as tx:
        before = len(tx.events(active.id))
    assert housekeep(database, storage, settings, NOW) == planned
    assert planned.events > 0
    with database.read() as tx:
        assert len(tx.events(active.id)) == before
        for job in tx.firings(training, {JobState.SUCCEEDED}):
            (last,) = tx.events(job.id)
            assert (last.kind, last.data["state"]) == ("state", "succeeded")


def test_trials_of_experiments_never_go(database: Store, storage: Storage) -> None:
    experiment = new_experiment(database)
    job = running_job(database, experiment)
    with database.write() as tx:
        tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, n, n) for n in range(5)])
        tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED, ended_at=OLD)
    settings = ninety(retention_logs_days=1, retention_events_days=1)
    removed = housekeep(database, storage, settings, NOW)
    assert (removed.executions, removed.firings, removed.logs) == (0, 0, 0)
    with database.read() as tx:
        assert len(tx.trials(experiment).items) == 5


def searching(store: Store) -> TrainingJob:
    """A training job that searches, with two firings of three trials each; the best is of the first one."""
    plan = {"schedule": HOURLY, "search": Search(type="random", n_iter=3), "total": 3}
    training = new_training(store, **plan)
    for run in range(2):
        with store.write() as tx:
            new_firing(tx, tx.training(training.id))
        (job,) = claim(store)
        with store.write() as tx:
            experiment = tx.experiment(training.experiment_id)
            first = tx.reserve_numbers(experiment.id, 3)
            found = [finished_trial(job, first + n, float(10 * run + n)) for n in range(3)]
            tx.record(job.id, str(job.lease_token), experiment, found)
            tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
    age(store, training, 100)
    return training


def test_of_a_search_the_best_stays_and_nothing_goes_while_it_is_active(database: Store, storage: Storage) -> None:
    training = searching(database)
    with database.write() as tx:
        waiting = new_firing(tx, tx.training(training.id))
    assert housekeep(database, storage, ninety(), NOW).executions == 0
    with database.write() as tx:
        tx.move_job(waiting.id, JobState.CANCELLED, (JobState.QUEUED,))
    assert housekeep(database, storage, ninety(), NOW).executions == 4
    with database.read() as tx:
        experiment = tx.experiment(training.experiment_id)
        assert [trial.number for trial in tx.best_trials(experiment)] == [0]
        assert [trial.number for trial in tx.trials(experiment).items] == [0, 5]
    assert counters_are_true(database)


def test_several_at_once_do_no_harm(database: Store, storage: Storage) -> None:
    found = [with_executions(database, storage, count=4) for _ in range(3)]
    answers = race(*[lambda: housekeep(database, storage, ninety(), NOW)] * 3)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    housekeep(database, storage, ninety(), NOW)
    assert [attempts(database, training) for training in found] == [[4]] * 3
    assert counters_are_true(database)


def test_whatever_stands_around_nothing_goes_that_is_needed(database: Store, storage: Storage) -> None:
    """Random ages and states, some steered while the housekeeping is at work."""
    rng = random.Random(7)
    found = [new_training(database, schedule=HOURLY, max_retries=1, retry_backoff_s=0) for _ in range(10)]
    for training in found:
        for _ in range(rng.randrange(1, 6)):
            with database.write() as tx:
                new_firing(tx, tx.training(training.id))
            while work(database, storage, rng.choice(ENDINGS)):
                pass
    for training in found:
        age_at_random(database, training, rng)
        stand(database, storage, training, rng.choice(STANDS))
    needed = _needed(database, found)
    assert needed

    def steer() -> None:
        """Retry failed ones, whose old attempts are then those of a job that is active."""
        for training in found:
            with database.write() as tx:
                latest = tx.latest_firing(training)
                if latest is not None and latest.state is JobState.FAILED:
                    trainings.retry(tx, tx.training(training.id))

    before = {training.id: attempts(database, training) for training in found}
    housekeep(database, storage, Settings(retention_logs_days=90), NOW)
    answers = race(lambda: housekeep(database, storage, ninety(), NOW), steer)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    gone = sum(len(before[training.id]) - len(attempts(database, training)) for training in found)
    assert gone > 0
    with database.read() as tx:
        for (job_id, number), log in needed.items():
            job = tx.job(job_id)
            trial = tx.trial(job.experiment_id, number)
            assert (trial.job_id, trial.log) == (job_id, log)
            if log is not None:
                assert exists(storage, log)
                assert exists(storage, f"{run_key(job.experiment_id, job.run_number)}/checkpoint/state")
    assert counters_are_true(database)


STANDS = ("over", "over", "over", "queued", "running", "retrying", "queued behind")
ENDINGS = (JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.FAILED)


def work(store: Store, storage: Storage, to: JobState) -> bool:
    """End an attempt of whatever is queued; whether anything was."""
    with store.write() as tx:
        tx.wake_retries()
    claimed = claim(store)
    for job in claimed:
        write_files(store, storage, finish(store, job, to, "no" if to is JobState.FAILED else None))
    return bool(claimed)


def age_at_random(store: Store, training: TrainingJob, rng: random.Random) -> None:
    with store.write() as tx:
        for job in tx.firings(training, {JobState.SUCCEEDED, JobState.FAILED}):
            moment = NOW - timedelta(days=rng.choice([1, 80, 100, 300]))
            tx.connection.execute(update(jobs).where(jobs.c.id == job.id).values(ended_at=moment))


def stand(store: Store, storage: Storage, training: TrainingJob, how: str) -> None:
    """Let another firing stand somewhere in its life."""
    if how == "over":
        return
    with store.write() as tx:
        new_firing(tx, tx.training(training.id))
        if how == "queued behind":
            new_firing(tx, tx.training(training.id), state=JobState.CREATED)
    if how in ("running", "retrying"):
        (job,) = [job for job in claim(store) if job.training_id == training.id]
        if how == "retrying":
            write_files(store, storage, finish(store, job, JobState.FAILED, "no"))


def _needed(store: Store, found: list[TrainingJob]) -> dict[tuple[str, int], str | None]:
    """(job, trial) -> log of every attempt that is to stay, told without the query under test."""
    needed = {}
    with store.read() as tx:
        for training in found:
            latest = tx.training(training.id).latest_run
            for trial, job in tx.executions(training, limit=1000).items:
                recent = job.ended_at is not None and job.ended_at > NOW - timedelta(days=90)
                if not job.state.ended or recent or job.run_number >= latest:
                    needed[job.id, trial.number] = trial.log
    return needed


def test_the_newest_number_is_never_given_out_again(database: Store, storage: Storage) -> None:
    training = new_training(database, schedule=HOURLY, overlap="queue", retry_backoff_s=0)
    assert training.next_run_at is not None
    fire_due(database, training.next_run_at)
    fire_due(database, training.next_run_at + timedelta(hours=1))  # waits behind it, and has its trial already
    (first,) = claim(database)
    finish(database, first, JobState.FAILED, "no")
    with database.write() as tx:
        tx.wake_retries()
    run_once(database, training)
    fire_due(database, training.next_run_at + timedelta(hours=1, seconds=1))
    run_once(database, training)
    age(database, training, 100)
    housekeep(database, storage, ninety(), NOW)
    with database.read() as tx:
        assert [trial.number for trial, _job in tx.executions(training).items] == [2, 1]
    fire(database, training)
    with database.read() as tx:
        assert [trial.number for trial, _job in tx.executions(training).items] == [3, 2, 1]


def test_what_is_begun_again_after_it_was_archived_stays(database: Store, storage: Storage) -> None:
    training = with_executions(database, storage)
    before = NOW - timedelta(days=90)
    with database.read() as tx:
        now = tx.training(training.id)
        ids = [row.id for row in tx.old_attempts(now, before)]
        first, _second, _latest = tx.firings(now, {JobState.SUCCEEDED})
    with database.write() as tx:
        tx.retry_job(first.id)
    with database.write() as tx:
        assert tx.remove_attempts(training.id, before, ids) == len(ids) - 1
    assert attempts(database, training) == [1, 3]
    with database.write() as tx:
        assert tx.remove_firings(training.id, before)[0] == 1
        assert tx.remove_firings(training.id, before) == (0, 0)


def test_once_a_day_whoever_is_first(database: Store, storage: Storage, tmp_path: Path) -> None:
    training = with_executions(database, storage)
    settings = ninety(data_dir=tmp_path)
    looks = race(*[Housekeeper(database, settings).look] * 4)
    assert sorted(looks, key=str) == [False, False, False, True]
    assert attempts(database, training) == [3]
    with database.write() as tx:
        assert not tx.claim_housekeeping(utcnow() + timedelta(hours=23), 86_400)
        assert tx.claim_housekeeping(utcnow() + timedelta(hours=25), 86_400)


def test_the_thread_does_it(database: Store, storage: Storage, tmp_path: Path) -> None:
    training = with_executions(database, storage)
    keeper = Housekeeper(database, ninety(data_dir=tmp_path))
    keeper.start()
    try:
        deadline = time.monotonic() + 30
        while attempts(database, training) != [3]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        keeper.stop()


def test_by_hand(sqlite_store: Store, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = with_executions(sqlite_store, storage, days=10_000)
    monkeypatch.setenv("TUNESMITH_RETENTION_EXECUTIONS_DAYS", "90")
    call = ["housekeep", "--data-dir", str(tmp_path), "--json"]
    planned = CliRunner().invoke(command_line, [*call, "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout) == {
        "dry_run": True,
        "executions": 2,
        "firings": 2,
        "logs": 0,
        "events": 0,
        "archive": None,
    }
    assert attempts(sqlite_store, training) == [1, 2, 3]
    done = CliRunner().invoke(command_line, call)
    assert json.loads(done.stdout)["executions"] == 2
    assert attempts(sqlite_store, training) == [3]
    assert "executions" in CliRunner().invoke(command_line, call[:-1]).stdout


def test_a_cut_between_archive_and_removal_leaves_both(database: Store, storage: Storage) -> None:
    training = with_executions(database, storage)

    class Cut(BaseException):
        pass

    def cut(_done: int) -> None:
        raise Cut

    with pytest.raises(Cut):
        housekeep(database, storage, ninety(), NOW, progress=cut)
    assert storage.local is not None
    (file,) = (storage.local / "archive").iterdir()
    kept = {row["number"] for row in parquet.read_table(file).to_pylist()}
    with database.read() as tx:
        kept |= {trial.number for trial, _job in tx.executions(training).items}
    assert kept == {0, 1, 2}
