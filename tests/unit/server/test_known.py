"""What a server remembers of a log is what the log says, on each engine and by each way to read."""

import random
from collections.abc import Sequence
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from trailseal_server.query import parse
from trailseal_server.query_evaluate import body_test, document
from trailseal_server.query_nodes import And, Node, Not, Or, Text
from trailseal_server.redaction import Content
from trailseal_server.store import known, logs, lookups, matching, micros, reads, rewrite
from trailseal_server.store.known import Run
from trailseal_server.store.pages import Reader
from trailseal_server.store.schema import events as table
from trailseal_server.store.search import Filters
from trailseal_server.store.searches import Searches

Event = dict[str, Any]
START = micros.parse("2026-01-01T00:00:00+00:00")
OPTIONAL = ("occurred_at", "outcome", "source", "message")
QUERIES = (
    *("outcome=failure", "NOT outcome=failure", "source=web outcome=success", "has:source"),
    *("data.n>15", "data.n:[3 TO 6] red", "data.n>17 OR sea", "NOT data.n<=9 outcome=failure"),
    *("red", "sea OR outcome=failure", "action:login NOT sea", "action=nothing", "NOT action:o"),
)
WINDOWS = (("2026-01-05", "2026-01-06"), ("2026-01-02", "2026-01-25"), ("2027-01-01", "2027-01-02"))
FILTERS = [Filters(q=query) for query in QUERIES] + [
    Filters(q=query, start=start, end=end, time_field="occurred_at")
    for start, end in WINDOWS
    for query in (None, "outcome=failure", "NOT sea")
]
READS = st.tuples(
    st.just("read"),
    st.sampled_from(FILTERS),
    st.sampled_from(["asc", "desc"]),
    st.integers(1, 12),
    st.integers(0, 5),
)
STEPS = st.one_of(
    READS,
    READS,
    READS,
    st.tuples(st.just("append"), st.integers(1, 30)),
    st.tuples(st.just("redact"), st.integers(0, 99), st.sampled_from(OPTIONAL)),
)


def make_event(rng: random.Random) -> Event:
    """From few values; each optional member lacks now and then."""
    event: Event = {"action": rng.choice(["invoice.read", "user.login"]), "actor": {"id": "u1"}}
    if rng.random() < 0.7:
        event["data"] = {"n": rng.choice([*range(20), "text", [16, 1]])}
    optional: Event = {
        "occurred_at": f"2026-01-{rng.randint(1, 28):02}T12:00:00Z",
        "outcome": rng.choice(["success", "success", "failure"]),
        "source": {"name": rng.choice(["billing", "web"])},
        "message": rng.choice(["the red fox", "a red car", "blue sea"]),
    }
    return event | {name: value for name, value in optional.items() if rng.random() < 0.8}


def holds(node: Node, event: Any) -> bool:
    """A query on an event alone."""
    match node:
        case And(terms):
            return all(holds(term, event) for term in terms)
        case Or(terms):
            return any(holds(term, event) for term in terms)
        case Not(term):
            return not holds(term, event)
        case Text(text):
            return text in event.get("message", "").split()
        case _:
            return body_test(node, START)(event)  # type: ignore[arg-type]  # no Prefix is asked


def expected(events: Sequence[Event], filters: Filters) -> list[int]:
    """The indexes of the events that pass, ascending."""
    node = None if filters.q is None else parse(filters.q)
    start, end = filters.start or "*", filters.end or "*"
    during = body_test(parse(f"occurred_at:[{start} TO {end}]"), START)  # type: ignore[arg-type]
    return [
        index
        for index, event in enumerate(events)
        for seen in [document(orjson.dumps(event), START, "key_test")]
        if (filters.start is None or during(seen)) and (node is None or holds(node, seen))
    ]


def redact(trail: Any, log_id: str, index: int, event: Event) -> None:
    """Put an event in the place of one, as redactions and retention do."""
    with trail.store.write() as connection:
        log = logs.find(connection, log_id, lock=True)
        assert log is not None
        mine = (table.c.log_id == log_id) & (table.c.idx == index)
        row = connection.execute(select(table).where(mine)).one()
        body = orjson.dumps({"id": row.event_id, **event})
        rewrite.rewrite(connection, log, [rewrite.Change(row, Content(body, None, b"[]", b"[]"))])


