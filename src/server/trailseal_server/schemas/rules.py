"""What may be registered: schemas that are sound, self-contained and cheap to check.

Rules:
- Draft 7 or 2020-12 (`$schema`; 2020-12 if it is missing), valid by its own meta-schema.
- `$ref` is `#` or `#/…`, a JSON Pointer within the document: nothing is ever fetched. No anchors,
  no `$id` or `$schema` below the root, no dynamic references: they could lead elsewhere.
- Names that begin with `__` are reserved, anywhere in the document.
- Patterns are for a linear-time engine, of bounded size, at most `MAX_PATTERNS`.
- The work for one value is bounded before anything is compiled. The schema is unrolled along its
  references: at most `MAX_UNROLLED` subschemas, and at most one way by which it comes back to
  itself for one value. (Two would double the work with each level of an event; a return without a
  step down into the value would never end.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from jsonschema_rs import (
    Draft7Validator,
    Draft202012Validator,
    ReferencingError,
    RegexOptions,
    ValidationError,
)

from ..problems import Problem
from ..strict_json import token
from ..validation import Validator, field_errors
from .documents import check_size, invalid

MAX_UNROLLED = 1000  # subschemas that a value may meet: 1.5 s for the largest event, measured
MAX_CHAIN = 100  # subschemas inside each other, references followed
MAX_PATTERNS = 50  # each of them is tried on each name or text
PATTERN_BYTES = 1 << 18  # a compiled pattern; 500 × [a-z] fits, 1,000 × any letter does not

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"
_DIALECTS: dict[str, type[Validator]] = {
    DRAFT_7: Draft7Validator,
    DRAFT_2020: Draft202012Validator,
}
_META: dict[str, Validator] = {
    uri: kind({"$ref": uri}, offline=True) for uri, kind in _DIALECTS.items()
}

# Where a schema holds schemas, and whether they look at the same value or at a part of it.
SAME = {"not", "if", "then", "else"}
SAME_LIST = {"allOf", "anyOf", "oneOf"}
SAME_MAP = {"dependentSchemas", "dependencies"}
PART = {
    "additionalProperties", "unevaluatedProperties", "propertyNames", "items", "additionalItems",
    "unevaluatedItems", "contains", "contentSchema",
}  # fmt: skip
PART_LIST = {"prefixItems", "items"}
PART_MAP = {"properties", "patternProperties"}
# A part of the value meets at most one subschema of a group.
GROUP = {
    "properties": "members",
    "additionalProperties": "members",
    "prefixItems": "items",
    "items": "items",
    "additionalItems": "items",
}
STORES = {"$defs", "definitions"}  # hold schemas and apply none
FOREIGN = (
    "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$anchor", "$vocabulary",
)  # fmt: skip
AT = "/document"


@dataclass(frozen=True, slots=True)
class Sound:
    """What was found of a schema: its dialect, how many subschemas a value may meet, patterns."""

    dialect: str
    work: int
    patterns: int


def check(document: Any, at: str = AT) -> Sound:
    """What is known of a sound schema; `at` is where it lies in the request.

    Raises `Problem` schema_invalid.
    """
    check_size(document, at)
    if not isinstance(document, dict):
        raise invalid(at, "must be an object")
    dialect = _dialect(document, at)
    _check_names(document, at)
    if errors := field_errors(_META[dialect], document, at):
        found = [invalid(error.pointer, error.detail).errors[0] for error in errors]
        raise Problem("schema_invalid", f"{found[0].pointer} {found[0].detail}", errors=found)
    schemas = list(_schemas(document, at))
    patterns = sum(_check_one(each, pointer, root=pointer == at) for each, pointer in schemas)
    if patterns > MAX_PATTERNS:
        raise invalid(at, f"must hold at most {MAX_PATTERNS} patterns")
    work = _Unrolled(document, {id(each) for each, _ in schemas}, at, legacy=dialect == DRAFT_7)
    work.visit(document, at, [], 0)
    compile_document(document, dialect, at)
    return Sound(dialect, work.count, patterns)


def compile_document(document: dict[str, Any], dialect: str, at: str = AT) -> Validator:
    """The validator of a checked document; raises `Problem` schema_invalid."""
    options = RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES)
    own = {name: value for name, value in document.items() if name != "$id"}
    try:
        return _DIALECTS[dialect](
            own,
            offline=True,
            validate_formats=True,
            pattern_options=options,
        )
    except ValidationError as error:
        place = at + "".join(f"/{token(step)}" for step in error.instance_path)
        advice = (
            "must be a regular expression without look-around and back-references, not too large"
        )
        raise invalid(place, advice if error.kind.name == "format" else "cannot be used") from None
    except (ReferencingError, ValueError):
        raise invalid(at, "cannot be used") from None


def resolve(document: Any, reference: str) -> Any:
    """The part of the document that a `$ref` names; raises LookupError."""
    found = document
    for part in unquote(reference[1:]).split("/")[1:]:
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and step.isascii() and step.isdecimal():
            found = found[int(step[:10])]
        elif isinstance(found, dict) and step in found:
            found = found[step]
        else:
            raise LookupError(reference)
    return found


def applied(schema: dict[str, Any], *, legacy: bool) -> Iterator[tuple[str, str, Any]]:
    """Keyword, pointer below the schema, and subschema, of all subschemas that it applies."""
    if legacy and "$ref" in schema:
        return  # draft 7 ignores everything beside a reference
    for keyword, value in schema.items():
        if keyword in SAME | PART and isinstance(value, dict | bool):
            yield keyword, f"/{keyword}", value
        elif keyword in SAME_LIST | PART_LIST and isinstance(value, list):
            yield from ((keyword, f"/{keyword}/{n}", each) for n, each in enumerate(value))
        elif keyword in SAME_MAP | PART_MAP and isinstance(value, dict):
            for name, each in value.items():
                if isinstance(each, dict | bool):  # `dependencies` may list names instead
                    yield keyword, f"/{keyword}/{token(name)}", each


def _dialect(document: dict[str, Any], at: str) -> str:
    named = document.get("$schema", DRAFT_2020)
    for dialect in _DIALECTS:
        if isinstance(named, str) and named.rstrip("#") == dialect.rstrip("#"):
            return dialect
    raise invalid(f"{at}/$schema", f"must be {DRAFT_2020} or {DRAFT_7}")


def _check_names(value: Any, pointer: str) -> None:
    """Refuse reserved names: as members, and as names that `required` asks for."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            _check_names(each, f"{pointer}/{number}")
    if not isinstance(value, dict):
        return
    wanted = value.get("required")
    for name in [*value, *(wanted if isinstance(wanted, list) else [])]:
        if isinstance(name, str) and name.startswith("__"):
            advice = "names that begin with __ are reserved for TrailSeal; choose another name"
            raise invalid(f"{pointer}/{token(name)}", advice)
    for name, each in value.items():
        _check_names(each, f"{pointer}/{token(name)}")


