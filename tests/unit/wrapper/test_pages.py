"""Pagers: complete, resumable, and never endless."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from trailseal import errors

from .conftest import Script, Side, answer


def page(*ids: str, cursor: str | None = None) -> httpx.Response:
    return answer(
        200,
        {"items": [{"id": i} for i in ids], "next_cursor": cursor, "has_more": cursor is not None},
    )


@pytest.mark.row("L-07", "L-11")
def test_items_of_all_pages_come_in_order(side: Side, script: Script) -> None:
    """P2: an empty page with a cursor is not the end."""
    script.steps = [page("a", "b", cursor="1"), page(cursor="2"), page("c")]
    assert [event.id for event in side.listed(side.client.query(limit=2))] == ["a", "b", "c"]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, "1", "2"]
    assert all(request.url.params["limit"] == "2" for request in script.requests)


def test_nothing_is_sent_before_a_pager_is_iterated(side: Side, script: Script) -> None:
    """A query is cheap to build; iterating it again starts again."""
    script.steps = [page("a"), page("a")]
    pager = side.client.query()
    assert script.requests == []
    assert len(side.listed(pager)) == len(side.listed(pager)) == 1


def test_pages_come_whole(side: Side, script: Script) -> None:
    """By page there is access to totals and cursors."""
    script.steps = [page("a", cursor="1"), page("b")]
    pages = side.listed(side.client.query().pages())
    assert [(len(p.items), p.next_cursor) for p in pages] == [(1, "1"), (1, None)]


def test_an_error_tells_where_to_go_on(side: Side, script: Script) -> None:
    """P4: what came before the failing page was handed out; resuming gives the rest."""
    script.steps = [page("a", cursor="1"), answer(404, {"code": "log_not_found"})]
    pager, seen = side.client.query(), []

    async def consume() -> None:
        async for event in pager:
            seen.append(event.id)  # noqa: PERF401  # what came before the error counts

    def consume_blocking() -> None:
        for event in pager:
            seen.append(event.id)  # noqa: PERF401  # as above

    way = consume if hasattr(pager, "__aiter__") else consume_blocking
    with pytest.raises(errors.NotFoundError) as caught:
        side.settle(way())
    assert seen == ["a"]
    assert caught.value.continuation_token == pager.continuation_token == "1"
    script.steps = [page("b")]
    assert [e.id for e in side.listed(pager.resume_from("1"))] == ["b"]


@pytest.mark.parametrize("cursors", [["1", "1"], ["1", "2", "1"]])
def test_a_repeated_cursor_is_an_error_not_a_loop(
    side: Side, script: Script, cursors: list[str]
) -> None:
    """P5: however long the cycle."""
    script.steps = [page("x", cursor=cursor) for cursor in cursors]
    with pytest.raises(errors.InvalidPageError, match="repeats a cursor"):
        side.listed(side.client.query())


@pytest.mark.row("L-08", "L-10", "L-17")
def test_filters_travel_as_the_contract_writes_them(side: Side, script: Script) -> None:
    """Datetimes in UTC, tags repeated, None left out."""
    script.steps = [page()]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    side.listed(
        side.client.query(
            actor_id="u/1",
            outcome="failure",
            tag=["a:b", "c:d"],
            start=start,
            end=None,
            order="asc",
            include_proof=True,
            include_total=True,
            offset=5,
        )
    )
    assert script.requests[0].url.params.multi_items() == [
        ("actor_id", "u/1"),
        ("outcome", "failure"),
        ("tag", "a:b"),
        ("tag", "c:d"),
        ("start", "2026-01-01T00:00:00.000000Z"),
        ("order", "asc"),
        ("limit", "100"),
        ("offset", "5"),
        ("include", "proof"),
        ("include", "total"),
    ]


def test_wrong_filters_are_refused_before_any_io(side: Side, script: Script) -> None:
    """A misspelt filter would otherwise match too much."""
    with pytest.raises(errors.ConfigurationError, match="Did you mean 'actor_id'"):
        side.client.query(actorid="u")
    with pytest.raises(errors.InvalidQueryError, match="time zone"):
        side.client.query(start=datetime(2026, 1, 1))  # noqa: DTZ001  # naive on purpose
    assert script.requests == []


SEARCH: dict[str, Any] = {
    "search_id": "srh_1",
    "log_id": "main",
    "query": "q",
    "count": 3,
    "count_exact": True,
    "expires_at": "2026-01-03T00:00:00Z",
    "items": [{"id": "a"}],
    "next_cursor": "1",
    "has_more": True,
}


@pytest.mark.row("P-40", "P-45", "P-46")
def test_a_search_is_stored_once_and_iterated_from_its_first_page(
    side: Side, script: Script
) -> None:
    """The page that came with it is not fetched again; restrictions stay asserted."""
    script.steps = [answer(201, SEARCH), page("b", "c")]
    search = side("search", "q", restrictions={"actor": ["u"]}, limit=1, last="24h")
    assert (search.id, search.count, search.count_exact, search.checkpoint) == (
        "srh_1",
        3,
        True,
        None,
    )
    assert [event.id for event in side.listed(search)] == ["a", "b", "c"]
    first, second = script.bodies()
    assert first == {"query": "q", "restrictions": {"actor": ["u"]}, "last": "24h", "limit": 1}
    assert second == {"limit": 1, "assert_restrictions": {"actor": ["u"]}, "cursor": "1"}
    assert script.requests[0].headers["idempotency-key"]
    assert script.requests[1].url.path == "/v1/searches/srh_1/results"


@pytest.mark.row("P-47", "P-48")
def test_results_of_a_stored_search(side: Side, script: Script) -> None:
    """One page, by offset, refused for other restrictions."""
    script.steps = [page("a"), answer(403, {"code": "restriction_mismatch"})]
    assert [e.id for e in side("results", "srh_1", offset=40).items] == ["a"]
    with pytest.raises(errors.RestrictionMismatchError):
        side("results", "srh_1", assert_restrictions={"actor": ["other"]})


@pytest.mark.row("P-47")
@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 1001}, {"limit": "5"}, {"offset": -1}, {"offset": "1"}]
)
def test_impossible_pages_are_refused_before_any_io(
    side: Side, script: Script, wrong: dict[str, Any]
) -> None:
    """A limit is 1 to 1,000, an offset not negative."""
    with pytest.raises(errors.InvalidPageError):
        side.client.query(**wrong)
    with pytest.raises(errors.InvalidPageError):
        side("results", "srh_1", **wrong)
    if "limit" in wrong:
        with pytest.raises(errors.InvalidPageError):
            side("search", "words", **wrong)
    assert script.requests == []
