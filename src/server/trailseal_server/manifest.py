"""The manifest of an export: what the file holds, and what proves that nothing is missing.

Rules (integrity.md, "Exports"):
- JCS (RFC 8785); the signed note covers the SHA-256 of its exact bytes.
- `filter` and `query` are null exactly where the file holds every event of its index range. Then
  `boundary` holds the compact ranges left of the first leaf and right of the last: with the file's
  leaves they give the checkpoint's root.
- A range of `received_at` adds `start` and `end` as times, and the entries just outside with their
  inclusion proofs (`before`, `after`); null where a bound is open or the log ends.
"""

from collections.abc import Mapping
from typing import Any

from .commitments import jcs
from .store import Connection, micros, reads
from .store.proofs import Prover
from .store.selections import Selection
from .times import TimeRange, time_range

_TIMES = ("start", "end", "last")


def manifest(
    connection: Connection,
    prover: Prover,
    selection: Selection,
    job: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    whole: bool,
) -> bytes:
    """The manifest's bytes; `facts` are the members known once the file is written, `whole` says
    that the file holds all of the selection's index range."""
    body = {
        "v": 1,
        "log_id": job["log_id"],
        "format": job["format"],
        "compression": job["compression"],
        "order": job["order"],
        "filter": None if whole else asked(job),
        "query": job["query"],
        "checkpoint": prover.checkpoint.note if prover.checkpoint else None,
        **facts,
    }
    if whole and facts["count"]:
        left = prover.compact_range(0, selection.low)
        right = prover.compact_range(selection.high, prover.size)
        body["boundary"] = {"left": left, "right": right}
    if whole and _has_times(job):
        times = time_range(job["start"], job["end"], job["last"], clock=job["clock"])
        body |= _outside(connection, prover, selection, times)
    return jcs(body)


def asked(job: Mapping[str, Any]) -> dict[str, Any]:
    """What narrowed the export, as it was asked for."""
    if job["search"] is not None:
        return {"search": job["search"]}
    times = {name: job[name] for name in (*_TIMES, "time_field") if job[name] is not None}
    return {**(job["filter"] or {}), **times}


def _has_times(job: Mapping[str, Any]) -> bool:
    return job["search"] is None and any(job[name] is not None for name in _TIMES)


def _outside(
    connection: Connection, prover: Prover, selection: Selection, times: TimeRange
) -> dict[str, Any]:
    before = None if times.start is None else selection.low - 1
    after = None if times.end is None else selection.high
    return {
        "start": None if times.start is None else micros.text(times.start),
        "end": None if times.end is None else micros.text(times.end),
        "before": _entry(connection, prover, selection, before),
        "after": _entry(connection, prover, selection, after),
    }


def _entry(
    connection: Connection, prover: Prover, selection: Selection, index: int | None
) -> dict[str, Any] | None:
    if index is None or not 0 <= index < prover.size:
        return None
    entry = reads.read_entry(connection, selection.log.log_id, index)
    return {"index": index, "entry": entry.decode(), "hashes": prover.hashes(index)}
