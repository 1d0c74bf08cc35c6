"""Channels and rules: what they may be, what is shown of them, and the variables that make some."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from tunesmith.domain import TrainingStatus
from tunesmith.domain.notification import STATUSES, Channel, Rule, StatusChange, shown
from tunesmith.errors import InvalidSettings
from tunesmith.services.notifications import notifications_for
from tunesmith.settings import Settings, load_settings
from tunesmith.testing import EPOCH

MAIL = {"SMTP_SERVER": "mail.example.com", "SENDER_EMAIL": "jobs@example.com", "RECIPIENT_EMAILS": "ann@example.com"}
SLACK = "https://hooks.slack.com/services/T12345678/B12345678/abcdefghijklmnopqrstuvwx"


def test_the_statuses_of_rules_are_those_of_training_jobs() -> None:
    assert list(STATUSES) == [status.value for status in TrainingStatus]


@pytest.mark.parametrize("channel", ["team", "a_b-1", "slack://a/b", "https://h/p?q", "slack+http://h", "MAILTO://h"])
def test_a_channel_is_a_name_or_a_url(channel: str) -> None:
    assert Rule(channel=channel).on == ("failed", "completed")


@pytest.mark.parametrize(
    "channel", ["", "Team", "a b", "a/b", "://x", "http://", "http:// x", "a" * 51, "x://" + "y" * 2000]
)
def test_anything_else_is_none(channel: str) -> None:
    with pytest.raises(ValidationError, match="channel"):
        Rule(channel=channel)


@pytest.mark.parametrize("on", [[], ["finished"], "failed"])
def test_a_rule_is_for_statuses_that_there_are(on: object) -> None:
    with pytest.raises(ValidationError, match="on"):
        Rule.model_validate({"channel": "team", "on": on})


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("team", "team"),
        ("https://user:secret@host:8/secret?secret#secret", "https://host:8/***"),
        ("https://user:secret@host?secret", "https://host/***"),
        ("slack+http://host/secret", "slack+http://host/***"),
        ("tgram://secret/1", "tgram://***"),
        ("mailtos://user:secret@host", "mailtos://***"),
    ],
)
def test_a_channel_is_shown_without_its_secrets(channel: str, expected: str) -> None:
    rule = Rule(channel=channel, secret="secret")
    assert shown(channel) == rule.shown.channel == expected
    assert "secret" not in repr(rule.shown).replace("secret=", "")


def test_a_change_is_told_once_a_channel_to_those_who_asked_for_its_status() -> None:
    change = StatusChange(training_id="train-1", name="nightly", status="failed", at=EPOCH)
    own = (Rule(channel="team", secret="own"), Rule(channel="ops", on=("paused",)), Rule(channel="team"))
    settings = Settings(notify=(Rule(channel="all"), Rule(channel="team"), Rule(channel="none", on=("running",))))
    made = notifications_for(settings, own, change)
    assert [one.rule for one in made] == [own[0], Rule(channel="all")]
    assert [(one.state, one.attempts, one.change) for one in made] == [("waiting", 0, change)] * 2
    assert len({one.id for one in made}) == 2


def test_without_the_variables_there_is_no_channel() -> None:
    assert load_settings(dict.fromkeys((*MAIL, "SLACK_WEBHOOK_URL"), " ") | {"SMTP_PORT": "587"}).channels == {}


@pytest.mark.parametrize(("url", "expected"), [(SLACK, SLACK), ("http://chat/hooks/1", "slack+http://chat/hooks/1")])
def test_the_slack_variable_makes_a_channel_that_is_told_of_everything(url: str, expected: str) -> None:
    settings = load_settings({"SLACK_WEBHOOK_URL": url})
    assert settings.channels == {"slack": Channel(url=expected)}
    assert settings.notify == (Rule(channel="slack", on=STATUSES),)


@pytest.mark.parametrize(
    ("more", "scheme", "port", "mode"),
    [
        ({}, "mailto", 587, None),
        ({"SMTP_PORT": "25"}, "mailto", 25, None),
        ({"SENDER_PASSWORD": "p@:/"}, "mailtos", 587, ["starttls"]),
        ({"SENDER_PASSWORD": "p@:/", "SMTP_PORT": "465"}, "mailtos", 465, ["ssl"]),
    ],
)
def test_the_mail_variables_make_a_channel(
    more: dict[str, str], scheme: str, port: int, mode: list[str] | None
) -> None:
    settings = load_settings(MAIL | more | {"RECIPIENT_EMAILS": "ann@example.com, bob@example.com"})
    url = urlsplit(settings.channels["mail"].url)
    options = parse_qs(url.query)
    assert (url.scheme, url.hostname, url.port, options.get("mode")) == (scheme, "mail.example.com", port, mode)
    assert (options["from"], options["to"]) == (["jobs@example.com"], ["ann@example.com,bob@example.com"])
    assert (url.username, url.password) == (("jobs%40example.com", "p%40%3A%2F") if mode else (None, None))
    assert settings.notify == (Rule(channel="mail", on=STATUSES),)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"SMTP_SERVER": "h"}, "SENDER_EMAIL is not set, but SMTP_SERVER: mail needs SMTP_SERVER, SENDER_EMAIL, "),
        ({"SENDER_PASSWORD": "secret"}, "SMTP_SERVER is not set, but SENDER_PASSWORD"),
        (MAIL | {"SMTP_PORT": "many"}, "SMTP_PORT='many': a port is a number"),
        (MAIL | {"RECIPIENT_EMAILS": "ann@example.com,bob"}, "bob is no address"),
        (MAIL | {"RECIPIENT_EMAILS": ","}, "RECIPIENT_EMAILS=','"),
        ({"SLACK_WEBHOOK_URL": "secret"}, r"SLACK_WEBHOOK_URL=\.\.\.: it is no http"),
        ({"TUNESMITH_CHANNELS": '{"a": "secret"}'}, r"TUNESMITH_CHANNELS=\.\.\.: a: url: "),
        ({"TUNESMITH_CHANNELS": "{secret"}, r"TUNESMITH_CHANNELS=\.\.\. is no JSON"),
        ({"TUNESMITH_CHANNELS": "[]", "SLACK_WEBHOOK_URL": SLACK}, r"TUNESMITH_CHANNELS=\.\.\.: "),
        ({"TUNESMITH_NOTIFY": '[{"channel": "a", "on": []}]'}, r"TUNESMITH_NOTIFY=\.\.\.: 0: on: "),
        ({"TUNESMITH_WEBHOOK_SECRET": "secret"}, r"TUNESMITH_WEBHOOK_SECRET=\.\.\.: "),
    ],
)
def test_what_is_missing_or_wrong_is_said_without_secrets(environ: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message) as caught:
        load_settings(environ)
    assert "secret" not in caught.value.message.lower().replace("webhook_secret", "")


def test_settings_of_ones_own_go_before_the_variables_and_another_process_gets_both() -> None:
    own = {
        "TUNESMITH_CHANNELS": '{"slack": {"url": "https://h/x", "secret": "s"}, "team": "tgram://a/b"}',
        "TUNESMITH_NOTIFY": '[{"channel": "slack"}]',
    }
    variables = {"SLACK_WEBHOOK_URL": SLACK, **MAIL}
    settings = load_settings(own | variables)
    assert settings.channels["slack"] == Channel(url="https://h/x", secret="s")
    assert set(settings.channels) == {"slack", "mail", "team"}
    assert settings.notify == (Rule(channel="slack"), Rule(channel="mail", on=STATUSES))
    for environ in (settings.environment(), settings.environment() | variables):
        there = load_settings(environ)
        assert (there.channels, there.notify) == (settings.channels, settings.notify)
