"""Notifications: which channels are told of a status change, whether they can be, and trying again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from tunesmith.domain import utcnow
from tunesmith.domain.notification import MASK, Channel, Notification, Rule, StatusChange, shown
from tunesmith.errors import InvalidChannel, InvalidSettings
from tunesmith.services.delivery import check_url
from tunesmith.settings import Settings


def check_rules(settings: Settings, rules: Sequence[Rule]) -> None:
    """Raise InvalidChannel, naming for instance `notify.0.channel`, when a rule's channel cannot be sent to."""
    for index, rule in enumerate(rules):
        try:
            if MASK in (rule.channel[-len(MASK) :], rule.secret):
                raise InvalidChannel("its secrets are masked; write them in full")
            check_url(channel_of(settings, rule).url, public_only(settings, rule))
        except InvalidChannel as error:
            field, message = f"notify.{index}.channel", error.message
            finding = {"field": field, "message": message, "value": shown(rule.channel)}
            raise InvalidChannel(f"{field}: {message}", fields=[finding]) from error


def check_settings(settings: Settings) -> None:
    """Raise InvalidSettings when a channel or a rule of the settings could never work."""
    for name, channel in settings.channels.items():
        try:
            check_url(channel.url)
        except InvalidChannel as error:
            variable = "TUNESMITH_CHANNELS"
            raise InvalidSettings(f"{variable}: {name}: {error.message}", variable=variable) from error
    try:
        check_rules(settings, settings.notify)
    except InvalidChannel as error:
        variable = "TUNESMITH_NOTIFY"
        raise InvalidSettings(f"{variable}: {error.message}", variable=variable) from error


def channel_of(settings: Settings, rule: Rule) -> Channel:
    """Where a rule's notifications go, and what signs them. Raises InvalidChannel: there is none of that name."""
    if "://" in rule.channel:
        channel = Channel(url=rule.channel)
    elif (known := settings.channels.get(rule.channel)) is not None:
        channel = known
    else:
        there = f"there are: {', '.join(settings.channels)}" if settings.channels else "none is configured"
        raise InvalidChannel(f"no channel is called {rule.channel!r}; {there} (TUNESMITH_CHANNELS)")
    return channel.evolve(secret=rule.secret or channel.secret or settings.webhook_secret)


def public_only(settings: Settings, rule: Rule) -> bool:
    """Whether a rule may lead to public addresses alone: the administrator chose neither its channel nor otherwise."""
    if settings.private_addresses or "://" not in rule.channel:
        return False
    return all(rule.channel != one.channel for one in settings.notify)


def notifications_for(settings: Settings, rules: Sequence[Rule], change: StatusChange) -> list[Notification]:
    """A notification for each channel that is to be told: by the job's own rules, then by the platform's."""
    wanted: dict[str, Rule] = {}
    for rule in (*rules, *settings.notify):
        if change.status in rule.on:
            wanted.setdefault(rule.channel, rule)
    now = utcnow()
    return [
        Notification(id=f"ntf-{secrets.token_hex(8)}", rule=rule, change=change, next_at=now, created_at=now)
        for rule in wanted.values()
    ]
