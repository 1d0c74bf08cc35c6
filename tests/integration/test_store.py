"""The store on every database: the contract, and what happens when the database or its disk is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tunesmith.domain import Job, Trial
from tunesmith.errors import DatabaseUnavailable, InvalidSettings
from tunesmith.store import Store, open_store
from tunesmith.testing import StoreContract, finished_trial, memory_store, new_experiment, race, running_job
from tunesmith.testing.postgres import PostgresServer, postgres_server


@pytest.mark.slow
class TestMemoryStore(StoreContract):
    """The same SQLite without a file."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = memory_store()
        yield store
        store.close()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, postgres_store: Store) -> Store:
        return postgres_store


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that the tests of an outage may stop."""
    with postgres_server() as server:
        yield server


class TestLostDatabase:
    def test_the_store_says_so_and_works_again_when_the_server_is_back(self, own_server: PostgresServer) -> None:
        with own_server.database() as url:
            store = open_store(url)
            experiment = new_experiment(store)
            job = running_job(store, experiment)
            own_server.stop()
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
                    store.ping()
            with pytest.raises(DatabaseUnavailable), store.write() as tx:
                tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0)])
            own_server.start()
            store.ping()
            with store.write() as tx:
                assert not tx.trials(experiment).items
                tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0)])
                assert len(tx.trials(experiment).items) == 1
            store.close()

    def test_an_outage_in_the_middle_of_a_transaction_leaves_nothing_of_it(self, own_server: PostgresServer) -> None:
        with own_server.database() as url:
            store = open_store(url)
            experiment = new_experiment(store)
            job = running_job(store, experiment)

            def write_while_the_server_stops() -> None:
                with store.write() as tx:
                    tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0)])
                    own_server.stop()
                    tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 1)])

            with pytest.raises(DatabaseUnavailable):
                write_while_the_server_stops()
            own_server.start()
            with store.read() as tx:
                assert not tx.trials(experiment).items
                assert tx.experiment(experiment.id) == experiment
            store.close()

    def test_a_server_that_never_was_there_is_unavailable(self) -> None:
        store = open_store("postgresql://nobody@127.0.0.1:1/nothing")
        with pytest.raises(DatabaseUnavailable):
            store.ping()


class TestFullDisk:
    """SQLite counts pages, so a limit on them is a full disk as SQLite knows it: SQLITE_FULL at some write."""

    def test_nothing_is_half_written_and_writing_goes_on_when_there_is_room(self, sqlite_store: Store) -> None:
        experiment = new_experiment(sqlite_store)
        job = running_job(sqlite_store, experiment)
        batch = [finished_trial(job, n, float(n), log="x" * 5000) for n in range(200)]
        with sqlite_store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, batch[:20])
            before = tx.job(job.id), tx.experiment(experiment.id), tx.events(job.id)
        _limit_pages(sqlite_store, 120)
        with pytest.raises(DatabaseUnavailable, match="full"):
            _record(sqlite_store, job, batch)
        with sqlite_store.read() as tx:
            assert (tx.job(job.id), tx.experiment(experiment.id), tx.events(job.id)) == before
            assert len(tx.trials(experiment, limit=1000).items) == 20
        _limit_pages(sqlite_store, 1_000_000)
        _record(sqlite_store, job, batch)
        with sqlite_store.read() as tx:
            assert len(tx.trials(experiment, limit=1000).items) == 200
            assert [event.seq for event in tx.events(job.id)] == list(range(1, 203))


class TestSqlite:
    def test_a_reader_does_not_wait_for_a_writer(self, sqlite_store: Store) -> None:
        experiment = new_experiment(sqlite_store)
        with sqlite_store.write() as tx:
            tx.update_experiment(experiment.id, name="new")
            with sqlite_store.read() as other:
                assert other.experiment(experiment.id).name == experiment.name

    def test_writers_of_many_threads_take_turns(self, sqlite_store: Store) -> None:
        experiments = [new_experiment(sqlite_store) for _ in range(8)]
        jobs = [running_job(sqlite_store, experiment) for experiment in experiments]
        written = race(*[lambda job=job: _record(sqlite_store, job, [finished_trial(job, 0)]) for job in jobs])
        assert written == [None] * 8

    def test_a_file_that_is_no_database_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "x.db").write_bytes(b"this is no database, but a text of some length\n" * 100)
        with pytest.raises(DatabaseUnavailable, match="not a database"):
            open_store(f"sqlite:///{tmp_path / 'x.db'}").ping()


@pytest.mark.parametrize(
    "url", ["nonsense", "", "mysql://h/d", "oracle:///x", "postgresql://user:secret@:x/db", "a://b"]
)
def test_a_url_of_no_known_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidSettings, match="TUNESMITH_DATABASE_URL") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def _record(store: Store, job: Job, batch: list[Trial]) -> None:
    with store.write() as tx:
        tx.record(job.id, str(job.lease_token), tx.experiment(job.experiment_id), batch)


def _limit_pages(store: Store, pages: int) -> None:
    with store.engine.connect() as connection:  # the pool hands out this one connection again, as nobody else asks
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
