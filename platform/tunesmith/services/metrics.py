"""Metrics as Prometheus reads them: what stands in the database, so that every replica tells the same."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from tunesmith.domain import JobState
from tunesmith.domain.notification import NotificationState
from tunesmith.store import Store, Tx
from tunesmith.store.tallies import BUCKETS, bucket

REQUESTS, REQUEST_SECONDS = "http_requests", "http_request_seconds"
"""The tallies of requests: by method, route and status; and a histogram by route."""
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds."""
OPENMETRICS = "application/openmetrics-text"
ENDS = ("completed", "failed", "cancelled", "interrupted")
"""How attempts end: told from the beginning, so that a rate sees the first one."""
Tallies = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


def render(store: Store, version: str, accept: str = "") -> tuple[bytes, str]:
    """All metrics, and their media type: OpenMetrics where the `Accept` header asks for it, else Prometheus text.

    Raises:
        DatabaseUnavailable: the database is out of reach.
    """
    registry = CollectorRegistry()
    with store.read() as tx:
        registry.register(Scrape(tx, version))
    if OPENMETRICS in accept:
        return openmetrics.generate_latest(registry, version="1.0.0"), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class Scrape(Collector):
    """What is told once; read when it is made."""

    def __init__(self, tx: Tx, version: str) -> None:
        self.version = version
        self.trainings = tx.training_counts()
        self.jobs = tx.job_totals((JobState.QUEUED, JobState.RUNNING))
        self.trials = tx.trial_totals()
        self.notifications = tx.notification_totals((NotificationState.WAITING, NotificationState.DEAD))
        tallies = defaultdict(list)
        for name, labels, value in tx.tallies():
            tallies[name].append((labels, value))
        self.tallies: Tallies = tallies

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        versions = {"version": self.version, "python": platform.python_version()}
        yield InfoMetricFamily("tunesmith_build", "Versions of tunesmith and of Python.", versions)
        yield _by("status", "tunesmith_training_jobs", "Training jobs by status.", self.trainings)
        yield GaugeMetricFamily("tunesmith_jobs_queued", "Jobs that wait for a runner.", self.jobs[JobState.QUEUED])
        yield GaugeMetricFamily("tunesmith_jobs_running", "Jobs that a runner holds.", self.jobs[JobState.RUNNING])
        yield _by("state", "tunesmith_trials", "Trials by state, of all experiments and training jobs.", self.trials)
        yield _by("state", "tunesmith_notifications", "Notifications that wait or were given up.", self.notifications)
        yield from self._attempts()
        yield from self._requests()

    def _attempts(self) -> Iterator[Metric]:
        counts: dict[str, float] = dict.fromkeys(ENDS, 0.0)
        counts |= {labels["status"]: value for labels, value in self._of("attempts")}
        attempts = CounterMetricFamily(
            "tunesmith_training_attempts",
            "Attempts of training jobs, by how they ended.",
            labels=["status"],
        )
        for status, value in counts.items():
            attempts.add_metric([status], value)
        yield attempts
        retries = sum(value for _labels, value in self._of("retries"))
        yield CounterMetricFamily("tunesmith_training_retries", "Failed attempts that are repeated.", retries)
        durations = HistogramMetricFamily(
            "tunesmith_training_attempt_duration_seconds", "From the claim of an attempt to its end.", labels=[]
        )
        _observe(durations, [], self._of("attempt_seconds"), BUCKETS)
        yield durations

    def _requests(self) -> Iterator[Metric]:
        names = ("method", "route", "status")
        answered = CounterMetricFamily("tunesmith_http_requests", "Requests that were answered.", labels=names)
        for labels, value in self._of(REQUESTS):
            answered.add_metric([labels[name] for name in names], value)
        yield answered
        durations = HistogramMetricFamily(
            "tunesmith_http_request_duration_seconds", "From a request to the end of its answer.", labels=["route"]
        )
        routes = defaultdict(list)
        for labels, value in self._of(REQUEST_SECONDS):
            routes[labels["route"]].append((labels, value))
        for route, found in routes.items():
            _observe(durations, [route], found, REQUEST_BUCKETS)
        yield durations

    def _of(self, name: str) -> Sequence[tuple[Mapping[str, str], float]]:
        return self.tallies.get(name, ())


def _by(label: str, name: str, text: str, counts: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _observe(
    family: HistogramMetricFamily,
    values: Sequence[str],
    found: Iterable[tuple[Mapping[str, str], float]],
    bounds: Sequence[float],
) -> None:
    """Add a histogram: its buckets are counted each for itself, and told with all those below."""
    counts = {labels["le"]: value for labels, value in found}
    names = [bucket(bounds, place) for place in range(len(bounds) + 1)]
    below = accumulate(counts.get(name, 0.0) for name in names)
    family.add_metric(values, list(zip(names, below, strict=True)), counts.get("sum", 0.0))
