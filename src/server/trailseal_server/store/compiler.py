"""From filters and queries to plans: what the terms index answers, and what is left to check.

Rules:
- One inverted index answers most: a filter is the exact token of its value (terms.py), a partial
  match is an OR of the tokens of the log's distinct names that contain it, words and phrases are
  looked up in the event's text. Exact matches respect case, partial matches, prefixes and words
  do not.
- `actor` is the actor's id, name or e-mail; `resource` a resource's id, name or type. E-mails and
  ids of resources must there be the whole value; `resource.id:x` matches them in part. A resource's
  name beyond terms.MAX_NAME characters is no distinct name: it is found whole, or by its words.
- What the index cannot answer is checked on the events' bodies (query_evaluate.py), of those events
  that the index finds to carry the field, and whose bytes the database lets pass (query_sift.py).
  What the index can answer of such a query is asked of it, also below OR and NOT: both ways never
  disagree about a word.
- `id="…"` is one look into the events' own index: the place that it gives bounds the selection.
- A name that no event carries is a match of nothing, said in the index's own terms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias
from unicodedata import category

from sqlalchemy import ColumnElement, Connection, select

from .. import query_nodes as q
from ..query import canonical, invalid, parse
from ..query_evaluate import TIMES, BodyLeaf, Event, body_test, times_of
from ..query_sift import Sift, sift_of
from ..times import TimeRange
from .schema import events, names
from .search import EVERY, Either, Expression, Filters, Tokens, Without, Words, carrying, every
from .terms import EXACT_FIELDS, NAME_FIELDS, USUAL, exact_token, folded, storable

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
_OF_SERVER = frozenset({"received_at", "ingested_by", "channel_id"})  # no members of the event

_EXACT = (
    *("actor_id", "actor_type", "action", "action_type", "outcome", "resource_type", "resource_id"),
    *("source", "source_ip", "schema_id"),
)


class Chunk(Protocol):
    """Some events of a log, to be checked together."""

    @property
    def documents(self) -> Mapping[int, Event]:
        """The events by index, each parsed when it is looked at."""
        ...

    def indexed(self, expression: Expression) -> set[int]:
        """Which of them the terms index finds."""
        ...


Find: TypeAlias = Callable[[Chunk], set[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a part of a query is answered.

    `near` holds every match (None: any event may match); `check` tells the matches in a chunk
    (None: all of `near`), all of which pass the `sifts`. `usual` holds every match too, and most
    events. `times`, of the field named, or the index range `within` say the same as the check.
    """

    near: Expression | None
    check: Find | None = None
    times: tuple[str, TimeRange] | None = None
    within: tuple[int, int] | None = None
    sifts: tuple[Sift, ...] = ()
    usual: Expression | None = None
    meaning: str = ""  # plans that are checked alike have the same

    def matches(self, chunk: Chunk) -> set[int]:
        """Which events of a chunk match."""
        if self.check is not None:
            return self.check(chunk)
        return set(chunk.documents) if self.near is None else chunk.indexed(self.near)


@dataclass(frozen=True, slots=True)
class Check:
    """What candidates are held against; two of one meaning are equal."""

    meaning: str
    find: Find = field(compare=False)
    sifts: tuple[Sift, ...] = field(compare=False)


