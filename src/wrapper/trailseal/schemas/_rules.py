"""What may be registered here, and how data is checked; needs jsonschema-rs (`[schemas]`).

The same engine as the server's, so both agree: nothing is ever fetched, patterns run in linear
time. The server also bounds the work that a schema may make; `trailseal schemas push --check` asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from trailseal.errors import ConfigurationError, ErrorDetail
from trailseal.schemas._load import refuse, token
from trailseal.schemas._walk import resolve, subschemas

try:
    import jsonschema_rs
except ModuleNotFoundError:
    raise ConfigurationError(
        "Event schemas need an extra: pip install 'trailseal[schemas]'."
    ) from None

DRAFT_7 = "http://json-schema.org/draft-07/schema"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"
MAX_NAME = 256  # characters of an id and of a version, by the contract
MAX_FAULTS = 100  # of one event: nobody reads more
MAX_SHOWN = 300  # characters of what is allowed: a constant may be long
FOREIGN = (
    "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$anchor", "$vocabulary",
)  # fmt: skip

Validator = jsonschema_rs.Draft7Validator | jsonschema_rs.Draft202012Validator
_KINDS: dict[str, type[Validator]] = {
    DRAFT_7: jsonschema_rs.Draft7Validator,
    DRAFT_2020: jsonschema_rs.Draft202012Validator,
}
_META: dict[str, Validator] = {
    uri: kind({"$ref": uri}, offline=True) for uri, kind in _KINDS.items()
}
_CODES = {
    "type": "field_type",
    "maxLength": "field_too_long",
    "maxItems": "field_too_long",
    "maxProperties": "field_too_long",
}


def compiled(document: dict[str, Any]) -> Validator:
    """The validator of a sound document; raises `SchemaInvalidError`."""
    dialect = str(document.get("$schema", DRAFT_2020)).removesuffix("#")
    if dialect not in _KINDS:
        refuse("/$schema", f"must be {DRAFT_2020} or {DRAFT_7}#")
    _check_names(document, "")
    for error in _META[dialect].iter_errors(document):
        refuse("".join(f"/{token(step)}" for step in error.instance_path), error.message)
    for schema, at in subschemas(document, ""):
        _check_one(document, schema, at)
    own = {name: value for name, value in document.items() if name != "$id"}
    try:
        return _KINDS[dialect](
            own,
            offline=True,
            validate_formats=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
    except jsonschema_rs.ValidationError:
        refuse("", "holds a pattern with look-around or back-references, or too large a one")
    except (jsonschema_rs.ReferencingError, ValueError):
        refuse("", "cannot be used")


def named(document: dict[str, Any]) -> tuple[str, str]:
    """Id and version; an integer version stands for its digits."""
    if type(document.get("version")) is int:
        document["version"] = str(document["version"])
    for member in ("$id", "version"):
        value = document.get(member)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or "\0" in value:
            refuse(f"/{member}", f"must be text of 1 to {MAX_NAME} characters")
    return document["$id"], document["version"]


def faults(validator: Validator, data: Any, at: str = "/data") -> tuple[ErrorDetail, ...]:
    """What is wrong with `data`: never a value of it."""
    if validator.is_valid(data):
        return ()
    found = (_explained(error, at) for error in validator.iter_errors(data))
    return tuple(islice((each for some in found for each in some), MAX_FAULTS))


def _explained(error: Any, at: str) -> Iterator[ErrorDetail]:
    name, facts = error.kind.name, error.kind.as_dict()
    here = at + "".join(f"/{token(step)}" for step in error.instance_path)
    if name == "required":
        yield ErrorDetail("field_required", f"{here}/{token(facts['property'])}", "is required")
    elif name in {"additionalProperties", "unevaluatedProperties"}:
        for member in facts["unexpected"]:
            place = f"{here}/{token(member)}"
            yield ErrorDetail("event_invalid", place, "is no field of this schema")
    elif name in {"anyOf", "oneOf"} and all(facts.get("context", ())):
        for each in _nearest(facts["context"]):
            yield from _explained(each, at)
    else:
        code = _CODES.get(name, "event_invalid")
        yield ErrorDetail(code, here, error.message[:MAX_SHOWN])


def _nearest(branches: list[list[Any]]) -> list[Any]:
    """The faults of the branch that fits best: of the right type, then deepest, then fewest."""
    return min(
        branches,
        key=lambda branch: (
            any(each.kind.name == "type" and not each.instance_path for each in branch),
            -max(len(each.instance_path) for each in branch),
            len(branch),
        ),
    )


def _check_names(value: Any, at: str) -> None:
    """Refuse names that begin with `__`, as members and where `required` asks for them."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            _check_names(each, f"{at}/{number}")
    if not isinstance(value, dict):
        return
    wanted = value.get("required")
    for name in [*value, *(wanted if isinstance(wanted, list) else [])]:
        if isinstance(name, str) and name.startswith("__"):
            advice = "names that begin with __ are reserved for TrailSeal; choose another name"
            refuse(f"{at}/{token(name)}", advice)
    for name, each in value.items():
        _check_names(each, f"{at}/{token(name)}")


def _check_one(document: dict[str, Any], schema: dict[str, Any], at: str) -> None:
    for keyword in FOREIGN:
        if keyword in schema:
            refuse(f"{at}/{keyword}", "is not supported; use $ref with #/…")
    for keyword in ("$id", "$schema"):
        if at and keyword in schema:
            refuse(f"{at}/{keyword}", "may only stand at the root")
    reference = schema.get("$ref", "#")
    advice = "must point into this document, #/…; nothing is fetched"
    if reference != "#" and not reference.startswith("#/"):
        refuse(f"{at}/$ref", advice)
    try:
        resolve(document, reference)
    except LookupError:
        refuse(f"{at}/$ref", advice)
