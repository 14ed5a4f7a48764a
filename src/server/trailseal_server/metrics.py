"""Metrics in the Prometheus text format 0.0.4, of this process.

Rules:
- Labels have few values, none of them a client's: operation, status, outcome. No tenant, no log, no
  key: `/metrics` needs no key and tells nothing of anybody.
- Counting costs a few microseconds and no I/O. What others count, and what the database knows of
  operations, is asked for when the metrics are read.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


Outcomes = Callable[[], Mapping[str, int]]
Operations = Callable[[], Mapping[tuple[str, str], int]]


class Metrics:
    """What this process counts. `outcomes` answers how many events were created, duplicate and
    failed so far; `operations`, how many of a kind and a state have not ended."""

    def __init__(self, version: str, outcomes: Outcomes, operations: Operations) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "trailseal_requests",
            "Requests answered",
            ["operation", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "trailseal_request_seconds",
            "Seconds to the end of the answer",
            ["operation"],
            buckets=SECONDS,
            registry=self._registry,
        )
        build = Gauge("trailseal_build_info", "1, by version", ["version"], registry=self._registry)
        build.labels(version).set(1)
        self._registry.register(_Asked(outcomes, operations))

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """All metrics as they are now."""
        return generate_latest(self._registry)


class _Asked(Collector):
    """What is asked for at each reading."""

    def __init__(self, outcomes: Outcomes, operations: Operations) -> None:
        self._outcomes = outcomes
        self._operations = operations

    def collect(self) -> Iterable[Metric]:
        """The events of this process by outcome, and the operations of the database."""
        events = CounterMetricFamily("trailseal_events", "Events by outcome", labels=["outcome"])
        for outcome, number in self._outcomes().items():
            events.add_metric([outcome], number)
        yield events
        waiting = GaugeMetricFamily(
            "trailseal_operations", "Operations that have not ended", labels=["kind", "state"]
        )
        for (kind, state), number in self._operations().items():
            waiting.add_metric([kind, state], number)
        yield waiting

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return ()