class Compiler:
    """Compiles for one log, inside one read transaction (names are looked up as they come).

    `clock`, in microseconds, is what relative times are relative to.
    """

    def __init__(self, connection: Connection, log_id: str, clock: int) -> None:
        self._connection = connection
        self._log_id = log_id
        self._clock = clock

    def filters(self, filters: Filters) -> list[Plan]:
        """What every match must satisfy, times excepted."""
        exact = [(name, getattr(filters, name)) for name in _EXACT]
        exact += [("tag", tag) for tag in filters.tag]
        found = [Plan(_tokens([name], value)) for name, value in exact if value is not None]
        partly: tuple[tuple[str, q.Mode, str | None], ...] = (
            ("actor.name", "contains", filters.actor_name_contains),
            ("action", "contains", filters.action_contains),
            ("action", "prefix", filters.action_prefix),
        )
        found += [
            self._meant(self._match(q.Match(field, mode, value)), field, mode, value)
            for field, mode, value in partly
            if value is not None
        ]
        return found if filters.q is None else found + self.query(filters.q)

    def query(self, text: str) -> list[Plan]:
        """A query of the grammar, as what every match must satisfy; raises `query_invalid`."""
        node = parse(text)
        terms = node.terms if isinstance(node, q.And) else (node,)
        return [self._meant(self._node(term), str(term)) for term in terms]

    def restrictions(self, restrictions: Mapping[str, Iterable[str]]) -> list[Plan]:
        """`{field: [values]}`: each field has exactly one of its values."""
        found: list[Plan] = []
        for name, values in restrictions.items():
            matches = [q.Match(canonical(name), "equals", value) for value in values]
            plan = _either([self._match(match) for match in matches])
            found.append(self._meant(plan, "any of", *map(str, matches)))
        return found

    def _meant(self, plan: Plan, *meaning: str) -> Plan:
        """The plan, named by what it means: a text of its own, and now where it may say -7d."""
        clock = self._clock if any(name in text for name in TIMES for text in meaning) else 0
        return replace(plan, meaning=repr((meaning, clock)))

    def _node(self, node: q.Node) -> Plan:  # noqa: PLR0911 - one for each kind of node
        match node:
            case q.And(terms):
                return _both([self._node(term) for term in terms])
            case q.Or(terms):
                return _either([self._node(term) for term in terms])
            case q.Not(term):
                return _without(self._node(term))
            case q.Text(text, at) | q.Prefix(text, at):
                return Plan(_words(text, at, prefix=isinstance(node, q.Prefix)))
            case q.Has(field) if "." not in field and field not in _OF_SERVER:
                return Plan(_carrying(field))
            case q.Match():
                return self._match(node)
            case q.Compare(field) | q.Range(field) if field in TIMES:
                times = (field, times_of(node, self._clock))
                return Plan(EVERY, self._body(node).check, times)
            case q.Compare() | q.Range() | q.Has():
                return self._body(node)

    def _body(self, term: BodyLeaf) -> Plan:
        passes = body_test(term, self._clock)
        root, sift = term.field.partition(".")[0], sift_of(term)

        def check(chunk: Chunk) -> set[int]:
            return {index for index, event in chunk.documents.items() if passes(event)}

        if sift is not None and root in USUAL:
            return Plan(None, check, sifts=(sift,), usual=_carrying(root))
        return Plan(_carrying(root), check, sifts=() if sift is None else (sift,))

    def _by_id(self, event_id: str) -> Plan:
        wanted = select(events.c.idx).where(
            events.c.log_id == self._log_id, events.c.event_id == storable(event_id)
        )
        found = set(self._connection.execute(wanted).scalars())
        within = (min(found), min(found) + 1) if found else (0, 0)
        return Plan(EVERY, lambda chunk: found & chunk.documents.keys(), within=within)

    def _match(self, term: q.Match) -> Plan:
        if term.field == "id" and term.mode == "equals":
            return self._by_id(term.text)
        fields, prefix = _index_fields(term.field)
        if fields and term.mode == "equals":
            return Plan(_tokens(fields, prefix + term.text))
        searchable = [each for each in fields if each in NAME_FIELDS or each in ENUMS]
        tokens = self._names(searchable, term) if searchable else None
        if tokens is None:
            return self._body(term)
        if term.mode == "contains":
            rest = [each for each in fields if each not in searchable]
            tokens += [exact_token(each, term.text) for each in rest]
        return Plan(Tokens(tuple(tokens)))

    def _names(self, fields: list[str], term: q.Match) -> list[str] | None:
        """The tokens of the names of these fields that match; None if there are too many."""
        part = folded(term.text)
        contains = term.mode == "contains"
        found = [
            exact_token(field, value)
            for field in fields
            for value in ENUMS.get(field, ())
            if (part in value if contains else value.startswith(part))
        ]
        column: ColumnElement[str] = names.c.folded
        like = column.contains if contains else column.startswith
        statement = (
            select(names.c.token)
            .where(names.c.log_id == self._log_id, names.c.field.in_(fields))
            .where(like(part, autoescape=True))
            .limit(MAX_NAMES + 1)
        )
        found += self._connection.execute(statement).scalars().all()
        return found if len(found) <= MAX_NAMES else None


def _both(plans: Sequence[Plan]) -> Plan:
    near = every([plan.near for plan in plans if plan.near is not None])
    if all(plan.check is None for plan in plans):
        return Plan(near)
    sifts = tuple(sift for plan in plans for sift in plan.sifts)
    usual = every([plan.usual for plan in plans if plan.usual is not None])

    def check(chunk: Chunk) -> set[int]:
        return set.intersection(*(plan.matches(chunk) for plan in plans))

    return Plan(near, check, sifts=sifts, usual=usual)


def _either(plans: Sequence[Plan]) -> Plan:
    if len(plans) == 1:
        return plans[0]
    nears = [plan.near for plan in plans if plan.near is not None]
    near = Either(tuple(nears)) if len(nears) == len(plans) else None
    if near is not None and all(plan.check is None for plan in plans):
        return Plan(near)
    return Plan(near, lambda chunk: set.union(*(plan.matches(chunk) for plan in plans)))


def _without(plan: Plan) -> Plan:
    if plan.check is None and plan.near is not None:
        return Plan(plan.near.term if isinstance(plan.near, Without) else Without(plan.near))
    return Plan(None, lambda chunk: set(chunk.documents) - plan.matches(chunk))


def _index_fields(field: str) -> tuple[tuple[str, ...], str]:
    """The index fields of a query's field, none if it has none, and what stands before the value
    in their tokens."""
    root, _, key = field.partition(".")
    if root == "tags" and key:
        return ("tag",), f"{key}:"
    fields = _FIELDS.get(field, (field,))
    return (fields if EXACT_FIELDS.issuperset(fields) else ()), ""


def _tokens(fields: Iterable[str], value: str) -> Tokens:
    return Tokens(tuple(exact_token(field, value) for field in fields))


def _carrying(root: str) -> Expression | None:
    """The events that carry a top-level field."""
    if root in _OF_SERVER:
        return None
    return carrying("resources" if root == "resource" else root)


def _words(text: str, at: int, *, prefix: bool = False) -> Words:
    # unicode61 indexes letters, numbers and private-use characters; a phrase of none is a mistake
    if not any(category(char)[0] in "LN" or category(char) == "Co" for char in text):
        raise invalid(at, "write a letter or a digit: nothing else is indexed")
    return Words(text, prefix)
