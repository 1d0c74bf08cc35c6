"""Whether the service can work (`/health`), and whether the platform takes work (`/ready`)."""

from __future__ import annotations

from fastapi import Response

from serve_app.answers import answer, refusal
from serve_app.context import Context, Here
from serve_app.strict import surface
from tunesmith import __version__
from tunesmith.domain import utcnow
from tunesmith.errors import DatabaseUnavailable, Unavailable
from tunesmith.schemas.health import HealthAnswer, ReadyAnswer

router = surface(tags=["health"])


@router.get("/health", summary="Check the service's health", response_model=HealthAnswer)
def get_health(here: Here) -> Response:
    """200 when the database answers, else 503 with the same fields beside the error's."""
    trouble = _database(here)
    if trouble is None:
        return answer(_report("healthy", True))
    return refusal(DatabaseUnavailable(trouble), extra=_report("degraded", False).model_dump(mode="json"))


@router.get("/ready", summary="Check whether the platform takes work", response_model=ReadyAnswer)
def get_ready(here: Here) -> Response:
    """200 when database and cluster are ready, else 503 with what is not in `details.not_ready`."""
    trouble = _database(here)
    not_ready = [*([trouble] if trouble else []), *here.platform.ready()]
    if not_ready:
        raise Unavailable(f"Not ready: {'; '.join(not_ready)}", not_ready=not_ready)
    return answer(ReadyAnswer(status="ready"))


def _database(here: Context) -> str | None:
    try:
        here.store.ping()
    except DatabaseUnavailable as error:
        return error.message
    return None


def _report(status: str, connected: bool) -> HealthAnswer:
    return HealthAnswer(
        status=status, timestamp=utcnow(), service="tunesmith", database_connected=connected, version=__version__
    )
