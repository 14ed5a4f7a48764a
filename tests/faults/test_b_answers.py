"""B6, B7, B8, B10, B14: what delivery does while the server refuses, is slow, or is down."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from trailseal import Audit
from trailseal._events import prepare
from trailseal.delivery import Delivered, Dropped, Emitter, Item, Options
from trailseal.errors import (
    ClosedError,
    ConfigurationError,
    ConnectError,
    EventValidationError,
    SpoolFullError,
)
from trailseal_server.app import Running

from .children import DEADLINE_S, ROUNDS, Place, until


@pytest.fixture
def place(server: Running, log_id: str, tmp_path: Path) -> Iterator[Place]:
    return Place(server, log_id, tmp_path / "spool")


def test_b7_a_poison_event_is_parked_with_its_reason_and_99_are_delivered(place: Place) -> None:
    """The server refuses one of a hundred: the same id was logged with other content."""
    dropped: list[Dropped] = []
    delivered: list[Delivered] = []
    with place.client() as client:
        client.log("a.b", id="poison", log_id=place.log_id)
        with Audit(
            client, spool=place.folder, on_drop=dropped.append, on_delivered=delivered.append
        ) as audit:
            for number in range(100):
                event_id = "poison" if number == 50 else f"e{number}"
                audit.log("a.other", id=event_id, log_id=place.log_id)
            assert audit.flush(DEADLINE_S)
            stats = audit.stats()
    assert (stats.delivered, stats.parked, stats.pending) == (99, 1, 0)
    [parked] = dropped
    assert (parked.event_id, parked.reason, parked.parked) == ("poison", "event_id_conflict", True)
    assert {each.event_id for each in delivered} == {f"e{n}" for n in range(100) if n != 50}
    assert [path.suffix for path in place.folder.glob("*.db")] == [".db"]  # what is parked stays


def test_b8_a_revoked_key_loses_nothing_and_is_said_once(
    place: Place, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The events wait in the spool; with a new key all are delivered."""
    given = {"name": "short", "scopes": ["admin"]}
    made = client.post("/v1/api-keys", json=given).raise_for_status().json()
    key_id = "key_" + made["secret"].split("_")[1]
    client.delete(f"/v1/api-keys/{key_id}").raise_for_status()
    with (
        place.client(made["secret"]) as revoked,
        Audit(revoked, spool=place.folder, exit_timeout=0.1) as audit,
    ):
        for number in range(20):
            audit.log("a.b", id=f"e{number}", log_id=place.log_id)
            audit.flush(0.02)
        until(lambda: audit.stats().paused is not None)
        audit.flush(0.5)
        assert audit.stats().pending == 20
        said = [each for each in caplog.records if "pauses" in each.getMessage()]
        assert len(said) == 1
        assert made["secret"] not in caplog.text
    place.accepted = [f"e{number}" for number in range(20)]
    place.check()


