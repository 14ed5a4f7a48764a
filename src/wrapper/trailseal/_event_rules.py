"""What an event may hold: the fields and limits of the contract's `EventInput`, as a table.

A rule knows two things. `accepts(value)` answers fast whether a value is right for sure; where it
is not sure, `check(value, at, faults)` finds every fault, with its JSON Pointer. A value that
`accepts` lets through has no fault for `check`: a test holds them together.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from trailseal.errors import ErrorDetail

RESERVED_IDS = frozenset({"batch", "export", "validate"})

Faults = list[ErrorDetail]
Check = Callable[[Any, str, Faults], None]
Accepts = Callable[[Any], bool]

MAX_NUMBER = 2**53 - 1  # beyond, JSON numbers are not exact everywhere (RFC 8785): send a string
MAX_DEPTH = 64  # nesting, the event itself included
_SURE_DEPTH = 48  # of free JSON: below `MAX_DEPTH` wherever it begins
_KEPT_ADDRESSES = 4096  # parsing one costs 2 µs, and most come again


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of value must be."""

    accepts: Accepts
    check: Check
    longest: int = 0  # of a text: any other text up to there, but the empty one, is right


_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,127}", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_BASE64_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)
_SEED = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def report(faults: Faults, code: str, at: str, text: str) -> None:
    """Note a fault: what is wrong where, without the value."""
    faults.append(ErrorDetail(code, at, text))


def token(name: object) -> str:
    """Escape a member's name for a JSON Pointer (RFC 6901, 3)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'actor'?`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415  # for mistakes only

    near = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" Did you mean {near[0]!r}?" if near else ""


def _text(longest: int, shortest: int = 0) -> Rule:
    def accepts(value: Any) -> bool:
        return type(value) is str and shortest <= len(value) <= longest

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, str):
            report(faults, "field_type", at, "must be a string")
        elif len(value) > longest:
            text = f"has {len(value)} characters, at most {longest} are allowed"
            report(faults, "field_too_long", at, text)
        elif len(value) < shortest:
            report(faults, "field_required", at, "must not be empty")

    return Rule(accepts, check, longest)


def _pattern(form: re.Pattern[str], text: str) -> Rule:
    def accepts(value: Any) -> bool:
        return type(value) is str and form.fullmatch(value) is not None

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, str):
            report(faults, "field_type", at, "must be a string")
        elif not form.fullmatch(value):
            report(faults, "event_invalid", at, text)

    return Rule(accepts, check)


def _choice(*values: str) -> Rule:
    known = frozenset(values)

    def accepts(value: Any) -> bool:
        return type(value) is str and value in known

    def check(value: Any, at: str, faults: Faults) -> None:
        if value not in values:
            hint = suggestion(value, values) if isinstance(value, str) else ""
            report(faults, "event_invalid", at, f"must be one of {', '.join(values)}.{hint}")

    return Rule(accepts, check)


def _reserved(name: str, at: str, faults: Faults) -> bool:
    if name.startswith("__"):
        text = "names that begin with __ are reserved"
        report(faults, "field_reserved", f"{at}/{token(name)}", text)
    return name.startswith("__")


def _all_accepted(fields: Mapping[str, Rule], *required: str) -> Accepts:
    sure = {name: rule.accepts for name, rule in fields.items()}
    texts = {name: rule.longest for name, rule in fields.items() if rule.longest}

    def accepts(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name in required:
            if name not in value:
                return False
        for name, item in value.items():
            if name in texts and type(item) is str and 0 < len(item) <= texts[name]:
                continue  # most members are texts: a call less for each
            if name not in sure or not sure[name](item):
                return False
        return True

    return accepts


def _record(fields: Mapping[str, Rule], *required: str, form: str = "a mapping") -> Rule:
    accepts = _all_accepted(fields, *required)

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            report(faults, "field_type", at, f"must be {form}")
            return
        for name in required:
            if name not in value:
                report(faults, "field_required", f"{at}/{name}", "is required")
        for name, item in value.items():
            if name in fields:
                fields[name].check(item, f"{at}/{name}", faults)
            elif not _reserved(name, at, faults):
                text = f"is no known field.{suggestion(name, fields)}"
                report(faults, "event_invalid", f"{at}/{token(name)}", text)

    return Rule(accepts, check)


def _array(item: Rule, longest: int) -> Rule:
    sure = item.accepts

    def accepts(value: Any) -> bool:
        if type(value) is not list or len(value) > longest:
            return False
        for one in value:  # noqa: SIM110  # all() costs as much as the check itself
            if not sure(one):
                return False
        return True

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, list):
            report(faults, "field_type", at, "must be a list")
        elif len(value) > longest:
            text = f"has {len(value)} items, at most {longest} are allowed"
            report(faults, "field_too_long", at, text)
        else:
            for i, element in enumerate(value):
                item.check(element, f"{at}/{i}", faults)

    return Rule(accepts, check)


def _tags_accepted(value: Any) -> bool:
    if type(value) is not dict or len(value) > 64:
        return False
    for name, item in value.items():
        if type(name) is not str or not 1 <= len(name) <= 128 or name.startswith("__"):
            return False
        if type(item) is not str or len(item) > 1024:
            return False
    return True


def _tags_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, dict):
        report(faults, "field_type", at, "must be a mapping of strings to strings")
    elif len(value) > 64:
        report(faults, "field_too_long", at, f"has {len(value)} tags, at most 64 are allowed")
    else:
        for name, item in value.items():
            _reserved(name, at, faults)
            _text(128, 1).check(name, f"{at}/{token(name)}", faults)
            _text(1024).check(item, f"{at}/{token(name)}", faults)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _time_accepted(value: Any) -> bool:
    return type(value) is str and _TIME.fullmatch(value) is not None and _is_day(value[:10])


def _time_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        report(faults, "event_invalid", at, "must be RFC 3339 with an offset: 2026-01-31T12:00:00Z")
    elif not _is_day(value[:10]):
        report(faults, "event_invalid", at, "is no day of the calendar")


@lru_cache(_KEPT_ADDRESSES)
def _is_address(text: str) -> bool:

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ip_accepted(value: Any) -> bool:
    return type(value) is str and len(value) <= 64 and _is_address(value)


def _ip_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _is_address(str(value)):
        report(faults, "event_invalid", at, "must be an IPv4 or IPv6 address without a port")


def _id_accepted(value: Any) -> bool:
    if type(value) is not str or value in RESERVED_IDS:
        return False
    return _ID.fullmatch(value) is not None


def _id_check(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _ID.fullmatch(value) or value in RESERVED_IDS:
        text = (
            "must be 1-128 of A-Z a-z 0-9 _ : - and, not first, a dot; not batch, export, validate"
        )
        report(faults, "event_invalid", at, text)


def free_json(value: Any, depth: int = 0) -> bool:  # noqa: PLR0911  # the hot path of every event
    """Tell whether a value is plain JSON for sure: exact types, exact numbers, not too deep."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int or kind is float:
        return bool(-MAX_NUMBER <= value <= MAX_NUMBER)  # False for NaN
    if depth >= _SURE_DEPTH:
        return False
    if kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                return False
            if type(item) is not str and not free_json(item, depth + 1):
                return False
        return True
    return kind is list and all(free_json(item, depth + 1) for item in value)


