"""Searches that the terms index cannot answer alone: both ways agree, and nothing is cut."""

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trailseal_server import export_plans
from trailseal_server.problems import Problem
from trailseal_server.query import parse
from trailseal_server.query_evaluate import body_test, document
from trailseal_server.query_nodes import And, Has, Match, Node, Not, Or, Text
from trailseal_server.store import compiler, known, matching, micros, selections, sorts
from trailseal_server.store.pages import Reader
from trailseal_server.store.search import Filters
from trailseal_server.store.searches import Searches

Event = dict[str, Any]
START = micros.parse("2026-01-01T00:00:00+00:00")


def make_event(rng: random.Random) -> Event:
    """From few values, so that every term matches some events and misses some."""
    event: Event = {
        "action": rng.choice(["invoice.deleted", "invoice.created", "user.login", "User.Logout"]),
        "actor": {"id": f"u{rng.randint(1, 4)}", "name": rng.choice(["Ann Lee", "Björn", "anna"])},
        "resources": [
            {"id": f"r{rng.randint(1, 4)}", "type": rng.choice(["invoice", "user"])}
            for _ in range(rng.randint(0, 2))
        ],
        "data": {"amount": rng.randint(-50, 50), "n": rng.random()},
        "message": rng.choice(["the red fox", "a red car", "blue sea"]),
    }
    optional: Event = {
        "occurred_at": f"2026-01-{rng.randint(1, 28):02}T00:00:00Z",
        "outcome": rng.choice(["success", "failure"]),
        "severity": rng.choice(["info", "low", "high", "critical"]),
        "tags": {"env": rng.choice(["prod", "dev"])},
        "source": {"name": rng.choice(["billing", "web"])},
        "reason": {"code": rng.choice(["a1", "b2"])},
    }
    return event | {name: value for name, value in optional.items() if rng.random() < 0.7}


EVENTS = [make_event(random.Random(seed)) for seed in range(400)]  # noqa: S311 - test data
DOCUMENTS = [
    document(orjson.dumps({"id": f"ev-{i}", **event}), START + i * 1_000_000, "key_test")
    for i, event in enumerate(EVENTS)
]


@pytest.fixture(scope="module")
def filled(shared_trail: Callable[[], Any]) -> Any:
    """A log with all EVENTS, a second apart, after a log that must never show."""
    trail = shared_trail()
    for log_id in ("other", "main"):
        trail.log(log_id)
        trail.append(log_id, EVENTS)
    return trail


def indexes(items: list[bytes]) -> list[int]:
    return [orjson.loads(item)["index"] for item in items]


