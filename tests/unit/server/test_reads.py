"""Lists, pages and records, against the same filters written naively."""

import random
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from trailseal_server.problems import Problem
from trailseal_server.store import micros
from trailseal_server.store.search import Filters

Event = dict[str, Any]

ACTIONS = ["invoice.deleted", "invoice.created", "user.login", "User.Logout", "a_b%c"]
NAMES = ["Ann Lee", "ann marie", "Björn", "Zoë O'Hara"]
START = micros.parse("2026-01-01T00:00:00+00:00")


def make_event(rng: random.Random) -> Event:
    """A random event from few values, so that every filter matches some and misses some."""
    day = rng.randint(1, 28)
    event: Event = {
        "action": rng.choice(ACTIONS),
        "actor": {
            "id": f"u{rng.randint(1, 4)}",
            "type": rng.choice(["user", "system"]),
            "name": rng.choice(NAMES),
        },
        "resources": [
            {"id": f"r{rng.randint(1, 4)}", "type": rng.choice(["invoice", "user"])}
            for _ in range(rng.randint(0, 2))
        ],
        "outcome": rng.choice(["success", "failure"]),
        "tags": {"env": rng.choice(["prod", "dev"]), "team": rng.choice(["a", "b"])},
        "message": rng.choice(["the red fox", "a red car", "blue sea"]),
        "action_type": rng.choice(["delete", "create"]),
        "source": {"name": rng.choice(["billing", "web"])},
        "context": {"source_ip": rng.choice(["10.0.0.1", "::1"])},
        "schema": {"id": rng.choice(["s1", "s2"]), "version": "1"},
    }
    if rng.random() < 0.7:
        event["occurred_at"] = f"2026-01-{day:02}T00:00:00Z"
    return event


EVENTS = [make_event(random.Random(seed)) for seed in range(300)]  # noqa: S311 - test data