def _schemas(schema: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every schema of the document, used or not, with its place."""
    if not isinstance(schema, dict):
        return
    yield schema, pointer
    for _, below, each in applied(schema, legacy=False):
        yield from _schemas(each, pointer + below)
    for store in STORES:
        for name, each in schema.get(store, {}).items():
            yield from _schemas(each, f"{pointer}/{store}/{token(name)}")


def _check_one(schema: dict[str, Any], pointer: str, *, root: bool) -> int:
    """Refuse what could lead out of the document; answer how many patterns the schema has."""
    for keyword in FOREIGN:
        if keyword in schema:
            raise invalid(f"{pointer}/{keyword}", "is not supported; use $ref with #/…")
    for keyword in ("$id", "$schema"):
        if keyword in schema and not root:
            raise invalid(f"{pointer}/{keyword}", "may only stand at the root")
    reference = schema.get("$ref", "#")
    if reference != "#" and not reference.startswith("#/"):
        advice = "must point into this document, #/…; nothing is fetched from elsewhere"
        raise invalid(f"{pointer}/$ref", advice)
    return ("pattern" in schema) + len(schema.get("patternProperties", {}))


class _Unrolled:
    """A schema unrolled along its references, as far as the bounds allow."""

    def __init__(
        self, document: dict[str, Any], schemas: set[int], at: str, *, legacy: bool
    ) -> None:
        self._document = document
        self._schemas = schemas
        self._at = at
        self._legacy = legacy
        self.count = 0

    def visit(self, schema: Any, pointer: str, above: list[tuple[int, int]], depth: int) -> int:
        """How many ways lead back to a schema `above` for one value; `depth` is the value's."""
        if not isinstance(schema, dict):
            return 0
        for seen, level in above:
            if seen == id(schema):
                if level == depth:
                    raise invalid(pointer, "refers to itself without end")
                return 1
        self.count += 1
        if self.count > MAX_UNROLLED or len(above) >= MAX_CHAIN:
            advice = f"must be at most {MAX_UNROLLED} subschemas, references followed"
            raise invalid(self._at, advice)
        path = [*above, (id(schema), depth)]
        ways: dict[str, int] = {}
        if "$ref" in schema:
            target = self._target(schema, pointer)
            ways["$ref"] = self.visit(target, self._at + schema["$ref"][1:], path, depth)
        for keyword, below, each in applied(schema, legacy=self._legacy):
            deeper = keyword in PART | PART_LIST | PART_MAP
            found = self.visit(each, pointer + below, path, depth + deeper)
            group = GROUP.get(keyword)
            if group:
                ways[group] = max(ways.get(group, 0), found)
            else:
                ways[below] = found
        if sum(ways.values()) > 1:
            advice = (
                "refers to itself in two ways for one value, so that each level doubles the work"
            )
            raise invalid(pointer, advice)
        return sum(ways.values())

    def _target(self, schema: dict[str, Any], pointer: str) -> Any:
        try:
            target = resolve(self._document, schema["$ref"])
        except LookupError:
            target = None
        if not isinstance(target, bool) and id(target) not in self._schemas:
            raise invalid(f"{pointer}/$ref", "must point to a schema of this document")
        return target
