"""Operations that write: batches and uploads across crashes, and the bounds of a file."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from trailseal_server import upload_lines
from trailseal_server.auth import Caller
from trailseal_server.batches import Batches
from trailseal_server.channels import Route
from trailseal_server.ingest import Ingest
from trailseal_server.operations import Operations
from trailseal_server.problems import Problem
from trailseal_server.store import Store, jobs
from trailseal_server.store.schema import operations

CALLER = Caller("key_test", None, "main", frozenset({"admin"}))


@pytest.fixture
def ingest(store: Store) -> Iterator[Ingest]:
    """The write side, running."""
    ingest = Ingest(store, lambda _: ())
    ingest.start()
    yield ingest
    ingest.stop(5)


def _batches(store: Store, ingest: Ingest) -> Batches:
    return Batches(store, ingest, lambda _: ())


def _create(batches: Batches, *events: Any, atomic: bool = False) -> str:
    found = batches.create(Route(CALLER), list(events), atomic=atomic, sent_at=None)
    operation_id: str = found["operation_id"]
    return operation_id


def _show(store: Store, operation_id: str) -> Any:
    return orjson.loads(orjson.dumps(Operations(store).get(CALLER, operation_id)))


@pytest.mark.row("P-30")
def test_an_accepted_batch_is_logged_after_a_restart(store: Store, ingest: Ingest) -> None:
    """It is on disk before anybody is told; another process takes it up, and its copy goes."""
    operation_id = _create(_batches(store, ingest), {"action": "x"}, {"action": "y"})
    assert _show(store, operation_id)["state"] == "pending"
    restarted = _batches(store, ingest)
    assert restarted.worker.work()
    assert _show(store, operation_id)["batch"]["created"] == 2
    with store.read() as connection:
        assert connection.execute(operations.select()).one().content is None


def test_a_batch_that_is_done_twice_stores_nothing_twice(
    store: Store, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that died between storing and saying so: the next one finds duplicates."""
    batches = _batches(store, ingest)
    operation_id = _create(batches, {"action": "x"}, {"action": "y"})
    with monkeypatch.context() as dying:
        dying.setattr(jobs, "LEASE", -1)
        dying.setattr(jobs, "finish", lambda *_, **__: False)
        batches.worker.work()
    assert _batches(store, ingest).worker.work()
    batch = _show(store, operation_id)["batch"]
    assert (batch["created"], batch["duplicate"]) == (0, 2)


def test_a_batch_waits_for_a_server_that_cannot_write(store: Store, ingest: Ingest) -> None:
    """It is not failed, however often it is tried: it goes back to the queue."""
    closed = Ingest(store, lambda _: ())
    operation_id = _create(_batches(store, closed), {"action": "x"})
    for _ in range(2 * jobs.MAX_ATTEMPTS):
        assert not _batches(store, closed).worker.work()
    assert _show(store, operation_id)["state"] == "pending"
    assert _batches(store, ingest).worker.work()
    assert _show(store, operation_id)["batch"]["created"] == 1


def test_a_cancelled_batch_is_not_written(store: Store, ingest: Ingest) -> None:
    """Nothing is logged, and its events are gone."""
    batches = _batches(store, ingest)
    operation_id = _create(batches, {"action": "x"})
    assert Operations(store).cancel(CALLER, operation_id)["state"] == "cancelled"
    assert not batches.worker.work()


def test_the_queue_is_bounded(
    store: Store, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its limit a batch is refused, with a time to come back."""
    monkeypatch.setattr(jobs, "MAX_WAITING", 2)
    batches = _batches(store, ingest)
    for _ in range(2):
        _create(batches, {"action": "x"})
    with pytest.raises(Problem) as caught:
        _create(batches, {"action": "x"})
    assert (caught.value.code, caught.value.retry_after) == ("unavailable", jobs.RETRY_AFTER_S)


def test_a_file_is_read_in_bounded_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks by count and by bytes; a line too long is one problem, and reading goes on."""
    monkeypatch.setattr(upload_lines, "CHUNK_EVENTS", 3)
    monkeypatch.setattr(upload_lines, "MAX_LINE", 32)
    path = tmp_path / "file"
    path.write_bytes(b'{"n":1}\r\n\n' + b"x" * 100 + b'\n{"n":2}\n{"n":3}\n"x"\n{"n":4}')
    found = list(upload_lines.chunks(path, packed=False))
    told = [[p.code if isinstance(p, Problem) else p["n"] for p in chunk] for chunk in found]
    assert told == [[1, "event_too_large", 2], [3, "field_type", 4]]


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it unpacks to is counted, whether it is one line or many."""
    monkeypatch.setattr(upload_lines, "MAX_PLAIN_BYTES", 100_000)
    monkeypatch.setattr(upload_lines, "MAX_LINE", 1000)
    for plain in (b" " * 1_000_000, b"\n" * 1_000_000):
        path = tmp_path / "bomb"
        path.write_bytes(gzip.compress(plain))
        with pytest.raises(Problem) as caught:
            list(upload_lines.chunks(path, packed=True))
        assert caught.value.code == "body_too_large"
