"""Request bodies: media type, strict JSON, and the contract's schema.

Rules:
- A body that breaks the schema is `request_invalid` (400); one that is an event, the code of its
  mistakes when they agree and `event_invalid` when they do not (422).
- Items that the contract validates separately are not checked here: whoever takes them does it one
  by one with `item_validator`, so that a bad one is one failed item. (What is no object at all
  has no place in any log, and refuses the whole.)
"""

from collections.abc import Callable, Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator

from .limits import MAX_BODY_BYTES
from .problems import FieldError, Problem
from .strict_json import check, parse
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


class Body:
    """What an operation takes as its body."""

    def __init__(self, spec: Mapping[str, Any], components: Schema) -> None:
        self.required: bool = spec.get("required", False)
        self.types = frozenset(spec["content"])
        self.is_json = JSON_TYPE in self.types
        self.items: Items | None = None
        self._validator: Draft202012Validator | None = None
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
        whole = schema
        while "$ref" in whole:
            whole = components["schemas"][whole["$ref"].rpartition("/")[2]]
        for name, member in whole.get("properties", {}).items():
            if member.get(SEPARATELY):
                self.items = Items(name, member)
                envelope = {**member, "items": {"type": "object"}}
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
        body = parse(text, check=self.items is None)
        assert self._validator is not None  # noqa: S101 - only JSON bodies are parsed
        if self.items:
            self.items.check_count(body)
        if not self._validator.is_valid(body):
            raise self._problem(body)
        return body

    def _problem(self, body: Any) -> Problem:
        assert self._validator is not None  # noqa: S101 - see parse
        if self.is_event:
            return event_problem(self._validator, body, "")
        errors = field_errors(self._validator, body)
        return Problem("request_invalid", _sentence(errors[0]), errors=errors)


def event_problem(validator: Draft202012Validator, event: Any, at: str) -> Problem:
    """What is wrong with an event that lies at the pointer `at`."""
    errors = field_errors(validator, event, at)
    codes = {each.code for each in errors}
    code = codes.pop() if len(codes) == 1 else "event_invalid"
    return Problem(code, _sentence(errors[0]), errors=errors)


def item_validator(name: str, components: Schema) -> Callable[[Any], list[FieldError]]:
    """A function that finds what is wrong with one item, a component of the contract."""
    validator = compile_schema({"$ref": SCHEMAS + name}, components)

    def validate(item: Any) -> list[FieldError]:
        try:
            check(item)
        except Problem as problem:
            return [FieldError("event_invalid", e.pointer, e.detail) for e in problem.errors]
        return field_errors(validator, item)

    return validate


def _sentence(error: FieldError) -> str:
    return f"{error.pointer or 'The body'} {error.detail}"
