"""Taking fields out of an event that a log has committed to: pure, by the rules of integrity.

Rules:
- A field that is chosen leaves the body and becomes a redaction, its path with its hash; every
  other one keeps its salt. The seed goes: it would give the hidden salts away, and with a salt a
  short value can be guessed from its hash.
- `id` and `action` are never taken out.
- Of a container none of whose fields is left, nothing is left; in a list, null holds its place.
- What a policy had put in the place of a field goes when the field is chosen again.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from .commitments import SALT_CHARS, Prepared, decode_seed, jcs, prepare, salts

Json = Any  # a parsed JSON value
Path = Sequence[str | int]
Choose = Callable[[Path, bytes], bool]  # by a field's path and the JCS of its value
Replace = Callable[[bytes], Json]  # by the JCS of its value

NEVER = frozenset({b'["id"]', b'["action"]'})
_GONE = object()


class Content(NamedTuple):
    """What a log keeps of an event: its JCS, and its seed or, as JSON, salts and redactions."""

    body: bytes
    seed: str | None
    salts: bytes | None = None
    redactions: bytes | None = None


class Reason(NamedTuple):
    """Who asks (`redact`, `erasure`, `retention`, `policy:…`), why, and what is put in place."""

    policy: str
    text: str
    replace: Replace | None = None


def redact(content: Content, choose: Choose, reason: Reason) -> Content | None:
    """The event without the chosen fields; None if there is nothing to take out."""
    event = orjson.loads(content.body)
    prepared = prepare(event)
    salted, hidden = opened(content, prepared)
    changed = _without_replacements(hidden, choose)
    kept: dict[bytes, str] = {}
    left: set[tuple[str | int, ...]] = set()
    for path, value in zip(prepared.paths, prepared.values, strict=True):
        salt = salted.get(path)
        if salt is None:  # what an earlier redaction left
            continue
        steps = orjson.loads(path)
        if path in NEVER or not choose(steps, value):
            kept[path] = salt
            left.add(tuple(steps))
            continue
        field_hash = sha256(b'["%b",%b,%b]' % (salt.encode(), path, value)).hexdigest()
        taken = {"path": steps, "hash": field_hash, "policy": reason.policy, "reason": reason.text}
        if reason.replace is not None:
            taken["replacement"] = reason.replace(value)
        hidden[path] = taken
        changed = True
    if not changed:
        return None
    return Content(
        jcs(_left(event, (), left)),
        None,
        b"[" + b",".join(b'[%b,"%b"]' % (path, kept[path].encode()) for path in kept) + b"]",
        orjson.dumps([hidden[path] for path in sorted(hidden)]),
    )


def opened(
    content: Content, prepared: Prepared
) -> tuple[Mapping[bytes, str], dict[bytes, dict[str, Json]]]:
    """The salt of each field, and the redactions; both by JCS(path)."""
    if content.seed is not None:
        text = salts(decode_seed(content.seed), len(prepared.paths)).decode()
        cut = range(0, len(text), SALT_CHARS)
        each = [text[at : at + SALT_CHARS] for at in cut]
        return dict(zip(prepared.paths, each, strict=True)), {}
    salted = {orjson.dumps(path): salt for path, salt in orjson.loads(content.salts or b"[]")}
    hidden = {orjson.dumps(r["path"]): r for r in orjson.loads(content.redactions or b"[]")}
    return salted, hidden


def at_or_below(pointers: Sequence[str]) -> Choose:
    """Chooses the fields at or below any of these JSON Pointers (RFC 6901)."""
    wanted = [tuple(_steps(pointer)) for pointer in pointers]

    def choose(path: Path, _value: bytes) -> bool:
        texts = tuple(map(str, path))
        return any(texts[: len(each)] == each for each in wanted)

    return choose


def named(pointer: str) -> str:
    """The top-level member that a JSON Pointer leads to or through."""
    return _steps(pointer)[0]


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _without_replacements(hidden: dict[bytes, dict[str, Json]], choose: Choose) -> bool:
    """Drop the replacements of chosen fields; whether there were any."""
    replaced = [each for each in hidden.values() if "replacement" in each]
    found = [each for each in replaced if choose(each["path"], b"")]
    for each in found:
        del each["replacement"]
    return bool(found)


def _left(value: Json, path: tuple[str | int, ...], left: set[tuple[str | int, ...]]) -> Json:
    """What remains of a value at a path, or _GONE."""
    if isinstance(value, dict) and value:
        members = {k: _left(v, (*path, k), left) for k, v in value.items()}
        return {k: v for k, v in members.items() if v is not _GONE} or _GONE
    if isinstance(value, list) and value:
        items = [_left(v, (*path, n), left) for n, v in enumerate(value)]
        if all(item is _GONE for item in items):
            return _GONE
        return [None if item is _GONE else item for item in items]
    return value if path in left else _GONE
