"""The Ray Serve application: API replicas behind HAProxy, one dispatcher, and predictions when they are asked for.

`serve run serve_app.deployment:app` runs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from tunesmith.journal import keep_journal
from tunesmith.settings import Settings, load_settings

MAX_ONGOING = 5000
"""Requests that a replica takes at once: an event stream holds one for as long as it is watched."""
PREDICTING_IDLE_S = 3600.0
"""Seconds without a prediction until their process ends.

Long, because Serve looks once a second whether one is under way, and most take a few milliseconds.
"""


def app(args: Mapping[str, Any] | None = None) -> Application:
    """The application for the settings of this environment, or of `args["environment"]` (JSON)."""
    environ = json.loads((args or {}).get("environment", "{}"))
    settings = load_settings({**os.environ, **environ})

    def build() -> FastAPI:
        return _build(environ)

    from serve_app.dispatcher import Dispatcher
    from serve_app.predicting import DEPLOYMENT, Predicting

    dispatcher = serve.deployment(num_replicas=1, health_check_period_s=2, **_common())(Dispatcher)
    on_demand = {
        "min_replicas": 0,
        "max_replicas": 1,
        "metrics_interval_s": 1.0,  # how late Serve may learn that a request waits for the process
        "downscale_to_zero_delay_s": PREDICTING_IDLE_S,
    }
    predicting = serve.deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=MAX_ONGOING,
        autoscaling_config=on_demand,
        health_check_period_s=2,
        **_common(),
    )(Predicting)
    replicas = settings.replicas
    api = serve.deployment(num_replicas=replicas, max_ongoing_requests=MAX_ONGOING, **_common())
    return api(serve.ingress(build)(Api)).bind(dispatcher.bind(environ), predicting.bind(environ))


class Api:
    """One API replica; the FastAPI application is made inside it."""

    def __init__(self, _dispatcher: Any, _predicting: Any) -> None:
        """These are deployed with it; it meets the dispatcher in the database, and finds the other by its name."""


def _common() -> dict[str, Any]:
    return {
        "ray_actor_options": {"num_cpus": 0},
        "graceful_shutdown_timeout_s": 3,
        "graceful_shutdown_wait_loop_s": 0.1,
        "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
    }


def _build(environ: Mapping[str, str]) -> FastAPI:
    from serve_app.app import build
    from serve_app.cluster import Cluster

    os.environ.update(environ)
    settings: Settings = load_settings()
    keep_journal(settings, "api")
    return build(settings, Cluster(settings), loopback_only=settings.mode == "dev" and settings.api_key is None)
