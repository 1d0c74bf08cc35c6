"""What sessions promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import uuid
from functools import partial

import pytest

from tunesmith.domain import JobState, Session
from tunesmith.errors import (
    ExperimentNotFound,
    NameTaken,
    SessionNotFound,
    StateForbids,
)
from tunesmith.services import sessions
from tunesmith.storage import experiment_key
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.races import race
from tunesmith.testing.session_factories import (
    end,
    left_over,
    new_dataset,
    new_scenario,
    new_session,
    run,
)
from tunesmith.testing.training_contract import claim


def delete(store: Store, session: Session) -> None:
    """Delete a session."""
    with store.write() as tx:
        sessions.delete(tx, session)


def delete_all(store: Store) -> None:
    """Delete every session; there is one then."""
    with store.write() as tx:
        for session in sessions.listing(tx)[0]:
            sessions.delete(tx, session)


class SessionContract(Contract):
    """Sessions."""

    def test_there_is_always_one(self, store: Store) -> None:
        delete_all(store)
        with store.write() as tx:
            (first,), default = sessions.listing(tx)
            assert (first.display_name, default) == ("main", first.id)
            sessions.delete(tx, first)
            (second,), default = sessions.listing(tx)
        assert (second.display_name, default) == ("main", second.id)
        assert second.id != first.id

    def test_main_is_made_once_however_many_ask(self, store: Store) -> None:
        with store.write() as tx:
            workspace = tx.default_workspace()
            for session in tx.sessions(workspace):
                tx.delete_session(session.id)

        def ask() -> str:
            with store.write() as tx:
                return sessions.ensure(tx).id

        answers = race(*[ask] * 4)
        assert len(set(answers)) == 1
        assert not isinstance(answers[0], Exception)

    def test_two_that_delete_the_last_two_leave_one(self, store: Store) -> None:
        for _ in range(5):
            delete_all(store)
            with store.write() as tx:
                first = sessions.ensure(tx)
            second = new_session(store)
            assert race(partial(delete, store, first), partial(delete, store, second)) == [None, None]
            with store.read() as tx:
                assert [session.display_name for session in tx.sessions(first.workspace_id)] == ["main"]

    def test_it_is_found_by_id_and_by_name(self, store: Store) -> None:
        session = new_session(store)
        with store.write() as tx:
            renamed = sessions.change(tx, session, f"{session.display_name} new")
            assert tx.session(session.id) == tx.session(renamed.display_name) == renamed
            with pytest.raises(SessionNotFound):
                tx.session(session.display_name)
            assert sessions.create(tx, session.display_name).id != session.id

    def test_an_id_comes_before_a_name_that_says_the_same(self, store: Store) -> None:
        session = new_session(store)
        with store.write() as tx:
            other = sessions.create(tx, session.id)
            assert tx.session(session.id) == session
            sessions.delete(tx, session)
            assert tx.session(session.id) == other

    @pytest.mark.parametrize("blank", ["", " ", "\t\n"])
    def test_a_name_is_taken_once_and_never_blank(self, store: Store, blank: str) -> None:
        first, second = new_session(store), new_session(store)
        for name in (first.display_name, blank):
            with pytest.raises(NameTaken), store.write() as tx:
                sessions.create(tx, name)
            with pytest.raises(NameTaken), store.write() as tx:
                sessions.change(tx, second, name)
            with pytest.raises(NameTaken), store.write() as tx:
                sessions.copy(tx, second, name)
        with store.write() as tx:
            assert sessions.change(tx, second, second.display_name) == second

    def test_of_two_that_take_a_name_at_once_one_gets_it(self, store: Store) -> None:
        for _ in range(5):
            found, name = [new_session(store) for _ in range(2)], str(uuid.uuid4())

            def rename(session: Session, name: str = name) -> str:
                with store.write() as tx:
                    return sessions.change(tx, session, name).display_name

            answers = race(*[partial(rename, session) for session in found])
            assert sorted(type(answer).__name__ for answer in answers) == ["NameTaken", "str"]

    def test_a_copy_has_the_datasets_and_the_scenarios_if_wanted(self, store: Store) -> None:
        session = new_session(store, max_parallel=3)
        original = new_dataset(store, session)
        (done,) = run(store, session, new_scenario(store, session, "done", boxes=7))
        end(store, done.job_id)
        with store.write() as tx:
            bare = sessions.copy(tx, session, str(uuid.uuid4()))
            full = sessions.copy(tx, session, str(uuid.uuid4()), with_scenarios=True)
            (copied,) = tx.datasets(full.id)
            assert not tx.scenarios(bare.id)
            (scenario,) = tx.scenarios(full.id)
        assert full.max_parallel == 3
        assert copied.evolve(id=original.id, session_id=session.id, created_at=original.created_at) == original
        assert copied.id != original.id
        assert (scenario.tag, scenario.state, scenario.dataset_id) == ("done", JobState.CREATED, copied.id)
        assert scenario.parameters["boxes"] == 7

    def test_everything_of_it_goes_with_it(self, store: Store) -> None:
        session = new_session(store)
        dataset = new_dataset(store, session)
        (done,) = run(store, session, new_scenario(store, session))
        end(store, done.job_id, {"Cost": 1.0})
        run(store, session, new_scenario(store, session), new_scenario(store, session))
        delete(store, session)
        with store.read() as tx:
            with pytest.raises(SessionNotFound):
                tx.session(session.id)
            with pytest.raises(ExperimentNotFound):
                tx.experiment(done.experiment_id or 0)
            assert not tx.agenda().dispatches
        kept = left_over(store)
        assert kept[experiment_key(done.experiment_id or 0)] is None
        assert kept[dataset.files] is not None

    def test_it_stays_while_something_of_it_runs(self, store: Store) -> None:
        session = new_session(store)
        new_dataset(store, session)
        (running,) = run(store, session, new_scenario(store, session))
        claim(store)
        with pytest.raises(StateForbids, match="running"):
            delete(store, session)
        with store.read() as tx:
            assert tx.scenarios(session.id)
        end(store, running.job_id)
        delete(store, session)

    def test_a_copy_beside_a_deletion_is_whole_or_not_there(self, store: Store) -> None:
        for _ in range(5):
            session = new_session(store)
            dataset, name = new_dataset(store, session), str(uuid.uuid4())

            def copy(session: Session = session, name: str = name) -> None:
                with store.write() as tx:
                    sessions.copy(tx, session, name, with_scenarios=True)

            copied, deleted = race(copy, partial(delete, store, session))
            assert deleted is None
            if isinstance(copied, Exception):
                assert isinstance(copied, SessionNotFound)
                assert dataset.files in left_over(store)
            else:
                assert dataset.files not in left_over(store)
                with store.read() as tx:
                    assert tx.dataset(tx.session(name).id, "data").files == dataset.files