@pytest.mark.row("L-09", "P-41")
def test_what_is_remembered_is_what_a_fresh_look_finds(
    trail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists and totals of one reader while events come and lose members, against the events."""
    for module, name, small in (
        *((known, "MAX_RUN", 15), (known, "MAX_FACTS", 12), (matching, "MAX_RUN", 15)),
        *((matching, "MAX_CHECKED", 40), (matching, "MAX_COUNTED", 20), (matching, "SAMPLE", 16)),
        *((matching, "CHUNK", 7), (matching, "SIFTED", 9), (matching, "FEW", 3)),
        *((lookups, "MAX_RUN", 15), (lookups, "LOOKS", (3, 5)), (lookups, "SHORT", 4)),
        *((reads, "LOOK", 3), (reads, "NEAR", 5), (reads, "MAX_SKIPPED", 4)),
    ):
        monkeypatch.setattr(module, name, small)
    numbers = count()

    @settings(max_examples=30, deadline=None)
    @given(st.integers(), st.lists(STEPS, min_size=8, max_size=16))
    def check(seed: int, steps: list[Any]) -> None:
        rng, log_id, reader = random.Random(seed), f"log{next(numbers)}", Reader(trail.store)  # noqa: S311
        events = [make_event(rng) for _ in range(90)]
        trail.log(log_id)
        trail.append(log_id, events)
        for kind, *given_ in steps:
            if kind == "append":
                fresh = [make_event(rng) for _ in range(given_[0])]
                trail.append(log_id, fresh)
                events += fresh
            elif kind == "redact":
                index = given_[0] % len(events)
                events[index] = {k: v for k, v in events[index].items() if k != given_[1]}
                redact(trail, log_id, index, events[index])
            else:
                filters, order, limit, offset = given_
                right = expected(events, filters)
                page = reader.list_events(
                    log_id, filters, order=order, limit=limit, offset=offset, include=("total",)
                )
                checked = filters.q is not None and "data." in filters.q
                exact = page.total == len(right)
                assert page.total_exact is exact or (checked and not page.total_exact)
                assert page.total is not None
                assert page.total <= len(right)
                found = [*page.items]
                while checked and len(found) < limit and page.next_cursor is not None:
                    page = reader.list_events(
                        log_id, filters, order=order, limit=limit, cursor=page.next_cursor
                    )
                    found += page.items
                right = right if order == "asc" else right[::-1]
                shown = [orjson.loads(item)["index"] for item in found[:limit]]
                assert shown == right[offset : offset + limit]

    check()


@pytest.mark.row("P-41")
def test_a_search_counts_on_from_what_it_counted(trail: Any) -> None:
    """The same search again, with events that came meanwhile; an older one keeps its count."""
    trail.log("main")
    searches, caller = Searches(Reader(trail.store)), trail.caller()
    first = None
    for size in (40, 80):
        trail.append("main", [{"action": "a", "outcome": "failure"}] * 40)
        search = searches.create(caller, "main", {"query": "outcome:failure", "limit": 5})
        assert (search.count, search.count_exact) == (size, True)
        capped = {"query": "outcome:failure", "limit": 5, "max_results": 30}
        search_ = searches.create(caller, "main", capped)
        assert (search_.count, search_.count_exact) == (30, False)
        first = first or search.search_id
    assert searches.get(caller, first).count == 40


def test_runs_join_where_they_touch() -> None:
    """All matches of a joined range, the newer run's alone where something lies between."""
    one, other = Run(0, 10, [1, 5, 9]), Run(10, 20, [12])
    assert list(one.joined(other).indexes) == [1, 5, 9, 12]
    assert list(other.joined(one).indexes) == [1, 5, 9, 12]
    assert (one.joined(other).low, one.joined(other).high) == (0, 20)
    apart = Run(11, 20, [12])
    assert one.joined(apart) is apart
    long = Run(10, 5000, list(range(10, 10 + known.MAX_RUN)))
    assert one.joined(long) is long
