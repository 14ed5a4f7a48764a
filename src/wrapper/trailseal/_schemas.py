"""Event schemas at the server: the flows of `client.schemas`, and which version `emit` means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from trailseal_api.types import UNSET

from trailseal import _api
from trailseal._call import all_items, body, call, decoded, or_unset
from trailseal._flow import Flow
from trailseal._models import Schema
from trailseal.config import Settings
from trailseal.errors import (
    ConfigurationError,
    ErrorDetail,
    SchemaNotRegisteredError,
)

MAX_TEXT = 262_144  # characters of a schema, by the contract

SchemaLike = Mapping[str, Any] | str | PurePath


def register(settings: Settings, schema: SchemaLike, given: Mapping[str, Any]) -> Flow[Schema]:
    """Register a version; replayable, because the same one again changes nothing."""
    kwargs = _api.create_schema.request_kwargs(body=body({**_document(schema), **given}))
    return Schema(decoded((yield from call(settings, kwargs, replayable=True, accept=(200, 201)))))


def get(settings: Settings, schema_id: str, version: str | None) -> Flow[Schema]:
    """Fetch one version, or the latest: ids are free text, so they are looked for in the list."""
    kwargs = _api.list_schemas.request_kwargs(
        schema_id=schema_id,
        version=or_unset(version),
        latest=True if version is None else UNSET,
        limit=1,
    )
    items = decoded((yield from call(settings, kwargs))).get("items")
    if not isinstance(items, list) or not items:
        which = "The schema" if version is None else "This version of the schema"
        raise SchemaNotRegisteredError(f"{which} is not registered.")
    return Schema(items[0])


def listed(settings: Settings, *, schema_id: str | None, latest: bool) -> Flow[tuple[Schema, ...]]:
    """Fetch all pages."""
    raws = yield from all_items(
        settings, _api.list_schemas, schema_id=schema_id, latest=latest or None
    )
    return tuple(map(Schema, raws))


def validate(settings: Settings, schema: SchemaLike) -> Flow[tuple[ErrorDetail, ...]]:
    """Have the server check a schema."""
    kwargs = _api.validate_schema.request_kwargs(body=body(_document(schema)))
    raw = decoded((yield from call(settings, kwargs, replayable=True)))
    return tuple(map(ErrorDetail.from_dict, raw.get("errors") or []))


def _document(schema: SchemaLike) -> dict[str, Any]:
    """A schema as the contract takes it: a mapping, or the text of JSON or YAML."""
    if isinstance(schema, Mapping):
        return {"document": dict(schema)}
    if isinstance(schema, PurePath):
        try:
            with open(schema, encoding="utf-8") as file:  # noqa: PTH123  # a PurePath has no open
                text = file.read(MAX_TEXT + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The schema {schema.name} cannot be read: {error}.") from None
    elif isinstance(schema, str):
        text = schema
        if "\n" not in text and not text.lstrip().startswith("{"):
            raise ConfigurationError("This text is no schema: for a file pass pathlib.Path(…).")
    else:
        raise ConfigurationError("A schema is a mapping, JSON or YAML text, or a pathlib.Path.")
    if len(text) > MAX_TEXT:
        raise ConfigurationError(f"A schema has at most {MAX_TEXT} characters.")
    return {"text": text}
