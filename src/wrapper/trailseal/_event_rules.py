"""What an event may hold: the fields and limits of the contract's `EventInput`, as a table.

A check takes a value, its JSON Pointer and the list of faults, and adds to the list.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any

from trailseal.errors import ErrorDetail

RESERVED_IDS = frozenset({"batch", "export", "validate"})

Faults = list[ErrorDetail]
Check = Callable[[Any, str, Faults], None]

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
    near = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" Did you mean {near[0]!r}?" if near else ""


def _text(longest: int, shortest: int = 0) -> Check:
    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, str):
            report(faults, "field_type", at, "must be a string")
        elif len(value) > longest:
            report(
                faults,
                "field_too_long",
                at,
                f"has {len(value)} characters, at most {longest} are allowed",
            )
        elif len(value) < shortest:
            report(faults, "field_required", at, "must not be empty")

    return check


def _pattern(form: re.Pattern[str], text: str) -> Check:
    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, str):
            report(faults, "field_type", at, "must be a string")
        elif not form.fullmatch(value):
            report(faults, "event_invalid", at, text)

    return check


def _choice(*values: str) -> Check:
    def check(value: Any, at: str, faults: Faults) -> None:
        if value not in values:
            hint = suggestion(value, values) if isinstance(value, str) else ""
            report(faults, "event_invalid", at, f"must be one of {', '.join(values)}.{hint}")

    return check


def _reserved(name: str, at: str, faults: Faults) -> bool:
    if name.startswith("__"):
        text = "names that begin with __ are reserved"
        report(faults, "field_reserved", f"{at}/{token(name)}", text)
    return name.startswith("__")


def _record(fields: Mapping[str, Check], *required: str, form: str = "a mapping") -> Check:
    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            report(faults, "field_type", at, f"must be {form}")
            return
        for name in required:
            if name not in value:
                report(faults, "field_required", f"{at}/{name}", "is required")
        for name, item in value.items():
            if name in fields:
                fields[name](item, f"{at}/{name}", faults)
            elif not _reserved(name, at, faults):
                text = f"is no known field.{suggestion(name, fields)}"
                report(faults, "event_invalid", f"{at}/{token(name)}", text)

    return check


def _array(item: Check, longest: int) -> Check:
    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, list):
            report(faults, "field_type", at, "must be a list")
        elif len(value) > longest:
            report(
                faults,
                "field_too_long",
                at,
                f"has {len(value)} items, at most {longest} are allowed",
            )
        else:
            for i, element in enumerate(value):
                item(element, f"{at}/{i}", faults)

    return check


def _tags(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, dict):
        report(faults, "field_type", at, "must be a mapping of strings to strings")
    elif len(value) > 64:
        report(faults, "field_too_long", at, f"has {len(value)} tags, at most 64 are allowed")
    else:
        for name, item in value.items():
            _reserved(name, at, faults)
            _text(128, 1)(name, f"{at}/{token(name)}", faults)
            _text(1024)(item, f"{at}/{token(name)}", faults)


def _time(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        report(faults, "event_invalid", at, "must be RFC 3339 with an offset: 2026-01-31T12:00:00Z")
        return
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        report(faults, "event_invalid", at, "is no day of the calendar")


def _ip(value: Any, at: str, faults: Faults) -> None:
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        report(faults, "event_invalid", at, "must be an IPv4 or IPv6 address without a port")


def _event_id(value: Any, at: str, faults: Faults) -> None:
    if not isinstance(value, str) or not _ID.fullmatch(value) or value in RESERVED_IDS:
        text = (
            "must be 1-128 of A-Z a-z 0-9 _ : - and, not first, a dot; not batch, export, validate"
        )
        report(faults, "event_invalid", at, text)


def _anything(_value: Any, _at: str, _faults: Faults) -> None:
    """Any JSON is allowed."""


def _actor_check(value: Any, at: str, faults: Faults) -> None:
    _ACTOR(value, at, faults)


def _resource_check(value: Any, at: str, faults: Faults) -> None:
    _RESOURCE(value, at, faults)


_ACTOR = _record(
    {
        "id": _text(256, 1),
        "type": _choice(
            "user", "service_account", "api_key", "agent", "system", "anonymous", "unknown"
        ),
        "name": _text(256),
        "email": _text(320),
        "attributes": _anything,
        "on_behalf_of": _array(_actor_check, 16),
    },
    "id",
    form="an id, an Actor or a mapping",
)
_RESOURCE = _record(
    {
        "id": _text(1024, 1),
        "type": _text(256),
        "name": _text(1024),
        "attributes": _anything,
        "parent": _resource_check,
    },
    "id",
    form="an id, (type, id), (type, id, name), a Resource or a mapping",
)
_CONTEXT = _record(
    {
        "source_ip": _ip,
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
FIELDS: Mapping[str, Check] = {
    "id": _event_id,
    "occurred_at": _time,
    "action": _text(256, 1),
    "action_type": _choice(
        "create", "read", "update", "delete", "execute", "authenticate", "authorize", "other"
    ),
    "outcome": _choice("success", "failure", "unknown"),
    "reason": _record({"code": _text(256), "message": _text(4096)}),
    "tenant_id": _text(256, 1),
    "actor": _actor_check,
    "resources": _array(_resource_check, 100),
    "source": _record(dict.fromkeys(("name", "version", "environment", "instance"), _text(256))),
    "context": _CONTEXT,
    "before": _anything,
    "after": _anything,
    "message": _text(65_536),
    "data": _anything,
    "schema": _record({"id": _text(256, 1), "version": _text(256, 1)}, "id", "version"),
    "tags": _tags,
    "severity": _choice("info", "low", "medium", "high", "critical"),
    "amends": _record({"event_id": _event_id, "reason": _text(4096)}, "event_id"),
    "subjects": _array(_text(256, 1), 32),
    "checksum": _pattern(_BASE64_SHA256, "must be the base64 of a SHA-256, 44 characters"),
    "seed": _pattern(_SEED, "must be 32 bytes in base64url without padding, 43 characters"),
    "signature": _SIGNATURE,
}
check_event = _record(FIELDS, "action")
