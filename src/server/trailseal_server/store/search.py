"""From filters and queries to the terms index: which events match.

Rules:
- One inverted index answers everything: a filter is the exact token of its value (terms.py), a
  partial match is an OR of the tokens of the log's distinct names that contain it, words and
  phrases are looked up in the event's text. Exact matches respect case, partial matches, prefixes
  and words do not.
- `actor` is the actor's id, name or e-mail; `resource` a resource's id, name or type. Ids of
  resources and e-mails have no names to search in parts: there a partial match must be the whole
  value, and `resource.id:x` alone is refused.
- The result is a small tree over `Tokens` and `Words`; fts5.py and tsvector.py write it in their
  engine's language.
- What the index cannot evaluate is `operation_unsupported` with its position. A name that no event
  carries is a match of nothing, said in the index's own terms.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from unicodedata import category

from sqlalchemy import ColumnElement, Connection, TableClause, select

from .. import query as q
from ..problems import Problem
from .schema import names
from .terms import EXACT_FIELDS, NAME_FIELDS, exact_token, folded

MAX_NAMES = 1000  # distinct names one partial match may stand for: each is a list to be merged

ENUMS = {
    "action_type": (
        *("create", "read", "update", "delete", "execute"),
        *("authenticate", "authorize", "other"),
    ),
    "outcome": ("success", "failure", "unknown"),
    "actor_type": (
        *("user", "service_account", "api_key", "agent", "system"),
        *("anonymous", "unknown"),
    ),
    "severity": ("info", "low", "medium", "high", "critical"),
}

# The index fields behind a field of a query, beside those of the same name.
_FIELDS: dict[str, tuple[str, ...]] = {
    "actor": ("actor_id", "actor_name", "actor_email"),
    "resource": ("resource_id", "resource_name", "resource_type"),
    "schema": ("schema_id",),
    "amends.event_id": ("amends",),
    "source.name": ("source",),
    "subjects": ("subject",),
    "tags": ("tag",),
    **{f"actor.{part}": (f"actor_{part}",) for part in ("id", "name", "type", "email")},
    **{f"resource.{part}": (f"resource_{part}",) for part in ("id", "name", "type")},
    **{
        f"context.{part}": (part,) for part in ("source_ip", "request_id", "session_id", "trace_id")
    },
    "schema.id": ("schema_id",),
}
_NO_MEMBERS = frozenset(
    {"received_at", "ingested_by", "channel_id"}
)  # the server's, not the event's


@dataclass(frozen=True, slots=True)
class Tokens:
    """Any of these exact tokens; with none, no event."""

    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """A phrase in the event's text; with `prefix`, its last word may go on."""

    text: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class All:
    terms: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Either:
    terms: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Without:
    term: "Expression"


Expression: TypeAlias = Tokens | Words | All | Either | Without


@dataclass(frozen=True, slots=True)
class Source:
    """The matching rows of a log in an engine's terms index: `index` is the event's, and `order`
    the column by which the engine streams them in the same order."""

    table: TableClause
    where: ColumnElement[bool]
    index: ColumnElement[int]
    order: ColumnElement[int]


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of `listEvents`, `exportEvents` and exports, as they were sent (contract.md)."""

    actor_id: str | None = None
    actor_name_contains: str | None = None
    actor_type: str | None = None
    action: str | None = None
    action_contains: str | None = None
    action_prefix: str | None = None
    action_type: str | None = None
    outcome: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    source: str | None = None
    source_ip: str | None = None
    tag: tuple[str, ...] = ()
    schema_id: str | None = None
    q: str | None = None
    start: str | None = None
    end: str | None = None
    last: str | None = None
    time_field: str = "received_at"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Filters":
        """The filters among a request's parameters; `tag` may be one text or several."""
        tags = values.get("tag") or ()
        known = {name: values[name] for name in cls.__slots__ if values.get(name) is not None}
        return cls(**{**known, "tag": (tags,) if isinstance(tags, str) else tuple(tags)})

    def as_json(self) -> dict[str, Any]:
        """The filters that were given, by name."""
        values = {name: getattr(self, name) for name in self.__slots__}
        given = {name: value for name, value in values.items() if value not in (None, ())}
        if given["time_field"] == "received_at":
            del given["time_field"]
        return given


_EXACT = (
    *("actor_id", "actor_type", "action", "action_type", "outcome", "resource_type", "resource_id"),
    *("source", "source_ip", "schema_id"),
)


