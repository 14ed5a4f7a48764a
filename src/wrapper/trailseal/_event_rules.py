"""What an event may hold: the fields and limits of the contract's `EventInput`, as a table."""

from __future__ import annotations

import ipaddress
import math
import re
import string
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from itertools import chain
from typing import Any

from trailseal._columns import are, is_texts, same_names
from trailseal._rules import (
    Faults,
    Rule,
    array,
    check_name,
    choice,
    late,
    pattern,
    record,
    report,
    text,
    token,
)

RESERVED_IDS = frozenset({"batch", "export", "validate"})
MAX_ID = 128  # characters
MAX_NUMBER = 2**53 - 1  # beyond, JSON numbers are not exact everywhere (RFC 8785): send a string
MAX_TAGS, MAX_TAG_NAME, MAX_TAG = 64, 128, 1024  # number, characters
MAX_DEPTH = 64  # nesting, the event itself included
_SURE_DEPTH = 48  # of free JSON: below `MAX_DEPTH` wherever it begins
_SIMPLE = frozenset({str, bool, type(None)})
_NUMBERS = frozenset({int, float})
_KEPT_ADDRESSES = 4096  # parsing one costs 2 µs, and most come again
_LONGEST_ADDRESS = 45  # characters

_ID = re.compile(
    rf"(?!(?:{'|'.join(sorted(RESERVED_IDS))})\Z)[A-Za-z0-9_:-][A-Za-z0-9_.:-]{{0,127}}", re.ASCII
)
_ID_ANYWHERE = f"{string.ascii_letters}{string.digits}_:-".encode()  # at the first place, too
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_USUAL = (  # a day that every month has, and a second that every minute has
    r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_USUAL_TIME = re.compile(_USUAL)
_USUAL_TIMES = f"(?:{_USUAL},)*+"  # compiled when first used
_BASE64_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)
_SEED = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def _tags_accepted(value: Any) -> bool:
    if type(value) is not dict or len(value) > MAX_TAGS:
        return False
    for name, item in value.items():
        if type(name) is not str or type(item) is not str or name[:2] == "__":
            return False
        if not 0 < len(name) <= MAX_TAG_NAME or len(item) > MAX_TAG:
            return False
    return True


_TAG_NAME, _TAG = text(MAX_TAG_NAME, 1), text(MAX_TAG)


def _tags_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, dict):
        report(faults, "field_type", at, "must be a mapping of strings to strings")
    elif len(value) > MAX_TAGS:
        wrong = f"has {len(value)} tags, at most {MAX_TAGS} are allowed"
        report(faults, "field_too_long", at, wrong)
    else:
        for name, item in value.items():
            check_name(name, at, faults)
            _TAG_NAME.check(name, f"{at}/{token(name)}", faults)
            _TAG.check(item, f"{at}/{token(name)}", faults)


