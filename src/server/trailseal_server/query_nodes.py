"""The tree of a query: small frozen nodes that print as the text that gives them.

Rules:
- `at` is where a term began in the text, for messages; it is no part of what a term means.
- `parse(str(node)) == node` for every node that a query gives (query.py).
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["contains", "equals", "prefix"]
Leaf: TypeAlias = "Text | Prefix | Match | Compare | Range | Has"
Node: TypeAlias = "Leaf | Not | And | Or"


def _at() -> int:
    return field(default=0, compare=False, repr=False)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class Text:
    """A word or a phrase, anywhere in the event's text."""

    text: str
    at: int = _at()

    def __str__(self) -> str:
        return _quote(self.text)


@dataclass(frozen=True, slots=True)
class Prefix:
    """Words that begin with `stem`, anywhere in the event's text."""

    stem: str
    at: int = _at()

    def __str__(self) -> str:
        return f"{self.stem}*"


@dataclass(frozen=True, slots=True)
class Match:
    """A field's value: contains, equals, or begins with `text`."""

    field: str
    mode: Mode
    text: str
    at: int = _at()

    def __str__(self) -> str:
        if self.mode == "prefix":
            return f"{self.field}:{self.text}*"
        return f"{self.field}{'=' if self.mode == 'equals' else ':'}{_quote(self.text)}"


@dataclass(frozen=True, slots=True)
class Compare:
    """A field's value against a bound; `operator` is one of `> >= < <=`."""

    field: str
    operator: str
    text: str
    at: int = _at()

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{_quote(self.text)}"


@dataclass(frozen=True, slots=True)
class Range:
    """A field's value between two bounds, both inclusive; None is open."""

    field: str
    low: str | None
    high: str | None
    at: int = _at()

    def __str__(self) -> str:
        low, high = ("*" if text is None else _quote(text) for text in (self.low, self.high))
        return f"{self.field}:[{low} TO {high}]"


@dataclass(frozen=True, slots=True)
class Has:
    """The event carries the field."""

    field: str
    at: int = _at()

    def __str__(self) -> str:
        return f"has:{self.field}"


@dataclass(frozen=True, slots=True)
class Not:
    term: Node

    def __str__(self) -> str:
        return f"NOT {_group(self.term)}"


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(map(_group, self.terms))


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Node, ...]

    def __str__(self) -> str:
        # "AND" binds closer than "OR": only another "OR" needs parentheses here
        return " OR ".join(f"({t})" if isinstance(t, Or) else str(t) for t in self.terms)


def _group(node: Node) -> str:
    return f"({node})" if isinstance(node, And | Or) else str(node)
