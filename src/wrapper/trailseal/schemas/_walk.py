"""Where a JSON Schema (draft 7, 2020-12) holds schemas, and what its local references mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from trailseal.schemas._load import token

# Those that look at the same value; those that look at a part of it.
SAME = frozenset({"not", "if", "then", "else"})
SAME_LIST = frozenset({"allOf", "anyOf", "oneOf"})
SAME_MAP = frozenset({"dependentSchemas", "dependencies"})
PART = frozenset({
    "additionalProperties", "unevaluatedProperties", "propertyNames", "items", "additionalItems",
    "unevaluatedItems", "contains", "contentSchema",
})  # fmt: skip
PART_LIST = frozenset({"prefixItems", "items"})
MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions"}) | SAME_MAP


def subschemas(schema: dict[str, Any], at: str) -> Iterator[tuple[dict[str, Any], str]]:
    """All schemas of a document, itself first, each with its place."""
    waiting: list[tuple[Any, str]] = [(schema, at)]
    while waiting:
        each, here = waiting.pop()
        if not isinstance(each, dict):
            continue
        yield each, here
        for keyword, value in each.items():
            below = f"{here}/{token(keyword)}"
            if keyword in SAME | PART and isinstance(value, dict):
                waiting.append((value, below))
            elif keyword in SAME_LIST | PART_LIST and isinstance(value, list):
                waiting += [(one, f"{below}/{n}") for n, one in enumerate(value)]
            elif keyword in MAPS and isinstance(value, dict):
                waiting += [(one, f"{below}/{token(name)}") for name, one in value.items()]


def resolve(document: Any, reference: str) -> Any:
    """The part of the document that `#/…` names; raises `LookupError`."""
    found = document
    for part in unquote(reference.removeprefix("#")).split("/")[1:]:
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and step.isascii() and step.isdecimal():
            found = found[int(step[:10])]
        elif isinstance(found, dict) and step in found:
            found = found[step]
        else:
            raise LookupError(reference)
    return found


def applying(document: dict[str, Any], schemas: list[Any]) -> list[dict[str, Any]]:
    """All schemas that may speak about the value of `schemas`: references and branches followed.

    Branches count whether or not they match: for data classes, the strictest reading is right.
    """
    found: list[dict[str, Any]] = []
    waiting = list(schemas)
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict) or any(each is one for one in found):
            continue
        found.append(each)
        if isinstance(each.get("$ref"), str):
            waiting.append(resolve(document, each["$ref"]))
        waiting += [each[keyword] for keyword in SAME & each.keys()]
        for keyword in SAME_LIST & each.keys():
            waiting += each[keyword]
        for keyword in SAME_MAP & each.keys():
            waiting += each[keyword].values()
    return found
