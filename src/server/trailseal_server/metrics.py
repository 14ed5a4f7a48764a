"""Metrics in the Prometheus text format 0.0.4, of all processes of one server.

Rules:
- Labels have few values, none of them a client's: operation, status, outcome. No tenant, no log, no
  key: `/metrics` needs no key and tells nothing of anybody.
- Counting costs a few microseconds and no I/O. What the database knows of operations is asked for
  when the metrics are read.
- Several processes (workers.py) count in files of one folder, and whichever is asked adds them up.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from .settings import METRICS_DIR

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


Operations = Callable[[], Mapping[tuple[str, str], int]]


class Metrics:
    """What this server counts. `operations` answers how many of a kind and a state have not
    ended."""

    def __init__(self, version: str, operations: Operations) -> None:
        counted = CollectorRegistry()
        requests = Counter(
            "trailseal_requests", "Requests answered", ["operation", "status"], registry=counted
        )
        seconds = Histogram(
            "trailseal_request_seconds",
            "Seconds to the end of the answer",
            ["operation"],
            buckets=SECONDS,
            registry=counted,
        )
        self._events = Counter(
            "trailseal_events", "Events by outcome", ["outcome"], registry=counted
        )
        build = Gauge(
            "trailseal_build_info",
            "1, by version",
            ["version"],
            registry=counted,
            multiprocess_mode="max",
        )
        build.labels(version).set(1)
        if METRICS_DIR in os.environ:
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]  # as it comes
        self._counted = counted
        # Looking a child up by its labels costs as much as counting.
        self._answered = cache(lambda operation, status: requests.labels(operation, str(status)))
        self._took = cache(seconds.labels)
        self._asked = CollectorRegistry()
        self._asked.register(_Asked(operations))

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._answered(operation, status).inc()
        self._took(operation).observe(seconds)

    def events(self, outcomes: Mapping[str, int]) -> None:
        """Count events that were created, duplicate or failed."""
        for outcome, number in outcomes.items():
            self._events.labels(outcome).inc(number)

    def text(self) -> bytes:
        """All metrics as they are now."""
        return generate_latest(self._counted) + generate_latest(self._asked)


class _Asked(Collector):
    """What is asked for at each reading."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def collect(self) -> Iterable[Metric]:
        """The operations of the database."""
        waiting = GaugeMetricFamily(
            "trailseal_operations", "Operations that have not ended", labels=["kind", "state"]
        )
        for (kind, state), number in self._operations().items():
            waiting.add_metric([kind, state], number)
        yield waiting

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return ()
