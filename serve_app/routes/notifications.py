"""Notifications: what was told to whom, another try of what was given up, and a try of a channel."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Bodiless, Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import Cursor, Limit
from serve_app.strict import surface
from tunesmith.domain.notification import NotificationState, Rule, shown
from tunesmith.schemas.notifications import ChannelTest, ChannelTested, NotificationAnswer, NotificationPage
from tunesmith.services.delivery import deliver_within, probe_message
from tunesmith.services.notifications import channel_of, public_only

router = surface("/notifications", ["notifications"])
PAGE = 100
TEST_S = 15.0
"""Seconds that a tried channel may take."""
NotificationId = Annotated[
    str,
    Path(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$", description="`id`.", examples=["ntf-8f14e45fceea167a"]),
]


@router.get("", summary="List notifications", response_model=NotificationPage, response_description="Newest first.")
def list_notifications(
    here: Here,
    state: Annotated[NotificationState | None, Query(description="Only those in this state.")] = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Response:
    """A page of notifications. Those that are sent or dead are kept for 30 days."""
    with here.store.read() as tx:
        page = tx.notifications(state, cursor, limit or PAGE)
    found = tuple(NotificationAnswer.of(one) for one in page.items)
    return answer(NotificationPage.model_construct(notifications=found, next_cursor=page.next_cursor))


@router.post(
    "/test",
    summary="Try a channel",
    response_model=ChannelTested,
    response_description="The channel took it.",
    responses=refusals(409, 413, 424),
)
def try_channel(here: Here, request: Request, body: Annotated[ChannelTest, FromJson()], key: Key = None) -> Response:
    """Send a test message, now."""
    once = Once.of(request, key, body)
    if once is not None:
        with here.store.read() as tx:
            if (earlier := once.replay(tx)) is not None:
                return earlier
    rule = Rule(channel=body.channel, secret=body.secret)
    deliver_within(TEST_S, channel_of(here.settings, rule), probe_message(), public_only(here.settings, rule))
    told = answer(ChannelTested(status="sent", channel=shown(body.channel)))
    if once is None:
        return told
    with here.store.write() as tx:
        return perform(tx, once, lambda: told)


@router.post(
    "/{notification_id}/resend",
    summary="Send a notification again",
    status_code=202,
    response_model=NotificationAnswer,
    response_description="It waits to be sent.",
    responses=refusals(404, 409),
)
def resend_notification(here: Here, once: Bodiless, notification_id: NotificationId) -> Response:
    """A dead notification is tried anew, under its id."""
    with here.store.write() as tx:
        response = perform(
            tx, once, lambda: answer(NotificationAnswer.of(tx.resend_notification(notification_id)), 202)
        )
    here.wake()
    return response
