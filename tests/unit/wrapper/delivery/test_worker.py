"""What the worker does with answers, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from trailseal._flow import Response
from trailseal.delivery.batching import Item, Limits, Result
from trailseal.delivery.memory import Memory, Raw
from trailseal.delivery.stats import Counters, Delivered, Dropped, Refused
from trailseal.delivery.worker import Worker, is_sending
from trailseal.errors import ApiError, ConnectError, from_response

Answer = Callable[[Sequence[Item]], Sequence[Result]]


def refusal(status: int, code: str) -> ApiError:
    """An error as the server sends it."""
    content = f'{{"status":{status},"code":"{code}","title":"t"}}'.encode()
    return from_response(Response(status, {"content-type": "application/problem+json"}, content))


class Bench:
    """A worker over a queue in memory; `answer` plays the server."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.counters = Counters()
        self.notices: list[str] = []
        self.sent: list[list[str]] = []
        self.delivered: list[str] = []
        self.dropped: list[Dropped] = []
        self.answer: Answer = self.fine
        self.memory = Memory(lambda raw: Item(raw.key, raw.id, raw.log_id, raw.data), 10_000)
        self.worker = Worker(
            self._send,
            lambda: [self.memory],
            self.counters,
            self.notices.append,
            on_delivered=lambda done: self.delivered.append(done.event_id),
            on_drop=self.dropped.append,
            limits=Limits(events=100),
            clock=lambda: self.now,
            jitter=lambda: 0.5,
        )

    def _send(self, batch: Sequence[Item]) -> Sequence[Result]:
        assert is_sending()
        self.sent.append([item.id for item in batch])
        return self.answer(batch)

    @staticmethod
    def fine(batch: Sequence[Item]) -> Sequence[Result]:
        """Store everything."""
        return [Delivered(item.id, item.log_id or "main", item.key) for item in batch]

    def put(self, *ids: str, log_id: str | None = None) -> None:
        """Accept events."""
        for event_id in ids:
            assert self.memory.put(event_id, log_id, b"{}", 0, self.now) is not None

    def run(self, seconds: float = 3600.0) -> None:
        """Look, sleep and look again, until nothing waits or the time is over."""
        end = self.now + seconds
        while (wait := self.worker.turn(hurry=False)) is not None and self.now + wait <= end:
            self.now += max(wait, 1e-6)
        if wait is not None:
            self.now = end

    def check(self) -> None:
        """Accepted is delivered, pending, parked or dropped."""
        stats = self.counters.stats(
            accepted=self.memory.accepted, pending=self.memory.pending(), spool_bytes=0
        )
        ended = stats.delivered + stats.parked + sum(stats.dropped.values())
        assert stats.accepted == ended + stats.pending
        assert stats.delivered == len(self.delivered)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_b7_a_poison_event_does_not_hold_the_others(bench: Bench) -> None:
    """99 of 100 are delivered with the first request; the one is dropped with its reason."""
    bench.answer = lambda batch: [
        Refused(item.id, "event_invalid", "no") if item.id == "e50" else bench.fine([item])[0]
        for item in batch
    ]
    bench.put(*(f"e{number}" for number in range(100)))
    bench.run()
    assert len(bench.sent) == 1
    assert bench.delivered == [f"e{number}" for number in range(100) if number != 50]
    assert bench.dropped == [Dropped("e50", "event_invalid", "no")]
    bench.check()


def test_b7_a_request_that_is_wrong_as_a_whole_is_halved_until_the_wrong_event_is_alone(
    bench: Bench,
) -> None:
    """The server may be older than the contract."""

    def answer(batch: Sequence[Item]) -> Sequence[Result]:
        if any(item.id == "e7" for item in batch):
            raise refusal(422, "event_invalid")
        return bench.fine(batch)

    bench.answer = answer
    bench.put(*(f"e{number}" for number in range(10)))
    bench.run()
    assert bench.delivered == [f"e{number}" for number in range(10) if number != 7]
    assert [each.event_id for each in bench.dropped] == ["e7"]
    bench.check()


def test_an_event_that_cannot_be_taken_now_waits_alone(bench: Bench) -> None:
    """What comes after it flows; it is tried again until it is taken."""
    busy = [4]

    def answer(batch: Sequence[Item]) -> Sequence[Result]:
        results = list(bench.fine(batch))
        for place, item in enumerate(batch):
            if item.id == "slow" and busy[0]:
                busy[0] -= 1
                results[place] = Refused("slow", "throttled", "", retryable=True)
        return results

    bench.answer = answer
    bench.put("a", "slow", "b")
    bench.worker.turn(hurry=True)
    assert bench.delivered == ["a", "b"]
    bench.put("c")
    bench.worker.turn(hurry=True)
    assert bench.delivered == ["a", "b", "c"]
    bench.run()
    assert bench.delivered == ["a", "b", "c", "slow"]
    bench.check()


