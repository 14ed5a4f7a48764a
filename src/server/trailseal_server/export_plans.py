"""What an export holds: its request as it is stored, the events it selects, how it is shown.

Rules:
- A stored job has every member (null where nothing was asked): `format compression filter query
  order order_by include_proofs start end last time_field`, `search` (a copy of the stored search's
  request: the export outlives the search), `most` (the search's cap), and the `log_id`,
  `tree_size` and `clock` of the request.
- Events are read in chunks, each in its own transaction.
- `jsonl`, which is to be verified, is always in the order of the log.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from . import export_formats
from .auth import Caller
from .export_formats import EXPORTED, Line
from .problems import Problem
from .store import Connection, Store, jobs, matching, micros, reads, searches, selections, sorts
from .store.checkpoints import CheckpointRow
from .store.compiler import Compiler
from .store.jobs import JobRow
from .store.logs import LogRow
from .store.proofs import Prover
from .store.records import EventRow
from .store.search import Filters
from .store.selections import Order, Selection

CHUNK = 1000  # events read at a time: a few megabytes of usual events
WRITE_BUFFER = 1 << 20  # bytes

Request = Mapping[str, Any]  # `ExportInput`: checked against the contract

_NARROWING = ("filter", "query", "start", "end", "last", "time_field", "order_by")
_DEFAULTS = {"format": "jsonl", "compression": "none", "order": "asc", "include_proofs": True}


def plan(connection: Connection, caller: Caller, log_id: str, request: Request) -> dict[str, Any]:
    """The job of an `ExportInput`; raises `Problem` for what cannot be selected."""
    given = {name: value for name, value in request.items() if value is not None}
    ordered = given.get("order_by", "received_at") != "received_at"
    if ordered and given.get("format", "jsonl") == "jsonl":
        raise Problem(
            "request_invalid", "A jsonl export is in the order of the log: leave order_by out"
        )
    job = {**dict.fromkeys(_NARROWING), **_DEFAULTS, "search": None, "most": None, **given}
    job |= {"log_id": log_id, "clock": micros.now(), "query": (job["query"] or "").strip() or None}
    search_id = job.pop("search_id", None)
    if search_id is not None:
        if any(job[name] is not None for name in _NARROWING):
            raise Problem("request_invalid", "search_id comes without any filter, query or time")
        job |= _of_search(searches.find_search(connection, caller, search_id), given)
    log = selections.find_log(connection, job["log_id"])
    job.setdefault("tree_size", log.size)
    selected(connection, log, job)
    return job


def _of_search(row: Any, given: Request) -> dict[str, Any]:
    stored = orjson.loads(row.request)
    return {
        "search": stored,
        "most": stored.get("max_results", searches.MAX_RESULTS),
        "order": given.get("order") or stored.get("order", "desc"),
        "log_id": row.log_id,
        "tree_size": row.tree_size,
        "clock": row.created_at,
    }


def selected(connection: Connection, log: LogRow, job: Mapping[str, Any]) -> Selection:
    """The events of a job in the log as it is given."""
    if job["search"] is not None:
        found = searches.select_search(connection, log, job["search"], job["clock"])
        return found.by_index() if job["format"] == "jsonl" else found
    times = {name: job[name] for name in ("start", "end", "last", "time_field")}
    filters = Filters.of({**(job["filter"] or {}), **times})
    compiler = Compiler(connection, log.log_id, job["clock"])
    return selections.select_events(
        connection,
        log,
        filters,
        clock=job["clock"],
        extra=[] if job["query"] is None else compiler.query(job["query"]),
        order_by=job["order_by"] or "received_at",
    )


def read_chunks(
    store: Store,
    selection: Selection,
    order: Order,
    checkpoint: CheckpointRow | None = None,
    most: int | None = None,
) -> Iterator[Sequence[Line]]:
    """The selection's rows, up to `CHUNK` at a time; with a checkpoint, each with its proof."""
    left = most
    for rows in _rows(store, selection, order):
        with store.read() as connection:
            prover = None if checkpoint is None else Prover(connection, selection.log, checkpoint)
            lines: list[Line] = [
                (row, None if prover is None else prover.hashes(row.idx)) for row in rows[:left]
            ]
        yield lines
        left = None if left is None else left - len(lines)
        if left == 0:
            return


def _rows(store: Store, selection: Selection, order: Order) -> Iterator[Sequence[EventRow]]:
    keys = None
    if selection.sort is not None:
        with store.read() as connection:
            if not sorts.by_value(connection, selection, order):
                keys = matching.all_places(connection, selection, order)
    if keys is None:
        yield from _found(store, selection, order)
        return
    for at in range(0, len(keys), CHUNK):  # sorted once, not for each chunk
        indexes = [key[-1] for key in keys[at : at + CHUNK]]
        with store.read() as connection:
            yield reads.rows_at(connection, selection.log.log_id, indexes, EXPORTED)


def _found(store: Store, selection: Selection, order: Order) -> Iterator[Sequence[EventRow]]:
    after = None
    while True:  # until the last match: each step is behind the one before
        with store.read() as connection:
            found = matching.read_matches(
                connection, selection, order, CHUNK, after=after, columns=EXPORTED
            )
        yield found.rows
        after = found.after
        if after is None:
            return


def iter_export(
    store: Store, log_id: str, filters: Filters, *, form: str = "jsonl", order: Order = "asc"
) -> Iterator[bytes]:
    """The content of `exportEvents`, of the log as it is now. Bad filters raise `Problem` here, at
    once; what goes wrong later is raised by the iterator: break off the connection then."""
    with store.read() as connection:
        log = selections.find_log(connection, log_id)
        selection = selections.select_events(connection, log, filters, clock=micros.now())
    return export_formats.write(read_chunks(store, selection, order), form)


def write_file(path: Path, pieces: Iterable[bytes]) -> tuple[str, int]:
    """Write and sync a file readable by its owner only; its SHA-256 in hex and its size."""
    digest, size = hashlib.sha256(), 0
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "wb", WRITE_BUFFER) as file:
        for piece in pieces:
            digest.update(piece)
            size += file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def export(row: JobRow) -> dict[str, Any]:
    """The contract's `Export`."""
    job = orjson.loads(row.request)
    result = orjson.loads(row.result) if row.result and jobs.state(row) == "succeeded" else {}
    return {
        "export_id": row.operation_id,
        "log_id": row.log_id,
        "state": jobs.state(row),
        "format": job["format"],
        "compression": job["compression"],
        **jobs.show_progress(row),
        **{name: result[name] for name in ("events", "bytes", "sha256") if name in result},
        "created_at": micros.text(row.created_at),
        "expires_at": micros.text(row.expires_at),
    }
