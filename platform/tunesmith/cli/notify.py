"""Commands on notifications: notify list, notify resend, notify test."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tunesmith.cli.options import Json, Limit, Url, connect
from tunesmith.cli.output import console, print_json, print_table
from tunesmith.schemas.notifications import NotificationAnswer


class StateOption(StrEnum):
    """Which notifications to list."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"


def list_notifications(
    state: Annotated[StateOption | None, typer.Option("--state", help="Only those in this state.")] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List notifications of training jobs, newest first."""
    with connect(url) as client:
        found = list(client.notifications.list(None if state is None else state.value, limit))
    if as_json:
        print_json(found)
        return
    columns = ("id", "state", "channel", "training job", "status", "tries", "next try", "last error")
    print_table(columns, (_row(one) for one in found), empty="no notifications")


def resend(
    notification: Annotated[str, typer.Argument(metavar="NOTIFICATION", help="The notification's id.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let a dead notification be tried anew."""
    with connect(url) as client:
        answer = client.notifications.resend(notification)
    if as_json:
        print_json(answer)
    else:
        console().print(f"{answer.id} waits to be sent to {answer.channel}", markup=False)


def try_channel(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A configured channel's name, or a URL.")],
    secret: Annotated[str | None, typer.Option("--secret", help="Signs what a webhook gets.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send a test message to a channel, now."""
    with connect(url) as client:
        answer = client.notifications.test(channel, secret)
    if as_json:
        print_json(answer)
    else:
        console().print(f"{answer.channel} took the test message", markup=False)


def _row(one: NotificationAnswer) -> tuple[object, ...]:
    return one.id, one.state, one.channel, one.name, one.status, one.attempts, one.next_at, one.last_error


COMMANDS = (("list", list_notifications), ("resend", resend), ("test", try_channel))