def test_b8_a_revoked_key_pauses_says_so_once_and_resumes(bench: Bench) -> None:
    """Nothing is lost, and the server is asked a few times a minute at most."""

    def revoked(_batch: Sequence[Item]) -> Sequence[Result]:
        raise refusal(401, "key_revoked")

    bench.answer = revoked
    bench.put(*(f"e{number}" for number in range(300)))
    bench.run(seconds=600)
    assert len(bench.notices) == 1
    assert bench.counters.paused == "key_revoked"
    assert len(bench.sent) <= 60
    bench.check()
    bench.answer = bench.fine
    bench.run(seconds=60)
    assert len(bench.delivered) == 300
    assert len(bench.notices) == 2
    assert bench.counters.paused is None
    bench.check()


def test_a_log_that_is_refused_holds_its_own_events_only(bench: Bench) -> None:
    """Another log's events are delivered meanwhile."""

    def answer(batch: Sequence[Item]) -> Sequence[Result]:
        if batch[0].log_id == "secret":
            raise refusal(403, "permission_denied")
        return bench.fine(batch)

    bench.answer = answer
    bench.put("s1", "s2", log_id="secret")
    bench.put("m1", log_id="main")
    bench.run(seconds=120)
    assert bench.delivered == ["m1"]
    bench.check()
    bench.answer = bench.fine
    bench.run(seconds=60)
    assert bench.delivered == ["m1", "s1", "s2"]


def test_b9_an_hours_outage_is_survived_with_a_few_tries_a_minute(bench: Bench) -> None:
    """And everything is delivered within a minute of its end."""

    def down(_batch: Sequence[Item]) -> Sequence[Result]:
        raise ConnectError("No connection.")

    bench.answer = down
    bench.put(*(f"e{number}" for number in range(1000)))
    bench.run(seconds=3600)
    assert 60 <= len(bench.sent) <= 120
    bench.answer = bench.fine
    bench.run(seconds=60)
    assert len(bench.delivered) == 1000
    bench.check()


def test_the_servers_wish_to_wait_is_not_cut_short_by_a_flush(bench: Bench) -> None:
    """A backoff of ours is."""
    waits = iter([30.0, None])

    def busy(_batch: Sequence[Item]) -> Sequence[Result]:
        raise ConnectError("busy", retry_after=next(waits))

    bench.answer = busy
    bench.put("a")
    for expected in (1, 1, 2, 3):
        bench.worker.hurry()
        if len(bench.sent) == 1 and expected == 2:
            bench.now += 30
        if expected == 3:
            bench.answer = bench.fine
        bench.worker.turn(hurry=True)
        assert len(bench.sent) == expected


def test_what_hooks_and_send_raise_ends_nothing(bench: Bench) -> None:
    """It is counted."""

    def broken(_batch: Sequence[Item]) -> Sequence[Result]:
        raise KeyError("a fault of ours")

    bench.answer = broken
    bench.put("a")
    bench.run(seconds=1)
    assert bench.memory.pending() == 1
    bench.answer = bench.fine
    bench.worker._on_delivered = lambda _: 1 / 0
    bench.run(seconds=60)
    stats = bench.counters.stats(accepted=1, pending=0, spool_bytes=0)
    assert (stats.delivered, stats.hook_failures) == (1, 1)


def test_b6_memory_is_bounded_and_drops_the_oldest_that_is_not_on_its_way() -> None:
    """What does not fit is told, not taken."""

    def finish(raw: Raw) -> Item:
        return Item(raw.key, raw.id, raw.log_id, raw.data)

    memory = Memory(finish, 3)
    for name in "abc":
        assert memory.put(name, None, b"{}", 0, 0.0) is not None
    assert memory.put("d", None, b"{}", 0, 0.0) is None
    [first] = memory.take(Limits(events=1), (), ())
    assert first.id == "a"
    assert memory.drop_oldest() == "b"
    assert memory.put("d", None, b"{}", 0, 0.0) is not None
    memory.release([first])
    batch = memory.take(Limits(), (), ())
    assert [item.id for item in batch] == ["a", "c", "d"]
    assert memory.drop_oldest() is None
    assert memory.oldest() == first.key
    memory.settle(batch)
    assert (memory.oldest(), memory.pending(), memory._bytes) == (None, 0, 0)
