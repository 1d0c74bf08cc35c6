"""Queries on notifications: an outbox. A status change is one row, written with it; a sender takes it from there."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, bindparam, delete, insert, select, update

from tunesmith.domain import Job, Page, TrainingStatus, utcnow
from tunesmith.domain.backoff import backoff_s
from tunesmith.domain.notification import Notification, NotificationState, Rule, StatusChange
from tunesmith.errors import NotificationNotFound, StateForbids
from tunesmith.store.queries import Queries, newest_first, ours, page_of
from tunesmith.store.tables import Json, UTCTime, notifications, status_changes, training_jobs

MAX_ATTEMPTS = 8
"""Tries of a notification before it is given up."""
BACKOFF_S = 10.0
"""Seconds before its second try; twice as many before each further one."""
MAX_ERROR = 4000
"""Characters of an attempt's error that are told."""
WAITING, SENT, DEAD = (state.value for state in NotificationState)

NOTE = insert(status_changes).from_select(
    ["change", "plan", "workspace_id"],
    select(bindparam("noted", type_=Json), training_jobs.c.plan, training_jobs.c.workspace_id).where(
        training_jobs.c.id == bindparam("training")
    ),
)
DUE = (notifications.c.state == WAITING) & (notifications.c.next_at <= bindparam("now", type_=UTCTime))
ANY_CHANGE = select(status_changes.c.id).limit(1)
FIELDS = tuple(Notification.model_fields)
COLUMNS = tuple(notifications.c[name] for name in FIELDS)


