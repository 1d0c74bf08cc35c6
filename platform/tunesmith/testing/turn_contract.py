"""Which scenarios of a session run, and which wait for their turn, on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from functools import partial

from tunesmith.domain import JobState, Scenario
from tunesmith.errors import (
    Conflict,
    StateForbids,
)
from tunesmith.services import scenarios, sessions
from tunesmith.services.firing import fire_due
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.races import race
from tunesmith.testing.session_factories import (
    end,
    prepared,
    read,
    run,
)


def states(store: Store, found: list[Scenario]) -> list[str]:
    """Where the jobs of scenarios stand."""
    with store.read() as tx:
        now = [tx.scenario(scenario.session_id, scenario.id) for scenario in found]
        return [tx.job(str(scenario.job_id)).state.value for scenario in now]


class TurnContract(Contract):
    """Which scenarios of a session run, and which wait."""

    def test_they_run_one_after_the_other(self, store: Store) -> None:
        session, found = prepared(store, 3)
        asked = run(store, session, *found)
        assert [scenario.state for scenario in asked] == [JobState.QUEUED] * 3
        assert states(store, found) == ["queued", "created", "created"]
        for done in range(3):
            with store.read() as tx:
                assert not tx.agenda().fires
            end(store, asked[done].job_id)
            with store.read() as tx:
                assert tx.agenda().fires == (done < 2)
            assert fire_due(store) == (done < 2)
        assert states(store, found) == ["succeeded"] * 3

    def test_sessions_do_not_wait_for_one_another(self, store: Store) -> None:
        for _ in range(2):
            session, found = prepared(store, 2)
            run(store, session, *found)
            assert states(store, found) == ["queued", "created"]

    def test_a_change_of_how_many_takes_effect(self, store: Store) -> None:
        session, found = prepared(store, 5)
        asked = run(store, session, *found)
        with store.write() as tx:
            session = sessions.change(tx, session, max_parallel=3)
            assert tx.agenda().fires
        assert fire_due(store) == 2
        assert states(store, found) == ["queued"] * 3 + ["created"] * 2
        with store.write() as tx:
            sessions.change(tx, session, max_parallel=1)
        end(store, asked[0].job_id)
        assert fire_due(store) == 0
        end(store, asked[1].job_id)
        end(store, asked[2].job_id)
        assert fire_due(store) == 1
        assert states(store, found) == ["succeeded"] * 3 + ["queued", "created"]

    def test_nobody_overtakes_one_that_waits(self, store: Store) -> None:
        session, found = prepared(store, 3)
        asked = run(store, session, *found[:2])
        end(store, asked[0].job_id)
        run(store, session, found[2])
        assert states(store, found) == ["succeeded", "created", "created"]
        fire_due(store)
        assert states(store, found) == ["succeeded", "queued", "created"]

    def test_one_that_waits_is_cancelled_and_deleted(self, store: Store) -> None:
        session, found = prepared(store, 3)
        asked = run(store, session, *found)
        with store.write() as tx:
            assert scenarios.cancel(tx, session, found[1].id).state is JobState.CANCELLED
            scenarios.delete(tx, session, found[2].id)
        end(store, asked[0].job_id)
        assert fire_due(store) == 0

    def test_a_cancelled_one_makes_room(self, store: Store) -> None:
        session, found = prepared(store, 2)
        run(store, session, *found)
        with store.write() as tx:
            scenarios.cancel(tx, session, found[0].id)
        assert fire_due(store) == 1
        assert states(store, found) == ["cancelled", "queued"]

    def test_never_more_than_may_run_however_many_ask(self, store: Store) -> None:
        session, found = prepared(store, 6, max_parallel=2)
        answers = race(*[partial(run, store, session, scenario) for scenario in found], partial(fire_due, store))
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert sorted(states(store, found)) == ["created"] * 4 + ["queued"] * 2
        begun = [scenario for scenario in found if states(store, [scenario]) == ["queued"]]
        for scenario in begun:
            end(store, read(store, scenario).job_id)
        answers = race(*[partial(fire_due, store)] * 3)
        assert sum(answer for answer in answers if isinstance(answer, int)) == 2
        assert sorted(states(store, found)) == ["created"] * 2 + ["queued"] * 2 + ["succeeded"] * 2

    def test_everybody_at_once_waits_for_nobody_in_a_circle(self, store: Store) -> None:
        session, found = prepared(store, 4, max_parallel=2)

        def people(scenario: Scenario) -> None:
            for step in range(12):
                try:
                    if step % 4 == 0:
                        run(store, session, scenario)
                    elif step % 4 == 1:
                        end(store, read(store, scenario).job_id)
                    elif step % 4 == 2:
                        with store.write() as tx:
                            scenarios.cancel(tx, session, scenario.id)
                    else:
                        with store.write() as tx:
                            scenarios.reset(tx, session, scenario.id)
                except (StateForbids, Conflict, LookupError):
                    continue

        def dispatcher() -> None:
            for _ in range(20):
                fire_due(store)

        def reader() -> None:
            for number in range(20):
                with store.write() as tx:
                    sessions.change(tx, session, max_parallel=1 + number % 3)

        answers = race(*[partial(people, scenario) for scenario in found], dispatcher, reader)
        assert [answer for answer in answers if answer is not None] == []
