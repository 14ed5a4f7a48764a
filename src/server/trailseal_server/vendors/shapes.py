"""What the vendors' modules share: values of the right form and length, or None."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import orjson

Event = dict[str, Any]

SHORT = 256  # characters of most of an event's texts; see the contract
LONG = 1024
MESSAGE = 65_536
MILLISECONDS = 1e11  # epoch numbers from here on are milliseconds: in seconds, the year 5138
LAST_SECOND = 253_402_300_799  # of the year 9999

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)([Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)


def unwrap(payload: Any, *names: str) -> list[Any]:
    """The records of a payload: the list itself, the list under one of the names, or one record."""
    if isinstance(payload, list):
        return payload
    if isinstance(payload, dict):
        for name in names:
            if isinstance(payload.get(name), list):
                return list(payload[name])
    return [payload]


def text(value: Any, most: int = SHORT) -> str | None:
    """A text or a number as text, cut to `most` characters; None for anything else or nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value[:most] if isinstance(value, str) and value else None


def first(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first member of these names that says something."""
    return next(
        (record[name] for name in names if record.get(name) not in (None, "", [], {})), None
    )


def member(record: Any, *path: str) -> Any:
    """What lies at a path of names, or None."""
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def address(value: Any) -> str | None:
    """An IP address without a port; vendors put host names there, too."""
    try:
        return str(ip_address(value)) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        return None


def instant(value: Any) -> str | None:
    """RFC 3339 with an offset, of ISO 8601 (UTC if it says nothing) or of an epoch number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        if found is None:
            return None
        told = f"{found[1]}T{found[2]}{(found[3] or 'Z').upper()}"
        try:
            datetime.fromisoformat(told)
        except ValueError:
            return None
        return told
    seconds = value / 1000 if abs(value) >= MILLISECONDS else value
    if not 0 <= seconds <= LAST_SECOND:
        return None
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def event_id(vendor: str, own: Any, record: Any, occurred_at: str | None) -> str | None:
    """The id of an event, the same for each delivery of its record; None if it has none to tell."""
    name = text(own, LONG)
    if name is not None and _ID.fullmatch(name):
        return f"{vendor}:{name}"
    if name is None and occurred_at is None:
        return None
    data = orjson.dumps(record if name is None else name, option=orjson.OPT_SORT_KEYS)
    return f"{vendor}:{sha256(data).hexdigest()}"


def tidy(value: Any) -> Any:
    """The value without members that say nothing; an actor or a resource needs an id."""
    if isinstance(value, list):
        return [each for each in map(tidy, value) if each not in (None, {}, [])]
    if not isinstance(value, dict):
        return value
    members = {k: v if k == "data" else tidy(v) for k, v in value.items()}
    kept = {k: v for k, v in members.items() if k == "data" or v not in (None, {}, [])}
    return {} if "id" in value and "action" not in value and "id" not in kept else kept
