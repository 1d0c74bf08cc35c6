"""What datasets promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial

import pytest

from tunesmith.domain import Dataset, Session, utcnow
from tunesmith.errors import (
    Conflict,
    DataInUse,
    DatasetNotFound,
    NameTaken,
)
from tunesmith.services import datasets, scenarios, sessions
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.races import race
from tunesmith.testing.session_factories import (
    REGISTRY,
    end,
    left_over,
    let_pass,
    new_dataset,
    new_scenario,
    new_session,
    read,
    run,
    uploaded,
)


def delete(store: Store, session: Session) -> None:
    """Delete a session."""
    with store.write() as tx:
        sessions.delete(tx, session)


class DatasetContract(Contract):
    """Datasets."""

    def test_it_is_kept_as_it_was_put(self, store: Store) -> None:
        session = new_session(store)
        dataset = new_dataset(store, session)
        with store.read() as tx:
            assert tx.dataset(session.id, "data") == tx.dataset_by_id(dataset.id) == dataset
            assert [found.key for found in tx.datasets(session.id)] == ["data"]
            with pytest.raises(DatasetNotFound):
                tx.dataset(session.id, "other")
        assert dataset.files not in left_over(store)

    def test_a_key_is_taken_once_unless_it_is_to_be_replaced(self, store: Store) -> None:
        session = new_session(store)
        first = new_dataset(store, session)
        with pytest.raises(NameTaken):
            new_dataset(store, session)
        second = new_dataset(store, session, overwrite=True)
        assert (second.id, second.files != first.files) == (first.id, True)
        stays = left_over(store)[first.files]
        assert stays is not None
        assert timedelta(minutes=50) < stays - utcnow() < timedelta(minutes=70)

    def test_an_upload_that_nobody_finishes_goes_after_a_day(self, store: Store) -> None:
        session, files = new_session(store), uploaded(store)
        stays = left_over(store)[files]
        assert stays is not None
        assert timedelta(hours=23) < stays - utcnow() < timedelta(hours=25)
        with store.read() as tx:
            assert files not in tx.leftover_keys()
        let_pass(store, files)
        with store.write() as tx:
            assert files in tx.leftover_keys()
            with pytest.raises(Conflict, match="longer than a day"):
                tx.put_dataset(session.id, "late", "master", files, [], {}, 0)

    def test_files_are_left_over_with_the_last_that_shares_them(self, store: Store) -> None:
        session = new_session(store)
        original = new_dataset(store, session)
        with store.write() as tx:
            derived = datasets.derive(tx, session, "data", "more")
            assert (derived.files, derived.type, derived.tables) == (original.files, "derived", original.tables)
            assert (derived.metadata["id"], derived.metadata["name"]) == (derived.id, "more")
            assert derived.metadata["of"] == "tests"
            datasets.delete(tx, session, "data")
        assert original.files not in left_over(store)
        with store.write() as tx:
            datasets.delete(tx, session, "more")
        assert original.files in left_over(store)

    def test_two_that_let_go_at_once_leave_the_files(self, store: Store) -> None:
        for _ in range(5):
            found = [new_session(store)]
            files = new_dataset(store, found[0]).files
            with store.write() as tx:
                found.append(sessions.copy(tx, found[0], str(uuid.uuid4())))
            assert race(*[partial(delete, store, session) for session in found]) == [None, None]
            assert files in left_over(store)

    def test_derive_refuses_what_is_not_there_and_what_is(self, store: Store) -> None:
        session = new_session(store)
        new_dataset(store, session)
        with pytest.raises(DatasetNotFound), store.write() as tx:
            datasets.derive(tx, session, "other", "new")
        with pytest.raises(NameTaken), store.write() as tx:
            datasets.derive(tx, session, "data", "data")

    def test_it_stays_while_a_scenario_uses_it(self, store: Store) -> None:
        session = new_session(store)
        new_dataset(store, session)
        scenario = new_scenario(store, session, "first try")
        with pytest.raises(DataInUse, match="first try"), store.write() as tx:
            datasets.delete(tx, session, "data")
        with store.write() as tx:
            scenarios.delete(tx, session, scenario.id)
            datasets.delete(tx, session, "data")
            assert not tx.datasets(session.id)

    def test_it_is_replaced_beside_scenarios_unless_one_has_not_ended(self, store: Store) -> None:
        session = new_session(store)
        first = new_dataset(store, session)
        (asked,) = run(store, session, new_scenario(store, session))
        with pytest.raises(DataInUse, match="computed on"):
            new_dataset(store, session, overwrite=True)
        with pytest.raises(DataInUse), store.read() as tx:
            datasets.check_free(tx, session, "data", overwrite=True)
        end(store, asked.job_id)
        second = new_dataset(store, session, overwrite=True)
        with store.write() as tx:
            scenarios.reset(tx, session, asked.id)
        (again,) = run(store, session, asked)
        with store.read() as tx:
            tool = tx.experiment(again.experiment_id or 0).spec.tool
        assert tool.model_dump()["files"] == second.files != first.files
        assert again.experiment_id == asked.experiment_id

    def test_a_deletion_beside_a_new_scenario_never_leaves_one_without_data(self, store: Store) -> None:
        for _ in range(5):
            session = new_session(store)
            dataset = new_dataset(store, session)

            def create(session: Session = session) -> None:
                with store.write() as tx:
                    scenarios.create(tx, REGISTRY, session, "tag", "data", "Pack", {"boxes": 1})

            def remove(session: Session = session) -> None:
                with store.write() as tx:
                    datasets.delete(tx, session, "data")

            created, removed = race(create, remove)
            assert (created is None) != (removed is None)
            with store.read() as tx:
                assert len(tx.scenarios(session.id)) == len(tx.datasets(session.id)) == (created is None)
            assert (dataset.files in left_over(store)) == (removed is None)

    def test_two_uploads_under_a_key_at_once_are_one_dataset(self, store: Store) -> None:
        session = new_session(store)

        def put() -> Dataset:
            return new_dataset(store, session, overwrite=True)

        answers = race(put, put)
        with store.read() as tx:
            (now,) = tx.datasets(session.id)
        made = [answer for answer in answers if isinstance(answer, Dataset)]
        assert len(made) == 2
        assert {dataset.id for dataset in made} == {now.id}
        assert {dataset.files for dataset in made} - left_over(store).keys() == {now.files}

    def test_scenarios_read_the_name_of_their_dataset(self, store: Store) -> None:
        session = new_session(store)
        new_dataset(store, session)
        assert read(store, new_scenario(store, session)).dataset_key == "data"
