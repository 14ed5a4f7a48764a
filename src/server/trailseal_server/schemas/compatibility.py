"""Whether a new version of a schema takes every event that the one before took (`backward`).

Rules:
- Structural and careful: what cannot be shown to be no narrower counts as broken. Each break names
  its place in the new document.
- Keywords with an order (types, bounds, `required`, `enum`, `properties`, `items`) may only grow
  wider. Any other keyword may stay as it is, with everything that it refers to, or go away.
- A property that is new must take whatever the old version took under that name: anything, unless
  the old version had `additionalProperties`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from ..problems import MAX_FIELD_ERRORS, FieldError
from ..strict_json import token
from .rules import AT, DRAFT_7, resolve

Break = tuple[str, str]  # pointer into the new document, reason

ANNOTATIONS = frozenset({
    "$id", "$schema", "$comment", "$defs", "definitions", "title", "description", "default",
    "examples", "deprecated", "readOnly", "writeOnly", "version", "contentEncoding",
    "contentMediaType", "contentSchema",
})  # fmt: skip
# Keywords that change what others mean stay as they are together.
TOGETHER = (
    ("contains", "minContains", "maxContains"),
    ("prefixItems", "items", "additionalItems"),
    ("if", "then", "else"),
)
AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
WHOLE = ("unevaluatedProperties", "unevaluatedItems")  # depend on all that stands beside them


def breaks(old: dict[str, Any], new: dict[str, Any], dialects: tuple[str, str]) -> list[FieldError]:
    """What stops `new` from taking the events of `old`; empty if nothing does."""
    if dialects[0] != dialects[1]:
        found = [(f"{AT}/$schema", f"must stay {dialects[0]}")]
    else:
        found = list(_Comparison(old, new, legacy=dialects[0] == DRAFT_7).compare(old, new, AT))
    return [FieldError("schema_incompatible", *each) for each in found[:MAX_FIELD_ERRORS]]


class _Comparison:
    def __init__(self, old: dict[str, Any], new: dict[str, Any], *, legacy: bool) -> None:
        self._old, self._new = old, new
        self._legacy = legacy
        self._under_way: set[tuple[int, int]] = set()  # recursion: what is being shown may be used

    def compare(self, old: Any, new: Any, at: str) -> Iterator[Break]:
        """Where `new` takes less than `old`."""
        old, new = self._followed(old, self._old), self._followed(new, self._new)
        pair = (id(old), id(new))
        if old is False or new is True or pair in self._under_way or self._same(old, new):
            return
        self._under_way.add(pair)
        old = {} if old is True else old
        if new is False:
            yield at, "is not allowed any more"
            return
        if any(name in new for name in WHOLE):
            yield (
                at,
                "must stay as it is, because it uses unevaluatedProperties or unevaluatedItems",
            )
            return
        for check in (_types, _values, _required, _bounds, self._members, self._items, self._rest):
            yield from check(old, new, at)

    def _followed(self, schema: Any, document: dict[str, Any]) -> Any:
        """The schema behind a reference that stands alone."""
        while isinstance(schema, dict) and "$ref" in schema:  # bounded: rules.py refuses circles
            if not self._legacy and schema.keys() - ANNOTATIONS != {"$ref"}:
                break
            schema = resolve(document, schema["$ref"])
        return schema

    def _same(self, old: Any, new: Any) -> bool:
        """Whether both are written alike, and what they refer to is."""
        waiting: list[tuple[Any, Any]] = [(old, new)]
        seen: set[str] = set()
        while waiting:
            one, other = waiting.pop()
            if _text(one) != _text(other):
                return False
            for reference in _references(one) - seen:
                seen.add(reference)
                waiting.append((_found(self._old, reference), _found(self._new, reference)))
        return True

    def _members(self, old: Any, new: Any, at: str) -> Iterator[Break]:
        mine, theirs = new.get("properties", {}), old.get("properties", {})
        others, rest = old.get("additionalProperties", True), new.get("additionalProperties", True)
        patterns = old.get("patternProperties")
        for name, schema in mine.items():
            here = f"{at}/properties/{token(name)}"
            if name in theirs:
                yield from self.compare(theirs[name], schema, here)
            elif _anything(schema):
                continue
            elif patterns or _anything(others):
                yield here, "is new, and the version before took any value under this name"
            else:
                yield from self.compare(others, schema, here)
        if _anything(rest):
            return
        if not self._same(patterns, new.get("patternProperties")):
            yield f"{at}/patternProperties", "must stay as it is beside additionalProperties"
        for name in theirs.keys() - mine.keys():
            yield from self.compare(theirs[name], rest, f"{at}/properties/{token(name)}")
        yield from self.compare(others, rest, f"{at}/additionalProperties")

    def _items(self, old: Any, new: Any, at: str) -> Iterator[Break]:
        """`items` of all elements alike; tuples are left to `_rest`."""
        if "items" in new and not _tuple(old) and not _tuple(new):
            yield from self.compare(old.get("items", True), new["items"], f"{at}/items")

    def _rest(self, old: Any, new: Any, at: str) -> Iterator[Break]:
        handled = {"type", "enum", "const", "required", "properties", "additionalProperties"}
        handled |= {*AT_MOST, *AT_LEAST} | ANNOTATIONS
        if not _tuple(old) and not _tuple(new):
            handled.add("items")
        for name in new.keys() - handled:
            group = next((each for each in TOGETHER if name in each), (name,))
            if not self._same(_part(old, group), _part(new, group)):
                yield f"{at}/{token(name)}", "is new or was changed"


def _anything(schema: Any) -> bool:
    return schema is True or (isinstance(schema, dict) and schema.keys() <= ANNOTATIONS)


def _part(schema: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: schema[name] for name in names if name in schema}


def _tuple(schema: dict[str, Any]) -> bool:
    return isinstance(schema.get("items"), list) or bool(
        {"prefixItems", "additionalItems"} & schema.keys()
    )


def _types(old: Any, new: Any, at: str) -> Iterator[Break]:
    if "type" not in new:
        return
    allowed = _listed(new["type"])
    if "number" in allowed:
        allowed.append("integer")
    lost = [each for each in _listed(old.get("type", "any type")) if each not in allowed]
    if lost:
        yield f"{at}/type", f"does not allow {' or '.join(lost)} any more"


def _values(old: Any, new: Any, at: str) -> Iterator[Break]:
    for name in ("enum", "const"):
        if name not in new:
            continue
        now = {_text(each) for each in ([new["const"]] if name == "const" else new["enum"])}
        before = [old["const"]] if "const" in old else old.get("enum")
        if before is None or not {_text(each) for each in before} <= now:
            yield f"{at}/{name}", "does not allow every value that was allowed"


def _required(old: Any, new: Any, at: str) -> Iterator[Break]:
    for name in new.get("required", []):
        if name not in old.get("required", []):
            yield f"{at}/required", f"asks for {token(name)}, which was optional"


def _bounds(old: Any, new: Any, at: str) -> Iterator[Break]:
    kinds: tuple[tuple[tuple[str, ...], Callable[[Any, Any], bool]], ...] = (
        (AT_MOST, lambda before, now: before <= now),
        (AT_LEAST, lambda before, now: before >= now),
    )
    for names, wider in kinds:
        for name in names:
            if name in new and (name not in old or not wider(old[name], new[name])):
                yield f"{at}/{name}", "is narrower than it was"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _text(value: Any) -> bytes:
    """Values that are told apart as JSON does: true is not 1."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _references(value: Any) -> set[str]:
    """The references in a schema, and whatever else looks like one."""
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own.union(*map(_references, value.values()))


def _found(document: dict[str, Any], reference: str) -> Any:
    try:
        return resolve(document, reference)
    except LookupError:
        return None
