"""How an export's bytes are written: jsonl, json, csv; plain or gzip.

Rules:
- `jsonl` is the verifiable form: one object a line, `{"index","event","seed","entry"}`, after a
  redaction `salts` and `redactions` in place of `seed`; `proof` holds inclusion hashes in hex, leaf
  to root, against the manifest's checkpoint. `event` and `entry` are the stored bytes.
- `json` is one array of the same objects.
- `csv` (RFC 4180) is for people: fixed columns, nested values as JSON. A cell that a spreadsheet
  would take for a formula begins with `'` (OWASP, CSV injection).
- gzip has no name and no time in its header: the same events give the same bytes.
"""

import csv
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from .store import micros
from .store.reads import EventRow, opening

GZIP_LEVEL = 6  # zlib's default; more costs twice the time for two percent
GZIP_WBITS = 31  # zlib: 16 for the gzip format, 15 for its largest window

COLUMNS = (
    *("index", "received_at", "id", "occurred_at", "action", "action_type", "outcome", "severity"),
    *("tenant_id", "actor_id", "actor_name", "actor_type", "actor_email"),
    *("resource_id", "resource_name", "resource_type", "source", "source_ip", "message", "reason"),
    *("actor", "resources", "context", "before", "after", "data", "schema", "tags", "amends"),
    *("subjects", "redactions", "leaf_hash"),
)
MEDIA_TYPES = {"jsonl": "application/x-ndjson", "json": "application/json", "csv": "text/csv"}

_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the same signs in full width too

Line = tuple[EventRow, Sequence[str] | None]  # a row, and its proof where lines carry one


def write(lines: Iterable[Line], form: str) -> Iterator[bytes]:
    """The content, piece by piece: about one piece an event."""
    if form == "csv":
        return _csv(lines)
    return _json(lines) if form == "json" else _jsonl(lines)


def gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as one gzip member (RFC 1952) with an empty header."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WBITS)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _object(line: Line) -> bytes:
    row, proof = line
    body: dict[str, Any] = {
        "index": row.idx,
        "event": orjson.Fragment(row.body),
        **opening(row),
        "entry": row.entry.decode(),
    }
    if proof is not None:
        body["proof"] = proof
    return orjson.dumps(body)


def _jsonl(lines: Iterable[Line]) -> Iterator[bytes]:
    for line in lines:
        yield _object(line) + b"\n"


def _json(lines: Iterable[Line]) -> Iterator[bytes]:
    before = b"[\n"
    for line in lines:
        yield before + _object(line)
        before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def _csv(lines: Iterable[Line]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row, _ in lines:
        values = _columns(row)
        writer.writerow([_cell(values.get(name)) for name in COLUMNS])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _columns(row: EventRow) -> dict[str, Any]:
    event = orjson.loads(row.body)
    actor = event.get("actor") or {}
    first = next(iter(event.get("resources") or ()), None) or {}
    return {
        **event,
        "index": row.idx,
        "received_at": micros.text(row.received_at),
        "leaf_hash": row.leaf_hash.hex(),
        "redactions": orjson.loads(row.redactions) if row.redactions else None,
        **{f"actor_{part}": actor.get(part) for part in ("id", "name", "type", "email")},
        **{f"resource_{part}": first.get(part) for part in ("id", "name", "type")},
        "source": (event.get("source") or {}).get("name"),
        "source_ip": (event.get("context") or {}).get("source_ip"),
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) else text
