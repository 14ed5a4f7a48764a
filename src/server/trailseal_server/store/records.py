"""Stored rows as they are read: `EventRecord`, and what opens an event's commitments.

A record is the event's stored bytes with the server's fields behind them. It is never parsed and
written again: numbers and times stay as they were sent.
"""

from typing import Any, TypeAlias

import orjson
from sqlalchemy import Row

from . import micros
from .logs import LogRow

EventRow: TypeAlias = Row[Any]


def record(row: EventRow, log: LogRow, proof: dict[str, Any] | None = None) -> bytes:
    """`EventRecord` as JSON; `proof` adds the entry and what opens its commitments."""
    sent = row.sent_at
    server = {
        "log_id": row.log_id,
        "index": row.idx,
        "received_at": micros.text(row.received_at),
        "sent_at": None if sent is None else micros.text(sent),
        "skew_ms": None if sent is None else (row.received_at - sent) // 1000,
        "state": "sealed" if row.idx < log.sealed_size else "pending",
        "leaf_hash": row.leaf_hash.hex(),
        "ingested_by": row.ingested_by,
        "channel_id": row.channel_id,
        "imported": row.imported,
        "redactions": None if row.redactions is None else orjson.Fragment(row.redactions),
    }
    if proof is not None:
        server |= {"entry": row.entry.decode(), **opening(row), "proof": proof or None}
    if b'"signature":{' in row.entry:
        server["signature"] = orjson.loads(row.entry).get("signature")
    given = {name: value for name, value in server.items() if value is not None}
    return bytes(row.body[:-1] + b"," + orjson.dumps(given)[1:])


def opening(row: EventRow) -> dict[str, Any]:
    """What opens an event's commitments: its seed, or the salts and redactions that replaced it."""
    if row.seed is not None:
        return {"seed": row.seed}
    return {
        "salts": orjson.Fragment(row.salts or b"[]"),
        "redactions": orjson.Fragment(row.redactions or b"[]"),
    }
