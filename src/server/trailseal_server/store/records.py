"""Stored rows as they are read: `EventRecord`, and what opens an event's commitments.

A record is the event's stored bytes with the server's fields behind them. It is never parsed and
written again: numbers and times stay as they were sent. Redactions are stored deflated where that
is shorter: after retention they are nearly all that is left of an event.
"""

import zlib
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Row

from ..redaction import Content
from . import micros
from .logs import LogRow

EventRow: TypeAlias = Row[Any]

# What retention writes into a redaction. In the text of a member its quotes would be escaped.
RETENTION = "retention"
RETAINED = b'"policy":"%b"' % RETENTION.encode()


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
        "redactions": None,
    }
    if row.redactions is not None:
        redactions = unpacked(row.redactions)
        server["redactions"] = orjson.Fragment(redactions)
        server["expired"] = True if RETAINED in redactions else None
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
        "redactions": orjson.Fragment(unpacked(row.redactions)),
    }


def content_of(row: EventRow) -> Content:
    """What a log holds of an event."""
    redactions = None if row.redactions is None else unpacked(row.redactions)
    return Content(row.body, row.seed, row.salts, redactions)


def packed(redactions: bytes) -> bytes:
    """Redactions as they are stored."""
    deflated = zlib.compress(redactions)
    return deflated if len(deflated) < len(redactions) else redactions


def unpacked(stored: bytes | None) -> bytes:
    """Redactions as JSON; raises ValueError for what is damaged."""
    if not stored or stored[:1] == b"[":
        return stored or b"[]"
    try:
        return zlib.decompress(stored)
    except zlib.error as error:
        raise ValueError("redactions cannot be read") from error