class NotificationQueries(Queries):
    """Queries on notifications."""

    def notify(self, training_id: str, name: str, job: Job | None, status: TrainingStatus) -> None:
        """Note that a training job has a new status: one row, whoever is to be told."""
        self.notify_all([status_change(training_id, name, status, job)])

    def notify_all(self, changes: Sequence[StatusChange]) -> None:
        """The same for many."""
        if changes:
            rows = [{"noted": change.model_dump(mode="json"), "training": change.training_id} for change in changes]
            self.connection.execute(NOTE, rows)

    def any_status_change(self) -> bool:
        """Whether there is a status change that `take_status_changes` would give."""
        return self.connection.execute(ANY_CHANGE).first() is not None

    def take_status_changes(self, limit: int = 100) -> list[tuple[StatusChange, tuple[Rule, ...], str]]:
        """Take out the oldest status changes, each with the rules and the workspace's id of its training job."""
        query = select(status_changes).order_by(status_changes.c.id).limit(limit).with_for_update(skip_locked=True)
        rows = self.connection.execute(query).all()
        self.connection.execute(delete(status_changes).where(status_changes.c.id.in_([row.id for row in rows])))
        return [(StatusChange.model_validate(row.change), row.plan.notify, row.workspace_id) for row in rows]

    def add_notifications(self, found: Sequence[Notification], workspace_id: str) -> None:
        """Add notifications of a workspace."""
        if found:
            same = {"workspace_id": workspace_id}
            rows = [{**one.model_dump(), **same, "channel": one.channel, **_documents(one)} for one in found]
            self.connection.execute(self.insert(notifications), rows)

    def due_channels(self, without: Collection[str] = (), limit: int = 8) -> list[str]:
        """The channels, as they are shown, that have something to be sent now, but those."""
        query = select(notifications.c.channel).where(DUE, notifications.c.channel.not_in(list(without)))
        return list(self.connection.scalars(query.distinct().limit(limit), {"now": utcnow()}))

    def claim_notifications(self, channel: str, lease_s: float, limit: int) -> list[Notification]:
        """Take a channel's notifications that are due, the longest first, for as many seconds.

        Whoever took one ends it by `mark_sent` or `mark_failed`; otherwise it is due again when the lease ends.
        """
        now = utcnow()
        query = select(notifications.c.id).where(DUE, notifications.c.channel == channel)
        query = query.order_by(notifications.c.next_at, notifications.c.id).limit(limit)
        ids = self.connection.scalars(query.with_for_update(skip_locked=True), {"now": now}).all()
        taken = {
            "attempts": notifications.c.attempts + 1,
            "next_at": now + timedelta(seconds=lease_s),
            "lease_token": secrets.token_hex(16),
        }
        changed = update(notifications).where(notifications.c.id.in_(ids)).values(taken).returning(*COLUMNS)
        return [_notification(row) for row in self.connection.execute(changed)] if ids else []

    def mark_sent(self, notification_id: str) -> None:
        """A channel took it, whoever holds it by now."""
        sent = {"state": SENT, "next_at": None, "lease_token": None, "last_error": None, "sent_at": utcnow()}
        self.connection.execute(update(notifications).where(notifications.c.id == notification_id).values(sent))

    def mark_failed(self, claimed: Notification, error: str, for_good: bool = False) -> None:
        """It could not be sent: it is tried again later, MAX_ATTEMPTS times in all, or not, when that is no use.

        Nothing happens when another sender has taken it meanwhile.
        """
        dead = for_good or claimed.attempts >= MAX_ATTEMPTS
        pause = backoff_s(BACKOFF_S, claimed.attempts - 1)
        changes = {
            "state": DEAD if dead else WAITING,
            "next_at": None if dead else utcnow() + timedelta(seconds=pause),
            "lease_token": None,
            "last_error": error,
        }
        held = (notifications.c.id == claimed.id) & (notifications.c.lease_token == claimed.lease_token)
        self.connection.execute(update(notifications).where(held).values(changes))

    def notification(self, notification_id: str) -> Notification:
        """Read one. Raises NotificationNotFound."""
        query = select(*COLUMNS).where(notifications.c.id == notification_id, ours(notifications))
        row = self.connection.execute(query, self.scope).first()
        if row is None:
            raise NotificationNotFound(f"No notification has the id {notification_id!r}", id=notification_id)
        return _notification(row)

    def notifications(
        self, state: NotificationState | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[Notification]:
        """A page of those in a state (all by default), newest first. Raises InvalidCursor."""
        here = (notifications.c.created_at, notifications.c.id)
        query = newest_first(select(*COLUMNS).where(ours(notifications)), *here, cursor, limit)
        if state is not None:
            query = query.where(notifications.c.state == state.value)
        found = list(map(_notification, self.connection.execute(query, self.scope)))
        return page_of(found, limit, lambda one: (one.created_at, one.id))

    def resend_notification(self, notification_id: str) -> Notification:
        """Let a dead one be tried anew, under its id.

        Raises:
            NotificationNotFound: there is no such notification.
            StateForbids: it is not dead.
        """
        anew = {"state": WAITING, "attempts": 0, "next_at": utcnow()}
        state = self.notification(notification_id).state
        dead = (notifications.c.id == notification_id) & (notifications.c.state == DEAD)
        if self.connection.execute(update(notifications).where(dead).values(anew)).rowcount == 0:
            raise StateForbids(f"The notification is {state}; only a dead one can be sent again", state=state.value)
        return self.notification(notification_id)

    def forget_notifications(self, before: datetime) -> int:
        """Delete those that were written before a moment and are sent or dead; returns how many."""
        ended = notifications.c.state.in_([SENT, DEAD]) & (notifications.c.created_at < before)
        return self.connection.execute(delete(notifications).where(ended)).rowcount


def _documents(one: Notification) -> dict[str, object]:
    return {"rule": one.rule.model_dump(mode="json"), "change": one.change.model_dump(mode="json")}


def _notification(row: Row[tuple[object, ...]]) -> Notification:
    return Notification.model_validate(dict(zip(FIELDS, row, strict=True)))


def status_change(
    training_id: str, name: str, status: TrainingStatus, job: Job | None, attempt: int | None = None
) -> StatusChange:
    """That a training job has a new status now; `job`: its firing, if it has one; `attempt`: which one of that."""
    change = StatusChange(training_id=training_id, name=name, status=status.value, at=utcnow())
    if job is None:
        return change
    return change.evolve(
        job_id=job.id,
        execution=job.run_number,
        attempt=job.retries + (status is not TrainingStatus.RETRYING) if attempt is None else attempt,
        retry_count=job.retries,
        error=job.error and job.error[:MAX_ERROR],
    )
