"""Operations that write: batches and uploads across crashes, and the bounds of a file."""

import errno
import gzip
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy.exc import OperationalError
from trailseal_server import upload_lines
from trailseal_server.auth import Caller
from trailseal_server.batches import Batches
from trailseal_server.channels import Route
from trailseal_server.ingest import Ingest
from trailseal_server.operations import Operations
from trailseal_server.problems import Problem
from trailseal_server.store import Store, jobs, micros
from trailseal_server.store.schema import operations
from trailseal_server.worker import Lease, Worker

WAIT_S = 20.0
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


def test_a_batch_waits_for_a_server_that_cannot_write(
    store: Store, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not failed, however often it is tried: it goes back to the queue."""
    monkeypatch.setattr(jobs, "FIRST_PAUSE", -1)
    closed = Ingest(store, lambda _: ())
    operation_id = _create(_batches(store, closed), {"action": "x"})
    for _ in range(2 * jobs.MAX_ATTEMPTS):
        assert not _batches(store, closed).worker.work()
    assert _show(store, operation_id)["state"] == "pending"
    assert _batches(store, ingest).worker.work()
    assert _show(store, operation_id)["batch"]["created"] == 1


def _export(store: Store) -> None:
    with store.write() as connection:
        values = {"log_id": "main", "request": b'{"format":"jsonl","compression":"none"}'}
        jobs.create(connection, jobs.EXPORT, CALLER, values)


def _failing(store: Store, error: Exception) -> Worker:
    def fail(_lease: Lease) -> None:
        raise error

    return Worker(store, jobs.EXPORT, fail)


_BUSY = OperationalError("", None, sqlite3.OperationalError("database is locked"))
_FULL = OSError(errno.ENOSPC, "No space left on device")


def _state(store: Store) -> Any:
    with store.read() as connection:
        return connection.execute(operations.select()).one()


@pytest.mark.parametrize("error", [_BUSY, _FULL])
def test_a_job_waits_longer_each_time(store: Store, error: Exception) -> None:
    """A busy database and a full disk fail no job; it is claimed again after a pause, which
    doubles up to a minute."""
    _export(store)
    worker, pauses = _failing(store, error), []
    for _ in range(8):
        before = micros.now()
        assert not worker.work()
        row = _state(store)
        assert row.state == "pending"
        pauses.append(round((row.lease_until - before) / 1e6))
        assert jobs.claim(store, jobs.EXPORT, "early") is None
        with store.write() as connection:
            connection.execute(operations.update().values(lease_until=0))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_database_that_is_always_busy_fails_a_job_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `MAX_DEFERRED` times each costs an attempt; a full disk never does."""
    monkeypatch.setattr(jobs, "FIRST_PAUSE", -1)
    monkeypatch.setattr(jobs, "MAX_DEFERRED", 3)
    _export(store)
    full, busy = _failing(store, _FULL), _failing(store, _BUSY)
    for _ in range(3 * jobs.MAX_ATTEMPTS):
        full.work()
    for _ in range(jobs.MAX_ATTEMPTS):
        assert _state(store).state == "pending"
        busy.work()
    busy.work()
    assert _state(store).state == "failed"


def test_a_job_is_given_back_once_the_database_answers_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even that fails it is tried again, before the lease runs out and costs an attempt."""
    monkeypatch.setattr(jobs, "FIRST_PAUSE", -1)
    _export(store)
    worker, given = _failing(store, _BUSY), jobs.defer

    def away(*_: Any, **__: Any) -> bool:
        raise _BUSY

    monkeypatch.setattr(jobs, "defer", away)
    with pytest.raises(OperationalError):
        worker.work()
    assert _state(store).state == "running"
    monkeypatch.setattr(jobs, "defer", given)
    worker.work()
    row = _state(store)
    assert (row.state, orjson.loads(row.progress)["deferred"]) == ("pending", 2)


def test_v17_a_failed_job_is_logged_without_content(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Its id, its traceback, and the types of its errors: what they say may be an event's."""
    _export(store)
    assert _failing(store, ValueError("card 4111")).work()
    row = _state(store)
    assert row.state == "failed"
    assert row.operation_id in caplog.text
    assert "in fail" in caplog.text
    assert "builtins.ValueError" in caplog.text
    assert "4111" not in caplog.text
    assert b"4111" not in row.error


def test_what_cannot_be_swept_stops_no_job_and_is_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep that fails is in the log, and the worker goes on."""
    done = threading.Event()

    def tidy() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "exports")

    _export(store)
    worker = Worker(store, jobs.EXPORT, lambda _lease: done.set(), tidy=tidy)
    worker.start()
    assert done.wait(WAIT_S)
    worker.stop(WAIT_S)
    assert "a sweep failed" in caplog.text
    assert "Permission denied" in caplog.text


def test_a_server_that_stops_costs_a_job_no_attempt(store: Store) -> None:
    """However often a server is restarted, its export begins anew."""
    _export(store)
    for _ in range(2 * jobs.MAX_ATTEMPTS):
        row = jobs.claim(store, jobs.EXPORT, "stopping")
        assert row is not None
        assert jobs.finish(store, row, "stopping", "pending")
    assert jobs.claim(store, jobs.EXPORT, "last") is not None


def test_looking_for_jobs_locks_nothing(store: Store) -> None:
    """Workers look each second: where there is no job, they write nothing and wait for nobody."""
    with store.write():
        assert jobs.claim(store, jobs.EXPORT, "idle") is None


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