def test_b10_logging_through_us_while_loggings_lock_is_held(place: Place) -> None:
    """A handler that logs to `audit` and waits for it: no deadlock, no event of our own doing."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            audit.log("app.logged", message=record.getMessage(), log_id=place.log_id)

    handler, root = Handler(), logging.getLogger()
    noisy = [logging.getLogger(name) for name in ("httpx", "httpcore", "trailseal")]
    with place.client() as client, Audit(client, spool=place.folder) as audit:
        levels = [(each, each.level) for each in (root, *noisy)]
        for each, _ in levels:
            each.setLevel(logging.DEBUG)
        root.addHandler(handler)
        try:
            logging.getLogger("app").warning("one")
            assert handler.lock is not None
            with handler.lock:
                logging.getLogger("app").warning("two")
                assert audit.flush(2.0)
            assert audit.stats().accepted == 2
        finally:
            root.removeHandler(handler)
            for each, level in levels:
                each.setLevel(level)


class Flaky:
    """A server that is slow, down or picky by chance, and remembers what it stored."""

    def __init__(self, seed: int) -> None:
        self.stored: set[str] = set()
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def __call__(self, batch: Sequence[Item]) -> list[Delivered]:
        time.sleep(self._random.uniform(0, 0.004))
        if self._random.random() < 0.3:
            raise ConnectError("down", retry_after=0.001)
        self.stored |= {item.id for item in batch}
        return [Delivered(item.id, "main", item.key) for item in batch]


def test_b14_flush_is_true_only_if_everything_before_it_is_settled(tmp_path: Path) -> None:
    """Whatever the deadline, from memory and spool, while other threads go on."""
    truths = 0
    for trial in range(max(20, ROUNDS * 2)):
        flaky = Flaky(trial)
        emitter = Emitter(Options(lambda f=flaky: f, "here", folder=tmp_path / "spool"))
        stop = threading.Event()

        def others(stop: threading.Event = stop, emitter: Emitter = emitter) -> None:
            while not stop.wait(0.001):
                emitter.background({"action": "a.other"}, None)

        thread = threading.Thread(target=others)
        thread.start()
        mine = set()
        for number in range(random.randint(1, 20)):  # noqa: S311 - no secret
            prepared = prepare({"action": "a.b", "id": f"e{number}"})
            if number % 2:
                emitter.durable(prepared, None)
            else:
                emitter.background({"action": "a.b", "id": prepared.id}, None)
            mine.add(prepared.id)
        if emitter.flush(random.uniform(0, 0.03)):  # noqa: S311 - no secret
            truths += 1
            assert mine <= flaky.stored
        stop.set()
        thread.join()
        emitter.close(5.0)
    assert truths


@pytest.mark.parametrize("on_full", ["raise", "block", "drop_oldest"])
@pytest.mark.parametrize("mode", ["background", "durable"])
def test_b6_what_is_accepted_is_delivered_pending_or_dropped(
    tmp_path: Path, on_full: Any, mode: str
) -> None:
    """Four threads against a limit of a few events, and a slow server."""
    flaky = Flaky(1)
    dropped: list[Dropped] = []
    emitter = Emitter(
        Options(
            lambda: flaky, "here", folder=tmp_path / "spool", on_full=on_full, max_events=20,
            max_bytes=400, on_drop=dropped.append,
        )
    )  # fmt: skip
    accepted: list[str] = []

    def write(thread: int) -> None:
        for number in range(30):
            event = {"action": "a", "id": f"{thread}-{number}"}
            try:
                if mode == "durable":
                    emitter.durable(prepare(event), None)
                else:
                    emitter.background(event, None)
            except SpoolFullError:
                assert on_full != "block"  # what is on its way cannot be dropped
            else:
                accepted.append(event["id"])

    _together(write, 4)
    emitter.flush(10.0)
    emitter.close(1.0)
    stats = emitter.stats()
    assert stats.accepted == len(accepted)
    assert stats.accepted == stats.delivered + stats.pending + sum(stats.dropped.values())
    assert sum(stats.dropped.values()) == len(dropped)
    assert {each.event_id for each in dropped} | flaky.stored == set(accepted)
    assert not dropped or on_full == "drop_oldest"
    assert on_full != "block" or len(accepted) == 120


def _together(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_is_wrong_at_first_sight_raises_and_the_rest_is_told_to_the_hook(place: Place) -> None:
    """In memory mode; durable events are checked whole before they are accepted."""
    dropped: list[Dropped] = []
    event: dict[str, Any] = {"action": "a", "data": {"list": [1]}}
    with (
        place.client() as client,
        Audit(client, spool=place.folder, delivery="background", on_drop=dropped.append) as audit,
    ):
        with pytest.raises(EventValidationError, match="actor"):
            audit.log("a.b", actr="u")  # type: ignore[call-arg]  # wrong on purpose
        with pytest.raises(EventValidationError):
            audit.log("")
        with pytest.raises(EventValidationError):
            audit.log("a.b", severity="enormous", delivery="durable")
        for mode in ("durable", "background"):
            with pytest.raises(ConfigurationError, match="lone surrogate"):
                audit.log("a.b", log_id="\ud800", delivery=mode)  # type: ignore[arg-type]
        audit.log("a.b", id="late", severity="enormous")
        audit.log_event(event, log_id=place.log_id)
        event["data"]["list"].append(2)
        assert audit.flush(DEADLINE_S)
        [found] = audit.stats().dropped.items()
        assert found == ("invalid", 1)
        assert [each.event_id for each in dropped] == ["late"]
        [stored] = client.query(log_id=place.log_id)
        assert stored.data == {"list": [1]}
    with pytest.raises(ClosedError):
        audit.log("a.b")
