"""Hooks are told of every try on both clients; OpenTelemetry is built on them."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from trailseal import errors
from trailseal.hooks import Hooks
from trailseal.integrations import opentelemetry

from .conftest import Script, Side, answer
from .test_transport import RECEIPT


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trailseal._retry.BACKOFF_BASE", 0.0)


@pytest.mark.row("J-22", "C-16")
def test_hooks_see_every_try_and_no_payload(side: Side, script: Script) -> None:
    """Request, answer, retry, in this order; frozen; one request id for all tries."""
    seen: list[Any] = []
    given = Hooks(seen.append, seen.append, seen.append)  # type: ignore[arg-type]  # appends None
    client = side.make(hooks=given)
    script.steps = [httpx.ConnectError("x"), answer(503), answer(201, RECEIPT)]
    side.settle(client.log("a", data={"secret": "hush"}, log_id="main"))
    names = [type(info).__name__ for info in seen]
    assert names == [
        *("RequestInfo", "ResponseInfo", "RetryInfo"),
        *("RequestInfo", "ResponseInfo", "RetryInfo"),
        *("RequestInfo", "ResponseInfo"),
    ]
    assert {(info.method, info.path) for info in seen} == {("POST", "/v1/events")}
    assert len({info.request_id for info in seen}) == 1
    assert [info.attempt for info in seen] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert [(i.status, i.error) for i in seen if hasattr(i, "status")] == [
        (None, "ConnectError"),
        (503, None),
        (201, None),
    ]
    assert "hush" not in repr(seen)
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen[0].path = "x"


def test_a_hook_that_fails_is_a_warning(
    side: Side, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Watching breaks no audit log, and what it raised is not shown."""

    def fail(_info: object) -> None:
        raise RuntimeError("hush")

    script.steps = [answer(201, RECEIPT)]
    with caplog.at_level(logging.WARNING, logger="trailseal"):
        side.settle(side.make(hooks=[Hooks(on_request=fail, on_response=fail)]).log("a"))
    assert [record.getMessage() for record in caplog.records] == [
        "a hook on_request failed: RuntimeError",
        "a hook on_response failed: RuntimeError",
    ]


def test_a_request_hook_may_add_headers(side: Side, script: Script) -> None:
    """And nothing else: the API key stays the client's."""
    script.steps = [answer(201, RECEIPT)]
    side.settle(side.make(hooks=Hooks(lambda _info: {"X-Trace": "1"})).log("a"))
    assert script.requests[0].headers["x-trace"] == "1"
    with pytest.raises(errors.ConfigurationError, match="Authorization"):
        side.settle(side.make(hooks=Hooks(lambda _info: {"Authorization": "x"})).log("a"))
    with pytest.raises(errors.ConfigurationError, match="hooks"):
        side.make(hooks=[print])


def test_opentelemetry_has_a_span_and_a_duration_for_each_try(side: Side, script: Script) -> None:
    """Below the caller's span, with status and error; retries are counted; traceparent is sent."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    traces, meters = TracerProvider(), MeterProvider([reader])
    traces.add_span_processor(SimpleSpanProcessor(spans))
    client = side.make(hooks=opentelemetry.hooks(traces, meters))
    script.steps = [answer(503), answer(201, RECEIPT)]
    with traces.get_tracer("app").start_as_current_span("caller") as caller:
        side.settle(client.log("a", data={"secret": "hush"}))
    first, second, outer = spans.get_finished_spans()
    assert outer.context == caller.get_span_context()
    for span in (first, second):
        assert span.name == "trailseal POST"
        assert span.kind is trace.SpanKind.CLIENT
        assert span.parent is not None
        assert span.parent.span_id == caller.get_span_context().span_id
    assert [span.attributes["http.response.status_code"] for span in (first, second)] == [503, 201]  # type: ignore[index]  # they are set
    assert [span.status.is_ok for span in (first, second)] == [False, True]
    assert [event.name for event in outer.events] == ["trailseal.retry"]
    sent = [request.headers["traceparent"] for request in script.requests]
    assert [
        f"{span.context.span_id:016x}" in header
        for span, header in zip((first, second), sent, strict=True)
    ] == [True, True]  # type: ignore[union-attr]  # spans have one
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {
        m.name: m.data.data_points for m in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert sum(point.count for point in metrics["http.client.request.duration"]) == 2  # type: ignore[union-attr]  # a histogram
    assert sum(point.value for point in metrics["trailseal.client.retries"]) == 1  # type: ignore[union-attr]  # a sum
    assert "hush" not in str([span.to_json() for span in spans.get_finished_spans()])
    meters.shutdown()
    traces.shutdown()
