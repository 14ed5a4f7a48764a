"""Opaque, signed cursors: where a list goes on, and over which snapshot.

Rules:
- A cursor is base64url(JSON ‖ MAC): the hash of the query it belongs to, the tree size and the
  clock of the first page (relative times must not move between pages), the key of the last item,
  how many items came before, and how many are still to be skipped. The MAC is HMAC-SHA256 with a
  secret of the database, so that every replica reads it and nobody else can make one.
- Append-only plus a fixed tree size makes pages repeatable. The cursor at the end of an ascending
  list (`tail`) holds no tree size: it stands for "after this index, whatever is there by then".
- Reading is strict: another query's cursor, a changed or a foreign one is
  `Problem("cursor_invalid")`.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from .problems import FieldError, Problem

MAX_CHARS = 512  # ours have about 120
MAC_BYTES = 16  # 128 bits: guessing one is hopeless
QUERY_BYTES = 12  # of the query's hash: it guards against mistakes, the MAC against forgery
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Cursor:
    """`size` is the snapshot's tree size, None in a tail cursor; `clock` is in microseconds; `key`
    is the last item's sort key; `seen` counts the items before; `skip` is what is left of an
    offset."""

    query: str
    size: int | None
    clock: int
    key: tuple[int, ...]
    seen: int = 0
    skip: int = 0


def query_hash(parts: Mapping[str, Any]) -> str:
    """What makes two requests pages of one list: log, filters and order, but not the page size."""
    data = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_DATACLASS)
    return sha256(data).hexdigest()[: 2 * QUERY_BYTES]


def encode(cursor: Cursor, secret: bytes) -> str:
    """The cursor as it travels: at most `MAX_CHARS` characters of base64url."""
    parts = [cursor.query, cursor.size, cursor.clock, cursor.key, cursor.seen, cursor.skip]
    data = orjson.dumps(parts)
    return urlsafe_b64encode(data + _mac(data, secret)).rstrip(b"=").decode()


def decode(text: str, secret: bytes, query: str) -> Cursor:
    """The cursor, if this database made it for this query; raises `Problem("cursor_invalid")`."""
    try:
        raw = urlsafe_b64decode(text[:MAX_CHARS] + "=" * (-len(text) % 4))
    except (Base64Error, ValueError):
        raise _invalid() from None
    data, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(data, secret)):
        raise _invalid()
    found, size, clock, key, seen, skip = orjson.loads(data)
    if found != query:
        raise _invalid("belongs to another query: repeat the filters and the order of its list")
    cursor = Cursor(found, size, clock, tuple(key), seen, skip)
    if encode(cursor, secret) != text:
        raise _invalid()  # base64 has several spellings; ours is the only one
    return cursor


def _mac(data: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, b"trailseal/cursor/v1\n" + data, "sha256")[:MAC_BYTES]


def _invalid(advice: str = "is not one of this server: start again without it") -> Problem:
    errors = [FieldError("cursor_invalid", "/query/cursor", advice)]
    return Problem("cursor_invalid", f"The cursor {advice}", errors=errors)
