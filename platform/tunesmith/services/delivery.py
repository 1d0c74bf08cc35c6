"""Delivery: one message to one channel, by a webhook or through apprise. It takes a while, so hold no transaction."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

import httpx2

from tunesmith import webhook
from tunesmith.channels import SLACK_HOST
from tunesmith.domain import render_time, utcnow
from tunesmith.domain.notification import Channel, Notification, shown
from tunesmith.errors import InvalidChannel, NotSent
from tunesmith.outgoing import may_be_public, public_addresses_only

TIMEOUT = httpx2.Timeout(10, connect=5)
"""Seconds of silence until a webhook is given up."""
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=5)
"""No place is waited for: a receiver that hangs may hold its connection for long."""
MAX_ANSWER = 200
"""Characters of a refusal that are kept."""
SLACK_LIKE = "slack+"
MAIL = "mailto"
LOUD = ("WARNING", "ERROR")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LOCAL_SCHEMES = frozenset({"blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Channels of apprise that end on this machine, and go through no connection that could be refused."""
FILES = frozenset({"keyfile", "pgpprv", "pgppub", "subfile", "template"})
"""Parameters of apprise's URLs that name a file of this machine."""
REMEDY = "let the administrator make it a channel of the settings, or set TUNESMITH_ALLOW_PRIVATE_ADDRESSES=true"


@dataclass(frozen=True)
class Message:
    """What is told: a title and a text for people, a payload for programs, and an id that a repetition has too."""

    id: str
    title: str
    text: str
    payload: Mapping[str, Any]


def message_of(notification: Notification) -> Message:
    """What a notification tells."""
    change = notification.change
    return Message(notification.id, f"tunesmith: {change.title}", change.text, change.payload(notification.id))


def probe_message() -> Message:
    """What shows that a channel works."""
    test_id = f"test-{secrets.token_hex(8)}"
    payload = {"id": test_id, "event": "test", "timestamp": render_time(utcnow())}
    return Message(test_id, "tunesmith: test", "This channel takes notifications of tunesmith.", payload)


def check_url(url: str, public_only: bool = False) -> None:
    """Raise InvalidChannel unless something could be sent to the URL.

    `public_only`: as for `deliver`, as far as it shows before a name is resolved.
    """
    if _is_webhook(url):
        host = _http_url(url).host
    else:
        made = _apprise_of(url)
        if public_only:
            _check_own_means(url, made)
        host = str(made.host or "")
    if public_only and not may_be_public(host):
        raise InvalidChannel(f"{shown(url)} leads to {host}, which is no public address; {REMEDY}")


def deliver(channel: Channel, message: Message, public_only: bool = False) -> None:
    """Send a message.

    `public_only`: not to this machine or a private network, and with no file of this machine, for who chose the
    channel may not choose these.

    Raises:
        InvalidChannel: nothing can ever be sent there.
        NotSent: the channel cannot be reached, or refused it.
    """
    if not public_only:
        _send(channel, message, public_only)
        return
    check_url(channel.url, public_only)
    with public_addresses_only() as refused:
        try:
            _send(channel, message, public_only)
        except NotSent as error:
            if not refused:
                raise
            told = f"{shown(channel.url)} leads to {refused[0]}, which is no public address; {REMEDY}"
            raise InvalidChannel(told) from error


def _send(channel: Channel, message: Message, public_only: bool) -> None:
    if not _is_webhook(channel.url):
        _through_apprise(channel.url, message)
    elif channel.url.lower().startswith(SLACK_LIKE):
        text = escape(f"*{message.title}*\n{message.text}", quote=False)
        _post(channel.url, _encoded({"text": text}), {}, public_only)
    else:
        _signed(channel, message, public_only)


