"""Which events a list, search or export is about: filters, bounds of time, pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from trailseal_api import models

from trailseal._events import check_names
from trailseal._ids import timestamp
from trailseal.errors import InvalidPageError, InvalidQueryError

MAX_LIMIT = 1000  # items of a page, by the contract


class Filters(TypedDict, total=False):
    """Which events: all given filters must match.

    `…_contains` is partial in any case, `action_prefix` a beginning, all else exact. `q` is words
    that must all occur; `tag` is `key:value`, or several. `start` and `end` are inclusive: a
    datetime with a zone, RFC 3339, or relative (`-7d`, `now-1h`); `last` is a length of time
    (`24h`). They mean `received_at` unless `time_field` is `occurred_at`.
    """

    actor_id: str
    actor_name_contains: str
    actor_type: str
    action: str
    action_contains: str
    action_prefix: str
    action_type: str
    outcome: str
    resource_type: str
    resource_id: str
    source: str
    source_ip: str
    tag: str | Iterable[str]
    schema_id: str
    q: str
    start: str | datetime
    end: str | datetime
    last: str
    time_field: str


_ENUMS = {  # by their names in `models`, which loads each when it is first used
    "actor_type": "ActorType",
    "action_type": "ActionType",
    "outcome": "Outcome",
    "time_field": "TimeField",
}


def filter_values(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of filters and write their values as the contract does; None is left out."""
    check_names(filters, Filters.__annotations__, "filter")
    given = {name: value for name, value in filters.items() if value is not None}
    for name in ("start", "end"):
        if name in given:
            given[name] = moment(given[name], name)
    if "tag" in given:
        given["tag"] = [given["tag"]] if isinstance(given["tag"], str) else list(given["tag"])
    return given


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give values the types of the generated layer."""
    return {
        name: getattr(models, _ENUMS[name])(value) if name in _ENUMS else value
        for name, value in values.items()
    }


def check_page(limit: int, offset: int | None) -> None:
    """Raise `InvalidPageError` for a page that cannot be."""
    if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidPageError(f"limit must be 1 to {MAX_LIMIT}.", code="limit_invalid")
    if offset is not None and (not isinstance(offset, int) or offset < 0):
        raise InvalidPageError("offset must be a number from 0.", code="offset_invalid")


def moment(value: str | datetime | None, name: str) -> str | None:
    """Write a bound of time; a naive datetime raises `InvalidQueryError`."""
    if not isinstance(value, datetime):
        return value
    try:
        return timestamp(value)
    except ValueError as error:
        raise InvalidQueryError(f"{name} {error}.") from None
