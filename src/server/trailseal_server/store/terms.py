"""What of an event the terms index holds; search compiles to the same tokens.

Rules:
- `exact` holds one opaque token for each value of a filterable field (EXACT_FIELDS). A token is a
  hash of field and value, so values of any length and alphabet match exactly or not at all.
- `text` holds the words of the event, for full text, phrases and prefixes, up to MAX_TEXT
  characters. BREAK, a word that nobody writes, stands between values: no phrase spans two of them.
- On SQLite the index row of an event is `log_no * 2**40 + idx`; `row_range` confines a MATCH to
  one log and `ORDER BY rowid` streams in the log's order. On PostgreSQL see tsvector.py.
- The index keeps no content: to take an event out, the same terms must be derived again. Changing
  anything here therefore needs a migration that rebuilds the index.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from ..commitments import MAX_FIELDS, SHAPES, Plan, Prepared

ROW_BITS = 40  # 10**12 events in a log, and 2**23 logs in a signed 64-bit row id
MAX_TEXT = 32_768  # characters; a longer text costs more to index than anyone's search gains
BREAK = "\ue000"  # for private use; FTS5's unicode61 takes it for a word
BETWEEN = f" {BREAK} "
MAX_NAME = 256  # characters; a longer value is found by its words, not by a part of it
TOKEN_BYTES = 10  # 80 bits: no accidental match in any log that fits
MAX_KNOWN = 8192  # tokens remembered of each field, at most 2 MB, for values of up to
MAX_KNOWN_TEXT = 64  # characters

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
        "has",  # the name of a top-level field that the event carries, but for USUAL
        "ingested_by",
        "lacks",  # the name of one of USUAL that it does not carry
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
# Nearly every event carries these: that one does not is what is worth a token.
USUAL = frozenset(
    {"id", "occurred_at", "action_type", "outcome", "actor", "resources", "context", "tags", "data"}
)
NAME_FIELDS = frozenset(
    {"action", "actor_id", "actor_name", "resource_type", "resource_name", "source"}
)

Term = tuple[str, str, str]  # field, value, token


class Terms(NamedTuple):
    """One event's terms: the two columns, and the (field, value, token) of its names, those beyond
    MAX_NAME too. Instead of the columns perhaps what PostgreSQL's index makes of them
    (tsvector.py)."""

    exact: str
    text: str
    names: Sequence[Term]
    document: bytes = b""


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


def derive(prepared: Prepared, ingested_by: str, channel_id: str | None) -> Terms:
    """The terms of an event as it is stored."""
    tokens, texts, names = find(prepared, ingested_by, channel_id)
    return Terms(" ".join(dict.fromkeys(tokens)), BETWEEN.join(texts), names)  # no token twice


def find(
    prepared: Prepared, ingested_by: str, channel_id: str | None
) -> tuple[list[str], list[str], list[Term]]:
    """What the terms of an event are made of: tokens, perhaps twice; texts; names."""
    values, plan = prepared.scalars, prepared.plan
    fields = _known_fields(plan) if len(values) <= MAX_FIELDS else _fields(plan)
    names = [
        (field, text, known[text])
        for place, known, field in fields.names
        if type(text := values[place]) is str
    ]
    tokens = [*fields.has, _KNOWN["ingested_by"][ingested_by], *map(itemgetter(2), names)]
    if channel_id is not None:
        tokens.append(_KNOWN["channel_id"][channel_id])
    for place, known in fields.exact:
        if type(text := values[place]) is str:
            tokens.append(known[text])
    for place, known, key in fields.pairs:
        if type(text := values[place]) is str:
            tokens.append(known[f"{key}:{text}"])
    texts = [text for place in fields.texts if type(text := values[place]) is str]
    if len(prepared.body) > MAX_TEXT:  # its texts are no longer than itself
        whole = BETWEEN.join(texts)
        if len(whole) > MAX_TEXT:  # which words are left must not depend on the order of members
            texts = BETWEEN.join(sorted(texts))[:MAX_TEXT].split(BETWEEN)
    return tokens, texts, names


class _Known(dict[str, str]):
    """The tokens of one field's values: the same actors, actions and outcomes come again and again,
    and a dictionary is found in faster than by `lru_cache`."""

    def __init__(self, field: str) -> None:
        super().__init__()
        self._field = field

    def __missing__(self, text: str) -> str:
        token = exact_token(self._field, text)
        if len(text) <= MAX_KNOWN_TEXT:
            if len(self) >= MAX_KNOWN:
                self.clear()
            self[text] = token
        return token


_KNOWN = {field: _Known(field) for field in sorted(EXACT_FIELDS)}


class _Fields(NamedTuple):
    """Where the terms of events of one shape are among their values."""

    has: tuple[str, ...]  # the tokens of the members' names, of `action` at least
    exact: tuple[tuple[int, _Known], ...]
    pairs: tuple[tuple[int, _Known, str], ...]  # and the key that stands before the value
    names: tuple[tuple[int, _Known, str], ...]  # of NAME_FIELDS
    texts: tuple[int, ...]


def _fields(plan: Plan) -> _Fields:
    places = sorted(zip(plan.places, plan.paths, strict=True))
    paths: list[tuple[int, list[Any]]] = [(place, orjson.loads(path)) for place, path in places]
    members = dict.fromkeys(path[0] for _, path in paths)
    found = [(place, field) for place, path in paths if (field := _field(path))]
    exact = [(place, _KNOWN[field]) for place, field in found if field not in NAME_FIELDS]
    names = [(place, _KNOWN[field], field) for place, field in found if field in NAME_FIELDS]
    texts = [place for place, path in paths if not (len(path) == 1 and path[0] in _NOT_TEXT)]
    pairs = [
        (place, _KNOWN[_LISTS[path[0]]], path[1])
        for place, path in paths
        if path[0] in _LISTS and len(path) == 2 and type(path[1]) is str
    ]
    has = [exact_token("has", name) for name in members if name not in USUAL]
    has += [exact_token("lacks", name) for name in sorted(USUAL) if name not in members]
    return _Fields(tuple(has), tuple(exact), tuple(pairs), tuple(names), tuple(texts))


def _field(path: Sequence[str | int]) -> str | None:
    """The field that a value at this path is found by; of an object's list, each item alike."""
    match path:
        case [str(name)] if name in _TOP:
            return name
        case [str(name), int()]:
            return _LISTS.get(name)
        case [str(name), str(member)] | [str(name), int(), str(member)]:
            return _PARTS.get(name, {}).get(member)
    return None


_known_fields = lru_cache(maxsize=SHAPES)(_fields)

# Which field a member of the event is found by.
_TOP = frozenset({"action", "action_type", "outcome", "severity", "tenant_id"})
_LISTS = {"tags": "tag", "subjects": "subject"}
_PARTS: Mapping[str, Mapping[str, str]] = {
    "actor": {
        "id": "actor_id",
        "name": "actor_name",
        "type": "actor_type",
        "email": "actor_email",
    },
    "resources": {"id": "resource_id", "name": "resource_name", "type": "resource_type"},
    "context": {name: name for name in ("source_ip", "request_id", "session_id", "trace_id")},
    "source": {"name": "source"},
    "schema": {"id": "schema_id"},
    "amends": {"event_id": "amends"},
}
# What has a better place than among the words: ids of the event and its times.
_NOT_TEXT = frozenset({"id", "occurred_at", "action_type", "outcome", "severity", "tenant_id"})
