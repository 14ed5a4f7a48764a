"""The query language of searches and of `q`: text in, a small frozen tree out.

Rules:
- The grammar, in EBNF (spaces separate terms; `AND`, `OR`, `NOT`, `TO` are capital letters):

      query    = and { "OR" and }
      and      = unary { [ "AND" ] unary }
      unary    = ( "NOT" | "-" ) unary | "(" query ")" | term
      term     = text | stem "*" | "has:" field | field ":" ( text | stem "*" | range )
               | field "=" text | field ( ">" | ">=" | "<" | "<=" ) text
      range    = "[" ( text | "*" ) "TO" ( text | "*" ) "]"
      text     = word | '"' { character | '\\"' | '\\\\' } '"'
      field    = name { "." name }

- `field:text` is a partial match, `field="text"` an exact one; a word or phrase alone is searched
  in the event's text. Quotes only protect characters that the grammar would read itself.
- Linear time, no backtracking: length, terms and nesting are bounded. Any string gives a tree or
  `Problem("query_invalid")`, whose detail names the position (0 is the first character) and what
  to write there, and never repeats what was sent.
- What a term means is said where it is evaluated: on the terms index in store/search.py, on an
  event's body in query_evaluate.py.
"""

import re

from .problems import FieldError, Problem
from .query_nodes import And, Compare, Has, Match, Node, Not, Or, Prefix, Range, Text

MAX_CHARS = 4096  # a screen of text; the parser's and the index's work grow with it
MAX_TERMS = 100  # each term is a lookup in the index
MAX_DEPTH = 20  # of parentheses and negations: bounds recursion here and wherever a tree is walked

ALIASES = {
    "target": "resource",
    "new": "after",
    "old": "before",
    "status": "outcome",
    "actor_id": "actor.id",
    "actor_name": "actor.name",
    "actor_type": "actor.type",
    "resource_id": "resource.id",
    "resource_type": "resource.type",
    "resources": "resource",
    "source_ip": "context.source_ip",
    "schema_id": "schema.id",
    "tag": "tags",
}
ROOTS = frozenset(
    {
        *("id", "received_at", "occurred_at", "ingested_by", "channel_id"),
        *("action", "action_type", "outcome", "reason", "severity", "tenant_id"),
        *("actor", "resource", "source", "context", "before", "after", "message", "data"),
        *("schema", "tags", "amends", "subjects"),
    }
)
KEYWORDS = frozenset({"AND", "OR", "NOT", "TO"})