Test = Callable[[Event], bool]
FILTERS: list[tuple[dict[str, Any], Test]] = [
    ({"actor_id": "u1"}, lambda e: e["actor"]["id"] == "u1"),
    ({"actor_id": "U1"}, lambda _: False),
    ({"actor_name_contains": "ANN"}, lambda e: "ann" in e["actor"]["name"].casefold()),
    ({"actor_name_contains": "'h"}, lambda e: "'h" in e["actor"]["name"].casefold()),
    ({"actor_type": "system"}, lambda e: e["actor"]["type"] == "system"),
    ({"action": "invoice.deleted"}, lambda e: e["action"] == "invoice.deleted"),
    ({"action": "invoice"}, lambda _: False),
    ({"action_contains": "LOG"}, lambda e: "log" in e["action"].casefold()),
    ({"action_contains": "_b%"}, lambda e: "_b%" in e["action"]),
    ({"action_prefix": "user."}, lambda e: e["action"].casefold().startswith("user.")),
    ({"action_type": "delete"}, lambda e: e["action_type"] == "delete"),
    ({"outcome": "failure"}, lambda e: e["outcome"] == "failure"),
    ({"resource_type": "invoice"}, lambda e: any(r["type"] == "invoice" for r in e["resources"])),
    ({"resource_id": "r1"}, lambda e: any(r["id"] == "r1" for r in e["resources"])),
    ({"source": "web"}, lambda e: e["source"]["name"] == "web"),
    ({"source_ip": "::1"}, lambda e: e["context"]["source_ip"] == "::1"),
    (
        {"tag": ("env:prod", "team:a")},
        lambda e: e["tags"]["env"] == "prod" and e["tags"]["team"] == "a",
    ),
    ({"schema_id": "s1"}, lambda e: e["schema"]["id"] == "s1"),
    ({"q": '"red fox" OR sea'}, lambda e: "red car" not in e["message"]),
    ({"q": "-red"}, lambda e: "red" not in e["message"]),
    (
        {"q": "status:fail action:invoice"},
        lambda e: e["outcome"] == "failure" and "invoice" in e["action"],
    ),
    ({"q": "has:occurred_at"}, lambda e: "occurred_at" in e),
    ({"q": 'tags.env=prod -target="r1"'}, lambda e: e["tags"]["env"] == "prod"
     and all(r["id"] != "r1" for r in e["resources"])),
    (
        {
            "time_field": "occurred_at",
            "start": "2026-01-05T00:00:00Z",
            "end": "2026-01-09T00:00:00Z",
        },
        lambda e: "2026-01-05" <= e.get("occurred_at", "")[:10] <= "2026-01-09",
    ),
    (
        {"time_field": "occurred_at", "end": "2026-01-09T00:00:00Z", "outcome": "failure"},
        lambda e: "" < e.get("occurred_at", "")[:10] <= "2026-01-09" and e["outcome"] == "failure",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(shared_trail: Callable[[], Any]) -> Any:
    """A log with all EVENTS, in batches, and another log that must never show."""
    trail = shared_trail()
    for log_id in ("other", "main", "third"):
        trail.log(log_id)
    for at in range(0, 300, 77):
        for log_id in ("other", "main", "third"):
            trail.append(log_id, EVENTS[at : at + 77])
    trail.signer.seal("main")
    return trail


def indexes(items: list[bytes]) -> list[int]:
    return [orjson.loads(item)["index"] for item in items]


def every_page(trail: Any, filters: Filters, **options: Any) -> list[int]:
    """The indexes of all pages of a list, by its cursors."""
    found: list[int] = []
    cursor = None
    for _ in range(1000):
        page = trail.reader.list_events("main", filters, cursor=cursor, **options)
        found += indexes(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("a list without an end")


@pytest.mark.row("L-07", "L-08", "L-09", "L-10", "P-41")
@pytest.mark.parametrize(("given", "test"), FILTERS, ids=[str(given) for given, _ in FILTERS])
def test_every_filter_gives_what_the_same_filter_gives_in_memory(
    filled: Any, given: dict[str, Any], test: Test
) -> None:
    """Both orders, small pages, and the exact total."""
    expected = [index for index, event in enumerate(EVENTS) if test(event)]
    filters = Filters.of(given)
    assert every_page(filled, filters, order="asc", limit=37) == expected
    assert every_page(filled, filters, order="desc", limit=37) == expected[::-1]
    page = filled.reader.list_events("main", filters, include={"total"})
    assert (page.total, page.total_exact) == (len(expected), True)


@pytest.mark.row("L-14")
def test_filters_are_anded(filled: Any) -> None:
    """Every pair of filters gives the intersection."""
    for (one, test_one), (two, test_two) in pairwise(FILTERS):
        if set(one) & set(two):
            continue
        expected = [i for i, e in enumerate(EVENTS) if test_one(e) and test_two(e)]
        assert every_page(filled, Filters.of({**one, **two}), order="asc") == expected


@pytest.mark.row("L-10")
def test_a_range_of_received_at_includes_both_ends(filled: Any) -> None:
    """Events are a second apart: from the 10th to the 20th."""
    start, end = micros.text(START + 10_000_000), micros.text(START + 20_000_000)
    assert every_page(filled, Filters(start=start, end=end), order="asc") == list(range(10, 21))
    assert every_page(filled, Filters(end=micros.text(START - 1))) == []
    assert every_page(filled, Filters(start="now")) == []


@pytest.mark.row("L-11")
def test_an_offset_skips_and_a_bad_page_is_refused(filled: Any) -> None:
    """`offset` counts in the list's order; limits and offsets outside the contract are errors."""
    page = filled.reader.list_events("main", Filters(), order="asc", limit=5, offset=7)
    assert indexes(page.items) == [7, 8, 9, 10, 11]
    bad = [({"limit": 0}, "limit_invalid"), ({"limit": 1001}, "limit_invalid")]
    bad += [({"offset": -1}, "offset_invalid"), ({"cursor": "x"}, "cursor_invalid")]
    bad += [({"cursor": page.next_cursor}, "cursor_invalid")]  # of the other order
    for options, code in bad:
        with pytest.raises(Problem) as caught:
            filled.reader.list_events("main", Filters(), **options)
        assert caught.value.code == code


@pytest.mark.row("L-12", "P-49")
def test_a_record_is_the_stored_event_untouched_with_the_servers_fields(trail: Any) -> None:
    """Numbers and times stay as they were sent; a sealed record proves itself."""
    trail.log("main")
    trail.append("main", [{"action": "a", "data": {"n": 1.5e3, "t": "2026-01-01T00:00:00.10Z"}}])
    raw = trail.reader.get_event("main", "ev-0")
    assert raw.startswith(
        b'{"action":"a","data":{"n":1500,"t":"2026-01-01T00:00:00.10Z"},"id":"ev-0",'
    )
    assert orjson.loads(raw)["state"] == "pending"
    trail.signer.seal("main")
    found = orjson.loads(trail.reader.get_event("main", "ev-0", {"proof"}))
    assert found["state"] == "sealed"
    assert (found["proof"]["tree_size"], found["proof"]["hashes"]) == (1, [])
    assert {"entry", "seed"} <= set(found)
    for log_id, event_id, code in [
        ("main", "ev-1", "event_not_found"),
        ("none", "ev-0", "log_not_found"),
    ]:
        with pytest.raises(Problem) as caught:
            trail.reader.get_event(log_id, event_id)
        assert caught.value.code == code


def test_p1_pages_under_concurrent_appends_give_each_index_of_the_snapshot_once(
    trail: Any,
) -> None:
    """Writers append while pages are read: nothing is lost, repeated or added."""
    trail.log("main")
    trail.append("main", [{"action": "a"}] * 40)
    stop = threading.Event()

    def write() -> None:
        for _ in range(300):  # a log that every_page can end, however slow the machine
            if stop.is_set():
                return
            trail.append("main", [{"action": "a"}] * 3)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for order in ("asc", "desc") * 3:
            found = every_page(trail, Filters(q='action="a"'), order=order, limit=7)
            assert sorted(found) == list(range(len(found)))
            assert found == sorted(found, reverse=order == "desc")
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_events_of_one_instant_are_neither_lost_nor_repeated(trail: Any) -> None:
    """Equal times: pages and time ranges take all of them, once."""
    trail.log("main")
    for at in (START, START, START + 5):
        trail.append("main", [{"action": "a"}] * 10, received_at=at)
    same = Filters(start=micros.text(START), end=micros.text(START))
    assert every_page(trail, same, order="asc", limit=3) == list(range(20))
    assert every_page(trail, Filters(start=micros.text(START + 1)), limit=3) == list(
        range(29, 19, -1)
    )


def test_a_tail_cursor_goes_on_where_an_ascending_list_ended(trail: Any) -> None:
    """Empty while nothing is new; then what was appended, filtered alike, once."""
    trail.log("main")
    trail.append("main", [{"action": "a"}, {"action": "b"}])
    only = Filters(action="a")
    page = trail.reader.list_events("main", only, order="asc")
    assert (indexes(page.items), page.next_cursor) == ([0], None)
    again = trail.reader.list_events("main", only, order="asc", cursor=page.tail_cursor)
    assert (again.items, again.next_cursor) == ([], None)
    trail.append("main", [{"action": "b"}, {"action": "a"}])
    more = trail.reader.list_events("main", only, order="asc", cursor=again.tail_cursor)
    assert indexes(more.items) == [3]
