"""The language of the terms index, and the filters of lists.

Rules:
- What a request asks of the index is a small tree over `Tokens` and `Words` (compiler.py makes it);
  fts5.py and tsvector.py write it in their engine's language.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, TableClause

from .terms import USUAL, exact_token


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


def every(expressions: list[Expression]) -> Expression | None:
    """All of these; None when there are none, which is every event."""
    return All(tuple(expressions)) if expressions else None


def carrying(name: str) -> Expression:
    """The events with a top-level field of this name."""
    if name in USUAL:
        return Without(Tokens((exact_token("lacks", name),)))
    return Tokens((exact_token("has", name),))


# each event has an action, and keeps it
EVERY = Tokens((exact_token("has", "action"),))
