"""What to send, when, and what an answer means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal._flow import Response
from trailseal.delivery.batching import (
    BACKOFF_CAP,
    Item,
    Limits,
    Verdict,
    Waiting,
    backoff,
    cut,
    due_in,
    judge,
    of_one_log,
    pause,
)
from trailseal.errors import ConnectError, from_response

LIMITS = Limits(events=5, bytes=100, age=0.2)
ITEMS = st.lists(
    st.builds(
        Item,
        st.integers(0, 99),
        st.sampled_from("abcdefgh"),
        st.sampled_from(["main", "other", None]),
        st.binary(max_size=150),
    ),
    max_size=12,
)


@given(ITEMS)
def test_a_request_is_one_log_no_id_twice_within_both_limits_and_never_empty(
    items: list[Item],
) -> None:
    """The longest such beginning."""
    batch = cut(items, LIMITS)
    assert batch == items[: len(batch)]
    assert bool(batch) == bool(items)

    def fits(some: list[Item]) -> bool:
        sizes = sum(len(item.content) + 1 for item in some)
        ids, logs = {item.id for item in some}, {item.log_id for item in some}
        small = len(some) <= LIMITS.events and sizes <= LIMITS.bytes
        return len(some) == 1 or (small and len(ids) == len(some) and len(logs) == 1)

    assert not batch or fits(batch)
    if len(batch) < len(items):
        assert not fits(items[: len(batch) + 1])


@given(ITEMS)
def test_the_events_of_the_oldest_log_go_first(items: list[Item]) -> None:
    """In their order."""
    expected = [item for item in items if item.log_id == items[0].log_id] if items else []
    assert list(of_one_log(items)) == expected


@pytest.mark.parametrize(
    ("waiting", "hurry", "expected"),
    [
        (Waiting(), True, None),
        (Waiting(1, 10, since=10.0), False, pytest.approx(0.2)),
        (Waiting(1, 10, since=9.9), False, pytest.approx(0.1)),
        (Waiting(1, 10, since=1.0), False, 0.0),
        (Waiting(1, 10, since=10.0), True, 0.0),
        (Waiting(5, 10, since=10.0), False, 0.0),
        (Waiting(1, 100, since=10.0), False, 0.0),
    ],
)
def test_a_request_is_due_by_count_by_bytes_by_age_or_in_a_hurry(
    waiting: Waiting, hurry: bool, expected: float | None
) -> None:
    """And never while nothing waits."""
    assert due_in(waiting, 10.0, LIMITS, hurry=hurry) == expected


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_b9_waits_grow_and_never_exceed_a_minute(failures: int, jitter: float) -> None:
    """However long the outage; half of it is random."""
    assert 0 < backoff(failures, jitter) <= BACKOFF_CAP
    assert backoff(failures, 0.0) <= backoff(failures + 1, 0.0)
    for asked in (0.0, 7.0, 1e9):
        error = ConnectError("down", retry_after=asked)
        assert pause(error, failures, jitter) == min(asked, BACKOFF_CAP)


def problem(status: int, code: str, media: str = "application/problem+json") -> Verdict:
    """The verdict on an answer."""
    content = f'{{"status":{status},"code":"{code}","title":"t"}}'.encode()
    return judge(from_response(Response(status, {"content-type": media}, content)))


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (401, "key_revoked", Verdict.PAUSE),
        (403, "permission_denied", Verdict.HOLD),
        (402, "quota_exceeded", Verdict.HOLD),
        (404, "log_not_found", Verdict.REFUSE),
        (404, "route_not_found", Verdict.RETRY),
        (422, "event_invalid", Verdict.SPLIT),
        (400, "json_invalid", Verdict.SPLIT),
        (413, "body_too_large", Verdict.SPLIT),
        (429, "rate_limited", Verdict.RETRY),
        (503, "unavailable", Verdict.RETRY),
        (507, "storage_full", Verdict.RETRY),
    ],
)
def test_each_answer_of_the_server_has_one_meaning(
    status: int, code: str, verdict: Verdict
) -> None:
    """No answer loses an event."""
    assert problem(status, code) is verdict


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 502])
def test_what_a_proxy_says_never_parks_an_event(status: int) -> None:
    """Only the server's own problem documents do; a proxy's size limit is halved, as ours."""
    html = Response(status, {"content-type": "text/html"}, b"<html>no</html>")
    assert judge(from_response(html)) is Verdict.RETRY
    too_large = Response(413, {"content-type": "text/html"}, b"<html>no</html>")
    assert judge(from_response(too_large)) is Verdict.SPLIT
    assert judge(ConnectError("down")) is Verdict.RETRY
