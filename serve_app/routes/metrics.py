"""Metrics of the platform, for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from serve_app.context import Here
from serve_app.strict import surface
from tunesmith import __version__
from tunesmith.services.metrics import OPENMETRICS, render

router = surface(tags=["health"])
FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"description": "As text.", "content": {OPENMETRICS: {"schema": {"type": "string"}}}}
}


@router.get("/metrics", summary="Read metrics", response_class=PlainTextResponse, responses=FORMATS)
def get_metrics(here: Here, request: Request) -> Response:
    """Everything that the platform counts, in Prometheus' text format, or as OpenMetrics where `Accept` asks for it.

    It is of all workspaces together, so it needs a role in `main`. Any replica tells the same, so a scrape may meet
    any of them.
    """
    here.requests.write()
    text, media_type = render(here.store.scoped(None), __version__, request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