_SPACE = re.compile(r"\s*")
_BARE = re.compile(r'[^\s()"\[\]]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_FIELD = re.compile(r"([A-Za-z_][\w@-]*(?:\.[\w@-]+)*)(:|>=|<=|=|>|<)", re.ASCII)
_OPERATOR = re.compile(r"[:=<>*]")
_ESCAPED = re.compile(r'\\(["\\])')


def parse(text: str) -> Node:
    """The tree of a query of 1 to `MAX_CHARS` characters; raises `Problem("query_invalid")`."""
    if len(text) > MAX_CHARS:
        raise invalid(MAX_CHARS, f"shorten the query to {MAX_CHARS} characters")
    for at, char in enumerate(text):
        if (char < " " and char not in "\t\n\r") or "\ud800" <= char <= "\udfff":
            raise invalid(at, "remove the control character")
    return _Parser(text).parse()


def invalid(at: int, advice: str) -> Problem:
    """`query_invalid` at a position, with what to write instead."""
    detail = f"position {at}: {advice}"
    return Problem("query_invalid", detail, errors=[FieldError("query_invalid", "/query", detail)])


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._terms = 0

    def parse(self) -> Node:
        self._skip()
        if self._end():
            raise invalid(0, "write at least one term")
        node = self._or(0)
        if not self._end():
            raise invalid(self._at, 'remove the ")" that closes nothing, or quote it')
        return node

    def _or(self, depth: int) -> Node:
        terms = [self._and(depth)]
        while self._keyword("OR"):
            terms.append(self._and(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _and(self, depth: int) -> Node:
        terms = [self._unary(depth)]
        while self._keyword("AND") or not (self._end() or self._peek(")") or self._word() == "OR"):
            terms.append(self._unary(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _unary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise invalid(self._at, f"nest at most {MAX_DEPTH} parentheses and negations")
        if self._keyword("NOT") or self._take("-"):
            return Not(self._unary(depth + 1))
        if not self._peek("("):
            return self._term()
        opened = self._at
        self._take("(")
        self._skip()
        node = self._or(depth + 1)
        if not self._take(")"):
            raise invalid(opened, 'close this "("')
        self._skip()
        return node

    def _term(self) -> Node:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise invalid(self._at, f"use at most {MAX_TERMS} terms")
        at = self._at
        named = _FIELD.match(self._text, at)
        if named is None:
            text, stem = self._value(at)
            if not self._quoted(at) and (found := _OPERATOR.search(text)):
                raise invalid(at + found.start(), "quote the text, or write a field before this")
            return Prefix(text, at) if stem else Text(text, at)
        name, operator = named.groups()
        self._at = named.end()
        if name == "has" and operator == ":":
            return self._has(at)
        name = canonical(name, at)
        if operator == ":":
            return self._match(name, at)
        start = self._at
        text, stem = self._value(start)
        if stem:
            raise invalid(start, f'quote the text, or write ":" instead of "{operator}"')
        if operator == "=":
            return Match(name, "equals", text, at)
        return Compare(name, operator, text, at)

    def _match(self, name: str, at: int) -> Node:
        if self._peek("["):
            return self._range(name, at)
        if self._peek("("):
            raise invalid(self._at, "repeat the field before each value: field:a OR field:b")
        text, stem = self._value(self._at)
        return Match(name, "prefix" if stem else "contains", text, at)

    def _has(self, at: int) -> Node:
        start = self._at
        found = _BARE.match(self._text, start)
        name = found[0] if found else ""
        if not _FIELD.fullmatch(f"{name}:"):
            raise invalid(start, "write the name of a field after has:")
        self._at += len(name)
        self._skip()
        return Has(canonical(name, start), at)

    def _range(self, name: str, at: int) -> Node:
        self._take("[")
        self._skip()
        low = self._bound()
        if not self._keyword("TO"):
            raise invalid(self._at, "write a range as field:[low TO high]")
        high = self._bound()
        if not self._take("]"):
            raise invalid(self._at, 'close the range with "]"')
        self._skip()
        return Range(name, low, high, at)

    def _bound(self) -> str | None:
        at = self._at
        if self._word() == "*":
            self._take("*")
            self._skip()
            return None
        text, stem = self._value(at)
        if stem:
            raise invalid(at, 'write a whole value, or "*" alone for an open end')
        return text

    def _value(self, at: int) -> tuple[str, bool]:
        """The text at `at`, and whether a `*` follows its stem; moves behind it."""
        if self._quoted(at):
            return self._phrase(at), False
        found = _BARE.match(self._text, at)
        if found is None or found[0] in KEYWORDS:
            raise invalid(at, "write a word or a quoted phrase here")
        self._at = found.end()
        if self._quoted(self._at):
            raise invalid(self._at, "leave a space before the quote, or quote the whole value")
        text = found[0]
        stem = text.endswith("*")
        if "*" in text[:-1] or text == "*":
            raise invalid(at + text.index("*"), 'a "*" stands at the end of a word; else quote it')
        self._skip()
        return (text[:-1] if stem else text), stem

    def _phrase(self, at: int) -> str:
        found = _QUOTED.match(self._text, at)
        if found is None:
            raise invalid(at, r'close this quote; inside it write \" for " and \\ for \ ')
        self._at = found.end()
        if not self._end() and not (self._text[self._at] in ")]" or self._text[self._at].isspace()):
            raise invalid(self._at, "leave a space after the quoted text")
        self._skip()
        if not found[1].strip():
            raise invalid(at, "write something between the quotes")
        return _ESCAPED.sub(r"\1", found[1])

    def _quoted(self, at: int) -> bool:
        return self._text.startswith('"', at)

    def _peek(self, char: str) -> bool:
        return self._text.startswith(char, self._at)

    def _take(self, char: str) -> bool:
        found = self._peek(char)
        self._at += len(char) if found else 0
        return found

    def _word(self) -> str:
        found = _BARE.match(self._text, self._at)
        return found[0] if found else ""

    def _keyword(self, word: str) -> bool:
        if self._word() != word:
            return False
        self._at += len(word)
        self._skip()
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _end(self) -> bool:
        return self._at >= len(self._text)


def canonical(name: str, at: int = 0) -> str:
    """A field's name with the alias at its root resolved; `query_invalid` if it is no field."""
    if name in ALIASES:
        return ALIASES[name]
    root, dot, rest = name.partition(".")
    root = ALIASES.get(root, root)
    if root not in ROOTS:
        raise invalid(at, "this is no field of an event; quote it to search for the text")
    return f"{root}{dot}{rest}"