def _is_day(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _time_accepted(value: Any) -> bool:
    if _USUAL_TIME.fullmatch(value):
        return True
    return _TIME.fullmatch(value) is not None and _is_day(value[:10])


def _time_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        report(faults, "event_invalid", at, "must be RFC 3339 with an offset: 2026-01-31T12:00:00Z")
    elif not _is_day(value[:10]):
        report(faults, "event_invalid", at, "is no day of the calendar")


@lru_cache(_KEPT_ADDRESSES)
def _is_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return "%" not in address  # a zone is of the machine that wrote it


def _ip_accepted(value: Any) -> bool:
    return type(value) is str and len(value) <= _LONGEST_ADDRESS and _is_address(value)


def _ip_check(value: Any, at: str, faults: Faults) -> None:
    if not _ip_accepted(value):
        wrong = "must be an IPv4 or IPv6 address without a port or zone"
        report(faults, "event_invalid", at, wrong)


def _id_accepted(value: Any) -> bool:
    if type(value) is not str:
        return False
    if len(value) <= MAX_ID and value.isascii() and f"_{value}".replace("-", "_").isidentifier():
        return value not in RESERVED_IDS and value != ""  # a UUID, for one: without the pattern
    return _ID.fullmatch(value) is not None


def _id_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        wrong = (
            "must be 1-128 of A-Z a-z 0-9 _ : - and, not first, a dot; not batch, export, validate"
        )
        report(faults, "event_invalid", at, wrong)


def free_json(value: Any, depth: int = 0) -> bool:
    """Tell whether a value is plain JSON for sure: exact types, exact numbers, not too deep."""
    inner: Iterable[Any] = value if type(value) is list else (value,)
    if type(value) is dict:
        for name in value:
            if type(name) is not str:
                return False
        inner = value.values()
    for item in inner:
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is int or kind is float:
            if -MAX_NUMBER <= item <= MAX_NUMBER:  # False for NaN
                continue
        elif (kind is dict or kind is list) and depth < _SURE_DEPTH and free_json(item, depth + 1):
            continue
        return False
    return True


def _anything(_value: Any, _at: str, _faults: Faults) -> None:
    """Any JSON is allowed."""


def _ids(values: list[Any]) -> bool:
    """As `_id_accepted`, of many."""
    if not is_texts(values, 1, MAX_ID) or not RESERVED_IDS.isdisjoint(values):
        return False
    joined = "".join(values)
    plain = joined.isascii() and not joined.encode().translate(None, _ID_ANYWHERE)
    return plain or all(map(_ID.fullmatch, values))


def _times(values: list[Any]) -> bool:
    joined = ",".join([*values, ""])
    usual = re.fullmatch(_USUAL_TIMES, joined) and joined.count(",") == len(values)
    return bool(usual) or all(map(_time_accepted, values))


def _free(values: list[Any], depth: int = 0) -> bool:
    """As `free_json`, of many: mappings of the same names are looked at name by name."""
    kinds = {*map(type, values)}
    if kinds <= _SIMPLE:
        return True
    if kinds <= _NUMBERS:  # min and max may miss a NaN, the sum does not
        within = min(values) >= -MAX_NUMBER and max(values) <= MAX_NUMBER
        return within and not math.isnan(sum(values))
    if kinds == {dict} and len({*map(len, values)}) == 1 and depth < _SURE_DEPTH:
        table = same_names(values)
        if table is not None:
            return are(str, [*table]) and all(_free(each, depth + 1) for each in table.values())
    return all(free_json(value, depth) for value in values)


def _many_tags(values: list[Any]) -> bool:
    if not are(dict, values) or max(map(len, values), default=0) > MAX_TAGS:
        return False
    names = [*{*chain.from_iterable(values)}]
    if not is_texts(names, 1, MAX_TAG_NAME) or any(name[:2] == "__" for name in names):
        return False
    return is_texts([*chain.from_iterable(map(dict.values, values))], 0, MAX_TAG)


def _addresses(values: list[Any]) -> bool:
    return is_texts(values, 0, _LONGEST_ADDRESS) and all(map(_is_address, {*values}))


_EVENT_ID = Rule(_id_accepted, _id_check, _ids)
_FREE = Rule(free_json, _anything, _free)
_IP = Rule(_ip_accepted, _ip_check, _addresses)
_TAGS = Rule(_tags_accepted, _tags_check, _many_tags)
_WHEN = Rule(_time_accepted, _time_check, _times)
_ACTOR: Rule = record(
    {
        "id": text(256, 1),
        "type": choice(
            "user", "service_account", "api_key", "agent", "system", "anonymous", "unknown"
        ),
        "name": text(256),
        "email": text(320),
        "attributes": _FREE,
        "on_behalf_of": array(late(lambda: _ACTOR, free_json), 16),
    },
    "id",
    form="an id, an Actor or a mapping",
)
_RESOURCE: Rule = record(
    {
        "id": text(1024, 1),
        "type": text(256),
        "name": text(1024),
        "attributes": _FREE,
        "parent": late(lambda: _RESOURCE, free_json),
    },
    "id",
    form="an id, (type, id), (type, id, name), a Resource or a mapping",
)
_CONTEXT = record(
    {
        "source_ip": _IP,
        "user_agent": text(1024),
        "request_id": text(256),
        "session_id": text(256),
        "trace_id": text(128),
        "span_id": text(128),
        "location": text(256),
    }
)
_SIGNATURE = record(
    {
        "algorithm": choice("ed25519"),
        "key_id": text(128, 1),
        "value": text(88, 88),
        "public_key": text(64, 1),
        "public_key_info": _TAGS,
    },
    "algorithm",
    "key_id",
    "value",
)
FIELDS: Mapping[str, Rule] = {
    "id": _EVENT_ID,
    "occurred_at": _WHEN,
    "action": text(256, 1),
    "action_type": choice(
        "create", "read", "update", "delete", "execute", "authenticate", "authorize", "other"
    ),
    "outcome": choice("success", "failure", "unknown"),
    "reason": record({"code": text(256), "message": text(4096, nul=True)}),
    "tenant_id": text(256, 1),
    "actor": _ACTOR,
    "resources": array(_RESOURCE, 100),
    "source": record(dict.fromkeys(("name", "version", "environment", "instance"), text(256))),
    "context": _CONTEXT,
    "before": _FREE,
    "after": _FREE,
    "message": text(65_536, nul=True),
    "data": _FREE,
    "schema": record({"id": text(256, 1), "version": text(256, 1)}, "id", "version"),
    "tags": _TAGS,
    "severity": choice("info", "low", "medium", "high", "critical"),
    "amends": record({"event_id": _EVENT_ID, "reason": text(4096, nul=True)}, "event_id"),
    "subjects": array(text(256, 1), 32),
    "checksum": pattern(_BASE64_SHA256, "must be the base64 of a SHA-256, 44 characters"),
    "seed": pattern(_SEED, "must be 32 bytes in base64url without padding, 43 characters"),
    "signature": _SIGNATURE,
}
EVENT = record(FIELDS, "action")
