"""Retry decisions are pure; the flow that acts on them is driven with send()."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal._flow import Attempt, Flow, Request, Response
from trailseal._retry import BACKOFF_CAP, MAX_RETRY_AFTER, Policy, attempts, delay
from trailseal.errors import (
    ApiError,
    ConnectError,
    RateLimitError,
    ReadError,
    ServerError,
    TimeoutError,  # noqa: A004  # the library's own
    TransportError,
    UnavailableError,
    from_transport,
)

POST, GET = Request("POST", "/e", headers={"Request-Id": "r1"}), Request("GET", "/e")
STEADY = Policy(max_retries=3, jitter=lambda: 0.5)
REFUSED, BROKEN, LATE = (from_transport(phase, "x") for phase in ("connect", "read", "timeout"))


def outcome_of(
    flow: Flow[Response], outcomes: list[Response | TransportError]
) -> tuple[list[Attempt], object]:
    """Feed outcomes to a flow; return its attempts and its result or error."""
    asked = [next(flow)]
    try:
        for outcome in outcomes:
            asked.append(flow.send(outcome))  # noqa: PERF401  # what came before an error counts
    except StopIteration as stop:
        return asked, stop.value
    except ApiError as error:
        return asked, error
    return asked, None


def status(code: int, retryable: bool = True, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(code, names, json.dumps({"code": "x", "retryable": retryable}).encode())


@pytest.mark.row("A-10", "A-11", "P-07")
@pytest.mark.parametrize(
    ("request_", "replayable", "first", "again"),
    [
        (POST, None, REFUSED, True),
        (POST, None, BROKEN, False),
        (POST, None, LATE, False),
        (POST, True, BROKEN, True),
        (POST, True, LATE, True),
        (GET, None, BROKEN, True),
        (GET, False, BROKEN, False),
        (POST, None, status(429), True),
        (POST, None, status(503), True),
        (POST, None, status(500), False),
        (POST, True, status(500), True),
        (POST, True, status(500, retryable=False), False),
        (GET, None, status(502), True),
        (GET, None, status(404), False),
        (POST, None, status(507), True),
        (GET, None, status(302), False),
    ],
)
def test_what_is_tried_again(
    request_: Request, replayable: bool | None, first: object, again: bool
) -> None:
    """D2, D3: never replay what may have been done, unless doing it twice is doing it once."""
    flow = attempts(request_, STEADY, replayable=replayable)
    asked, result = outcome_of(flow, [first, Response(200)])  # type: ignore[list-item]  # parametrized
    assert len(asked) == (2 if again else 1)
    assert isinstance(result, Response) == again


def test_waits_double_with_full_jitter_and_the_last_error_is_raised() -> None:
    """Four tries, numbered for the server's log."""
    asked, error = outcome_of(attempts(GET, STEADY), [status(503)] * 4)
    assert [attempt.after for attempt in asked] == [0.0, 0.1, 0.2, 0.4]
    assert [a.request.headers.get("Retry-Attempt") for a in asked] == [None, "1", "2", "3"]
    assert isinstance(error, UnavailableError)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_negative_nor_above_the_cap(tries: int, jitter: float) -> None:
    """Whatever the number of tries: also 2**10000 is no OverflowError."""
    wait = delay(ServerError("x"), tries, lambda: jitter)
    assert wait is not None
    assert 0 <= wait <= BACKOFF_CAP


@given(st.floats(0, 1e9))
def test_retry_after_is_kept_exactly_up_to_its_cap(seconds: float) -> None:
    """D5: above the cap the error is raised at once, with the server's wish in it."""
    wait = delay(RateLimitError("x", retry_after=seconds), 0, lambda: 0.5)
    assert wait == (seconds if seconds <= MAX_RETRY_AFTER else None)


def test_a_retry_after_above_the_cap_raises_at_once() -> None:
    """A call that sleeps for an hour looks hung."""
    asked, error = outcome_of(attempts(GET, STEADY), [status(429, retry_after="3600")])
    assert len(asked) == 1
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 3600


def test_the_deadline_raises_the_last_real_error() -> None:
    """What went wrong says more than that time is up."""
    late = from_transport("deadline", "x")
    asked, error = outcome_of(attempts(GET, STEADY), [status(503), late])
    assert (len(asked), type(error)) == (2, UnavailableError)
    _, error = outcome_of(attempts(GET, STEADY), [late])
    assert isinstance(error, TimeoutError)


def test_an_unknown_outcome_is_said_to_be_one() -> None:
    """D2: the error tells that the call may have worked, and names the request."""
    _, error = outcome_of(attempts(POST, STEADY), [from_transport("read", "RemoteProtocolError")])
    assert isinstance(error, ReadError)
    assert (error.code, error.request_id) == ("outcome_unknown", "r1")


@given(
    st.lists(st.sampled_from([200, 204, 429, 500, 502, 503, 404]), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_tries_are_bounded(statuses: list[int], retries: int) -> None:
    """At most max_retries + 1 requests, and never one after a success."""
    outcomes: list[Response | TransportError] = [status(code) for code in statuses]
    asked, _ = outcome_of(attempts(GET, Policy(retries, lambda: 0.0)), outcomes)
    assert len(asked) <= retries + 1
    assert all(code not in {200, 204, 404} for code in statuses[: len(asked) - 1])


def test_connection_errors_are_ours() -> None:
    """A-11: nothing of the HTTP library shows through."""
    assert isinstance(REFUSED, ConnectError)
