"""Values against the contract's JSON Schemas (2020-12), and what is said about their mistakes.

Rules:
- `offline=True`: a schema never makes the server open a connection. Patterns run in the linear
  engine: no input makes them slow.
- An error names its place with a JSON Pointer and says what is allowed there. It never repeats the
  value; the name of an unknown member is shown, because it is most often a typo.
- Of a union, only the branch that comes nearest is reported.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema_rs import Draft7Validator, Draft202012Validator, RegexOptions, ValidationError

from .problems import MAX_FIELD_ERRORS, FieldError
from .strict_json import token

Schema = Mapping[str, Any]
Validator = Draft7Validator | Draft202012Validator
MAX_SHOWN = 500  # characters that say what is allowed: a user's pattern or constant may be long
MAX_OPTIONS_SHOWN = 32  # values of an enum in an error
COMPONENTS = "#/components/"
NO_NUL = r"^[^\x00]*$"  # the contract's pattern for text that PostgreSQL must hold as text
NUL_ADVICE = "must not hold NUL (U+0000)"

_TOO_LONG = {"maxLength": "characters", "maxItems": "items", "maxProperties": "members"}
_BOUNDS = {
    "minLength": "at least {limit} characters",
    "minItems": "at least {limit} items",
    "minProperties": "at least {limit} members",
    "minimum": "at least {limit}",
    "maximum": "at most {limit}",
    "exclusiveMinimum": "more than {limit}",
    "exclusiveMaximum": "less than {limit}",
    "multipleOf": "a multiple of {multiple_of}",
    "pattern": "text that matches {pattern}",
    "format": "a valid {format}",
    "uniqueItems": "no item twice",
}


def compile_schema(schema: Schema, components: Schema) -> Draft202012Validator:
    """A validator of `schema`, whose references point into `components` of the contract."""
    return Draft202012Validator(
        {**schema, "components": _reached(schema, components)},
        offline=True,
        validate_formats=True,
        pattern_options=RegexOptions(),
    )


def _reached(schema: Schema, components: Schema) -> dict[str, dict[str, Any]]:
    """The components that a schema refers to, however indirectly: a validator keeps a copy of all
    it is given, and there is one for each parameter and body (150 MB with the whole contract)."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [schema]
    while waiting:
        for reference in _references(waiting.pop()):
            kind, name = reference.removeprefix(COMPONENTS).split("/")
            if name not in found.setdefault(kind, {}):
                found[kind][name] = components[kind][name]
                waiting.append(components[kind][name])
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith(COMPONENTS):
            yield reference
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _references(each)


def field_errors(validator: Validator, value: Any, at: str = "") -> list[FieldError]:
    """What is wrong with `value`, which lies at the pointer `at`; an empty list if nothing is."""
    if validator.is_valid(value):
        return []
    found = (each for error in validator.iter_errors(value) for each in _explain(error, at))
    return list(islice(found, MAX_FIELD_ERRORS))


def _explain(error: ValidationError, at: str) -> Iterator[FieldError]:
    name, facts = error.kind.name, error.kind.as_dict()
    here = at + "".join(f"/{token(each)}" for each in error.instance_path)
    if name == "required":
        yield FieldError("field_required", f"{here}/{token(facts['property'])}", "is required")
    elif name == "type":
        yield FieldError("field_type", here, f"must be {' or '.join(facts['types'])}")
    elif name in _TOO_LONG:
        detail = f"must have at most {facts['limit']} {_TOO_LONG[name]}"
        yield FieldError("field_too_long", here, detail)
    elif name in {"additionalProperties", "unevaluatedProperties"}:
        yield from (_unknown(here, member) for member in facts["unexpected"])
    elif name in {"anyOf", "oneOf"} and all(facts.get("context", ())):
        yield from _nearest(facts["context"], at)
    elif name == "propertyNames":
        yield _bad_name(here, facts["error"])
    else:
        yield FieldError("event_invalid", here, _allowed(name, facts))


def _unknown(here: str, member: str) -> FieldError:
    place = f"{here}/{token(member)}"
    if member.startswith("__"):
        return FieldError("field_reserved", place, "names that begin with __ are reserved")
    return FieldError(
        "event_invalid", place, "is not a known field; see the contract for the names"
    )


def _bad_name(here: str, error: ValidationError) -> FieldError:
    """A member whose name breaks a rule: a reserved one, or too long, or of a wrong form."""
    if str(error.instance).startswith("__"):
        return _unknown(here, str(error.instance))
    return next(
        FieldError(each.code, here, f"has a member whose name {each.detail}")
        for each in _explain(error, "")
    )


def _nearest(branches: list[list[ValidationError]], at: str) -> Iterator[FieldError]:
    """The errors of the branch that fits best: the one that fails deepest, then on the fewest."""
    depth = max((len(each.instance_path) for branch in branches for each in branch), default=0)
    fits = [b for b in branches if any(len(each.instance_path) == depth for each in b)]
    kinds = [b for b in fits if all(each.kind.name != "type" for each in b)]
    for error in min(kinds or fits, key=len):
        yield from _explain(error, at)


def _allowed(name: str, facts: dict[str, Any]) -> str:
    """What is allowed, in words, from the schema alone."""
    if name == "pattern" and facts["pattern"] == NO_NUL:
        return NUL_ADVICE
    if name == "enum":
        text = f"one of: {_listed(facts['options'])}"
    elif name == "const":
        text = str(facts["expected_value"])
    elif name == "not" and isinstance(facts["schema"], dict) and "enum" in facts["schema"]:
        return f"must not be one of: {_listed(facts['schema']['enum'])}"[:MAX_SHOWN]
    elif name in _BOUNDS:
        text = _BOUNDS[name].format(**facts)
    else:
        return f"breaks the rule {name!r}"
    return f"must be {text}"[:MAX_SHOWN]


def _listed(options: list[Any]) -> str:
    return ", ".join(map(str, options[:MAX_OPTIONS_SHOWN]))