def _anything(_value: Any, _at: str, _faults: Faults) -> None:
    """Any JSON is allowed."""


def _late(of: Callable[[], Rule]) -> Rule:
    """A rule that holds itself."""
    return Rule(
        lambda value: free_json(value) and of().accepts(value),  # which ends at some depth
        lambda value, at, faults: of().check(value, at, faults),
    )


_EVENT_ID = Rule(_id_accepted, _id_check)
_FREE = Rule(free_json, _anything)
_IP = Rule(_ip_accepted, _ip_check)
_TAGS = Rule(_tags_accepted, _tags_check)
_WHEN = Rule(_time_accepted, _time_check)
_ACTOR = _record(
    {
        "id": _text(256, 1),
        "type": _choice(
            "user", "service_account", "api_key", "agent", "system", "anonymous", "unknown"
        ),
        "name": _text(256),
        "email": _text(320),
        "attributes": _FREE,
        "on_behalf_of": _array(_late(lambda: _ACTOR), 16),
    },
    "id",
    form="an id, an Actor or a mapping",
)
_RESOURCE = _record(
    {
        "id": _text(1024, 1),
        "type": _text(256),
        "name": _text(1024),
        "attributes": _FREE,
        "parent": _late(lambda: _RESOURCE),
    },
    "id",
    form="an id, (type, id), (type, id, name), a Resource or a mapping",
)
_CONTEXT = _record(
    {
        "source_ip": _IP,
        "user_agent": _text(1024),
        "request_id": _text(256),
        "session_id": _text(256),
        "trace_id": _text(128),
        "span_id": _text(128),
        "location": _text(256),
    }
)
_SIGNATURE = _record(
    {
        "algorithm": _choice("ed25519"),
        "key_id": _text(128, 1),
        "value": _text(88, 88),
        "public_key": _text(64, 1),
    },
    "algorithm",
    "key_id",
    "value",
)
FIELDS: Mapping[str, Rule] = {
    "id": _EVENT_ID,
    "occurred_at": _WHEN,
    "action": _text(256, 1),
    "action_type": _choice(
        "create", "read", "update", "delete", "execute", "authenticate", "authorize", "other"
    ),
    "outcome": _choice("success", "failure", "unknown"),
    "reason": _record({"code": _text(256), "message": _text(4096)}),
    "tenant_id": _text(256, 1),
    "actor": _ACTOR,
    "resources": _array(_RESOURCE, 100),
    "source": _record(dict.fromkeys(("name", "version", "environment", "instance"), _text(256))),
    "context": _CONTEXT,
    "before": _FREE,
    "after": _FREE,
    "message": _text(65_536),
    "data": _FREE,
    "schema": _record({"id": _text(256, 1), "version": _text(256, 1)}, "id", "version"),
    "tags": _TAGS,
    "severity": _choice("info", "low", "medium", "high", "critical"),
    "amends": _record({"event_id": _EVENT_ID, "reason": _text(4096)}, "event_id"),
    "subjects": _array(_text(256, 1), 32),
    "checksum": _pattern(_BASE64_SHA256, "must be the base64 of a SHA-256, 44 characters"),
    "seed": _pattern(_SEED, "must be 32 bytes in base64url without padding, 43 characters"),
    "signature": _SIGNATURE,
}
EVENT = _record(FIELDS, "action")
