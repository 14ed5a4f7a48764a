"""Batches: written at once, or kept and written later by an operation of kind `batch`.

Rules:
- A batch that is accepted for later is in the database before anybody is told so, with the route
  that was granted to it (channels.py); its events leave that place when the operation ends.
- A job may be done twice, when its worker died half-way: an event without an id gets one made of
  the operation's and its position, so that the second time finds duplicates.
- A busy database or a full disk is no reason to fail: the job waits for its turn to come.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import orjson

from . import prepare
from .channels import Route
from .failures import problem_of
from .ingest import Ingest
from .operations import show
from .prepare import Event, Validate
from .problems import Problem
from .results import ItemResult
from .store import Connection, Store, jobs
from .targets import open_log, target_of
from .worker import LaterError, Lease, Worker

WRITE_DEADLINE_S = 60.0  # for one batch to be on disk; it takes milliseconds
LATER = frozenset({"unavailable", "storage_full"})  # what the server, and not the batch, must mend


class Batches:
    """The batches of one database; `start()` runs the worker, `stop()` ends it."""

    def __init__(self, store: Store, ingest: Ingest, validate: Validate) -> None:
        self._store = store
        self._ingest = ingest
        self._validate = validate
        self.worker = Worker(store, "batch", self._do)

    def submit(
        self,
        route: Route,
        events: Sequence[Event | Problem],
        *,
        atomic: bool = False,
        sent_at: int | None = None,
        vendor: str | None = None,
    ) -> "Future[list[ItemResult]]":
        """Write a batch along its route; the future answers when it is on disk, as
        `Ingest.submit` says."""
        return self._ingest.submit(
            route.caller,
            route.admit(events, vendor),
            log_id=route.log_id,
            atomic=atomic,
            channel_id=route.channel_id,
            sent_at=sent_at,
            imported=route.imported,
        )

    def create(
        self, route: Route, events: Sequence[Event], *, atomic: bool, sent_at: int | None
    ) -> dict[str, Any]:
        """Keep a batch and answer its `Operation`; raises `Problem` if no event has a log."""
        job = {"route": route.as_json(), "atomic": atomic, "sent_at": sent_at}
        with self._store.write() as connection:
            values = {
                "log_id": _home(connection, route, events),
                "request": orjson.dumps(job),
                "content": orjson.dumps(events),
            }
            row = jobs.create(connection, "batch", route.caller, values)
        self.worker.wake()
        return show(row)

    def write(
        self, route: Route, events: Sequence[Event | Problem], **options: Any
    ) -> list[ItemResult]:
        """Write a part of a job, and wait; raises LaterError if it must be tried again."""
        try:
            return self.submit(route, events, **options).result(WRITE_DEADLINE_S)
        except TimeoutError:
            raise LaterError from None
        except Exception as error:
            if problem_of(error).code in LATER:
                raise LaterError from error
            raise

    def named(self, event: Event, event_id: str, at: str) -> Event | Problem:
        """The event with an id. A checksum is over the event as it was sent, hence checked here."""
        if "id" in event:
            return event
        if "checksum" in event:
            try:
                prepare.draft(event, self._validate, prepare.Origin(""), at)
            except Problem as problem:
                return problem
        return {**{k: v for k, v in event.items() if k != "checksum"}, "id": event_id}

    def _do(self, lease: Lease) -> None:
        row = lease.row
        job = orjson.loads(row.request)
        with self._store.read() as connection:
            events = orjson.loads(jobs.content(connection, row))
        lease.report(0, len(events))
        named = [
            self.named(event, f"{row.operation_id}:{at}", f"/events/{at}")
            for at, event in enumerate(events)
        ]
        options = {"atomic": job["atomic"], "sent_at": job["sent_at"]}
        items = self.write(Route.from_json(job["route"]), named, **options)
        lease.succeed(result(items), len(items))


def result(items: Sequence[ItemResult]) -> dict[str, Any]:
    """The contract's `BatchResult`."""
    states = [item.status for item in items]
    counts = {state: states.count(state) for state in ("created", "duplicate", "failed")}
    return {"results": [show_item(item) for item in items], **counts}


def show_item(item: ItemResult) -> dict[str, Any]:
    """The contract's `BatchItem`."""
    body: dict[str, Any] = {"position": item.position, "status": item.status}
    if item.event_id is not None:
        body["id"] = item.event_id
    if item.receipt is not None:
        return {**body, "receipt": item.receipt}
    error = reason(item)
    why = {"code": error.code, "message": error.detail, "retryable": error.retryable}
    return {**body, "error": {**why, "errors": [each.as_json() for each in error.errors]}}


def reason(item: ItemResult) -> Problem:
    """Why an event failed."""
    return item.error or Problem("internal_failure", "The event was not stored; send it again")


def check_quota(items: Sequence[ItemResult]) -> Sequence[ItemResult]:
    """The items; raises `Problem("quota_exceeded")` if none failed or passed for another reason."""
    first = reason(items[0]) if items and items[0].status == "failed" else None
    if first and all(item.error and item.error.code == "quota_exceeded" for item in items):
        raise first
    return items


def _home(connection: Connection, route: Route, events: Sequence[Event]) -> str:
    """The log that the operation belongs to: the one of the first event that has one."""
    why = Problem("log_required", "No event of the batch names a log")
    for event in events:
        try:
            target = target_of(route.caller, route.log_id, event.get("tenant_id"))
            return open_log(connection, route.caller, target)
        except Problem as problem:
            why = problem
    raise why
