"""One stored event against its entry: what a check of a database says about a row of `events`.

Rules:
- The body must be JCS, and hash to the entry's `fields_hash`: with the seed, or, once it was
  redacted, with `salts` and `redactions` (integrity: the field set is exactly both together).
- The entry must be the one that the row's columns make; only the client's signature is taken from
  the entry itself. `sent_at` is in no hash: nothing can be said about it.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson

from .commitments import (
    Prepared,
    decode_seed,
    entry,
    fields_hash,
    jcs,
    prepare,
)
from .store import micros
from .store.records import unpacked

EMPTY = frozenset({b"null", b"{}", b"[]"})  # what a redaction may leave behind
NEVER_REDACTED = frozenset({b'["id"]', b'["action"]'})
_FIELDS = b"trailseal/fields/v1\n"
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, OverflowError)


def faults(log_id: str, row: Any) -> list[str]:
    """What is wrong with a row, but for its leaf hash; empty if nothing is."""
    found: list[str] = []
    for part in (_body_faults, _column_faults):
        try:
            found += part(log_id, row)
        except _UNREADABLE:
            found.append("body, seed or entry cannot be read")
    return list(dict.fromkeys(found))


def _body_faults(_log_id: str, row: Any) -> Iterator[str]:
    prepared = prepare(orjson.loads(row.body))
    if prepared.body != row.body:
        yield "the body is not canonical JSON"
    if row.seed is not None:
        committed = fields_hash(prepared, decode_seed(row.seed))
    else:
        salts, redactions = orjson.loads(row.salts), orjson.loads(unpacked(row.redactions))
        committed = redacted_fields_hash(prepared, salts, redactions)
    if committed != orjson.loads(row.entry)["fields_hash"]:
        yield "the body with its salts is not what the entry commits to"


def _column_faults(log_id: str, row: Any) -> Iterator[str]:
    stored, event = orjson.loads(row.entry), orjson.loads(row.body)
    rebuilt = entry(
        log_id=log_id,
        event_id=row.event_id,
        received_at=micros.text(row.received_at),
        ingested_by=row.ingested_by,
        committed=stored["fields_hash"],
        channel_id=row.channel_id,
        imported=row.imported,
        signature=stored.get("signature"),
    )
    if rebuilt != row.entry or event["id"] != row.event_id:
        yield "the entry is not that of the row's columns"
    told = event.get("occurred_at")
    if row.seed is not None and row.occurred_at != (None if told is None else micros.parse(told)):
        yield "occurred_at is not that of the body"


def redacted_fields_hash(prepared: Prepared, salts: list[Any], redactions: list[Any]) -> str:
    """The commitment to an event of which fields were redacted, in hex; ValueError where its
    values are not exactly those that have salts."""
    kept = {jcs(path): salt.encode() for path, salt in salts}
    hidden = {jcs(each["path"]): bytes.fromhex(each["hash"]) for each in redactions}
    if len({*kept, *hidden}) != len(salts) + len(redactions) or hidden.keys() & NEVER_REDACTED:
        raise ValueError("a path occurs twice, or must not be redacted")
    above = {jcs(each["path"][:n]) for each in redactions for n in range(1, len(each["path"]) + 1)}
    hashes = dict(hidden)
    for path, value in zip(prepared.paths, prepared.values, strict=True):
        salt = kept.pop(path, None)
        if salt is not None:
            hashes[path] = sha256(b'["%b",%b,%b]' % (salt, path, value)).digest()
        elif value not in EMPTY or path not in above:
            raise ValueError("a value has no salt")
    if kept:
        raise ValueError("a salt has no value")
    return sha256(_FIELDS + b"".join(hashes[path] for path in sorted(hashes))).hexdigest()
