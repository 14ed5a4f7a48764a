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
from typing import Any, cast

import orjson

from .store import micros
from .store.records import EventRow, opening, unpacked
from .store.schema import events

GZIP_LEVEL = 3  # twice as fast as zlib's default for an eighth more bytes, of usual events
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

# What lines are written of, half of the columns: each row is read in this order.
_E = events.c
EXPORTED = (
    *(_E.idx, _E.body, _E.seed, _E.entry),
    *(_E.salts, _E.redactions, _E.received_at, _E.leaf_hash),
)

Line = tuple[EventRow, Sequence[str] | None]  # a row, and its proof where lines carry one


def write(chunks: Iterable[Sequence[Line]], form: str) -> Iterator[bytes]:
    """The content, a piece for each chunk: pieces cost more than lines do."""
    if form == "csv":
        return _csv(chunks)
    return _json(chunks) if form == "json" else _jsonl(chunks)


def gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as one gzip member (RFC 1952) with an empty header."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WBITS)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _object(line: Line) -> bytes:
    """One line, spliced from the stored bytes: nothing is parsed."""
    row, proof = line
    # by name, they would cost as much as all else
    index, body, seed, entry, *_ = cast("tuple[Any, ...]", row)
    end = b"}" if proof is None else b',"proof":%b}' % orjson.dumps(proof)
    text = orjson.dumps(entry.decode())
    if seed is not None:  # base64url: nothing to escape
        given = (index, body, seed.encode(), text, end)
        return b'{"index":%d,"event":%b,"seed":"%b","entry":%b%b' % given
    opened = orjson.dumps(opening(row))[1:-1]
    return b'{"index":%d,"event":%b,%b,"entry":%b%b' % (index, body, opened, text, end)


def _jsonl(chunks: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    for lines in chunks:
        if lines:
            yield b"\n".join([_object(line) for line in lines]) + b"\n"


def _json(chunks: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    before = b"[\n"
    for lines in chunks:
        if lines:
            yield before + b",\n".join([_object(line) for line in lines])
            before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def _csv(chunks: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for lines in chunks:
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
        "redactions": orjson.loads(unpacked(row.redactions)) if row.redactions else None,
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
