"""OpenTelemetry: a span and two metrics for each request (extra `otel`).

    client = trailseal.Client(hooks=opentelemetry.hooks())

1. A span `trailseal POST` (kind client) for each try, below the span of the caller; the server is
   told of it with `traceparent`. A retry is an event of the caller's span.
2. Histogram `http.client.request.duration` (s), counter `trailseal.client.retries`.
3. Names follow the semantic conventions of HTTP clients; a path is given, which may hold ids; a
   query, a payload or a secret never is.
"""

from __future__ import annotations

from opentelemetry import propagate, trace
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from trailseal.config import VERSION
from trailseal.hooks import Hooks, RequestInfo, ResponseInfo, RetryInfo

MAX_OPEN = 10_000  # spans: tries under way at once; beyond, something has never ended

_SCOPE = "trailseal"


def hooks(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Hooks:
    """Make the hooks for one client; without providers, the global ones."""
    return _Telemetry(tracer_provider, meter_provider).hooks()


class _Telemetry:
    def __init__(self, traces: TracerProvider | None, meters: MeterProvider | None) -> None:
        self._tracer = trace.get_tracer(_SCOPE, VERSION, traces)
        meter = get_meter(_SCOPE, VERSION, meters)
        self._duration = meter.create_histogram(
            "http.client.request.duration", "s", "Duration of HTTP client requests."
        )
        self._retries = meter.create_counter(
            "trailseal.client.retries", "{retry}", "Further tries of calls."
        )
        self._open: dict[tuple[str, int], Span] = {}

    def hooks(self) -> Hooks:
        return Hooks(self._begin, self._retry, self._end)

    def _begin(self, info: RequestInfo) -> dict[str, str]:
        span = self._tracer.start_span(f"trailseal {info.method}", kind=SpanKind.CLIENT)
        span.set_attributes(
            {
                "http.request.method": info.method,
                "url.path": info.path,
                "http.request.body.size": info.size,
                "http.request.resend_count": info.attempt,
                "trailseal.request_id": info.request_id,
            }
        )
        if len(self._open) < MAX_OPEN:
            self._open[info.request_id, info.attempt] = span
        headers: dict[str, str] = {}
        propagate.inject(headers, trace.set_span_in_context(span))
        return headers

    def _end(self, info: ResponseInfo) -> None:
        seen: dict[str, str | int] = {"http.request.method": info.method}
        if info.status is not None:
            seen["http.response.status_code"] = info.status
        failed = info.error or (str(info.status) if (info.status or 0) >= 400 else None)
        if failed:
            seen["error.type"] = failed
        self._duration.record(info.seconds, seen)
        span = self._open.pop((info.request_id, info.attempt), None)
        if span is None:
            return
        span.set_attributes(seen)
        if failed:
            span.set_status(Status(StatusCode.ERROR, failed))
        span.end()

    def _retry(self, info: RetryInfo) -> None:
        kind = type(info.error).__name__
        self._retries.add(1, {"http.request.method": info.method, "error.type": kind})
        current = trace.get_current_span()
        current.add_event("trailseal.retry", {"error.type": kind, "trailseal.wait": info.wait})
