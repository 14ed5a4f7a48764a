"""From an event to its leaf: the field commitments of integrity.md, steps 1 to 8.

Rules:
- The event is parsed JSON without `seed`, `signature` and `checksum`. `prepare` walks it once,
  refuses what the contract refuses (EventError names the first place), and keeps what hashing
  needs: each scalar and each empty container as JCS(path) and JCS(value), in order of JCS(path).
- What holds too many values (extent.py) is refused before the walk, whose price is by the value.
- Events come in few shapes: the paths below an object with the same members at the same place, and
  the order of the same paths, are worked out once and remembered.
- A field's data is JCS of [salt, path, value], put together from its three JCS parts.
- JCS (RFC 8785) has a fast path: orjson with sorted keys gives the same bytes when every float is
  written alike and no key is at or above U+D800 (JCS sorts by UTF-16 units).
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256, shake_128
from struct import unpack
from typing import Any, NamedTuple

import orjson
import rfc8785
from orjson import dumps

from . import extent

MAX_NUMBER = 2**53 - 1  # beyond it JSON readers disagree about the value (RFC 7493)
MAX_DEPTH = 64  # nested containers, the event itself being the first
MAX_ENTRY = 65_535  # bytes; an entry bundle writes an entry's length in 16 bits (C2SP tlog-tiles)
SEED_BYTES = 32
SEEDS_DRAWN = 256  # at a time
SALT_BYTES = 18  # 24 characters of base64url
SALT_CHARS = 24
SHAPES = 2048  # remembered, of containers and of events
MAX_MEMBERS = 64  # of a remembered shape, and
MAX_PATH = 256  # bytes: whatever a client sends, what is remembered stays below some 100 MB

_SALTS = b"trailseal/salts/v1\n"
_FIELDS = b"trailseal/fields/v1\n"
_EVENT = "trailseal/event/v1\n"
_UNICODE = "must be valid Unicode: no lone surrogates"

Json = Any  # a parsed JSON value
Names = tuple[str, ...] | int  # of an object's members; how many items a list has
Steps = tuple[tuple[bytes, bytes], ...]  # JCS of each path, and the same without its last bracket
_seeds: deque[bytes] = deque()  # each is taken by one thread only, and by no forked process
os.register_at_fork(after_in_child=_seeds.clear)


class EventError(ValueError):
    """What makes an event unacceptable: an error code of the contract, a JSON Pointer, advice."""

    def __init__(self, code: str, pointer: str, detail: str) -> None:
        super().__init__(code, pointer, detail)
        self.code = code
        self.pointer = pointer
        self.detail = detail


class Prepared(NamedTuple):
    """An event ready to be committed to.

    `body` is its JCS; `paths` and `values` are JCS(path) and JCS(value) of every field, in the
    order of the commitment.
    """

    body: bytes
    paths: Sequence[bytes]
    values: Sequence[bytes]


def prepare(event: dict[str, Json]) -> Prepared:
    """Check and flatten an event; raises EventError."""
    try:
        body = _dump(event)
    except TypeError:
        body = b""  # the walk says what is wrong, and where
    if (len(body) >= extent.LARGE or not body) and (advice := extent.excess(event, body)):
        raise EventError("event_too_large", "", advice)
    paths: list[bytes] = []
    values: list[bytes] = []
    simple = _walk(event, b"[", 1, paths, values)
    order = _known_order if len(paths) <= MAX_MEMBERS else _order
    ordered, places = order(tuple(paths))
    if not simple:
        body = rfc8785.dumps(event)
    return Prepared(body, ordered, [values[place] for place in places])


def new_seed() -> bytes:
    """32 random bytes, drawn many at a time: `urandom` lets go of the interpreter's lock, and on a
    busy server to have it back takes longer than the bytes."""
    while True:
        try:
            return _seeds.popleft()
        except IndexError:
            drawn = os.urandom(SEED_BYTES * SEEDS_DRAWN)
            _seeds.extend(unpack(f"{SEED_BYTES}s" * SEEDS_DRAWN, drawn))


def encode_seed(raw: bytes) -> str:
    """A seed as it is stored: base64url without padding."""
    return urlsafe_b64encode(raw)[:-1].decode()


def decode_seed(seed: str) -> bytes:
    """The bytes of a seed; raises EventError unless it is 32 bytes, base64url, without padding."""
    try:
        raw = urlsafe_b64decode(seed + "=")
    except ValueError:
        raw = b""
    if len(raw) != SEED_BYTES or encode_seed(raw) != seed:
        raise EventError("event_invalid", "/seed", "must be 32 bytes in base64url without padding")
    return raw


def salts(seed: bytes, count: int) -> bytes:
    """The salts of `count` fields, 24 characters each, one after the other."""
    return urlsafe_b64encode(shake_128(_SALTS + seed).digest(SALT_BYTES * count))


def field_hashes(prepared: Prepared, seed: bytes) -> list[bytes]:
    """SHA-256 of JCS([salt, path, value]) of each field."""
    count = len(prepared.paths)
    salted = unpack(f"{SALT_CHARS}s" * count, salts(seed, count))
    fields = zip(salted, prepared.paths, prepared.values, strict=True)
    return [sha256(b'["%b",%b,%b]' % field).digest() for field in fields]


def fields_hash(prepared: Prepared, seed: bytes) -> str:
    """The commitment to all fields, in hex."""
    return sha256(_FIELDS + b"".join(field_hashes(prepared, seed))).hexdigest()


def signing_input(event_id: str, committed: str) -> bytes:
    """What a client signs: its event's id and `fields_hash`."""
    return f"{_EVENT}{event_id}\n{committed}\n".encode()


