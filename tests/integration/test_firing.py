"""Schedules on a simulated clock through years of clock changes, with several dispatchers and restarts among them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tunesmith.domain import JobState, TrainingJob, TrainingPlan
from tunesmith.domain.cron import Cron
from tunesmith.services import trainings
from tunesmith.services.firing import MISSED_S, fire_due
from tunesmith.store import Store, open_store
from tunesmith.testing import race
from tunesmith.testing.training_contract import program

BEGIN, END = datetime(2023, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
SCHEDULES = {
    # Sundays in the months of the changes, at the hours that are skipped or come twice.
    "Europe/Berlin": "30 1-3 * 3,10 SUN",
    "America/New_York": "*/30 1-2 * 3,11 SUN",
    "Australia/Lord_Howe": "15,45 1-2 * 4,10 SUN",
    "America/Santiago": "0 0,23 * 4,9 SAT,SUN",
    "UTC": "@monthly",
}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database, that several stores can be opened on."""
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store.engine.url.render_as_string(hide_password=False)


def scheduled(store: Store, zone: str, **plan: object) -> TrainingJob:
    """A training job whose simulated life begins at BEGIN."""
    plan = {"schedule": SCHEDULES[zone], "timezone": zone, **plan}
    with store.write() as tx:
        training = trainings.create(tx, f"in {zone}", program(f"in {zone}"), TrainingPlan.model_validate(plan))
        first = Cron(str(plan["schedule"]), zone).after(BEGIN)
        return tx.change_training(training.id, next_run_at=first)


def fired(store: Store, training: TrainingJob) -> list[datetime]:
    """The instants that it has fired for."""
    with store.read() as tx:
        return [job.scheduled_at for job in tx.firings(training, set(JobState)) if job.scheduled_at is not None]


def expected(zone: str) -> list[datetime]:
    """The instants of a schedule, one after the other."""
    cron, found = Cron(SCHEDULES[zone], zone), [BEGIN]
    while (instant := cron.after(found[-1])) < END:
        found.append(instant)
    return found[1:]


def walk(url: str, chance: random.Random, step: Callable[[], timedelta]) -> None:
    """Let the clock go from BEGIN to END, with one to three dispatchers at once, and a restart now and then."""
    dispatchers = [open_store(url) for _ in range(3)]
    now = BEGIN
    while now < END:
        now = min(now + step(), END - timedelta(seconds=1))
        acting = dispatchers[: chance.randint(1, 3)]
        answers = race(*[lambda store=store, now=now: fire_due(store, now) for store in acting])  # type: ignore[misc]
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        if chance.random() < 0.05:
            dispatchers.pop(0).close()
            dispatchers.append(open_store(url))
        if now == END - timedelta(seconds=1):
            break
    for store in dispatchers:
        store.close()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_over_four_years_nothing_is_missed_and_nothing_fires_twice(url: str, seed: int) -> None:
    store, chance = open_store(url), random.Random(seed)
    found = {zone: scheduled(store, zone, catch_up="all", overlap="queue") for zone in SCHEDULES}
    walk(url, chance, lambda: timedelta(days=chance.choice([0.5, 3, 10, 45])))
    for zone, training in found.items():
        assert fired(store, training) == expected(zone)
    store.close()


def test_a_service_that_is_up_all_the_time_catches_nothing_up(url: str) -> None:
    """What fires on time is no missed firing, also where the clock is put forward or back."""
    store, zone = open_store(url), "Europe/Berlin"
    training = scheduled(store, zone, catch_up="skip", overlap="queue")
    for instant in expected(zone):
        fire_due(store, instant + timedelta(seconds=0.4))
    assert fired(store, training) == expected(zone)
    late = training.evolve(next_run_at=expected(zone)[0])
    with store.write() as tx:
        tx.change_training(late.id, next_run_at=expected(zone)[-1])
    before = len(fired(store, training))
    assert fire_due(store, expected(zone)[-1] + timedelta(seconds=MISSED_S + 1)) == 0
    assert len(fired(store, training)) == before
    store.close()
