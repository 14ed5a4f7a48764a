"""Building an event and checking it before any I/O.

1. The caller's objects are never changed: an event is a deep copy in plain JSON types.
2. A missing `id` is filled in, and with it a missing `occurred_at`; nothing else is. An event with
   an id of the caller's gets no time of ours: given again, it must be the same event.
3. All faults of an event are reported together, each with a JSON Pointer (RFC 6901) and advice;
   an unknown field is most often a typo, so the nearest known name is suggested.
4. A fault never repeats a value. The server checks again: its word counts.
5. An event that is right for sure, as most are, is encoded as it is given: nothing is copied.
6. Names that begin with `__` are reserved, but not in free JSON (`data`, `before`, `after`,
   `attributes`), which passes through untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from trailseal import _json
from trailseal._event_rules import EVENT, MAX_DEPTH, MAX_NUMBER
from trailseal._ids import now, timestamp, uuid7
from trailseal._rules import Faults, report, suggestion, token
from trailseal.errors import ConfigurationError, ErrorDetail, EventValidationError

MAX_EVENT_BYTES = 1 << 20  # of the event as JSON
MAX_VALUES = 10_000  # of an event, by the contract
MAX_UNCOUNTED = 2 * MAX_VALUES  # bytes: a value takes two in JSON, with its comma
NUL = rb"\u0000"  # as both encoders write it
FREE = frozenset({"before", "after", "data"})  # None is null there, not "left out"
_TOO_LARGE = (
    f"An event is at most {MAX_EVENT_BYTES} bytes of JSON, with at most {MAX_VALUES} values"
)
MAX_FAULTS = 100  # of one event: nobody reads more


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: `id` is yours; `type` is `user service_account api_key agent system …`."""

    id: str
    type: str | None = None
    name: str | None = None
    email: str | None = None
    attributes: Any = None
    on_behalf_of: tuple[Actor, ...] = ()


@dataclass(frozen=True, slots=True)
class Resource:
    """What it was done to: `id` is yours, `type` a kind such as `invoice`."""

    id: str
    type: str | None = None
    name: str | None = None
    attributes: Any = None
    parent: Resource | None = None


ActorLike = str | Actor | Mapping[str, Any]
ResourceLike = str | tuple[str, str] | tuple[str, str, str] | Resource | Mapping[str, Any]


class EventFields(TypedDict, total=False):
    """The fields of an event besides its action, as `log` takes them.

    `resource` is one resource, `resources` several (the first is the primary one), each an id,
    `(type, id)`, `(type, id, name)`, a `Resource` or a mapping.
    """

    id: str | UUID
    occurred_at: str | datetime
    action_type: str
    outcome: str
    reason: Mapping[str, str]
    tenant_id: str
    actor: ActorLike
    resource: ResourceLike
    resources: Iterable[ResourceLike]
    source: Mapping[str, str]
    context: Mapping[str, str]
    before: Any
    after: Any
    message: str
    data: Any
    schema: Mapping[str, str]
    tags: Mapping[str, str]
    severity: str
    amends: Mapping[str, str]
    subjects: Iterable[str]
    checksum: str
    seed: str
    signature: Mapping[str, str]


EventLike = Mapping[str, Any]


class Prepared(NamedTuple):
    """A valid event: its id, its plain form, and the very bytes that are sent."""

    id: str
    event: Mapping[str, Any]
    content: bytes


def prepare(event: EventLike, *, tenant: str | None = None, at: str = "") -> Prepared:
    """Copy, complete, check and encode an event; `at` is the pointer of its place in a batch.

    Raises `EventValidationError` with every fault found.
    """
    if (quick := ready(event, tenant)) is not None:
        return Prepared(*quick)
    faults: Faults = []
    if not isinstance(event, Mapping):
        raise _invalid([ErrorDetail("field_type", at, "An event must be a mapping")])
    if not _ends(event):
        raise _invalid([ErrorDetail("event_too_large", at, _TOO_LARGE)])
    plain = _complete(_plain(_spelled_out(event, at, faults), at, 1, faults), tenant)
    found: Faults = []
    EVENT.check(plain, at, found)
    known = {fault.pointer for fault in faults}  # a value that is no JSON is reported once
    faults += [fault for fault in found if fault.pointer not in known]
    if not faults:
        content = encode(plain)
        if len(content) <= MAX_EVENT_BYTES and _count(plain) <= MAX_VALUES:
            return Prepared(plain["id"], plain, content)
        faults.append(ErrorDetail("event_too_large", at, _TOO_LARGE))
    event_id = plain.get("id")
    raise _invalid(faults, event_id if isinstance(event_id, str) else None)


def encode(value: object) -> bytes:
    """Write compact UTF-8 JSON."""
    return _json.plain(value)


def ready(event: EventLike, tenant: str | None) -> tuple[str, EventLike, bytes] | None:
    """The members of `Prepared` of an event that is right for sure; None for a closer look.

    The event is the caller's own where nothing had to be filled in.
    """
    if type(event) is not dict:
        return None
    event = full(event, tenant)
    try:
        if not EVENT.accepts(event):
            return None
        content = _json.fast(event)
    except (TypeError, ValueError):  # a lone surrogate, for one
        return None
    size = len(content)
    if NUL in content or size > MAX_EVENT_BYTES:
        return None
    if size > MAX_UNCOUNTED and _count(event) > MAX_VALUES:
        return None
    return event["id"], event, content