def deliver_within(limit_s: float, channel: Channel, message: Message, public_only: bool = False) -> None:
    """The same, for somebody who waits, but not longer than `limit_s` seconds. Raises InvalidChannel, NotSent."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            deliver(channel, message, public_only)
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, name=message.id, daemon=True).start()
    try:
        done.result(limit_s)
    except FutureTimeout as error:
        raise NotSent(f"{shown(channel.url)}: no answer within {limit_s:g} s") from error


def _is_webhook(url: str) -> bool:
    plain = url.lower()
    return plain.removeprefix(SLACK_LIKE).startswith(("http://", "https://")) and not plain.startswith(
        f"https://{SLACK_HOST}/"
    )


def _signed(channel: Channel, message: Message, public_only: bool) -> None:
    stamp, body = str(int(time.time())), _encoded(message.payload)
    headers = {webhook.ID: message.id, webhook.TIMESTAMP: stamp}
    if channel.secret is not None:
        headers[webhook.SIGNATURE] = webhook.signature(channel.secret, message.id, stamp, body)
    _post(channel.url, body, headers, public_only)


def _post(url: str, body: bytes, headers: Mapping[str, str], public_only: bool) -> None:
    target = _http_url(url)
    own = {"Content-Type": "application/json", "User-Agent": "tunesmith"}
    client = _client(target.host not in LOOPBACK, public_only)
    try:
        with client.stream("POST", target, content=body, headers={**own, **headers}) as response:
            if not response.is_success:
                said = next(response.iter_text(MAX_ANSWER), "")
                raise NotSent(f"{shown(url)} answered {response.status_code}: {said}".rstrip(": "))
    except httpx2.HTTPError as error:
        raise NotSent(f"{shown(url)}: {_reason(error)}") from error


def _through_apprise(url: str, message: Message) -> None:
    apprise = _apprise()
    sender = apprise.Apprise()
    sender.add(_apprise_of(url))
    kind, text = apprise.NotifyType.INFO, apprise.NotifyFormat.TEXT
    result = sender.notify(message.text, message.title, kind, text, log_level=logging.DEBUG)
    if not result:
        # Other details may hold an address with its secrets; those of a mail server say what it did not like.
        told = ("Socket Exception",) if url.lower().startswith(MAIL) else ()
        logs = [one.message for one in result.logs() if one.level in LOUD or one.message.startswith(told)]
        raise NotSent(f"{shown(url)}: {'; '.join(logs)}".rstrip(": "))


def _apprise_of(url: str) -> Any:
    apprise = _apprise()
    asset = apprise.AppriseAsset(app_id="tunesmith", async_mode=False)
    made = apprise.Apprise.instantiate(url, asset=asset)
    if made is None:
        raise InvalidChannel(f"{shown(url)}: apprise does not understand this URL; its wiki says how one is written")
    return made


def _check_own_means(url: str, made: Any) -> None:
    """Raise InvalidChannel when apprise would use what is this machine's: its desktop, its system log, its files."""
    parsed = made.parse_url(url) or {}
    files = FILES & {name.lower() for name in parsed.get("qsd", {})}
    if parsed.get("schema") in LOCAL_SCHEMES or files:
        what = f"names a file of the platform ({', '.join(sorted(files))})" if files else "is the platform's own"
        raise InvalidChannel(f"{shown(url)} {what}; {REMEDY}")


@cache
def _apprise() -> Any:
    import apprise  # only where something is sent: it takes a moment

    # What it says comes back with each result; it goes to no log, as addresses with their secrets are among it.
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return apprise


@cache
def _client(outside: bool, public_only: bool) -> httpx2.Client:
    """One for all webhooks, as making it takes longer than a request; no proxy reaches this machine's own loopback.

    Those of public addresses alone have their own, whose open connections lead to no other ones, and go through no
    proxy, which would resolve the name itself.
    """
    return httpx2.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=outside and not public_only, limits=LIMITS)


def _http_url(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url[len(SLACK_LIKE) :] if url.lower().startswith(SLACK_LIKE) else url)
    except httpx2.InvalidURL as error:
        raise InvalidChannel(f"{shown(url)} is no URL: {error}") from error
    if not parsed.host:
        raise InvalidChannel(f"{shown(url)} names no host")
    return parsed


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _reason(error: Exception) -> str:
    return "no answer in time" if isinstance(error, httpx2.TimeoutException) else str(error) or type(error).__name__
