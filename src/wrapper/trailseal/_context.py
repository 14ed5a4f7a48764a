"""What events have in common: that of a request (`context`), and that of a client (`bind`).

1. An event's own fields win; then what the client was bound to; then the innermost `context`;
   the client's `tenant` comes last.
2. `context`, `source` and `tags` are joined member by member; any other field is taken whole.
3. A `with context(…)` holds in its thread or task, and in the tasks that are begun inside. A new
   thread begins without: hand it `contextvars.copy_context().run`, as `asyncio.to_thread` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, Self, Unpack

from trailseal._events import FREE, EventFields, EventLike, check_names
from trailseal.errors import ConfigurationError

JOINED = ("context", "source", "tags")
OWN = frozenset({"id", "occurred_at", "checksum", "seed", "signature"})  # of one event alone
RESOURCES = frozenset({"resource", "resources"})  # two spellings of one field

Fields = Mapping[str, Any]

_current: ContextVar[Fields] = ContextVar("trailseal_context", default=MappingProxyType({}))


class context:  # noqa: N801  # used as a function
    """Fill fields into all events that are logged inside the `with` block.

        with trailseal.context(actor="user_1", context={"request_id": "r-17"}):
            client.log("invoice.deleted")

    It works in sync and async code, and nests: the inner block's fields win. Fields are those
    of `log`, without what belongs to one event alone (`id`, `occurred_at` and the like).

    Raises:
        ConfigurationError: A field is unknown, or belongs to one event alone.
    """

    __module__ = "trailseal"  # as it is imported

    def __init__(self, **fields: Unpack[EventFields]) -> None:
        self._fields = check_fields(fields)
        self._tokens: list[Token[Fields]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(joined(_current.get(), self._fields)))
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())


def check_fields(fields: Mapping[str, Any]) -> Fields:
    """Return the fields that several events may have in common; None is left out."""
    check_names(fields, EventFields.__annotations__, "field")
    if own := sorted(OWN & fields.keys()):
        raise ConfigurationError(f"{own[0]} belongs to one event: pass it to log.")
    return {name: value for name, value in fields.items() if value is not None}


def joined(base: Fields, more: Fields) -> Fields:
    """Both, where `more` wins (rule 2)."""
    if not base:
        return more
    given = {name: value for name, value in more.items() if value is not None or name in FREE}
    if RESOURCES & given.keys():
        base = {name: value for name, value in base.items() if name not in RESOURCES}
    full = {**base, **given}
    for name in JOINED:
        old, new = base.get(name), given.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            full[name] = {**old, **new}
    return full


def shared(bound: Fields) -> Fields:
    """What all events have in common here and now."""
    return joined(_current.get(), bound) if bound else _current.get()


def filled(event: EventLike, bound: Fields) -> EventLike:
    """The event with what it has in common; itself where there is nothing, or it is no event."""
    common = shared(bound)
    if not common or not isinstance(event, Mapping):
        return event
    full = joined(common, event)
    if callable(actor := full.get("actor")):  # a request's user, looked up for those who log
        full = {**full, "actor": actor()}
    return full


def of_schema(
    schema: str, version: str, data: Any, action: str | None, fields: Fields
) -> dict[str, Any]:
    """The event that `emit` logs: its action is the schema's id, unless another is given."""
    named = {"action": action or schema, "schema": {"id": schema, "version": version}}
    return {**fields, **named, "data": data}
