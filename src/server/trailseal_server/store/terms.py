"""What of an event the terms index holds; search compiles to the same tokens.

Rules:
- `exact` holds one opaque token for each value of a filterable field (EXACT_FIELDS). A token is a
  hash of field and value, so values of any length and alphabet match exactly or not at all.
- `text` holds the words of the event, for full text, phrases and prefixes, up to MAX_TEXT
  characters.
- On SQLite the index row of an event is `log_no * 2**40 + idx`; `row_range` confines a MATCH to
  one log and `ORDER BY rowid` streams in the log's order. On PostgreSQL see tsvector.py.
- The index keeps no content: to take an event out, the same terms must be derived again. Changing
  anything here therefore needs a migration that rebuilds the index.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

ROW_BITS = 40  # 10**12 events in a log, and 2**23 logs in a signed 64-bit row id
MAX_TEXT = 32_768  # characters; a longer text costs more to index than anyone's search gains
MAX_NAME = 256  # characters; a longer value is found by its words, not by a part of it
TOKEN_BYTES = 10  # 80 bits: no accidental match in any log that fits
TOKEN_CACHE = 65_536  # the same actors, actions and outcomes come again and again

EXACT_FIELDS = frozenset(
    {
        "action",
        "action_type",
        "actor_email",
        "actor_id",
        "actor_name",
        "actor_type",
        "amends",
        "channel_id",
        "has",  # the name of a top-level field that the event carries
        "ingested_by",
        "outcome",
        "request_id",
        "resource_id",
        "resource_name",
        "resource_type",
        "schema_id",
        "session_id",
        "severity",
        "source",
        "source_ip",
        "subject",
        "tag",  # "key:value"
        "tenant_id",
        "trace_id",
    }
)
NAME_FIELDS = frozenset(
    {"action", "actor_id", "actor_name", "resource_type", "resource_name", "source"}
)

Json = Any  # a parsed JSON value


@dataclass(frozen=True, slots=True)
class Terms:
    """One event's terms: the two columns, and the (field, value, token) of its names."""

    exact: str
    text: str
    names: tuple[tuple[str, str, str], ...]


@lru_cache(maxsize=TOKEN_CACHE)
def exact_token(field: str, value: str) -> str:
    """The word in column `exact` that stands for this value of this field (of EXACT_FIELDS)."""
    return blake2b(f"{field}\0{value}".encode(), digest_size=TOKEN_BYTES).hexdigest()


def folded(name: str) -> str:
    """A name as partial matches compare it."""
    return storable(name).casefold()


def storable(text: str) -> str:
    """Without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\0", "\ufffd")


def row_id(log_no: int, index: int) -> int:
    """The row of an event in the terms index."""
    return (log_no << ROW_BITS) + index


def row_range(log_no: int, tree_size: int) -> tuple[int, int]:
    """First and last row of a log's first `tree_size` events (last < first when it has none)."""
    return row_id(log_no, 0), row_id(log_no, tree_size) - 1


def derive(event: dict[str, Json], ingested_by: str, channel_id: str | None) -> Terms:
    """The terms of an event as it is stored."""
    pairs = dict.fromkeys(_pairs(event))
    pairs["ingested_by", ingested_by] = None
    if channel_id is not None:
        pairs["channel_id", channel_id] = None
    tokens = {pair: exact_token(*pair) for pair in pairs}
    names = tuple(
        (field, value, token)
        for (field, value), token in tokens.items()
        if field in NAME_FIELDS and len(value) <= MAX_NAME
    )
    return Terms(" ".join(tokens.values()), _text(event), names)


_TOP = ("action", "action_type", "outcome", "severity", "tenant_id")
_ACTOR = (
    ("id", "actor_id"),
    ("name", "actor_name"),
    ("type", "actor_type"),
    ("email", "actor_email"),
)
_RESOURCE = (("id", "resource_id"), ("name", "resource_name"), ("type", "resource_type"))
_CONTEXT = tuple((name, name) for name in ("source_ip", "request_id", "session_id", "trace_id"))
_PARTS = (
    ("actor", _ACTOR),
    ("context", _CONTEXT),
    ("source", (("name", "source"),)),
    ("schema", (("id", "schema_id"),)),
    ("amends", (("event_id", "amends"),)),
)


def _pairs(event: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Every (field, value) of the event that can be filtered by."""
    for name in event:
        yield "has", name
    yield from _members(event, [(name, name) for name in _TOP])
    for part, members in _PARTS:
        yield from _members(event.get(part), members)
    for resource in event.get("resources") or ():
        yield from _members(resource, _RESOURCE)
    for key, value in (event.get("tags") or {}).items():
        yield "tag", f"{key}:{value}"
    for subject in event.get("subjects") or ():
        if isinstance(subject, str):  # a redacted subject is null
            yield "subject", subject


def _members(part: Json, members: Any) -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        for name, field in members:
            value = part.get(name)
            if isinstance(value, str):
                yield field, value


# What has a better place than among the words: ids of the event and its times.
_NOT_TEXT = frozenset({"id", "occurred_at", "action_type", "outcome", "severity", "tenant_id"})


def _text(event: dict[str, Json]) -> str:
    found: list[str] = []
    room = MAX_TEXT
    for name, value in event.items():
        if name not in _NOT_TEXT:
            room = _collect(value, found, room)
    return "\n".join(found)


def _collect(value: Json, found: list[str], room: int) -> int:
    """Add the strings at and below `value` while there is room; answer the room that is left."""
    if room <= 0:
        return 0
    if isinstance(value, str):
        found.append(value[:room])
        return room - len(value) - 1
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for child in children:
            room = _collect(child, found, room)
    return room
