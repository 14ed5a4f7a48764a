"""Request bodies: media type, strict JSON, and the contract's schema.

Rules:
- A body that breaks the schema is `request_invalid` (400).
- An event is not held against the schema here, nor are items that the contract validates
  separately: whoever takes them does it one by one with `item_validator`, so that a bad one is one
  failed item, and so that it is done once. (An item that is no object refuses the whole.)
- A member with an `x-error-code` gives its code to the problem, if nothing else is wrong.
- An integer may be written `20.0`, as JSON Schema has it; whoever serves the operation gets `20`.
- The depth and the numbers of a single event are refused here (400), those of items with the item.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jsonschema_rs import Draft202012Validator

from . import extent
from .limits import MAX_BODY_BYTES
from .problems import FieldError, Problem
from .strict_json import parse
from .validation import Schema, compile_schema, field_errors

JSON_TYPE = "application/json"
SEPARATELY = "x-validate-items-separately"
EVENT = "EventInput"  # the component that is an event
SCHEMAS = "#/components/schemas/"


class Items:
    """The array of a body whose items are validated elsewhere, each by itself."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.minimum: int = schema.get("minItems", 0)
        self.maximum: int | None = schema.get("maxItems")
        codes = schema.get("x-error-codes", {})
        self._too_few: str = codes.get("minItems", "request_invalid")
        self._too_many: str = codes.get("maxItems", "request_invalid")

    def check_count(self, body: Any) -> None:
        """Refuse an empty batch, and one with too many items, by codes of their own."""
        items = body.get(self.name) if isinstance(body, dict) else None
        if not isinstance(items, list):
            return
        pointer = f"/{self.name}"
        if len(items) < self.minimum:
            detail = f"must have at least {self.minimum} items"
            error = FieldError(self._too_few, pointer, detail)
            raise Problem(self._too_few, f"{pointer} {detail}", errors=[error])
        if self.maximum is not None and len(items) > self.maximum:
            detail = f"must have at most {self.maximum} items; send several batches"
            error = FieldError(self._too_many, pointer, detail)
            raise Problem(self._too_many, f"{pointer} {detail}", errors=[error])

    def envelope(self, body: Any) -> Any:
        """The body with empty objects for its items."""
        items = body.get(self.name) if isinstance(body, dict) else None
        if not isinstance(items, list):
            return body
        return {**body, self.name: [{} if type(item) is dict else item for item in items]}


class Body:
    """What an operation takes as its body."""

    def __init__(self, spec: Mapping[str, Any], components: Schema) -> None:
        self.required: bool = spec.get("required", False)
        self.types = frozenset(spec["content"])
        self.is_json = JSON_TYPE in self.types
        self.items: Items | None = None
        self._validator: Draft202012Validator | None = None
        self._codes: dict[str, str] = {}  # of the members that have their own, by pointer
        self._integers: list[str] = []  # members
        self.is_event = False
        if self.is_json:
            self._compile(spec["content"][JSON_TYPE]["schema"], components)
        self.limit: int = spec.get("x-max-bytes", MAX_BODY_BYTES)
        self.too_large = "event_too_large" if self.is_event else "body_too_large"

    @classmethod
    def compiled(cls, spec: Mapping[str, Any] | None, components: Schema) -> "Body | None":
        """The body of a `requestBody`; None for an operation without one."""
        if spec is None:
            return None
        name = spec.get("$ref", "").rpartition("/")[2]
        return cls(components["requestBodies"][name] if name else spec, components)

    def _compile(self, schema: Schema, components: Schema) -> None:
        self.is_event = schema.get("$ref") == SCHEMAS + EVENT
        whole = _followed(schema, components)
        members = whole.get("properties", {})
        codes = {f"/{name}": each.get("x-error-code") for name, each in members.items()}
        self._codes = {pointer: code for pointer, code in codes.items() if code is not None}
        self._integers = [
            name
            for name, each in members.items()
            if "integer" in _followed(each, components).get("type", ())
        ]
        for name, member in members.items():
            if member.get(SEPARATELY):
                self.items = Items(name, member)
                envelope = {"type": "array", "items": {"type": "object"}}
                schema = {**whole, "properties": {**whole["properties"], name: envelope}}
        self._validator = compile_schema(schema, components)

    def check_type(self, content_type: str | None) -> None:
        """Refuse a body of another media type (415); `charset` may only be UTF-8."""
        if content_type is None and not self.required:
            return
        kind, _, options = (content_type or "").lower().partition(";")
        charset = options.partition("charset=")[2].strip(' "')
        if kind.strip() not in self.types or charset not in {"", "utf-8"}:
            raise Problem(
                "media_type_unsupported", f"Send {' or '.join(sorted(self.types))} in UTF-8"
            )

    def parse(self, text: bytes) -> Any:
        """The value of the body, its separate items unchecked; raises `Problem`."""
        if not text and not self.required:
            return None
        extent.check_text(text)
        body = parse(text, check=self.items is None)
        if self.is_event:
            if type(body) is not dict:
                error = FieldError("field_type", "", "must be an object")
                raise Problem("field_type", "The event must be an object", errors=[error])
            return body
        whole = body
        if self.items:
            self.items.check_count(body)
            whole = self.items.envelope(body)
        assert self._validator is not None  # noqa: S101 - only JSON bodies are parsed
        if errors := field_errors(self._validator, whole):
            detail = f"{errors[0].pointer or 'The body'} {errors[0].detail}"
            raise Problem(self._code(errors), detail, errors=errors)
        for name in self._integers:
            if type(body.get(name)) is float:
                body[name] = int(body[name])
        return body

    def _code(self, errors: Sequence[FieldError]) -> str:
        codes = {self._codes.get(each.pointer, "request_invalid") for each in errors}
        return codes.pop() if len(codes) == 1 else "request_invalid"


def _followed(schema: Schema, components: Schema) -> Schema:
    """What a schema refers to in the end."""
    while "$ref" in schema:
        schema = components["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def item_validator(name: str, components: Schema) -> Callable[[Any], list[FieldError]]:
    """A function that finds what is wrong with one item, a component of the contract."""
    validator = compile_schema({"$ref": SCHEMAS + name}, components)
    return partial(field_errors, validator)