def full(event: dict[str, Any], tenant: str | None) -> dict[str, Any]:
    """A mapping in the contract's form, with id and tenant; itself where nothing is missing."""
    if type(event.get("actor")) is str or "resource" in event:
        event = event.copy()
        if type(actor := event.get("actor")) is str:
            event["actor"] = {"id": actor}
        if "resource" in event and "resources" not in event:
            event["resources"] = [_resource(event.pop("resource"))]
    if "id" not in event or tenant is not None:
        event = _complete(event.copy(), tenant)
    return event


def _count(value: Any) -> int:
    """The values in an event, at any depth; names of members are none."""
    counted, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        counted += len(each)
        inner = each.values() if isinstance(each, dict) else each
        waiting += [one for one in inner if isinstance(one, dict | list)]
    return counted


def _ends(value: Any) -> bool:
    """Whether a walk of an event ends soon: circles that branch, and lists that hold one another
    over and over, have more values than anyone can copy."""
    counted, waiting = 0, [(value, 1)]
    while waiting and counted <= MAX_VALUES:
        each, depth = waiting.pop()
        counted += len(each)
        if depth <= MAX_DEPTH:  # what is deeper is refused by its depth
            inner = each.values() if isinstance(each, Mapping) else each
            held = [one for one in inner if isinstance(one, Mapping | list | tuple)]
            waiting += [(one, depth + 1) for one in held]
    return counted <= MAX_VALUES


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise `ConfigurationError` for a keyword that is none of `known`."""
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigurationError(f"Unknown {what} {name!r}.{suggestion(name, names)}")


def _invalid(faults: Faults, event_id: str | None = None) -> EventValidationError:
    named = [ErrorDetail(f.code, f.pointer, f.detail, event_id) for f in faults[:MAX_FAULTS]]
    return EventValidationError("The event is not valid.", errors=tuple(named), code=faults[0].code)


# ------------------------------------------------------------------- building


def _spelled_out(event: EventLike, at: str, faults: Faults) -> dict[str, Any]:
    """Turn the short forms of actor, resources, id and time into the contract's."""
    full = {name: value for name, value in event.items() if value is not None or name in FREE}
    if "actor" in full:
        full["actor"] = _actor(full["actor"])
    if "resource" in full:
        if "resources" in full:
            faults.append(
                ErrorDetail("event_invalid", f"{at}/resource", "give resource or resources")
            )
        full["resources"] = [full.pop("resource")]
    if "resources" in full:
        listed = _listed(full["resources"])
        full["resources"] = [*map(_resource, listed)] if isinstance(listed, list) else listed
    if "subjects" in full:
        full["subjects"] = _listed(full["subjects"])
    if isinstance(full.get("id"), UUID):
        full["id"] = str(full["id"])
    if isinstance(moment := full.get("occurred_at"), datetime):
        try:
            full["occurred_at"] = timestamp(moment)
        except ValueError as error:
            full["occurred_at"] = ""
            faults.append(ErrorDetail("event_invalid", f"{at}/occurred_at", str(error)))
    return full


def _complete(plain: dict[str, Any], tenant: str | None) -> dict[str, Any]:
    if "id" not in plain:
        plain["id"] = uuid7()
        plain.setdefault("occurred_at", now())
    if tenant is not None:
        plain.setdefault("tenant_id", tenant)
    return plain


def _actor(value: Any) -> Any:
    if isinstance(value, str):
        return {"id": value}
    return _without_none(asdict(value)) if isinstance(value, Actor) else value


def _resource(value: Any) -> Any:
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, tuple) and len(value) in {2, 3}:
        return dict(zip(("type", "id", "name"), value, strict=False))
    return _without_none(asdict(value)) if isinstance(value, Resource) else value


def _without_none(value: Any) -> Any:
    """Drop what a dataclass left unset; below `attributes` null is a value and stays."""
    if not isinstance(value, dict):
        return [_without_none(item) for item in value] if isinstance(value, tuple) else value
    kept = {k: v for k, v in value.items() if v is not None and v != ()}
    return {k: v if k == "attributes" else _without_none(v) for k, v in kept.items()}


def _listed(value: Any) -> Any:
    """A list of a tuple, set or generator; text and mappings are none, and are reported as such."""
    return (
        value
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
        else list(value)
    )


def _plain(value: Any, at: str, depth: int, faults: Faults) -> Any:
    """Copy JSON values deeply; report what is none."""
    if isinstance(value, str):
        if _lone(value):
            report(faults, "event_invalid", at, "holds a lone surrogate")
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not -MAX_NUMBER <= value <= MAX_NUMBER:  # True for NaN
            report(faults, "event_invalid", at, "must be within ±(2^53-1): send a string")
    elif value is not None and not isinstance(value, bool):
        return _copied(value, at, depth, faults)
    return value


def _copied(value: Any, at: str, depth: int, faults: Faults) -> Any:
    """Copy a mapping, a list or a tuple; anything else is no JSON."""
    if depth > MAX_DEPTH:
        report(faults, "event_invalid", at, f"is nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, Mapping):
        return {
            name: _plain(item, f"{at}/{token(name)}", depth + 1, faults)
            for name, item in value.items()
            if _name(name, at, faults)
        }
    elif isinstance(value, list | tuple):
        return [_plain(item, f"{at}/{i}", depth + 1, faults) for i, item in enumerate(value)]
    else:
        kind = type(value).__name__
        report(faults, "field_type", at, f"{kind} is no JSON: write it as a string or a mapping")
    return None


def _name(name: object, at: str, faults: Faults) -> bool:
    if not isinstance(name, str):
        report(faults, "field_type", at, "names of members must be strings")
    elif _lone(name):
        report(faults, "event_invalid", at, "a member's name holds a lone surrogate")
    else:
        return True
    return False


def _lone(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
