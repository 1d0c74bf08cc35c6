"""The sender of notifications: takes what is due from the outbox, and lets no channel hold up another one."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from datetime import timedelta

from tunesmith.domain import utcnow
from tunesmith.domain.notification import Notification
from tunesmith.errors import DatabaseUnavailable, InvalidChannel, NotSent, TunesmithError
from tunesmith.services.delivery import deliver, message_of
from tunesmith.services.notifications import channel_of, notifications_for, public_only
from tunesmith.settings import Settings
from tunesmith.store import Store

log = logging.getLogger("tunesmith.notifying")

LOOK_S = 1.0
"""Seconds between two looks at the outbox when nobody rings."""
LIMIT_S = 30.0
"""Seconds that a channel may take."""
GRACE_S = 30.0
"""Seconds beyond that until another sender takes a notification up whose sender went silent."""
PLACES = 8
"""Notifications that are sent at once."""
PLACES_OF_A_CHANNEL = 2
"""Of these, to one channel."""
KEEP = timedelta(days=30)
"""How long notifications are kept that are sent or dead."""
FORGET_S = 3600.0
"""Seconds between two looks for older ones."""


class Sender:
    """Sends notifications in threads of its own; several senders share an outbox, as every claim is a transaction.

    A channel that does not come back in time counts as failed, and keeps its place among those of its channel until it
    does: it costs the other channels nothing.
    """

    def __init__(self, store: Store, settings: Settings, limit_s: float = LIMIT_S) -> None:
        """`limit_s`: seconds that a channel may take."""
        self.store, self.settings, self.limit_s = store, settings, limit_s
        self.lock = threading.Lock()
        # By token too: one that was given up may be sent again before its first try comes back.
        self.sending: dict[tuple[str, str | None], tuple[Notification, float]] = {}
        self.busy: Counter[str] = Counter()
        self.forget_at = 0.0
        self.rung = threading.Event()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def ring(self) -> None:
        """Look at the outbox now."""
        self.rung.set()

    def stop(self) -> None:
        """Take up nothing more. What is under way goes on, and is sent again by the next sender when it is cut off."""
        self.stopping = True
        self.rung.set()
        if self.thread.is_alive():
            self.thread.join(LOOK_S)

    def _run(self) -> None:
        while not self.stopping:
            try:
                self._look()
            except DatabaseUnavailable as error:
                log.warning("the database is away: %s", error)
            except Exception:
                log.exception("the sender of notifications stumbled; it goes on")
            self.rung.wait(LOOK_S)
            self.rung.clear()

    def _look(self) -> None:
        self._give_up()
        self._forget()
        self._tell_changes()
        with self.lock:
            places = PLACES - len(self.sending)
            full = [channel for channel, count in self.busy.items() if count >= PLACES_OF_A_CHANNEL]
        if places <= 0:
            return
        with self.store.read(single=True) as tx:
            channels = tx.due_channels(full, places)
        for channel in channels:
            self._claim(channel)

    def _tell_changes(self) -> None:
        """Make each status change a notification for everyone who is to be told."""
        with self.store.read(single=True) as tx:
            if not tx.any_status_change():
                return
        with self.store.write() as tx:
            for change, rules, workspace_id in tx.take_status_changes():
                tx.add_notifications(notifications_for(self.settings, rules, change), workspace_id)
        self.rung.set()  # there may be more

    def _claim(self, channel: str) -> None:
        with self.lock:
            places = min(PLACES - len(self.sending), PLACES_OF_A_CHANNEL - self.busy[channel])
        if places <= 0:
            return
        with self.store.write() as tx:
            claimed = tx.claim_notifications(channel, self.limit_s + GRACE_S, places)
        for notification in claimed:
            with self.lock:
                self.sending[_claim_of(notification)] = (notification, time.monotonic() + self.limit_s)
                self.busy[channel] += 1
            # No pool: a thread of it that never comes back would be missing for good.
            threading.Thread(target=self._send, args=(notification,), name=notification.id, daemon=True).start()

    def _send(self, notification: Notification) -> None:
        failure: TunesmithError | None = None
        try:
            channel = channel_of(self.settings, notification.rule)
            deliver(channel, message_of(notification), public_only(self.settings, notification.rule))
        except TunesmithError as error:
            failure = error
        except Exception as error:
            log.exception("sending %s stumbled", notification.id)
            failure = NotSent(f"{type(error).__name__} while sending; the server's log says where")
        finally:
            self._end(notification, failure)

    def _end(self, notification: Notification, failure: TunesmithError | None) -> None:
        try:
            self._note(notification, failure)
        except DatabaseUnavailable as error:
            log.warning("what became of %s is not known; it is sent again: %s", notification.id, error)
        finally:
            with self.lock:
                self.sending.pop(_claim_of(notification), None)
                self.busy[notification.channel] -= 1
                self.busy += Counter()  # forget those at 0
            self.rung.set()

    def _note(self, notification: Notification, failure: TunesmithError | None) -> None:
        with self.store.write() as tx:
            if failure is None:
                tx.mark_sent(notification.id)
            else:
                tx.mark_failed(notification, failure.message, for_good=isinstance(failure, InvalidChannel))
        if failure is not None:
            log.warning("notification %s, try %d: %s", notification.id, notification.attempts, failure.message)

    def _give_up(self) -> None:
        """Let those be tried again later whose channel took too long."""
        now = time.monotonic()
        with self.lock:
            late = [notification for notification, deadline in self.sending.values() if deadline <= now]
            for notification in late:
                del self.sending[_claim_of(notification)]
        for notification in late:
            self._note(notification, NotSent(f"{notification.channel}: no answer within {self.limit_s:g} s"))

    def _forget(self) -> None:
        if time.monotonic() < self.forget_at:
            return
        self.forget_at = time.monotonic() + FORGET_S
        with self.store.write() as tx:
            tx.forget_notifications(utcnow() - KEEP)


def _claim_of(notification: Notification) -> tuple[str, str | None]:
    return notification.id, notification.lease_token
