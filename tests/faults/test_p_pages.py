"""P1 to P5: lists while others write, and over lines that break."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from trailseal import Client, errors
from trailseal_server.app import Running

from .conftest import Count
from .lines import Line, answering
from .servers import DEADLINE_S, rounds

WRITERS = 8
RUNS = rounds(2, 50)


@contextmanager
def writers(server: Running, log_id: str) -> Iterator[threading.Event]:
    """Eight threads that log events until the block ends; the event is set once all have begun."""
    stop, begun = threading.Event(), threading.Barrier(WRITERS + 1, timeout=DEADLINE_S)

    def write() -> None:
        with Client(server.url, server.key) as client:
            client.log("late", log_id=log_id)
            begun.wait()
            while not stop.is_set():
                client.log("late", log_id=log_id)

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.row("L-07", "L-11")
def test_p1_each_index_below_the_snapshot_comes_once_while_eight_write(
    server: Running, client: httpx.Client, log_id: str, trials: Count
) -> None:
    """Ascending and descending lists, and a search; each run in a log of its own."""
    with Client(server.url, server.key) as reader:
        for number in range(RUNS):
            log = f"{log_id}-{number}"
            client.post("/v1/logs", json={"log_id": log}).raise_for_status()
            reader.log_bulk(({"action": "early"} for _ in range(150)), log_id=log)
            with writers(server, log):
                low = next(iter(reader.query(limit=1, log_id=log))).index + 1
                up = [e.index for e in reader.query(order="asc", limit=40, log_id=log)]
                assert up == list(range(len(up))), number
                down = [e.index for e in reader.query(limit=40, log_id=log)]
                assert down == list(range(len(down)))[::-1], number
                search = reader.search("", limit=40, max_results=1_000_000, log_id=log)
                found = [e.index for e in search]
                assert sorted(found) == list(range(len(found))), number
                assert search.count == len(found)
                assert low <= len(up) <= len(down) <= len(found)
    trials(RUNS)


def pages(*answers: dict[str, Any]) -> Any:
    """A server of canned pages."""
    left = list(answers)

    def respond(request: BaseHTTPRequestHandler) -> None:
        body = json.dumps(left.pop(0)).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return respond


def page(ids: str, cursor: str | None) -> dict[str, Any]:
    return {
        "items": [{"id": i} for i in ids],
        "next_cursor": cursor,
        "has_more": cursor is not None,
    }


def test_p2_an_empty_page_is_not_the_end(server: Running, trials: Count) -> None:
    """Only a missing cursor is."""
    answers = (page("", "1"), page("ab", "2"), page("", "3"), page("", "4"), page("c", None))
    with answering(pages(*answers)) as place, Client(place.url, server.key) as client:
        assert [event.id for event in client.query()] == ["a", "b", "c"]
    trials(1)


@pytest.mark.parametrize("time_field", ["received_at", "occurred_at"])
def test_p3_events_of_one_moment_are_all_there_once(
    server: Running, log_id: str, time_field: str, trials: Count
) -> None:
    """Pages that end amid equal times lose and repeat nothing."""
    moment = "2026-01-01T00:00:00.000000Z"
    events = [{"id": f"e{i}", "action": "a", "occurred_at": moment} for i in range(57)]
    with Client(server.url, server.key) as client:
        client.log_bulk(events, log_id=log_id)
        for order in ("asc", "desc"):
            for limit in (1, 7, 56, 57):
                search = client.search(
                    "", order=order, order_by=time_field, limit=limit, log_id=log_id
                )
                ids = [event.id for event in search]
                assert sorted(ids) == sorted(event["id"] for event in events), (order, limit)
        listed = client.query(
            time_field=time_field, start=moment, order="asc", limit=7, log_id=log_id
        )
        assert len({event.id for event in listed}) == 57
    trials(9)


def test_p4_a_list_goes_on_in_another_client_from_the_page_that_failed(
    server: Running, log_id: str, trials: Count
) -> None:
    """Cut at page k, for each k: what came and what comes is all, once."""
    events = [{"id": f"e{i}", "action": "a"} for i in range(60)]
    with Client(server.url, server.key) as client:
        client.log_bulk(events, log_id=log_id)
    for k in range(6):
        asked: list[bytes] = []

        def limit(head: bytes) -> int | None:
            asked.append(head)  # noqa: B023 - called within this turn
            return 100 if len(asked) == k + 1 else None  # noqa: B023 - as above

        seen: list[int] = []
        line = Line(int(server.url.rpartition(":")[2]), limit)
        with line, Client(line.url, server.key, max_retries=0) as client:
            listed = client.query(order="asc", limit=10, log_id=log_id)
            with pytest.raises(errors.ReadError) as caught:
                seen.extend(event.index for event in listed)
        assert seen == list(range(10 * k))
        token = caught.value.continuation_token
        with Client(server.url, server.key) as other:
            again = other.query(order="asc", limit=10, log_id=log_id).resume_from(token)
            assert [*seen, *(e.index for e in again)] == list(range(60))
    trials(6)


@pytest.mark.parametrize("cycle", [1, 2, 5])
def test_p5_a_repeated_cursor_is_an_error_not_a_loop(
    server: Running, cycle: int, trials: Count
) -> None:
    """However long the cycle."""
    answers = [page("x", str(i % cycle)) for i in range(20)]
    with answering(pages(*answers)) as place, Client(place.url, server.key) as client:
        listed = client.query()
        with pytest.raises(errors.InvalidPageError, match="repeats a cursor") as caught:
            list(listed)
    assert len(place.seen) == cycle + 1
    assert caught.value.continuation_token is not None
    trials(1)
