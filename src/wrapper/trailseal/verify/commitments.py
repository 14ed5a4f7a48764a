"""What a log entry commits to: the fields of an event, each hashed with a salt of its own.

1. The fields of an event are its scalars and its empty objects and arrays. A field's path is an
   array of member names and array indexes; fields are ordered by the bytes of JCS(path).
2. Field hash = SHA-256(JCS([salt, path, value])), put together here from the parts' JCS, which
   is the same bytes; `fields_hash` = SHA-256("trailseal/fields/v1\\n" ‖ the field hashes).
3. With a seed of 32 bytes, the salts are 24 characters each of
   base64url(SHAKE128("trailseal/salts/v1\\n" ‖ seed)).
4. Without one (after a redaction) the fields are exactly those in `salts` and in `redactions`:
   what stays has its salt, what was taken has its hash. A null or an empty container left at or
   above a redacted path is no field; any other value without a salt is an error, and so is a
   salt without a value. `["id"]` and `["action"]` are never redacted.
5. A client signs `fields_hash`, not values, so a redacted event still verifies.

Inside, a field is one text, `path,value]`: JCS([salt, path, value]) from behind the salt on.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256, shake_128
from json import JSONDecoder
from json.encoder import encode_basestring
from struct import Struct

from ._values import base64_bytes, member, sha256_hex
from .canonical import MAX_DEPTH, scalar
from .ed25519 import verify_ed25519
from .errors import EventCorruptionError, MalformedError

SEED_BYTES = 32
SALT_BYTES = 18  # 24 characters of base64url, no padding

_SALTS = b"trailseal/salts/v1\n"
_FIELDS = b"trailseal/fields/v1\n"
_SALT = re.compile(r"[A-Za-z0-9_-]{24}")
_NOT_UNICODE = "the event has a string that is not valid Unicode"
_NEVER_REDACTED = frozenset({'["id"]', '["action"]'})
_PATH = JSONDecoder()
_CONTAINERS = (dict, list, tuple)  # a union written in place is built at every call
_EMPTY = frozenset({"null", "{}", "[]"})  # what a redaction may leave behind


def fields(event: Mapping[str, object]) -> dict[str, str]:
    """JCS(value) of each field of an event by its JCS(path), in their order.

    The event comes without `seed`, `signature` and `checksum`. Raises `MalformedError` where a
    value is no JSON, or nesting is deeper than 64.
    """
    found: dict[str, str] = {}
    for text in _collected(event):
        end = _PATH.raw_decode(text)[1]
        found[text[:end]] = text[end + 1 : -1]
    return found


def salts(seed: str, count: int) -> tuple[bytes, ...]:
    """The salts of `count` fields, from a seed in base64url without padding."""
    encoded = seed.encode(errors="replace") + b"="
    try:
        raw = urlsafe_b64decode(encoded)
    except ValueError:
        raw = b""
    if len(raw) != SEED_BYTES or urlsafe_b64encode(raw) != encoded:
        raise MalformedError("'seed' must be 32 bytes in base64url without padding")
    stream = shake_128(_SALTS + raw).digest(SALT_BYTES * count)
    return Struct("24s" * count).unpack(urlsafe_b64encode(stream))


def field_hash(salt: bytes, path: str, value: str) -> bytes:
    """SHA-256 of JCS([salt, path, value]); the salt is base64url, path and value are JCS."""
    return _hashes([(salt, f"{path},{value}]")])[0]


def fields_hash(event: Mapping[str, object], seed: str) -> bytes:
    """The commitment to a whole event; raises `MalformedError`."""
    found = _collected(event)
    return _combine(_hashes(zip(salts(seed, len(found)), found, strict=True)))


def redacted_fields_hash(
    event: Mapping[str, object], salt_list: list[object], redactions: list[object]
) -> bytes:
    """The commitment to an event of which fields were redacted.

    `salt_list` is `[[path, salt], …]`, `redactions` `[{"path", "hash", …}, …]`. Raises
    `EventCorruptionError` where the event's values are not those that have salts, and
    `MalformedError` for wrong types.
    """
    kept = _read_salts(salt_list)
    hidden, at_or_above = _read_redactions(redactions)
    if len(kept) != len(salt_list) or len(hidden) != len(redactions) or kept.keys() & hidden:
        raise EventCorruptionError("a path occurs twice in 'salts' and 'redactions'")
    if hidden.keys() & _NEVER_REDACTED:
        raise EventCorruptionError("'id' and 'action' are never redacted")
    shown: dict[str, tuple[bytes, str]] = {}
    for path, value in fields(event).items():
        salt = kept.pop(path, None)
        if salt is not None:
            shown[path] = (salt, f"{path},{value}]")
        elif value not in _EMPTY or path not in at_or_above:
            raise EventCorruptionError(f"the value at {path} has no salt: it was not logged")
    if kept:
        raise EventCorruptionError(f"the value at {min(kept)} is missing")
    hashes = hidden | dict(zip(shown, _hashes(shown.values()), strict=True))
    return _combine([hashes[path] for path in sorted(hashes)])


def signing_input(event_id: str, committed: bytes) -> bytes:
    """The bytes that a client signs: its event's id and `fields_hash`."""
    return f"trailseal/event/v1\n{event_id}\n{committed.hex()}\n".encode()


