"""Path, query and header parameters: from text to typed values, by the contract's schemas.

Rules:
- An unknown query parameter is refused by name: it is a typo, and a filter that is not applied
  would show events that nobody asked for. Unknown headers are none of our business.
- A parameter that is given twice is refused, unless its schema is an array. An array of an enum may
  also be written as one value with commas (`include=total,proof`).
- A path that no object can have is that of none: its `x-error-code` is a 404 like any other, for
  nobody can tell a wrong form from a missing object.
- Integers are decimal, booleans `true` or `false`; an empty value is a value.
"""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from .problems import CODES, FieldError, Problem
from .validation import Schema, compile_schema, field_errors

_INTEGER = re.compile(r"-?[0-9]{1,16}")  # 16 digits hold every number within ±(2^53-1)


class Parameter:
    """One parameter of an operation, with its compiled schema."""

    def __init__(self, spec: Schema, schema: Schema, components: Schema) -> None:
        self.name: str = spec["name"]
        self.place: str = spec["in"]
        self.required: bool = spec.get("required", False)
        self.pointer = f"/{self.place}/{self.name}"
        self._code: str = spec.get("x-error-code", "request_invalid")
        self._schema = schema
        self._items = _resolve(schema.get("items", {}), components)
        self._validator = compile_schema(schema, components)

    def read(self, texts: list[str]) -> tuple[Any, list[FieldError]]:
        """The typed value of what was sent (at least one text), and what is wrong with it."""
        kind = self._schema.get("type")
        if kind == "array":
            if "enum" in self._items:
                texts = [part for text in texts for part in text.split(",")]
            value: Any = [_coerce(text, self._items.get("type")) for text in texts]
        elif len(texts) > 1:
            return None, [FieldError(self._code, self.pointer, "may be given only once")]
        else:
            value = _coerce(texts[0], kind)
        wrong = field_errors(self._validator, value, self.pointer)
        return value, [FieldError(self._code, each.pointer, each.detail) for each in wrong]


class Parameters:
    """All parameters of one operation."""

    def __init__(self, specs: list[Schema], components: Schema) -> None:
        schemas = [_resolve(spec["schema"], components) for spec in specs]
        self._all = [
            Parameter(spec, schema, components) for spec, schema in zip(specs, schemas, strict=True)
        ]
        self._query = frozenset(each.name for each in self._all if each.place == "query")

    def read(self, request: Request) -> dict[str, Any]:
        """The values of the parameters that were sent, by name; raises `Problem` 400."""
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        asked = bool(request.scope["query_string"])  # most writes ask nothing
        if asked:
            errors = [
                FieldError("request_invalid", f"/query/{name[:64]}", self._unknown())
                for name in request.query_params
                if name not in self._query
            ]
        for each in self._all:
            texts = _texts(request, each) if asked or each.place != "query" else []
            if texts:
                values[each.name], wrong = each.read(texts)
                errors += wrong
            elif each.required:
                errors.append(FieldError("field_required", each.pointer, "is required"))
        if errors:
            raise _problem(errors)
        return values

    def _unknown(self) -> str:
        known = ", ".join(sorted(self._query)) or "none"
        return f"is not a parameter of this operation; it takes: {known}"


def _texts(request: Request, parameter: Parameter) -> list[str]:
    if parameter.place == "path":
        return [str(request.path_params[parameter.name])]
    source: Any = request.query_params if parameter.place == "query" else request.headers
    return list(source.getlist(parameter.name))


def _coerce(text: str, kind: Any) -> Any:
    """The text as a value of the type; text that is none stays text, for the schema to refuse."""
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


def _resolve(schema: Schema, components: Schema) -> Schema:
    """The schema behind a local reference, such as `#/components/schemas/Order`."""
    if "$ref" not in schema:
        return schema
    return _resolve(components["schemas"][schema["$ref"].rpartition("/")[2]], components)


def _problem(errors: list[FieldError]) -> Problem:
    codes = {each.code for each in errors} - {"field_required"}
    code = codes.pop() if len(codes) == 1 else "request_invalid"
    for each in errors:
        if CODES[each.code].status == 404:
            return Problem(each.code, CODES[each.code].title)
    first = errors[0]
    return Problem(code, f"The parameter {first.pointer} {first.detail}", errors=errors)


def merged(
    path_item: Mapping[str, Any], operation: Mapping[str, Any], components: Schema
) -> list[Schema]:
    """An operation's parameters: its own and those of its path, references resolved."""
    specs: dict[tuple[str, str], Schema] = {}
    for spec in [*path_item.get("parameters", []), *operation.get("parameters", [])]:
        if "$ref" in spec:
            spec = components["parameters"][spec["$ref"].rpartition("/")[2]]  # noqa: PLW2901 - the same parameter, found
        specs[spec["in"], spec["name"]] = spec
    return list(specs.values())
