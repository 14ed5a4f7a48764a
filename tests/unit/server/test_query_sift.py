"""Databases leave out events by their bytes: never one that matches, and most of the others."""

import math
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from trailseal_server.problems import Problem
from trailseal_server.query import parse
from trailseal_server.query_evaluate import body_test, document
from trailseal_server.query_sift import Sift, sift_of
from trailseal_server.store import micros, reads
from trailseal_server.store.schema import events as table

START = micros.parse("2026-01-01T00:00:00+00:00")
# Names that hold others, that JSON escapes, and that LIKE or GLOB might read as patterns.
NAMES = st.sampled_from(["n", "m", "a.n", "n.m", "n_1", "nx1", "a-n", 'q"n', "n\\", "n:", "[n]*"])
EDGES = [2**53 - 1, 1 - 2**53, 1.5e-7, -5e-324, -0.0, 1 / 3, 123456789.12345678, 0.1 + 0.2]
NUMBERS = st.integers(-30, 30) | st.floats(-30, 30) | st.sampled_from(EDGES)
VALUES = st.recursive(
    NUMBERS | st.sampled_from([None, True, "", "n", '"n":7', '\\"n":7', "7", "2026-01-01", "é%_*"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["data.n", "data.a.n", "data.n.m", "data.n_1", "data.a-n", "before.n"])
BOUNDS = NUMBERS.map(repr) | st.sampled_from(["7", "0", "1e-7", "-1e400", "9" * 400, "1e400"])
TEXTS = BOUNDS | st.sampled_from(["true", "n", "2026-01-01"])
TERMS = st.one_of(
    st.builds("{}{}{}".format, FIELDS, st.sampled_from([">", ">=", "<", "<=", "=", ":"]), TEXTS),
    st.builds("{}:[{} TO {}]".format, FIELDS, BOUNDS | st.just("*"), BOUNDS | st.just("*")),
    st.builds("has:{}".format, FIELDS),
)
LOGS = (f"log{n}" for n in count())


@pytest.mark.row("P-41")
def test_no_match_is_sifted_out(shared_trail: Any) -> None:
    """Whatever events hold and terms ask, on each engine, against the test of the event itself."""
    trail = shared_trail()

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=8), st.lists(TERMS))
    def check(contents: list[Any], terms: list[str]) -> None:
        log_id = trail.log(next(LOGS))
        trail.append(log_id, [{"action": "a", "data": each} for each in contents])
        with trail.store.read() as connection:
            mine = select(table.c.idx, table.c.body).where(table.c.log_id == log_id)
            rows = connection.execute(mine).all()
            for text in terms:
                term: Any = parse(text)
                try:
                    passes = body_test(term, START)
                except Problem:  # ends of two kinds
                    continue
                sift = sift_of(term)
                assert sift is not None
                found = reads.sifted(connection, log_id, range(len(rows)), [sift])
                matching = {row.idx for row in rows if passes(document(row.body, START, "key"))}
                assert matching <= set(found), text

    check()


@pytest.mark.row("P-41")
def test_most_events_are_left_out_unparsed(trail: Any) -> None:
    """Other numbers and other members' are told apart; arrays and doubles are left in, and texts
    where they may match."""
    passing = [
        {"n": 8},
        {"n": 8.5},
        {"n": [1]},
        {"n": 1, "m": {"n": 2}},
        {"m": {"n": 9}},
    ]
    failing = [{"n": 7.5}, {"n": 10.001}, {"n": -8}, {"m": 8}, {"an": 8}, {"m": '"n":8'}, {}]
    others = [{"n": "8"}, {"n": True}]
    trail.log("main")
    trail.append("main", [{"action": "a", "data": each} for each in passing + failing + others])
    everything = range(len(passing + failing + others))
    with trail.store.read() as connection:
        for sift in (Sift('"n":', 8, 10), Sift('"n":', 7.75), Sift('"n":', 8, math.inf)):
            found = reads.sifted(connection, "main", everything, [sift])
            more = [6] if sift.high in {None, math.inf} else []
            assert list(found) == [*range(len(passing)), *more], sift
        texts = reads.sifted(connection, "main", everything, [Sift('"n":', 8, 10, texts=True)])
        assert list(texts) == [0, 1, 2, 3, 4, 12, 13]
        below = reads.sifted(connection, "main", everything, [Sift('"n":', None, 7.5)])
        assert list(below) == [2, 3, 5, 7]
        held = reads.sifted(connection, "main", everything, [Sift('"n":')])
        assert list(held) == [0, 1, 2, 3, 4, 5, 6, 7, 12, 13]
        assert not reads.sifted(connection, "main", everything, [Sift('"n":'), Sift('"nn":')])


def test_what_bytes_tell_nothing_about_is_not_sifted() -> None:
    """Tags, whose keys may go on in their values; whole parts; members of the server."""
    for text in ("tags.env=prod", "data>5", "actor:ann", "occurred_at>2026-01-01", "has:data"):
        assert sift_of(parse(text)) is None, text  # type: ignore[arg-type]
    sift = sift_of(parse("data.n:[-3 TO 5]"))  # type: ignore[arg-type]
    assert sift is not None
    assert sift.low is not None and sift.high is not None  # noqa: PT018 - narrows
    assert -3.1 < sift.low < -3 < 5 < sift.high < 5.1
