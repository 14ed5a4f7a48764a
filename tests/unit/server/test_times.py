"""Absolute and relative times of requests."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server.problems import Problem
from trailseal_server.store import micros
from trailseal_server.times import parse_time, time_range

NOW = micros.parse("2026-03-31T12:00:00.500000+00:00")


@pytest.mark.row("P-43", "L-10")
@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-20T14:03:00Z", "2026-11-20T14:03:00.000000Z"),
        ("2026-11-20t14:03:00z", "2026-11-20T14:03:00.000000Z"),
        ("2026-11-20T15:03:00.5+01:00", "2026-11-20T14:03:00.500000Z"),
        ("2026-11-20T14:03:00.123456999Z", "2026-11-20T14:03:00.123456Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("now", "2026-03-31T12:00:00.500000Z"),
        ("now-1h", "2026-03-31T11:00:00.500000Z"),
        ("now+5m", "2026-03-31T12:05:00.500000Z"),
        ("-7d", "2026-03-24T12:00:00.500000Z"),
        ("-2w", "2026-03-17T12:00:00.500000Z"),
        ("-1mo", "2026-02-28T12:00:00.500000Z"),
        ("-1y1mo", "2025-02-28T12:00:00.500000Z"),
        ("-90s", "2026-03-31T11:58:30.500000Z"),
    ],
)
def test_a_time_is_read_as_the_instant_it_names(text: str, instant: str) -> None:
    """RFC 3339 with any offset, and times relative to now with calendar months."""
    assert micros.text(parse_time(text, "start", clock=NOW)) == instant


@pytest.mark.row("P-43")
@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-02-30", "2026-11-20T14:03:00", "2026-02-30T00:00:00Z", "7d", "-7"),
        *("-d", "now-", "-1h-1h", "-9999999d", "-999999y", "2026-11-20T14:03:00+25:00", "1" * 100),
        *("-\u0661d", "2026-11-20T14:03:61Z", "2026-11-20T24:00:00Z"),
    ],
)
def test_a_time_that_is_none_is_refused_by_its_parameter(text: str) -> None:
    """The error names the parameter and shows both forms."""
    with pytest.raises(Problem) as caught:
        parse_time(text, "end", clock=NOW)
    assert caught.value.code == "request_invalid"
    assert caught.value.errors[0].pointer == "/query/end"


@pytest.mark.row("P-43")
def test_a_date_alone_is_a_whole_day_in_utc() -> None:
    """As a start its first microsecond, as an end its last: one date is one day."""
    found = time_range("2026-01-01", "2026-01-01", None)
    start = micros.parse("2026-01-01T00:00:00+00:00")
    assert (found.start, found.end) == (start, start + 86_400_000_000 - 1)


def test_decimals_finer_than_a_microsecond_never_widen_a_range() -> None:
    """A start is rounded up and an end down."""
    found = time_range("2026-01-01T00:00:00.0000001Z", "2026-01-01T00:00:00.0000019Z", None)
    start = micros.parse("2026-01-01T00:00:00+00:00")
    assert (found.start, found.end) == (start + 1, start + 1)


@pytest.mark.row("P-40", "P-43")
def test_last_is_a_start_before_now() -> None:
    """`last=24h` means the last 24 hours; with `start` it would be ambiguous."""
    found = time_range(None, None, "24h", clock=NOW)
    assert (found.start, found.end) == (NOW - 86_400_000_000, None)
    for bad in ("-24h", "24", "", "now"):
        with pytest.raises(Problem, match="last"):
            time_range(None, None, bad, clock=NOW)
    with pytest.raises(Problem, match="either last or start"):
        time_range("-1d", None, "24h", clock=NOW)


def test_an_end_before_its_start_is_refused() -> None:
    """An empty range is a mistake, not an empty answer."""
    with pytest.raises(Problem, match="must not be before start"):
        time_range("now", "-1d", None, clock=NOW)


@given(st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_every_instant_comes_back_unchanged(moment: datetime) -> None:
    """Writing an instant as RFC 3339 and reading it again is the identity."""
    instant = micros.parse(moment.isoformat())
    assert parse_time(micros.text(instant), "start", clock=0) == instant


@given(st.text())
def test_any_text_gives_an_instant_or_a_problem(text: str) -> None:
    """Nothing but Problem is raised."""
    with suppress(Problem):
        assert isinstance(parse_time(text, "start", clock=NOW), int)
