"""Erasing a data subject: a long operation that redacts every event of a log that names it.

Rules:
- Taken out of an event that names the subject in `subjects`: that mention, `actor` below its `id`,
  `context`, `before`, `after`, `message`, `data` (which is all that a schema describes), resources
  whose id is the subject's, and any other value that is exactly the subject's id, `actor.id` too.
  `id`, `action`, `schema` and `amends` stay.
- A part at a time, each a transaction that holds the log's lock and looks for legal holds; the part
  and the count of what is done are one. An event that also names a subject under hold stops it all.
- When no event names the subject any more: exports that may hold the fields are ended, stored
  searches that name the subject are forgotten, the log tells of the erasure, and the bytes are made
  to go (purge.py). Only then has it succeeded.
- The subject's id lies in the job's `content`, which goes before the bytes, or when the job ends
  otherwise.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from .auth import Caller
from .commitments import jcs
from .exports import Exports
from .operations import erasure, show
from .problems import Problem
from .redaction import Choose, Path, Reason
from .removals import PREFIX, SCHEMA_AND_AMENDS, locked, remove, subjects, tell
from .store import Connection, holds, jobs, listings, matching, micros, purge, reads
from .store import searches as stored_searches
from .store.jobs import JobRow
from .store.logs import LogRow
from .store.pages import Reader
from .store.records import EventRow
from .store.search import All, Tokens
from .store.selections import Selection, find_log
from .store.terms import exact_token
from .worker import LaterError, Lease, LostError, Worker

POLICY = "erasure"
CHUNK = 200  # events in one transaction: some tenths of a second of the log's lock
KEPT = 3650 * 86_400 * 1_000_000  # microseconds: the proof that a request was met outlives it
PURGE_LEASE = 3600 * 1_000_000  # microseconds: some hundred GB are written anew in that time
WHOLE = frozenset({"context", "before", "after", "message", "data"})


class Erasures:
    """The erasures of one database; `worker` does them."""

    def __init__(self, reader: Reader, exports: Exports) -> None:
        self._reader = reader
        self._store = reader.store
        self._exports = exports
        self.worker = Worker(reader.store, jobs.ERASURE, self._do)

    def create(self, caller: Caller, log_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Queue an `ErasureInput` and answer its `Operation`; raises `Problem("legal_hold")`."""
        with self._store.write() as connection:
            log, held = locked(connection, log_id)
            _refuse(connection, log, held, given["subject"])
            values = {
                "log_id": log_id,
                "request": orjson.dumps({"reason": given["reason"]}),
                "content": orjson.dumps(given["subject"]),
                "expires_at": micros.now() + KEPT,
            }
            row = jobs.create(connection, jobs.ERASURE, caller, values)
        self.worker.wake()
        return show(row)

    def get(self, caller: Caller, erasure_id: str) -> dict[str, Any]:
        """The `Erasure`; raises `Problem("erasure_not_found")`."""
        missing = Problem("erasure_not_found", "There is no such erasure")
        with self._store.read() as connection:
            try:
                row = jobs.find(connection, caller, erasure_id)
            except Problem:
                raise missing from None
            if row.kind != jobs.ERASURE:
                raise missing
            return erasure(row, _subject(connection, row))

    def page(self, log_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """A page of the log's erasures."""

        def shown(row: JobRow) -> dict[str, Any]:
            return erasure(row, orjson.loads(row.content) if row.content else None)

        return listings.erasure_page(self._reader, params, log_id, shown)

    def _do(self, lease: Lease) -> None:
        with self._store.read() as connection:
            done = jobs.noted(connection, lease.row)
        if "gone" not in done:  # else an earlier worker was at the end
            done = self._erase(lease, done)
        self._exports.remove_files(done["gone"])
        self._hold_on(lease, done)
        if not purge.vacuum(self._store):
            raise LaterError  # a reader kept old pages: the next try does this part alone
        result = {name: done[name] for name in ("events", "exports")}
        lease.succeed({**result, "completed_at": micros.text(micros.now())}, done["events"])

    def _hold_on(self, lease: Lease, done: Mapping[str, Any]) -> None:
        """Keep the job for as long as it takes: nothing can be written beside a VACUUM."""
        until = micros.now() + PURGE_LEASE
        with self._store.write() as connection:
            if not jobs.note(connection, lease.row, lease.worker, done, lease_until=until):
                raise LostError

    def _erase(self, lease: Lease, before: Mapping[str, Any]) -> dict[str, Any]:
        row = lease.row
        done = {"events": 0, "first": None, "last": None, "low": 0, **before}
        with self._store.read() as connection:
            subject = _subject(connection, row)
            log = find_log(connection, row.log_id)
            left, exact = matching.count(connection, _naming(log, subject))
        total = done["events"] + left if exact else None
        while True:
            lease.report(done["events"], total)
            following = self._part(lease, subject, done)
            if following is None:
                return self._end(lease, subject, done)
            done = following

    def _part(self, lease: Lease, subject: str, done: dict[str, Any]) -> dict[str, Any] | None:
        """Redact the next events; what is done then, or None when there were none."""
        row = lease.row
        reason = Reason(POLICY, orjson.loads(row.request)["reason"])
        with self._store.write() as connection:
            log, held = locked(connection, row.log_id)
            naming = _naming(log, subject).within(done["low"], log.size)
            indexes = reads.indexes_in_order(connection, naming, "asc", CHUNK)
            if not indexes:
                return None
            found = reads.rows_at(connection, log.log_id, indexes)
            found = [each for each in found if subject in subjects(each)]
            for each in found:
                held.refuse(subjects(each))
            chosen = [(each, chooser(each, subject)) for each in found]
            count = remove(connection, log, chosen, reason)
            first = indexes[0] if done["first"] is None else done["first"]
            done = {
                "events": done["events"] + count,
                "first": first,
                "last": indexes[-1],
                "low": indexes[-1] + 1,
            }
            if not jobs.note(connection, row, lease.worker, done):
                raise LostError
        return done

    def _end(self, lease: Lease, subject: str, done: dict[str, Any]) -> dict[str, Any]:
        """What lies beside the events; `gone` are the exports whose files must go."""
        row = lease.row
        gone: list[str] = []
        with self._store.write() as connection:
            log, _ = locked(connection, row.log_id)
            if done["first"] is not None:
                gone = jobs.forget_exports(connection, log.log_id, done["first"], done["last"])
            stored_searches.forget(connection, log.log_id, subject)
            holds.forget(connection, log.log_id, subject)
            done = {**done, "exports": len(gone), "gone": gone}
            if not jobs.note(connection, row, lease.worker, done, content=None):
                raise LostError
            tell(connection, log, row.key_id, {
                "id": f"{row.operation_id}:erased",
                "action": f"{PREFIX}subject.erased",
                "resources": [{"id": row.operation_id, "type": "erasure"}],
                "reason": {"message": orjson.loads(row.request)["reason"]},
                "data": {"events": done["events"], "exports": len(gone)},
            })  # fmt: skip
        return done


def chooser(row: EventRow, subject: str) -> Choose:
    """What is to go from an event that names the subject."""
    event, exactly = orjson.loads(row.body), jcs(subject)
    resources = event.get("resources") or []
    its = {
        at
        for at, each in enumerate(resources)
        if isinstance(each, dict) and each.get("id") == subject
    }

    def choose(path: Path, value: bytes) -> bool:
        member = path[0]
        if member in SCHEMA_AND_AMENDS:
            return False
        if member in WHOLE or value == exactly:
            return True
        if member == "actor":
            return path != ["actor", "id"]
        return member == "resources" and len(path) > 1 and path[1] in its

    return choose


def _naming(log: LogRow, subject: str) -> Selection:
    """The events of a log that name the subject, as far as the terms index can tell."""
    return Selection(log, 0, log.size, match=Tokens((exact_token("subject", subject),)))


def _subject(connection: Connection, row: JobRow) -> str:
    found = orjson.loads(jobs.content(connection, row))
    return found if isinstance(found, str) else ""


def _refuse(connection: Connection, log: LogRow, held: holds.Held, subject: str) -> None:
    """Raises `Problem("legal_hold")` for a subject some of whose events are held."""
    held.refuse([subject])
    naming = exact_token("subject", subject)
    for other in held.subjects:
        both = _both(log, naming, exact_token("subject", other))
        if reads.indexes_in_order(connection, both, "desc", 1):
            held.refuse([other])


def _both(log: LogRow, one: str, other: str) -> Selection:
    return Selection(log, 0, log.size, match=All((Tokens((one,)), Tokens((other,)))))