def entry(
    *,
    log_id: str,
    event_id: str,
    received_at: str,
    ingested_by: str,
    committed: str,
    channel_id: str | None = None,
    imported: bool = False,
    signature: dict[str, str] | None = None,
) -> bytes:
    """The leaf's data; `committed` is the event's `fields_hash`. All names and values are strings,
    so that orjson's bytes are JCS."""
    members: dict[str, Json] = {
        "v": 1,
        "log_id": log_id,
        "id": event_id,
        "received_at": received_at,
        "ingested_by": ingested_by,
        "fields_hash": committed,
    }
    if channel_id is not None:
        members["channel_id"] = channel_id
    if imported:
        members["imported"] = True
    if signature is not None:
        members["signature"] = signature
    return _dump(members)


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 leaf hash."""
    return sha256(b"\x00" + data).digest()


def jcs(value: Json) -> bytes:
    """RFC 8785 bytes of any JSON value."""
    return rfc8785.dumps(value)


def _dump(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _walk(
    container: Json, path: bytes, depth: int, paths: list[bytes], values: list[bytes]
) -> bool:
    """Add the fields below `container`; answer whether orjson's bytes of it are JCS.

    `path` is JCS(its path) without the last bracket. The scalars that occur most are handled here,
    and not in a function of their own, because this loop runs for each field of each event.
    """
    members = container
    names: Names = len(container)
    if type(container) is dict:
        members, names = container.values(), tuple(container)
    known = len(container) <= MAX_MEMBERS and len(path) <= MAX_PATH
    steps, simple = (_known_shape if known else _shape)(path, names)
    for (whole, at), value in zip(steps, members, strict=True):
        kind = type(value)
        if kind is str or kind is bool or value is None:
            try:
                values.append(dumps(value))
            except TypeError:
                raise _refuse("event_invalid", at, _UNICODE) from None
            paths.append(whole)
        elif kind is dict or kind is list:
            if depth == MAX_DEPTH:
                raise _refuse("event_invalid", at, f"must not nest deeper than {MAX_DEPTH} levels")
            if not value:
                values.append(dumps(value))
                paths.append(whole)
            elif not _walk(value, at, depth + 1, paths, values):
                simple = False
        else:
            data = _number(value, at)
            values.append(data)
            paths.append(whole)
            if kind is not int and data != dumps(value):
                simple = False
    return simple


def _shape(before: bytes, names: Names) -> tuple[Steps, bool]:
    """The steps below a container at the path `before`; and whether its names sort by code points
    as they do by UTF-16 units."""
    try:
        keys = [dumps(name) for name in (range(names) if isinstance(names, int) else names)]
    except TypeError:
        raise _refuse("event_invalid", before, _UNICODE) from None
    comma = b"" if before == b"[" else b","
    steps = [before + comma + key for key in keys]
    simple = isinstance(names, int) or max("".join(names), default="") < "\ud800"
    return tuple((step + b"]", step) for step in steps), simple


def _order(paths: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """The paths in the order of the commitment, and where each stood."""
    places = tuple(sorted(range(len(paths)), key=paths.__getitem__))
    return tuple(paths[place] for place in places), places


_known_shape = lru_cache(maxsize=SHAPES)(_shape)
_known_order = lru_cache(maxsize=SHAPES)(_order)


def _number(value: Json, path: bytes) -> bytes:
    """JCS of a number within bounds."""
    if type(value) not in (int, float):
        raise _refuse("field_type", path, "must be JSON")
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # false for NaN too
        raise _refuse("event_invalid", path, "numbers must lie within ±(2^53-1); send a string")
    return b"%d" % value if type(value) is int else rfc8785.dumps(value)


def _refuse(code: str, path: bytes, detail: str) -> EventError:
    steps = orjson.loads(path + b"]")
    return EventError(code, "".join(f"/{_escape(str(step))}" for step in steps), detail)


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
