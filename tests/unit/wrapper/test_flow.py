"""Flows are driven with send(); the two drivers do the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from trailseal._flow import Attempt, Flow, Outcome, Request, Response, arun, run
from trailseal.errors import TransportError

GET = Request("GET", "/x")


class Clock:
    """Time that passes only when somebody sleeps or answers slowly."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


Driver = Callable[..., Any]


@pytest.fixture(params=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Driver:
    """Either driver, behind one call."""

    def call(
        flow: Flow[Any], send: Callable[[Attempt, float], Outcome], timeout: float, clock: Clock
    ) -> Any:
        if request.param == "run":
            return run(flow, send, timeout=timeout, clock=clock, sleep=clock.sleep)

        async def asend(attempt: Attempt, left: float) -> Outcome:
            return send(attempt, left)

        return asyncio.run(arun(flow, asend, timeout=timeout, clock=clock, sleep=clock.asleep))

    return call


def three_pages() -> Flow[list[int]]:
    statuses = []
    for after in (0.0, 2.0, 3.0):
        outcome = yield Attempt(GET, after)
        if isinstance(outcome, TransportError):
            raise outcome
        statuses.append(outcome.status)
    return statuses


def test_a_driver_waits_sends_and_returns_the_result(drive: Driver) -> None:
    """Each send is told how many seconds of the whole call are left."""
    clock, left = Clock(), []

    def send(_attempt: Attempt, seconds: float) -> Outcome:
        left.append(seconds)
        clock.now += 1.0
        return Response(200 + len(left))

    assert drive(three_pages(), send, 30.0, clock) == [201, 202, 203]
    assert clock.slept == [2.0, 3.0]
    assert left == [30.0, 27.0, 23.0]


def test_an_attempt_that_cannot_begin_in_time_is_not_made(drive: Driver) -> None:
    """The flow is told at once: nobody sleeps up to a deadline that cannot be met."""
    clock, sent = Clock(), []

    def send(attempt: Attempt, _left: float) -> Outcome:
        sent.append(attempt)
        return Response(200)

    with pytest.raises(TransportError) as caught:
        drive(three_pages(), send, 4.0, clock)
    assert caught.value.expired
    assert (len(sent), clock.slept) == (2, [2.0])


def test_a_flow_is_closed_when_sending_raises(drive: Driver) -> None:
    """A KeyboardInterrupt or a full disk leaves no half-run generator behind."""
    closed = []

    def flow() -> Flow[None]:
        try:
            yield Attempt(GET)
        finally:
            closed.append(True)

    def send(_attempt: Attempt, _left: float) -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(flow(), send, 1.0, Clock())
    assert closed == [True]


def test_requests_and_responses_show_no_payload() -> None:
    """Their reprs may land in logs and tracebacks."""
    request = Request("POST", "/v1/events", {"q": "hush"}, {"Authorization": "hush"}, b"hush")
    assert "hush" not in repr(request) + repr(Response(200, {"set-cookie": "hush"}, b"hush"))
