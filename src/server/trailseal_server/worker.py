"""Workers of long operations: one thread for each kind, one job at a time, under a lease.

Rules:
- A job is a row (store/jobs.py): it outlives the server and is shared by its processes. A job whose
  worker died is claimed again and begins anew, so doing one twice must be the same as once.
- Whoever does a job reports as it goes; reporting renews the lease and raises `LostError` when the
  job was cancelled or taken over, or the server stops: it is put down then.
- A job goes back to the queue, for a pause of at most a minute, where the server itself cannot go
  on (`LaterError`) or the disk is full: as often as it takes, since what was accepted waits. So it
  does where the database is busy or away, but after an hour of that each time costs an attempt.
- Every other error fails the job, and is logged without any content of an event.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import orjson

from .background import Background
from .failures import account, problem_of
from .problems import Problem
from .store import Store, jobs
from .store.jobs import JobRow

POLL_S = 1.0  # between looks for jobs that other processes queued
SWEEP_S = 60.0  # between looks for jobs past their time

_PASSING = {"unavailable": "the database is busy or away", "storage_full": "the disk is full"}
_log = logging.getLogger("trailseal.server")


class LostError(Exception):
    """The job is no longer this worker's: cancelled, expired, claimed by another, or stopping."""


class LaterError(Exception):
    """The job cannot go on now; it goes back to the queue."""


class Lease:
    """A claimed job, as whoever does it sees it; `worker` is a name of no other lease's holder."""

    def __init__(self, store: Store, row: JobRow, worker: str, stopping: threading.Event) -> None:
        self.row = row
        self.worker = worker
        self._store = store
        self._stopping = stopping

    def report(self, done: int, total: int | None = None) -> None:
        """Say how many events are done, of how many if it is known; raises LostError."""
        if self._stopping.is_set() or not jobs.progress(
            self._store, self.row, self.worker, done, total
        ):
            raise LostError

    def succeed(self, result: dict[str, Any], done: int) -> None:
        """End the job with its result; raises LostError."""
        progress = orjson.dumps({"done": done, "total": done})
        values = {"result": orjson.dumps(result), "progress": progress}
        if not jobs.finish(self._store, self.row, self.worker, "succeeded", **values):
            raise LostError

    def pause(self, seconds: float) -> None:
        """Wait; raises LostError when the server stops."""
        if self._stopping.wait(seconds):
            raise LostError


class Worker(Background):
    """Does the jobs of one kind with `do`; `forget` removes what an expired one left, `tidy` runs
    with every sweep."""

    def __init__(
        self,
        store: Store,
        kind: str,
        do: Callable[[Lease], None],
        forget: Callable[[str], object] = lambda _operation_id: None,
        tidy: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(f"{kind}s", POLL_S)
        self._store = store
        self._kind = kind
        self._do = do
        self._forget = forget
        self._tidy = tidy
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._swept = -SWEEP_S
        self._back: tuple[JobRow, bool] | None = None  # to be given back; for nothing?

    def work(self) -> bool:
        """Claim one job and do it; False if there was none, or none can be done now."""
        if self._back is not None:  # before anything else: its lease would run out
            self._give_back()
        row = jobs.claim(self._store, self._kind, self._name)
        if row is None:
            return False
        try:
            self._do(Lease(self._store, row, self._name, self._stopping))
        except LostError:
            if self._stopping.is_set():
                jobs.finish(self._store, row, self._name, "pending")
        except LaterError as error:
            return self._defer(row, str(error) or "the server cannot go on", free=True)
        except Exception as error:  # noqa: BLE001 - whatever it was, the job's owner must learn of it
            found = problem_of(error).code
            if found in _PASSING:
                return self._defer(row, _PASSING[found], free=found == "storage_full")
            self._fail(row, error)
        return True

    def _defer(self, row: JobRow, reason: str, *, free: bool) -> Literal[False]:
        _log.warning("%s %s waits: %s", self._kind, row.operation_id, reason)
        self._back = row, free
        self._give_back()
        return False

    def _give_back(self) -> None:
        """Give the job back; where that fails too, it is done before the next claim."""
        if self._back is not None:
            row, free = self._back
            jobs.defer(self._store, row, self._name, free=free)
            self._back = None

    def sweep(self) -> None:
        """Forget the jobs past their time."""
        for operation_id in jobs.expire(self._store, self._kind):
            self._forget(operation_id)
        self._tidy()

    def _round(self) -> bool:
        if time.monotonic() - self._swept >= SWEEP_S:
            self._swept = time.monotonic()
            self._attempt(self.sweep, "a sweep")  # what cannot be swept stops no job
        return self.work()

    def _fail(self, row: JobRow, error: Exception) -> None:
        failed = f"The {self._kind} failed on the server: create it again"
        problem = error if isinstance(error, Problem) else Problem("operation_failed", failed)
        if problem is not error:
            _log.error("%s %s failed\n%s", self._kind, row.operation_id, account(error))
        body = orjson.dumps(problem.as_json(request_id=row.operation_id))
        jobs.finish(self._store, row, self._name, "failed", error=body)
