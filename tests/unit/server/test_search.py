"""Stored searches: snapshot, restrictions, order, expiry."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trailseal_server.problems import Problem
from trailseal_server.store import reads, selections
from trailseal_server.store import searches as module
from trailseal_server.store.search import All, Either, Tokens, Without, Words, exact_token
from trailseal_server.store.searches import Searches
from trailseal_server.store.selections import Selection


@pytest.fixture
def searches(trail: Any) -> Searches:
    """A log of 30 events by three actors; every second has a time of its own."""
    trail.log("main", tenant_id="acme")
    events = [
        {"action": "x.done", "actor": {"id": f"u{i % 3}"}, "message": f"word{i}"} for i in range(30)
    ]
    for i in range(0, 30, 2):
        events[i]["occurred_at"] = f"2026-01-{28 - i // 4:02}T00:00:00Z"
    trail.append("main", events)
    return Searches(trail.reader)


def indexes(items: list[bytes]) -> list[int]:
    return [orjson.loads(item)["index"] for item in items]


@pytest.mark.row("P-40", "P-46", "P-47")
def test_a_search_is_a_snapshot_that_pages_repeat(trail: Any, searches: Searches) -> None:
    """Later events do not show; offset and cursor page through the same list."""
    caller = trail.caller()
    search = searches.create(caller, "main", {"query": "actor:u", "limit": 4})
    trail.append("main", [{"action": "x.done", "actor": {"id": "u9"}}])
    assert (search.count, search.count_exact) == (30, True)
    assert indexes(search.page.items) == [29, 28, 27, 26]
    one = searches.results(
        caller, search.search_id, {"cursor": search.page.next_cursor, "limit": 3}
    )
    two = searches.results(caller, search.search_id, {"offset": 4, "limit": 3})
    assert indexes(one.items) == indexes(two.items) == [25, 24, 23]
    assert searches.get(caller, search.search_id).count == 30


def test_an_id_is_looked_up(trail: Any, searches: Searches) -> None:
    """The exact id bounds the selection to its event; below OR and NOT it means the same."""
    trail.append(
        "main", [{"id": "evt-9", "action": "x.done"}, {"id": "evt-99", "action": "x.done"}]
    )
    caller = trail.caller()

    def found(query: str) -> list[int]:
        return indexes(searches.create(caller, "main", {"query": query}).page.items)

    assert found('id="evt-9"') == [30]
    assert found('id="evt-9" action:done') == [30]
    assert found('id="evt-9" id="evt-99"') == []
    assert found('id="EVT-9"') == found('id="evt-9" actor:u') == []
    for event_id, place in ("evt-9", [30]), ("evt-\0", []):
        request = {"restrictions": {"id": [event_id]}}
        assert indexes(searches.create(caller, "main", request).page.items) == place
    assert found('id="evt-9" OR id="evt-99"') == [31, 30]
    assert found('action:done NOT id="evt-99" NOT actor:u') == [30]
    with trail.store.read() as connection:
        log = selections.find_log(connection, "main")
        one = module.select_search(connection, log, {"query": 'id="evt-9"'}, 0)
        earlier = module.select_search(
            connection, selections.at_size(log, 30), {"query": 'id="evt-9"'}, 0
        )
    assert (one.low, one.high, one.checks) == (30, 31, ())
    assert not one.is_range
    assert earlier.low >= earlier.high


@pytest.mark.row("P-44")
def test_max_results_ends_the_list(trail: Any, searches: Searches) -> None:
    """The stored result has at most so many events, whatever the pages."""
    search = searches.create(trail.caller(), "main", {"max_results": 7, "limit": 5})
    assert (search.count, search.count_exact, len(search.page.items)) == (7, False, 5)
    request = {"cursor": search.page.next_cursor, "limit": 5}
    page = searches.results(trail.caller(), search.search_id, request)
    assert (len(page.items), page.next_cursor) == (2, None)


@pytest.mark.row("P-42")
def test_order_by_occurred_at_is_total(trail: Any, searches: Searches) -> None:
    """Pages in both directions give each event once; events without the time come first."""
    for order in ("asc", "desc"):
        request = {"order_by": "occurred_at", "order": order, "limit": 4}
        search = searches.create(trail.caller(), "main", request)
        found, cursor = indexes(search.page.items), search.page.next_cursor
        while cursor is not None:
            page = searches.results(
                trail.caller(), search.search_id, {"cursor": cursor, "limit": 4}
            )
            found, cursor = found + indexes(page.items), page.next_cursor
        keys = [(-(i // 4) if i % 2 == 0 else -100, i) for i in found]
        assert keys == sorted(keys, reverse=order == "desc")
        assert sorted(found) == list(range(30))


@pytest.mark.row("P-45", "P-48")
def test_restrictions_bound_any_query_and_can_be_asserted(trail: Any, searches: Searches) -> None:
    """No query widens the scope; other restrictions than the search's are refused."""
    caller, only = trail.caller(), {"actor.id": ["u1"]}
    for query in ("", "word1 OR word2 OR actor:u", "NOT word1"):
        search = searches.create(caller, "main", {"query": query, "restrictions": only})
        assert {i % 3 for i in indexes(search.page.items)} <= {1}
    ok = searches.results(caller, search.search_id, {"assert_restrictions": {"actor.id": ["u1"]}})
    assert ok.items
    for other in ({}, {"actor.id": ["u1", "u2"]}, {"action": ["u1"]}):
        with pytest.raises(Problem) as caught:
            searches.results(caller, search.search_id, {"assert_restrictions": other})
        assert caught.value.code == "restriction_mismatch"


