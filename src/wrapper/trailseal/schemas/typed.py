"""Typed events: classes whose JSON Schema comes from their annotations.

    @schema("com.example.invoice.deleted", version="1", action="invoice.deleted")
    class InvoiceDeleted:
        invoice: str
        amount: Annotated[int, Field(minimum=0)] = 0
        email: Annotated[str | None, Field(classes=["contact"])] = None

    events.emit(InvoiceDeleted(invoice="inv_1"))

A plain class becomes a frozen dataclass with keyword arguments; dataclasses and attrs classes stay
what they are. A member with a default is optional, and None is left out where the default is None.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)
from uuid import UUID

import attrs

from trailseal._ids import timestamp
from trailseal.errors import ConfigurationError

T = TypeVar("T")
SCALARS: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string"},
    UUID: {"type": "string", "format": "uuid"},
    Any: {},
    object: {},
    Decimal: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
}
MARK = "__trailseal_schema__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What an annotation alone cannot say: `Annotated[int, Field(minimum=0)]`.

    `classes` are the data classes (see `Policy`); the rest are keywords of JSON Schema, lengths in
    characters or items.
    """

    description: str | None = None
    classes: Collection[str] = ()
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None

    def keywords(self, kind: object) -> dict[str, Any]:
        """As JSON Schema, for a value of this `type`."""
        unit = "Items" if kind == "array" else "Length"
        given = {
            "description": self.description,
            "x-data-classes": sorted(self.classes) or None,
            "minimum": self.minimum,
            "maximum": self.maximum,
            f"min{unit}": self.min_length,
            f"max{unit}": self.max_length,
            "pattern": self.pattern,
            "format": self.format,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Mark:
    id: str
    version: str
    action: str | None


@dataclass_transform(kw_only_default=True, frozen_default=True)
def schema(
    schema_id: str, *, version: str | int, action: str | None = None
) -> Callable[[type[T]], type[T]]:
    """Make a class an event schema: its `$id` and `version`; `action` is the id if left out."""

    def mark(cls: type[T]) -> type[T]:
        made: Any = cls
        if not dataclasses.is_dataclass(cls) and not attrs.has(cls):
            made = dataclass(frozen=True, kw_only=True)(cls)
        setattr(made, MARK, _Mark(schema_id, str(version), action))
        return cast("type[T]", made)

    return mark


def document_of(cls: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a class made with `@schema`.

    Raises:
        ConfigurationError: It is none, or an annotation has no meaning in JSON.
    """
    mark = mark_of(cls)
    maker = _Maker(cls)
    body = maker.members(cls)
    document = {"$id": mark.id, "version": mark.version, "title": cls.__name__, **body}
    text = cls.__dict__.get("__doc__")
    if text and not text.startswith(f"{cls.__name__}("):
        document["description"] = " ".join(text.split())
    if mark.action:
        document["x-action"] = mark.action
    if maker.definitions:
        document["$defs"] = maker.definitions
    return document


def mark_of(cls: type) -> _Mark:
    """What `@schema` said; raises `ConfigurationError` for any other class."""
    mark = cls.__dict__.get(MARK)
    if not isinstance(mark, _Mark):
        raise ConfigurationError(f"{cls.__name__} is no event: it was not made with @schema.")
    return mark


def data_of(event: Any) -> tuple[str, str, dict[str, Any]]:
    """Schema id, version and `data` of a typed event."""
    mark = mark_of(type(event))
    return mark.id, mark.version, _members(event)


def _fields(cls: Any) -> list[tuple[str, bool, bool]]:
    """Name, whether it is required, and whether None is its default."""
    if attrs.has(cls):
        return [
            (each.name, each.default is attrs.NOTHING, each.default is None)
            for each in attrs.fields(cls)
        ]
    missing = dataclasses.MISSING
    return [
        (
            each.name,
            each.default is missing and each.default_factory is missing,
            each.default is None,
        )
        for each in dataclasses.fields(cls)
    ]


def _members(value: Any) -> dict[str, Any]:
    found = {}
    for name, _, none in _fields(type(value)):
        each = getattr(value, name)
        if each is not None or not none:
            found[name] = _plain(each)
    return found


def _plain(value: Any) -> Any:
    """A value as JSON: of the types that a schema can be derived from."""
    for kinds, convert in _CONVERT:
        if isinstance(value, kinds):
            return convert(value)
    return _members(value) if attrs.has(type(value)) or dataclasses.is_dataclass(value) else value


def _moment(value: datetime) -> str:
    try:
        return timestamp(value)
    except ValueError as error:
        raise ConfigurationError(f"A datetime {error}.") from None


# The first that fits counts: a datetime is a date too, and an enum's member may be text.
_CONVERT: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda value: _plain(value.value)),
    (datetime, _moment),
    (date | time, lambda value: value.isoformat()),
    (UUID, str),
    (Decimal, lambda value: format(value, "f")),
    (Mapping, lambda value: {str(name): _plain(each) for name, each in value.items()}),
    (AbstractSet, lambda value: sorted(map(_plain, value))),
    (list | tuple, lambda value: [*map(_plain, value)]),
)


class _Maker:
    """Derives schemas of annotations; classes that lie inside go to `$defs`."""

    def __init__(self, root: type) -> None:
        self._root = root
        self.definitions: dict[str, Any] = {}
        self._names: dict[type, str] = {}

    def members(self, cls: type) -> dict[str, Any]:
        """An object of a class's fields, and no others."""
        try:
            hints = typing.get_type_hints(cls, include_extras=True)
        except NameError as error:
            raise ConfigurationError(f"{cls.__name__}: {error}; define it in the module.") from None
        if typing.is_typeddict(cls):
            required = [name for name, hint in hints.items() if _is_required(cls, name, hint)]
        else:
            known = _fields(cls)
            required = [name for name, needed, _ in known if needed]
            hints = {name: hints[name] for name, _, _ in known}
        made: dict[str, Any] = {
            "type": "object",
            "properties": {
                name: self._of(hint, f"{cls.__name__}.{name}") for name, hint in hints.items()
            },
            "additionalProperties": False,
        }
        return {**made, "required": required} if required else made

    def _of(self, hint: Any, where: str) -> dict[str, Any]:
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            made = self._of(args[0], where)
            for each in args[1:]:
                if isinstance(each, Field):
                    made = {**made, **each.keywords(made.get("type"))}
            return made
        if origin in {typing.Required, typing.NotRequired}:
            return self._of(args[0], where)
        if origin in {Union, types.UnionType}:
            return _either([self._of(each, where) for each in args])
        if hint in SCALARS:
            return dict(SCALARS[hint])
        if origin is Literal or (isinstance(hint, type) and issubclass(hint, enum.Enum)):
            return {"enum": [_plain(each) for each in (args or hint)]}
        return self._container(hint, origin, args, where)

    def _container(
        self, hint: Any, origin: Any, args: tuple[Any, ...], where: str
    ) -> dict[str, Any]:
        kind = origin or hint
        if isinstance(kind, type) and not typing.is_typeddict(kind):
            if issubclass(kind, Mapping):
                values = self._of(args[1], where) if args else {}
                return {"type": "object", "additionalProperties": values or True}
            if issubclass(kind, tuple) and args and args[-1] is not ...:
                items = [self._of(each, where) for each in args]
                size = {"minItems": len(items), "maxItems": len(items)}
                return {"type": "array", "prefixItems": items, **size}
            if issubclass(kind, Sequence | AbstractSet) and not issubclass(kind, str | bytes):
                unique = {"uniqueItems": True} if issubclass(kind, AbstractSet) else {}
                items_of = self._of(args[0], where) if args else {}
                return {"type": "array", "items": items_of or True, **unique}
        if typing.is_typeddict(hint) or attrs.has(hint) or dataclasses.is_dataclass(hint):
            return self._reference(cast("type", hint))
        raise ConfigurationError(f"{where}: {hint!r} has no meaning in JSON.")

    def _reference(self, cls: type) -> dict[str, Any]:
        if cls is self._root:
            return {"$ref": "#"}
        if cls not in self._names:
            name, number = cls.__name__, 2
            while name in self.definitions:
                name, number = f"{cls.__name__}{number}", number + 1
            self._names[cls] = name
            self.definitions[name] = {}  # taken: the class may lie in itself
            self.definitions[name] = self.members(cls)
        return {"$ref": f"#/$defs/{self._names[cls]}"}


def _either(branches: list[dict[str, Any]]) -> dict[str, Any]:
    """One of several; plain types are listed together."""
    if all(set(each) == {"type"} for each in branches):
        return {"type": [each["type"] for each in branches]}
    return {"anyOf": branches}


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    """Of a TypedDict: annotations that are text hide `NotRequired` from `__required_keys__`."""
    marks = {typing.Required: True, typing.NotRequired: False}
    found = marks.get(get_origin(hint))
    return name in cls.__required_keys__ if found is None else found