def verify_signature(
    signature: Mapping[str, object], event_id: str, committed: bytes, public_key: str
) -> None:
    """Check a client's Ed25519 signature; `public_key` is base64 of 32 bytes.

    Raises `ProofError` where it is wrong, `MalformedError` where it is none.
    """
    if member(signature, "algorithm", str) != "ed25519":
        raise MalformedError("the 'algorithm' of a client's signature must be 'ed25519'")
    verify_ed25519(
        base64_bytes(public_key, 32, "a client's public key"),
        base64_bytes(signature.get("value"), 64, "a client's signature"),
        signing_input(event_id, committed),
        member(signature, "key_id", str),
    )


def _hashes(salted: Iterable[tuple[bytes, str]]) -> list[bytes]:
    try:  # a third of a verifier's time goes into this line
        return [sha256(b'["%b",%b' % (salt, text.encode())).digest() for salt, text in salted]
    except UnicodeEncodeError:
        raise MalformedError(_NOT_UNICODE) from None


def _collected(event: Mapping[str, object]) -> list[str]:
    """`path,value]` of each field, in the order of the fields.

    No JCS(path) begins another, and str order is that of the UTF-8 bytes.
    """
    found: list[str] = []
    try:
        _collect(dict(event), "[", 1, found)
    except TypeError:
        raise MalformedError("a key of a JSON object must be a string") from None
    found.sort()
    return found


def _collect(
    container: dict[str, object] | Sequence[object], lead: str, depth: int, found: list[str]
) -> None:
    """Add the fields below a container whose own path, in JCS, begins with `lead`."""
    if depth > MAX_DEPTH:
        raise MalformedError(f"the event is nested deeper than {MAX_DEPTH}")
    named = isinstance(container, dict)
    items = container.items() if isinstance(container, dict) else enumerate(container)
    for name, value in items:
        path = lead + (encode_basestring(name) if named else str(name))  # type: ignore[arg-type]
        kind = type(value)
        if kind is str:
            found.append(f"{path}],{encode_basestring(value)}]")  # type: ignore[arg-type]
        elif not isinstance(value, _CONTAINERS):
            found.append(f"{path}],{scalar(value)}]")
        elif value:
            _collect(value, path + ",", depth + 1, found)
        else:
            found.append(path + ("],{}]" if kind is dict else "],[]]"))


def _combine(hashes: Sequence[bytes]) -> bytes:
    return sha256(_FIELDS + b"".join(hashes)).digest()


def _read_salts(items: list[object]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in items:
        path, salt = item if type(item) is list and len(item) == 2 else (None, None)
        if type(salt) is not str or not _SALT.fullmatch(salt):
            raise MalformedError("each of 'salts' must be [path, salt of 24 characters]")
        found[_path(path)] = salt.encode()
    return found


def _read_redactions(items: list[object]) -> tuple[dict[str, bytes], set[str]]:
    """The hash at each redacted path, and all paths at or above one."""
    hidden: dict[str, bytes] = {}
    at_or_above: set[str] = set()
    for item in items:
        if not isinstance(item, dict):
            raise MalformedError("each of 'redactions' must be an object")
        parts = member(item, "path", list)
        hidden[_path(parts)] = sha256_hex(item.get("hash"), "the 'hash' of a redaction")
        at_or_above.update(_path(parts[:end]) for end in range(1, len(parts) + 1))
    return hidden, at_or_above


def _path(parts: object) -> str:
    """JCS of a path."""
    if not isinstance(parts, list) or not 0 < len(parts) <= MAX_DEPTH:
        raise MalformedError(f"a path must be an array of 1 to {MAX_DEPTH} names and indexes")
    for part in parts:
        if type(part) is not str and (type(part) is not int or part < 0):
            raise MalformedError("a path holds member names and array indexes only")
    return f"[{','.join(map(scalar, parts))}]"