@pytest.mark.row("P-46")
def test_a_search_expires_is_deleted_and_is_unknown_to_other_tenants(
    trail: Any, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 after its time, 404 for another tenant's key and once it is deleted."""
    caller = trail.caller("acme")
    found = searches.create(caller, "main", {}).search_id
    with pytest.raises(Problem, match="no such search"):
        searches.get(trail.caller("evil"), found)
    searches.delete(caller, found)
    with pytest.raises(Problem, match="no such search"):
        searches.get(caller, found)
    monkeypatch.setattr(module, "LIFETIME", 0)
    with pytest.raises(Problem) as caught:
        searches.get(caller, searches.create(caller, "main", {}).search_id)
    assert caught.value.code == "search_expired"


LEAVES = {"word1": {1}, "u1": set(range(1, 30, 3)), "none": set(), "word2": {2}}
_LEAF = st.sampled_from(
    [
        (Words("word1"), LEAVES["word1"]),
        (Words("word2"), LEAVES["word2"]),
        (Tokens((exact_token("actor_id", "u1"),)), LEAVES["u1"]),
        (Tokens(()), LEAVES["none"]),
    ]
)
_ALL = set(range(30))
_TREES = st.recursive(
    _LEAF,
    lambda below: st.one_of(
        below.map(lambda t: (Without(t[0]), _ALL - t[1])),
        st.lists(below, min_size=1, max_size=3).map(
            lambda ts: (All(tuple(t[0] for t in ts)), set.intersection(*(t[1] for t in ts)))
        ),
        st.lists(below, min_size=1, max_size=3).map(
            lambda ts: (Either(tuple(t[0] for t in ts)), set.union(*(t[1] for t in ts)))
        ),
    ),
    max_leaves=8,
)


def test_expressions_are_boolean_algebra(trail: Any, searches: Searches) -> None:
    """Any nesting of AND, OR and NOT gives in the index the same events as sets do."""

    @settings(max_examples=150, deadline=None)
    @given(_TREES)
    def check(tree: Any) -> None:
        with trail.store.read() as connection:
            log = selections.find_log(connection, "main")
            everything = Selection(log, 0, log.size, tree[0])
            rows = reads.read_rows(connection, everything, "asc", 100)
            assert {row.idx for row in rows} == tree[1]

    check()


def test_the_deepest_and_widest_queries_are_evaluated(trail: Any, searches: Searches) -> None:
    """What the parser's limits admit, the index takes."""
    deep = "(word1 OR " * 20 + "word2" + ")" * 20
    wide = " OR ".join(["word1"] * 100)
    mixed = "-(word3 " * 10 + "word1" + ")" * 10
    for query, count in ((deep, 2), (wide, 1), (mixed, 0)):
        assert searches.create(trail.caller(), "main", {"query": query}).count >= count


def test_a_phrase_does_not_span_two_values(trail: Any) -> None:
    """The words of neighbouring values are no phrase, those of one value are."""
    trail.log("main", tenant_id="acme")
    trail.append("main", [{"action": "a", "data": ["quick brown", "lazy dog"]}])
    searches = Searches(trail.reader)
    found = [
        searches.create(trail.caller(), "main", {"query": f'"{phrase}"'}).count
        for phrase in ("quick brown", "lazy dog", "brown lazy")
    ]
    assert found == [1, 1, 0]
