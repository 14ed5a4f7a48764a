"""Typed views over JSON that was received.

1. A view keeps the decoded answer in `.raw` and changes nothing in it: hashes and proofs are
   checked on what was received, never on a model written out again.
2. Members are read when asked for. A required one that is missing or of a wrong type raises
   `UnexpectedResponseError`, which names it; members of a newer server are in `.raw`.
3. A repr shows ids and states, never what an event holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from trailseal.errors import UnexpectedResponseError

T = TypeVar("T")


class View:
    """A JSON object, read by name."""

    __slots__ = ("raw",)
    _shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.raw.get(name)!r}" for name in self._shown)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, View) and self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]  # it holds a dict


class Member(Generic[T]):
    """A descriptor: one member of the JSON object below a view; made by the functions below."""

    def __init__(self, convert: Callable[[Any], T], name: str | None = None) -> None:
        self._convert = convert
        self._name = name or ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: View, owner: type) -> T: ...
    def __get__(self, view: View | None, owner: type) -> T | Self:
        if view is None:
            return self
        try:
            return self._convert(view.raw.get(self._name))
        except (TypeError, ValueError):
            text = f"The answer's {owner.__name__}.{self._name} is missing or of a wrong type."
            raise UnexpectedResponseError(text) from None


def exactly(kind: type[T]) -> Callable[[Any], T]:
    """Convert nothing, and refuse other types; a bool is no number."""

    def convert(value: Any) -> T:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError
        return value

    return convert


def required(kind: type[T], name: str | None = None) -> Member[T]:
    """A member that is always there; `name` is its name in JSON where that differs."""
    return Member(exactly(kind), name)


def optional(kind: type[T], name: str | None = None) -> Member[T | None]:
    """A member that may be missing, or null."""
    return maybe(exactly(kind), name)


def maybe(convert: Callable[[Any], T], name: str | None = None) -> Member[T | None]:
    """The same, converted."""
    return Member(lambda value: None if value is None else convert(value), name)


def timestamp() -> Member[datetime | None]:
    """A time that may be missing."""
    return maybe(lambda value: datetime.fromisoformat(exactly(str)(value)))


def object_of(kind: Callable[[Mapping[str, Any]], T]) -> Callable[[Any], T]:
    """Convert an object into a view."""
    return lambda value: kind(exactly(dict)(value))


def list_of(item: Callable[[Any], T], name: str | None = None) -> Member[tuple[T, ...]]:
    """A list, each item converted; empty where it is missing."""
    return Member(lambda value: tuple(item(one) for one in exactly(list)(value or [])), name)


def anything() -> Member[Any]:
    """Any JSON, as it is."""
    return Member(lambda value: value)