def found(trail: Any, query: str, **options: Any) -> list[int]:
    """The indexes of all pages of a list, ascending."""
    cursor, all_found = None, []
    for _ in range(1000):
        page = trail.reader.list_events(
            "main", Filters(q=query), order="asc", cursor=cursor, **options
        )
        all_found += indexes(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return all_found
    raise AssertionError("a list without an end")


def holds(node: Node, event: Any) -> bool:
    """A query on an event's body alone; words by a naive search in its message."""
    match node:
        case And(terms):
            return all(holds(term, event) for term in terms)
        case Or(terms):
            return any(holds(term, event) for term in terms)
        case Not(term):
            return not holds(term, event)
        case Text(text):
            return text in event["message"].split()
        case _:
            return body_test(node, START)(event)  # type: ignore[arg-type]  # no Prefix is made below


FIELDS = {
    "action": ["invoice", "invoice.deleted", "LOG", "x"],
    "actor": ["u1", "ann", "BJÖRN"],
    "actor.name": ["Ann Lee", "ann"],
    "resource": ["r1", "invoice", "us"],
    "resource.type": ["invoice", "INV"],
    "outcome": ["failure", "succ"],
    "severity": ["hi", "high"],
    "source": ["web", "b"],
    "tags.env": ["prod", "pr"],
    "resource.id": ["r1", "r"],
    "reason.code": ["a1", "a"],
    "message": ["red", "fox", "d c"],
}
INDEXED = [*FIELDS][:8]
MATCHES = st.sampled_from([
    Match(field, mode, text)
    for field, texts in FIELDS.items()
    for text in texts
    for mode in ("contains", "equals", "prefix")
    if " " not in text or mode != "prefix"
])  # fmt: skip
BY_INDEX = st.one_of(
    MATCHES.filter(lambda term: term.field in INDEXED),
    st.sampled_from([Has("outcome"), Has("resource"), Has("tags"), Has("data")]),
    st.sampled_from([Text("red"), Text("sea")]),
)
BY_BODY = st.one_of(
    MATCHES,
    st.sampled_from([
        "data.amount>0", "data.amount:[-10 TO 10]", "data.n<0.5", "occurred_at>=2026-01-15",
        "occurred_at:[2026-01-03 TO 2026-01-09]", "received_at>2026-01-01T00:03:00Z",
        "received_at<=2026-01-01T00:05:00Z", "has:reason.code", "has:tags.env", "id=ev-7",
    ]).map(parse),
)  # fmt: skip


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    def above(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        some = st.lists(below, min_size=2, max_size=3).map(tuple)
        return st.one_of(below.map(Not), some.map(And), some.map(Or))

    return st.recursive(leaves, above, max_leaves=6)


@pytest.mark.row("P-41")
def test_the_index_and_the_body_give_the_same_events(filled: Any) -> None:
    """Random queries of what the index can answer: answered by it, and term by term on bodies."""

    @settings(max_examples=60, deadline=None)
    @given(trees(BY_INDEX))
    def check(tree: Node) -> None:
        with filled.store.read() as connection:
            plans = compiler.Compiler(connection, "main", START).query(str(tree))
        assert all(plan.check is None for plan in plans)
        expected = [i for i, event in enumerate(DOCUMENTS) if holds(tree, event)]
        assert found(filled, str(tree), limit=1000) == expected

    check()


@pytest.mark.row("P-41")
def test_mixed_queries_give_the_events_that_satisfy_them(filled: Any) -> None:
    """What only bodies tell, mixed with what only the index tells, under AND, OR and NOT."""

    @settings(max_examples=80, deadline=None)
    @given(trees(BY_INDEX | BY_BODY))
    def check(tree: Node) -> None:
        expected = [i for i, event in enumerate(DOCUMENTS) if holds(tree, event)]
        assert found(filled, str(tree), limit=150) == expected

    check()


@pytest.mark.row("P-41", "P-46")
def test_a_bounded_page_may_be_empty_and_nothing_is_cut(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bound of 30 candidates a request, rare matches take several pages, some empty."""
    monkeypatch.setattr(matching, "CHUNK", 10)
    monkeypatch.setattr(matching, "MAX_CHECKED", 30)
    monkeypatch.setattr(matching, "MAX_COUNTED", 30)
    monkeypatch.setattr(matching, "FEW", 5)
    expected = [i for i, event in enumerate(EVENTS) if event["data"]["amount"] > 45]
    assert 5 < len(expected) < 60
    for order_by in ("received_at", "occurred_at"):
        searches = Searches(Reader(filled.store))
        request = {"query": "data.amount>45", "order": "asc", "order_by": order_by, "limit": 50}
        search = searches.create(filled.caller(), "main", request)
        assert not search.count_exact
        assert search.count == len(search.page.items)
        again = searches.create(filled.caller(), "main", request)
        assert again.page.items == search.page.items  # what is known by then is looked at no more
        page, pages = search.page, [indexes(search.page.items)]
        while page.next_cursor is not None:
            more = {"cursor": page.next_cursor, "limit": 50}
            page = searches.results(filled.caller(), search.search_id, more)
            pages.append(indexes(page.items))
        assert sorted(i for each in pages for i in each) == expected
        assert len(pages) >= len(EVENTS) // 30
        assert [] in pages
    # an offset that the first request cannot reach goes on with the cursor
    every_page = found(filled, "data.amount>45", limit=4)
    assert every_page == expected
    page = filled.reader.list_events(
        "main", Filters(q="data.amount>45"), order="asc", offset=5, limit=3
    )
    skipped = indexes(page.items)
    while page.next_cursor is not None:
        page = filled.reader.list_events(
            "main", Filters(q="data.amount>45"), order="asc", cursor=page.next_cursor, limit=3
        )
        skipped += indexes(page.items)
    assert skipped == expected[5:]


@pytest.mark.row("P-44")
def test_max_results_bounds_checked_lists_too(filled: Any) -> None:
    """A list of 7 in pages of 5, counted as more."""
    searches = Searches(filled.reader)
    request = {"query": "data.amount>0", "max_results": 7, "limit": 5}
    search = searches.create(filled.caller(), "main", request)
    assert (search.count, search.count_exact, len(search.page.items)) == (7, False, 5)
    more = {"cursor": search.page.next_cursor, "limit": 5}
    page = searches.results(filled.caller(), search.search_id, more)
    assert (len(page.items), page.next_cursor) == (2, None)
    for query in ("", "data.amount>0"):
        search = searches.create(filled.caller(), "main", {**request, "query": query})
        page = searches.results(filled.caller(), search.search_id, {"offset": 9, "limit": 5})
        assert (page.items, page.next_cursor) == ([], None)


def sort_key(event: Event, field: str) -> tuple[bool, Any]:
    part: Any = event.get({"resource": "resources"}.get(field, field))
    part = part[0] if isinstance(part, list) and part else part or None
    value = part.get("name" if field == "source" else "id") if isinstance(part, dict) else part
    if field == "severity" and value:
        value = ["info", "low", "medium", "high", "critical"].index(value)
    return (value is not None, value)


@pytest.mark.parametrize("sizes", [(3, 40), (40, 3), (3, 10)])
def test_pages_that_are_too_large_to_remember_end_too(
    filled: Any, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What small pages have left behind does not keep a large one from looking."""
    monkeypatch.setattr(matching, "MAX_CHECKED", 30)
    monkeypatch.setattr(known, "MAX_RUN", 20)
    query = "data.amount>48 OR data.amount<-48 OR data.n<0.01"
    first, again = (found(filled, query, limit=size) for size in sizes)
    assert first == again
    assert len(first) > min(sizes)


@pytest.mark.row("P-42")
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("field", [*sorts.SORTS])
@pytest.mark.parametrize("few", [0, 500])
def test_every_order_is_total_and_pages_repeat_it(
    filled: Any, field: str, order: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages and offsets are parts of one sorted list; without the member first, equal by index:
    read value by value, or sorted at once."""
    monkeypatch.setattr(sorts, "FEW", few)
    searches = Searches(Reader(filled.store))
    request = {"query": "data.amount>0", "order_by": field, "order": order, "limit": 60}
    search = searches.create(filled.caller(), "main", request)
    chosen = [i for i, event in enumerate(EVENTS) if event["data"]["amount"] > 0]
    chosen.sort(key=lambda i: (*sort_key(EVENTS[i], field), i) if sort_key(EVENTS[i], field)[0]
                else (False, 0, i), reverse=order == "desc")  # fmt: skip
    first = range(len(EVENTS))[:: 1 if order == "asc" else -1][: matching.MAX_COUNTED]
    counted = [i for i in chosen if i in first]
    assert 60 < len(counted) < len(chosen)
    assert (search.count, search.count_exact) == (len(counted), False)
    listed, page = indexes(search.page.items), search.page
    while page.next_cursor is not None:
        more = {"cursor": page.next_cursor, "limit": 60}
        page = searches.results(filled.caller(), search.search_id, more)
        listed += indexes(page.items)
    assert listed == chosen
    some = searches.results(filled.caller(), search.search_id, {"offset": 11, "limit": 5})
    assert indexes(some.items) == chosen[11:16]


@pytest.mark.row("P-42")
def test_too_many_events_to_sort_are_refused(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never sorted in part: the error says how to ask instead."""
    monkeypatch.setattr(sorts, "MAX_SORTED", len(EVENTS))
    monkeypatch.setattr(matching, "CHUNK", 50)
    searches = Searches(Reader(filled.store))  # which remembers no order yet
    request = {"order_by": "action", "limit": 1}
    assert searches.create(filled.caller(), "main", request).count == len(EVENTS)
    monkeypatch.setattr(sorts, "MAX_SORTED", len(EVENTS) - 50)
    with pytest.raises(Problem, match="received_at"):
        searches.create(filled.caller(), "main", {**request, "order": "asc"})


@pytest.mark.row("P-45")
def test_restrictions_on_any_path_bound_any_query(filled: Any) -> None:
    """A restriction that only bodies tell holds for queries that try to get around it."""
    searches = Searches(filled.reader)
    only = {"reason.code": ["a1"], "actor.id": ["u1", "u2"]}
    allowed = {
        i for i, event in enumerate(EVENTS)
        if event.get("reason") == {"code": "a1"} and event["actor"]["id"] in {"u1", "u2"}
    }  # fmt: skip
    for query in ("", "red OR NOT red", "data.amount>0 OR has:data", "NOT reason.code=a1 OR red"):
        request = {"query": query, "restrictions": only, "limit": 1000}
        search = searches.create(filled.caller(), "main", request)
        assert search.page.items
        assert set(indexes(search.page.items)) <= allowed
    with pytest.raises(Problem, match="no field"):
        searches.create(filled.caller(), "main", {"restrictions": {"nothing": ["x"]}})


def test_a_partial_match_of_too_many_names_is_checked_on_bodies(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same events as when the index answers."""
    for query in ("actor:u", "action:invoice", "resource:r1", "NOT actor.name:ann"):
        expected = found(filled, query, limit=1000)
        with monkeypatch.context() as patched:
            patched.setattr(compiler, "MAX_NAMES", 0)
            assert found(filled, query, limit=1000) == expected


@pytest.mark.row("L-14", "P-53")
def test_exports_hold_what_the_same_list_holds(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked and sorted selections too, in chunks, the cap included."""
    monkeypatch.setattr(export_plans, "CHUNK", 7)
    for query in ("data.amount>0", "message:red OR data.amount<-40", "action:invoice"):
        pieces = export_plans.iter_export(filled.store, "main", Filters(q=query))
        lines = b"".join(pieces).splitlines()
        assert [orjson.loads(line)["index"] for line in lines] == found(filled, query)
    with filled.store.read() as connection:
        log = selections.find_log(connection, "main")
        selection = selections.select_events(
            connection, log, Filters(q="data.amount>0"), clock=START, order_by="message"
        )
        expected = [key[-1] for key in matching.all_places(connection, selection, "desc")]
    chunks = export_plans.read_chunks(filled.store, selection, "desc", None, 20)
    assert [row.idx for chunk in chunks for row, _ in chunk] == expected[:20]


@pytest.mark.row("L-08", "L-09")
def test_full_text_over_some_fields_only_is_a_query_of_those_fields(filled: Any) -> None:
    """`q` is for the whole text; named fields leave metadata and ids of resources out of it."""
    trail = filled
    trail.log("fields")
    trail.append(
        "fields",
        [
            {"action": "needle.found"},
            {"action": "a", "actor": {"id": "u1", "name": "Needle"}},
            {"action": "a", "resources": [{"id": "r1", "type": "needle"}]},
            {"action": "a", "data": {"metadata": "needle"}},
            {"action": "a", "resources": [{"id": "needle", "type": "t"}]},
        ],
    )
    query = "action:needle OR actor.name:needle OR resource.type:needle"
    page = trail.reader.list_events("fields", Filters(q=query), order="asc")
    assert indexes(page.items) == [0, 1, 2]
    page = trail.reader.list_events("fields", Filters(q="needle"), order="asc")
    assert indexes(page.items) == [0, 1, 2, 3, 4]
    exact = trail.reader.list_events("fields", Filters(resource_type="needl"))
    assert exact.items == []


def test_a_tail_begins_at_the_end_whatever_an_offset_left_over(
    trail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offset beyond the list is used up by it: events that follow are not skipped."""
    monkeypatch.setattr(matching, "CHUNK", 1)
    monkeypatch.setattr(matching, "MAX_CHECKED", 1)
    trail.log("main")
    trail.append("main", [{"action": "a", "data": {"n": 1}}] * 2)
    only = Filters(q="data.n>0")
    page = trail.reader.list_events("main", only, order="asc", offset=9)
    while page.next_cursor is not None:
        assert page.items == []
        page = trail.reader.list_events("main", only, order="asc", cursor=page.next_cursor)
    trail.append("main", [{"action": "a", "data": {"n": 2}}])
    page = trail.reader.list_events("main", only, order="asc", cursor=page.tail_cursor)
    assert indexes(page.items) == [2]
