"""The store's contract on notifications: an outbox, written with the status, from which each is taken by one sender."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tunesmith.domain import Job, JobState, TrainingStatus, utcnow
from tunesmith.domain.backoff import JITTER
from tunesmith.domain.notification import Notification, NotificationState, Rule, StatusChange
from tunesmith.errors import InvalidCursor, NotificationNotFound, StateForbids
from tunesmith.store import Store
from tunesmith.store.notifications import BACKOFF_S, MAX_ATTEMPTS
from tunesmith.store.tables import notifications as table
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import EPOCH, search
from tunesmith.testing.races import race
from tunesmith.testing.training_contract import new_training, run_once

LEASE_S = 60.0
HOOK = "https://ci.example.com/hook"


def change(status: Any = "failed", **facts: Any) -> StatusChange:
    """A training job has a new status."""
    return StatusChange(training_id="train-3f9c0a1b", name="nightly", status=status, at=EPOCH, **facts)


def notification(number: int, channel: str = "team", **fields: Any) -> Notification:
    """A notification that is due, written so many seconds after the epoch."""
    at = EPOCH + timedelta(seconds=number)
    made = Notification(
        id=f"ntf-{number:016x}", rule=Rule(channel=channel), change=change(), next_at=EPOCH, created_at=at
    )
    return made.evolve(**fields)


def added(store: Store, *found: Notification) -> list[str]:
    """Their ids, once they are in the outbox."""
    with store.write() as tx:
        tx.add_notifications(found, tx.workspace())
    return [one.id for one in found]


def claimed(store: Store, channel: str = "team", limit: int = 10) -> list[Notification]:
    """What a sender gets."""
    with store.write() as tx:
        return tx.claim_notifications(channel, LEASE_S, limit)


def let_time_pass(store: Store, *, until: datetime | None = None) -> None:
    """Make due what waits for a later moment."""
    with store.write() as tx:
        waits = table.c.state == NotificationState.WAITING.value
        tx.connection.execute(update(table).where(waits).values(next_at=until or utcnow()))


class NotificationContract(Contract):
    """The outbox."""

    def test_a_status_is_told_with_the_rules_of_its_job_also_when_that_is_deleted(self, store: Store) -> None:
        rules = (Rule(channel=HOOK, secret="s", on=("running",)), Rule(channel="team"))
        training = new_training(store, notify=rules)
        with store.write() as tx:
            tx.take_status_changes()
            tx.notify(training.id, training.name, None, TrainingStatus.CANCELLED)
            tx.delete_training(training)
        with store.write() as tx:
            assert tx.any_status_change()
            ((told, its_rules, _workspace),) = tx.take_status_changes()
            assert not tx.any_status_change()
        assert (told.training_id, told.name, told.status, its_rules) == (training.id, training.name, "cancelled", rules)

    def test_a_firing_tells_its_number_its_attempt_and_what_went_wrong(self, store: Store) -> None:
        training = new_training(store)
        job = Job(
            id="job-1",
            experiment_id=training.experiment_id,
            run_number=3,
            state=JobState.RETRY_WAIT,
            search=search(),
            retries=1,
            error="e" * 5000,
            queued_at=EPOCH,
        )
        with store.write() as tx:
            tx.take_status_changes()
            for status in (TrainingStatus.RETRYING, TrainingStatus.RUNNING):
                tx.notify(training.id, training.name, job, status)
            retrying, running = (told for told, _rules, _workspace in tx.take_status_changes())
        assert (retrying.job_id, retrying.execution, retrying.attempt, retrying.retry_count) == ("job-1", 3, 1, 1)
        assert (running.execution, running.attempt) == (3, 2)
        assert retrying.error == "e" * 4000

    def test_each_status_of_a_firing_tells_the_attempt_that_it_is_about(self, store: Store) -> None:
        training = new_training(store, max_retries=1, retry_backoff_s=0)
        for _attempt in range(2):
            run_once(store, training, JobState.FAILED)
            with store.write() as tx:
                tx.wake_retries()
        with store.write() as tx:
            told = [told for told, _rules, _workspace in tx.take_status_changes()]
        assert [(one.status, one.attempt) for one in told] == [
            ("running", 1), ("retrying", 1), ("pending", 2), ("running", 2), ("failed", 2)
        ]  # fmt: skip

    def test_a_status_that_was_not_committed_is_not_told(self, store: Store) -> None:
        training = new_training(store)
        with store.write() as tx:
            tx.take_status_changes()
        with suppress(RuntimeError), store.write() as tx:
            tx.notify(training.id, training.name, None, TrainingStatus.FAILED)
            raise RuntimeError
        with store.read() as tx:
            assert not tx.any_status_change()

    def test_each_status_change_is_taken_by_one_sender(self, store: Store) -> None:
        training = new_training(store)
        with store.write() as tx:
            tx.take_status_changes()
            for _ in range(20):
                tx.notify(training.id, training.name, None, TrainingStatus.FAILED)

        def take() -> int:
            with store.write() as tx:
                return len(tx.take_status_changes(limit=7))

        taken = race(take, take, take)
        assert 7 <= sum(n for n in taken if isinstance(n, int)) <= 20
        assert sum(n for n in (*taken, take(), take(), take()) if isinstance(n, int)) == 20
        with store.read() as tx:
            assert not tx.any_status_change()

    def test_each_notification_is_claimed_by_one_sender(self, store: Store) -> None:
        ids = added(store, *(notification(n) for n in range(20)))

        def claim() -> list[str]:
            return [one.id for _ in range(4) for one in claimed(store, limit=3)]

        taken = [one for found in race(claim, claim, claim) if isinstance(found, list) for one in found]
        assert sorted(taken + [one.id for one in claimed(store)]) == ids
        assert claimed(store) == []

    def test_a_claim_is_of_a_channel_and_due_ones_alone(self, store: Store) -> None:
        later = utcnow() + timedelta(hours=1)
        added(store, notification(1), notification(2, HOOK), notification(3, next_at=later), notification(4, "later"))
        with store.write() as tx:
            tx.connection.execute(update(table).where(table.c.channel == "later").values(next_at=later))
        with store.read() as tx:
            assert sorted(tx.due_channels()) == ["https://ci.example.com/***", "team"]
            assert tx.due_channels(["team"]) == ["https://ci.example.com/***"]
            assert len(tx.due_channels(limit=1)) == 1
        (taken,) = claimed(store)
        assert (taken.rule, taken.change, taken.attempts) == (Rule(channel="team"), change(), 1)
        (hooked,) = claimed(store, "https://ci.example.com/***")
        assert hooked.rule.channel == HOOK

    def test_one_whose_sender_went_silent_is_due_again_under_its_id(self, store: Store) -> None:
        (note_id,) = added(store, notification(1))
        (first,) = claimed(store)
        assert first.next_at is not None
        assert abs((first.next_at - utcnow()).total_seconds() - LEASE_S) < 5
        let_time_pass(store)
        (second,) = claimed(store)
        assert (first.id, second.id, second.attempts) == (note_id, note_id, 2)
        with store.write() as tx:
            tx.mark_failed(first, "told late")  # it is the other sender's by now
            assert tx.notification(note_id) == second
            tx.mark_sent(first.id)  # but what was sent was sent
            sent = tx.notification(note_id)
            tx.mark_failed(second, "told late")
            assert tx.notification(note_id) == sent
        assert (sent.state, sent.next_at, sent.last_error) == ("sent", None, None)
        assert sent.sent_at is not None

    def test_failed_ones_are_tried_again_ever_later_until_they_are_dead(self, store: Store) -> None:
        (note_id,) = added(store, notification(1))
        for n in range(MAX_ATTEMPTS):
            (taken,) = claimed(store)
            with store.write() as tx:
                tx.mark_failed(taken, f"failure {n}")
                left = tx.notification(note_id)
            assert (left.last_error, left.attempts) == (f"failure {n}", n + 1)
            if n < MAX_ATTEMPTS - 1:
                assert (left.state, claimed(store)) == ("waiting", [])
                assert left.next_at is not None
                pause = (left.next_at - utcnow()).total_seconds() / (BACKOFF_S * 2**n)
                assert 1 - JITTER - 0.1 < pause < 1 + JITTER + 0.1
                let_time_pass(store)
        with store.read() as tx:
            dead = tx.notification(note_id)
        assert (dead.state, dead.next_at) == ("dead", None)

    def test_what_can_never_be_sent_is_dead_at_once(self, store: Store) -> None:
        (note_id,) = added(store, notification(1))
        (taken,) = claimed(store)
        with store.write() as tx:
            tx.mark_failed(taken, "no channel is called 'team'", for_good=True)
            assert tx.notification(note_id).state == "dead"

    def test_a_dead_one_alone_can_be_sent_again(self, store: Store) -> None:
        (note_id,) = added(store, notification(1))
        with store.write() as tx:
            with pytest.raises(StateForbids, match="is waiting"):
                tx.resend_notification(note_id)
            with pytest.raises(NotificationNotFound):
                tx.resend_notification("ntf-0")
            (taken,) = tx.claim_notifications("team", LEASE_S, 1)
            tx.mark_failed(taken, "no", for_good=True)
            again = tx.resend_notification(note_id)
        assert (again.state, again.attempts) == ("waiting", 0)
        assert [one.id for one in claimed(store)] == [note_id]

    def test_pages_are_newest_first_and_whole(self, store: Store) -> None:
        at = EPOCH + timedelta(hours=1)
        ids = added(
            store, *(notification(n) for n in range(3)), *(notification(n, created_at=at) for n in (3, 4, 5, 6))
        )
        (taken, *_rest) = claimed(store, limit=1)
        with store.write() as tx:
            tx.mark_sent(taken.id)
            pages, cursor = [tx.notifications(limit=2)], None
            while (cursor := pages[-1].next_cursor) is not None:
                pages.append(tx.notifications(cursor=cursor, limit=2))
            sent = tx.notifications(NotificationState.SENT).items
            with pytest.raises(InvalidCursor):
                tx.notifications(cursor="nonsense")
        assert [one.id for page in pages for one in page.items] == ids[::-1]
        assert [one.id for one in sent] == [taken.id]

    def test_old_ones_are_forgotten_unless_they_wait(self, store: Store) -> None:
        ids = added(store, *(notification(n) for n in range(4)))
        first, second = claimed(store, limit=2)
        with store.write() as tx:
            tx.mark_sent(first.id)
            tx.mark_failed(second, "no", for_good=True)
            assert tx.forget_notifications(EPOCH) == 0
            assert tx.forget_notifications(EPOCH + timedelta(days=1)) == 2
            kept = {one.id for one in tx.notifications().items}
        assert kept == set(ids) - {first.id, second.id}