class Compiler:
    """Compiles for one log, inside one read transaction (names are looked up as they come)."""

    def __init__(self, connection: Connection, log_id: str) -> None:
        self._connection = connection
        self._log_id = log_id

    def filters(self, filters: Filters) -> list[Expression]:
        """What every match must satisfy, times excepted."""
        exact = [(name, getattr(filters, name)) for name in _EXACT]
        exact += [("tag", tag) for tag in filters.tag]
        found: list[Expression] = [
            _tokens([name], value) for name, value in exact if value is not None
        ]
        if filters.actor_name_contains is not None:
            found.append(self._names(["actor_name"], _containing(filters.actor_name_contains)))
        if filters.action_contains is not None:
            found.append(self._names(["action"], _containing(filters.action_contains)))
        if filters.action_prefix is not None:
            found.append(self._names(["action"], _beginning(filters.action_prefix)))
        if filters.q is not None:
            found.append(self.query(filters.q))
        return found

    def query(self, text: str) -> Expression:
        """A query of the grammar; raises `query_invalid`, `operation_unsupported`."""
        return self._node(q.parse(text))

    def restrictions(self, restrictions: Mapping[str, Iterable[str]]) -> list[Expression]:
        """`{field: [values]}`: each field has exactly one of its values."""
        found: list[Expression] = []
        for name, values in restrictions.items():
            field = q.canonical(name)
            fields, prefix = _index_fields(field, 0)
            tokens = [exact_token(each, prefix + value) for each in fields for value in values]
            found.append(Tokens(tuple(tokens)))
        return found

    def _node(self, node: q.Node) -> Expression:
        match node:
            case q.And(terms):
                return All(tuple(map(self._node, terms)))
            case q.Or(terms):
                return Either(tuple(map(self._node, terms)))
            case q.Not(term):
                return Without(self._node(term))
            case q.Text(text, at) | q.Prefix(text, at):
                return _words(text, at, prefix=isinstance(node, q.Prefix))
            case q.Has(field, at):
                return _has(field, at)
            case q.Match():
                return self._match(node)
            case q.Compare(_, _, _, at) | q.Range(_, _, _, at):
                raise q.unsupported(at, "a comparison or range (for times use start and end)")

    def _match(self, node: q.Match) -> Expression:
        fields, prefix = _index_fields(node.field, node.at)
        if node.mode == "equals":
            return _tokens(fields, prefix + node.text)
        searchable = [each for each in fields if each in NAME_FIELDS or each in ENUMS]
        if not searchable:
            raise q.unsupported(node.at, 'a partial match of this field (write field="value")')
        test = _containing(node.text) if node.mode == "contains" else _beginning(node.text)
        found = self._names(searchable, test)
        if node.mode == "prefix":
            return found
        whole = _tokens([each for each in fields if each not in searchable], node.text)
        return Tokens(found.tokens + whole.tokens)

    def _names(self, fields: list[str], test: "_Test") -> Tokens:
        """The tokens of the names of these fields that pass the test."""
        found = [
            exact_token(field, value)
            for field in fields
            for value in ENUMS.get(field, ())
            if test.python(value)
        ]
        statement = (
            select(names.c.token)
            .where(names.c.log_id == self._log_id, names.c.field.in_(fields))
            .where(test.sql(names.c.folded))
            .limit(MAX_NAMES + 1)
        )
        found += self._connection.execute(statement).scalars()
        if len(found) > MAX_NAMES:
            detail = f"A partial match stands for more than {MAX_NAMES} names: write more of it"
            raise Problem("query_invalid", detail)
        return Tokens(tuple(found))


@dataclass(frozen=True, slots=True)
class _Test:
    """One partial match, over enumerated values and over the table of names."""

    python: Callable[[str], bool]
    sql: Callable[[ColumnElement[str]], ColumnElement[bool]]


def _containing(text: str) -> _Test:
    part = folded(text)
    return _Test(lambda v: part in v, lambda c: c.contains(part, autoescape=True))


def _beginning(text: str) -> _Test:
    part = folded(text)
    return _Test(lambda v: v.startswith(part), lambda c: c.startswith(part, autoescape=True))


def _index_fields(field: str, at: int) -> tuple[list[str], str]:
    """The index fields of a query's field, and what stands before the value in their tokens."""
    root, _, key = field.partition(".")
    if root == "tags" and key:
        return ["tag"], f"{key}:"
    fields = _FIELDS.get(field, (field,))
    if not EXACT_FIELDS.issuperset(fields):
        raise q.unsupported(at, "this field (search for its words without a field)")
    return list(fields), ""


def _tokens(fields: Iterable[str], value: str) -> Tokens:
    return Tokens(tuple(exact_token(field, value) for field in fields))


def _words(text: str, at: int, *, prefix: bool = False) -> Words:
    # unicode61 indexes letters, numbers and private-use characters; a phrase of none is a mistake
    if not any(category(char)[0] in "LN" or category(char) == "Co" for char in text):
        raise q.invalid(at, "write a letter or a digit: nothing else is indexed")
    return Words(text, prefix)


def _has(field: str, at: int) -> Tokens:
    if "." in field or field in _NO_MEMBERS:
        raise q.unsupported(at, "has: of anything but a top-level field of the event")
    return _tokens(["has"], "resources" if field == "resource" else field)


def every(expressions: list[Expression]) -> Expression | None:
    """All of these; None when there are none, which is every event."""
    return All(tuple(expressions)) if expressions else None


# each event has an action, and keeps it
EVERY = Tokens((exact_token("has", "action"),))
