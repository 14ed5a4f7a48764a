"""From an event to its leaf: the field commitments of integrity.md, steps 1 to 8.

Rules:
- The event is parsed JSON without `seed`, `signature` and `checksum`. `prepare` walks it once,
  refuses what the contract refuses (EventError names the first place), and keeps what hashing
  needs: each scalar and each empty container as JCS(path) and JCS(value), in order of JCS(path).
- What holds too many values (extent.py) is refused before the walk, whose price is by the value.
- Events come in few shapes: the paths of a shape, in order, are worked out once and remembered.
- A field's data is JCS of [salt, path, value], put together from its three JCS parts.
- JCS (RFC 8785) has a fast path: orjson with sorted keys gives the same bytes when every float is
  written alike and no key is at or above U+D800 (JCS sorts by UTF-16 units).
- All values of an event are written at once, each on a line of its own: no JSON holds a line break
  within a string.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from collections import deque
from collections.abc import Iterator, Sequence
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
SHAPES = 2048  # remembered, of events
MAX_FIELDS = 64  # of a remembered shape, and
MAX_PATHS = 8192  # bytes: whatever a client sends, what is remembered stays below some 50 MB

_URLSAFE = bytes.maketrans(b"+/", b"-_")
_SALTS = b"trailseal/salts/v1\n"
_FIELDS = b"trailseal/fields/v1\n"
_EVENT = "trailseal/event/v1\n"
_UNICODE = "must be valid Unicode: no lone surrogates"

Json = Any  # a parsed JSON value
# The names of an object's members or the length of a list, and then of each container in it that is
# not empty: how many values stand before it, negative, and its shape.
Shape = tuple[tuple[str, ...] | int, ...]
_plans: dict["Shape", "Plan"] = {}
_seeds: deque[bytes] = deque()  # each is taken by one thread only, and by no forked process
os.register_at_fork(after_in_child=_seeds.clear)


class EventError(ValueError):
    """What makes an event unacceptable: an error code of the contract, a JSON Pointer, advice."""

    def __init__(self, code: str, pointer: str, detail: str) -> None:
        super().__init__(code, pointer, detail)
        self.code = code
        self.pointer = pointer
        self.detail = detail


class Plan(NamedTuple):
    """What events of a shape have in common: JCS of each path, in the order of the commitment;
    where the value of each stands; whether all names sort by code points as by UTF-16 units."""

    paths: tuple[bytes, ...]
    places: tuple[int, ...]
    simple: bool


class Prepared(NamedTuple):
    """An event ready to be committed to.

    `body` is its JCS; `paths` and `values` are JCS(path) and JCS(value) of every field, in the
    order of the commitment. `scalars` are the values where `plan` says.
    """

    body: bytes
    paths: Sequence[bytes]
    values: Sequence[bytes]
    plan: Plan
    scalars: Sequence[Json]


def prepare(event: dict[str, Json]) -> Prepared:
    """Check and flatten an event; raises EventError."""
    try:
        body = _dump(event)
    except TypeError:
        body = b""  # the walk says what is wrong, and where
    if (len(body) >= extent.LARGE or not body) and (advice := extent.excess(event, body)):
        raise EventError("event_too_large", "", advice)
    shape: list[Any] = []
    values: list[Json] = []
    try:
        floats = _walk(event, 1, shape, values)
        plan = _plan(event, tuple(shape))
        ordered = [values[place] for place in plan.places]
        lines = _lines(ordered)
    except _Refused:
        raise next(_wrong(event, [], 1)) from None
    if (floats and _rewrite_floats(ordered, lines)) or not plan.simple:
        body = rfc8785.dumps(event)
    return Prepared(body, plan.paths, lines, plan, values)


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
    drawn = shake_128(_SALTS + seed).digest(SALT_BYTES * count)
    return b2a_base64(drawn, newline=False).translate(_URLSAFE)


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


class _Refused(Exception):  # noqa: N818  # never leaves this module
    """Something is wrong with the event: `_refusal` says what."""


def _walk(container: Json, depth: int, shape: list[Any], values: list[Json]) -> bool:
    """Add what `container` holds; whether there are floats. The scalars that occur most are
    handled here, and not in a function of their own: this runs for each value of each event."""
    members = container
    if type(container) is dict:
        shape.append(tuple(container))
        members = container.values()
    else:
        shape.append(len(container))
    floats = False
    for value in members:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            values.append(value)
        elif kind is dict or kind is list:
            if depth == MAX_DEPTH:
                raise _Refused
            if value:
                shape.append(-len(values))
                floats |= _walk(value, depth + 1, shape, values)
            else:
                values.append(value)
        elif (kind is int or kind is float) and -MAX_NUMBER <= value <= MAX_NUMBER:
            values.append(value)
            floats |= kind is float
        else:
            raise _Refused
    return floats


def _lines(values: Sequence[Json]) -> list[bytes]:
    """JSON of each of the values, none of which is a container with something in it."""
    try:
        return (
            orjson.dumps(values, option=orjson.OPT_INDENT_2)[4:-2].split(b",\n  ") if values else []
        )
    except TypeError:
        raise _Refused from None


def _rewrite_floats(values: Sequence[Json], lines: list[bytes]) -> bool:
    """Put JCS where orjson writes a float in another way; whether there is one."""
    differs = False
    for at, value in enumerate(values):
        if type(value) is float and (jcs_ := rfc8785.dumps(value)) != lines[at]:
            lines[at], differs = jcs_, True
    return differs


def _plan(event: Json, shape: Shape) -> Plan:
    found = _plans.get(shape)
    if found is None:
        paths, simple = _paths(event, b"[")
        places = tuple(sorted(range(len(paths)), key=paths.__getitem__))
        found = Plan(tuple(paths[place] for place in places), places, simple)
        if len(paths) <= MAX_FIELDS and sum(map(len, paths)) <= MAX_PATHS:
            if len(_plans) >= SHAPES:
                _plans.clear()
            _plans[shape] = found
    return found


def _paths(container: Json, before: bytes) -> tuple[list[bytes], bool]:
    """JCS of the path of each field; `before` is that of the container without its last bracket.
    And whether all names sort by code points as they do by UTF-16 units."""
    named = type(container) is dict
    simple = not named or max("".join(container), default="") < "\ud800"
    found: list[bytes] = []
    comma = b"" if before == b"[" else b","
    for name, value in container.items() if named else enumerate(container):
        try:
            step = before + comma + dumps(name)
        except TypeError:
            raise _Refused from None
        if type(value) in (dict, list) and value:
            below, alike = _paths(value, step)
            found += below
            simple &= alike
        else:
            found.append(step + b"]")
    return found, simple


def _wrong(value: Json, path: list[str | int], depth: int) -> Iterator[EventError]:
    """What is wrong, in order, with the value at a path; only asked for when something is."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth > MAX_DEPTH:
            yield _refuse("event_invalid", path, f"must not nest deeper than {MAX_DEPTH} levels")
            return
        if kind is dict and not all(map(_is_unicode, value)):
            yield _refuse("event_invalid", path, _UNICODE)
        for name, each in value.items() if kind is dict else enumerate(value):
            yield from _wrong(each, [*path, name], depth + 1)
    elif kind is str and not _is_unicode(value):
        yield _refuse("event_invalid", path, _UNICODE)
    elif kind not in {str, bool, int, float, type(None)}:
        yield _refuse("field_type", path, "must be JSON")
    elif kind in {int, float} and not -MAX_NUMBER <= value <= MAX_NUMBER:  # NaN too
        yield _refuse("event_invalid", path, "numbers must lie within ±(2^53-1); send a string")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _refuse(code: str, path: Sequence[str | int], detail: str) -> EventError:
    return EventError(code, "".join(f"/{_escape(str(step))}" for step in path), detail)


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
