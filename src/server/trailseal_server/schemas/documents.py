"""The text of a schema, JSON or YAML, as one JSON value.

Rules:
- YAML is read as YAML 1.2's JSON schema with plain text allowed (`no` and `2026-01-01` are text),
  from the parser's events: neither depth nor aliases can grow beyond the bounds here. (The usual
  loader recurses in C and overflows its stack.)
- Refused: aliases, anchors, tags, a second document, member names that are no text or occur twice.
- Both kinds: at most `MAX_DEPTH` levels and `MAX_VALUES` values, no number beyond ±(2^53-1).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import yaml

from ..problems import FieldError, Problem
from ..strict_json import MAX_NUMBER, parse, token

MAX_CHARS = 1 << 18  # of a document's text; the contract's limit
MAX_DEPTH = 32  # of a schema; what it describes nests about half as deep
MAX_VALUES = 20_000  # in one document: 256 KiB hold more only if they are nearly empty

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,19})", re.ASCII)
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


def invalid(pointer: str, detail: str) -> Problem:
    """A schema that cannot be registered: one mistake and its place."""
    errors = [FieldError("schema_invalid", pointer, detail)]
    return Problem("schema_invalid", f"{pointer} {detail}", errors=errors)


def read(text: str) -> Any:
    """The value of JSON or YAML text; raises `Problem` schema_invalid with line and column."""
    if not text.lstrip().startswith("{"):
        return _yaml(text)
    try:
        return parse(text.encode())
    except Problem as problem:
        with suppress(Problem):  # YAML may begin with a brace too
            return _yaml(text)
        raise invalid("/text", problem.detail.replace("The body", "the text")) from None


def check_size(value: Any, at: str) -> None:
    """Refuse a document that is too deep, has too many values, or a number too large."""
    waiting: list[tuple[str, Any, int]] = [(at, value, 1)]
    seen = 0
    while waiting:
        pointer, each, depth = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise invalid(at, f"must hold at most {MAX_VALUES} values")
        if type(each) in (int, float) and not -MAX_NUMBER <= each <= MAX_NUMBER:
            raise invalid(pointer, "numbers must lie within ±(2^53-1)")
        if isinstance(each, dict | list):
            if depth > MAX_DEPTH:
                raise invalid(pointer, f"must not nest deeper than {MAX_DEPTH} levels")
            members = each.items() if isinstance(each, dict) else enumerate(each)
            waiting += [(f"{pointer}/{token(name)}", one, depth + 1) for name, one in members]


def _yaml(text: str) -> Any:
    try:
        return _Events(text).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1} column {mark.column + 1}" if mark else ""
        why = getattr(error, "problem", None) or "holds characters that YAML does not allow"
        raise invalid("/text", f"is not YAML: {why}{place}") from None


class _Events:
    """One YAML document, built from the parser's events."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._left = MAX_VALUES

    def document(self) -> Any:
        """The value of the only document."""
        self._next(yaml.StreamStartEvent)
        self._next(yaml.DocumentStartEvent)
        value = self._value(next(self._events), 1)
        self._next(yaml.DocumentEndEvent)
        self._next(yaml.StreamEndEvent)
        return value

    def _next(self, kind: type) -> None:
        if not isinstance(next(self._events), kind):
            raise invalid("/text", "must be exactly one YAML document")

    def _value(self, event: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise invalid("/text", f"must hold at most {MAX_VALUES} values")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _at(event, "holds an alias or an anchor; use $ref instead")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if event.tag not in {None, "!"}:
            raise _at(event, "holds a YAML tag")
        if depth > MAX_DEPTH:
            raise _at(event, f"nests deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth)
        return self._mapping(depth)

    def _sequence(self, depth: int) -> list[Any]:
        found = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._value(event, depth + 1)
            if not isinstance(name, str):
                raise _at(event, "holds a member name that is no text; quote it")
            if name in found:
                raise _at(event, "holds a member twice")
            found[name] = self._value(next(self._events), depth + 1)
        return found


def _scalar(event: Any) -> Any:
    """Text, or the number, boolean or null that a plain scalar is (YAML 1.2, section 10.2)."""
    if event.tag not in {None, "!"}:
        raise _at(event, "holds a YAML tag")
    text: str = event.value
    if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
        raise _at(event, "holds a lone surrogate")
    if not event.implicit[0]:
        return text  # quoted
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _at(event: Any, why: str) -> Problem:
    return invalid(
        "/text", f"{why}, line {event.start_mark.line + 1} column {event.start_mark.column + 1}"
    )
