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

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

ROW_BITS = 40  # 10**12 events in a log, and 2**23 logs in a signed 64-bit row id
MAX_TEXT = 32_768  # characters; a longer text costs more to index than anyone's search gains
BREAK = "\ue000"  # for private use; FTS5's unicode61 takes it for a word
MAX_NAME = 256  # characters; a longer value is found by its words, not by a part of it
TOKEN_BYTES = 10  # 80 bits: no accidental match in any log that fits
TERM_CACHE = 65_536  # the same actors, actions and outcomes come again and again

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
Term = tuple[str, str, str]  # field, value, token


class Terms(NamedTuple):
    """One event's terms: the two columns, and the (field, value, token) of its names."""

    exact: str
    text: str
    names: tuple[Term, ...]


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
    found = [_term("ingested_by", ingested_by)]
    if channel_id is not None:
        found.append(_term("channel_id", channel_id))
    strings: list[str] = []
    for name, value in event.items():
        if type(value) is str:
            if name in _TOP:
                found.append(_term(name, value))
            if name not in _NOT_TEXT:
                strings.append(value)
        elif name in _PARTS:
            _part(_PARTS[name], value, found, strings)
        else:
            if name in _LISTS:
                found += [_term(_LISTS[name], text) for text in _texts(value)]
            _strings((value,), strings)
    text = _BETWEEN.join(strings)
    if len(text) > MAX_TEXT:  # which words are left must not depend on the order of members
        text = _BETWEEN.join(sorted(strings))[:MAX_TEXT]
    tokens = [_members_token(tuple(event)), *(each[2] for each in found)]
    return Terms(" ".join(tokens), text, tuple(each for each in found if _is_name(each)))


@lru_cache(maxsize=1024)
def _members_token(members: tuple[str, ...]) -> str:
    """The tokens of `has`, for the names of an event's members."""
    return " ".join(exact_token("has", name) for name in members)


# Which field a member of the event is found by.
_TOP = frozenset({"action", "action_type", "outcome", "severity", "tenant_id"})
_LISTS = {"tags": "tag", "subjects": "subject"}
_PARTS = {
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
_BETWEEN = f" {BREAK} "


@lru_cache(maxsize=TERM_CACHE)
def _term(field: str, text: str) -> Term:
    return field, text, exact_token(field, text)


def _is_name(term: Term) -> bool:
    return term[0] in NAME_FIELDS and len(term[1]) <= MAX_NAME


def _part(fields: Mapping[str, str], value: Json, found: list[Term], strings: list[str]) -> None:
    """Add the terms and the strings of a top-level object, or of a list of them."""
    for part in value if type(value) is list else (value,):
        if type(part) is not dict:  # redacted
            _strings((part,), strings)
            continue
        for member, text in part.items():
            if type(text) is not str:
                _strings((text,), strings)
                continue
            strings.append(text)
            if member in fields:
                found.append(_term(fields[member], text))


def _texts(value: Json) -> Iterable[str]:
    """Of `tags`, `key:value`; of `subjects`, each; of what is redacted, nothing."""
    if type(value) is dict:
        return [f"{key}:{text}" for key, text in value.items()]
    return [text for text in value or () if type(text) is str]


def _strings(values: Iterable[Json], found: list[str]) -> None:
    """Add the strings among and below `values`, in order."""
    for value in values:
        kind = type(value)
        if kind is str:
            found.append(value)
        elif kind is dict:
            _strings(value.values(), found)
        elif kind is list:
            _strings(value, found)
