"""Records of other systems as events.

1. What an event has a field for is lifted into it; the record stays whole under `data`. Nothing is
   invented, nothing is cut: a value that does not fit fails its record, with the reason.
2. An event's id is made of the record's own id; else, where it tells a time, of its content; else
   of its content and its place. The same file again is therefore the same events.
3. These events carry the tag `imported_from`. Events of ours stay as they are. CloudTrail is not
   here: the server maps it, and gives the ids that a live stream would get.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from trailseal._event_rules import FIELDS
from trailseal._ids import timestamp
from trailseal.verify.canonical import canonical
from trailseal.verify.errors import MalformedError

Event = dict[str, Any]
Shape = Callable[[Mapping[str, Any]], Event]

OUTCOMES = {
    **dict.fromkeys(("success", "succeeded", "ok", "allowed", "pass"), "success"),
    **dict.fromkeys(("failure", "failed", "fail", "error", "denied"), "failure"),
}
_RFC_3339 = re.compile(r"[\d-]{10}T[\d:]{8}(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_OWN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)


class ShapeError(ValueError):
    """A record is not what its format says."""


def ours(record: Mapping[str, Any]) -> Event:
    """An event as `trailseal.log` takes it, or a line of an export, which holds one."""
    if isinstance(record.get("event"), Mapping) and "entry" in record:
        record = record["event"]
    if "action" not in record and (other := _guess(record)):
        raise ShapeError(f"looks like {other}: say --from {other}")
    return dict(record)


def _guess(record: Mapping[str, Any]) -> str | None:
    if "envelope" in record:
        return "pangea"
    if "eventName" in record or "eventData" in record:
        return "apptrail" if "tenantId" in record else "cloudtrail"
    return None


def apptrail(record: Mapping[str, Any]) -> Event:
    """`put_events` of the Apptrail SDK: `tenantId eventName eventTime actor resources …`."""
    return {
        "id": _own("apptrail", record.get("eventId")),
        "occurred_at": instant(record.get("eventTime")),
        "action": record.get("eventName"),
        "tenant_id": record.get("tenantId") or None,
        "actor": _detailed(record.get("actor")),
        "resources": [_detailed(each) for each in _list(record.get("resources"))],
        "context": {
            "source_ip": _get(record, "context", "sourceIpAddress"),
            "user_agent": _get(record, "context", "userAgent"),
        },
        "tags": _tagged("apptrail", record.get("tags")),
        "data": record,
    }


def auditledge(record: Mapping[str, Any]) -> Event:
    """Auditledge's events: `actor action resource organization_id metadata timestamp`."""
    return {
        "id": _own("auditledge", record.get("id")),
        "occurred_at": instant(record.get("timestamp")),
        "action": record.get("action"),
        "tenant_id": record.get("organization_id"),
        "actor": _only(record.get("actor"), "id", "name", "email"),
        "resources": [_only(record.get("resource"), "type", "id", "name")],
        "tags": _tagged("auditledge"),
        "data": record,
    }


def pangea(record: Mapping[str, Any]) -> Event:
    """A search event (as `dump_audit` and downloads have it), or its envelope alone."""
    envelope = record.get("envelope", record)
    told = envelope.get("event") if isinstance(envelope, Mapping) else None
    if not isinstance(told, Mapping):
        raise ShapeError("holds no envelope with an event")
    status = told.get("status")
    return {
        "id": _own("pangea", record.get("hash") or sha256(canonical(envelope)).hexdigest()),
        "occurred_at": instant(told.get("timestamp") or envelope.get("received_at")),
        "action": told.get("action") or "pangea.event",
        "outcome": OUTCOMES.get(str(status).lower(), "unknown") if status else None,
        "tenant_id": told.get("tenant_id") or None,
        "actor": _named(told.get("actor")),
        "resources": [_named(told.get("target"))],
        "source": {"name": _text(told.get("source"))},
        "message": _text(told.get("message")),
        "before": told.get("old"),
        "after": told.get("new"),
        "tags": _tagged("pangea"),
        "data": record,
    }


# Columns of our CSV exports and their usual names elsewhere; None: the server's, not taken over.
COLUMNS: Mapping[str, str | None] = {
    **{name: name for name in FIELDS if name not in {"source", "signature", "seed", "checksum"}},
    **{f"actor_{part}": f"actor.{part}" for part in ("id", "type", "name", "email")},
    **{f"resource_{part}": f"resources.{part}" for part in ("id", "type", "name")},
    "resource": "resources.id",
    "source": "source.name",
    "source_ip": "context.source_ip",
    "user_agent": "context.user_agent",
    "timestamp": "occurred_at",
    **dict.fromkeys(("index", "received_at", "leaf_hash", "redactions"), None),
}
_JSON = frozenset(
    {"reason", "actor", "resources", "context", "before", "after", "data", "schema", "tags"}
    | {"amends", "subjects"}
)
_OWN_EXPORT = "leaf_hash"  # the column that tells an export of ours


def table(names: Mapping[str, str]) -> Shape:
    """Rows of texts; `names` says which field a column is, where it is not the usual one."""

    def shape(record: Mapping[str, Any]) -> Event:
        event: Event = {}
        own = _OWN_EXPORT in record
        # Whole objects first: their parts in columns of their own say the same again.
        for column in sorted(record, key=lambda name: name not in _JSON):
            path = names.get(column, COLUMNS.get(column, _path(column)))
            if path is not None:
                _place(event, path.split("."), _cell(record[column], path, own=own), column)
        if isinstance(event.get("resources"), dict):
            event["resources"] = [event["resources"]]
        event["occurred_at"] = instant(event.get("occurred_at"))
        if not own:
            event["tags"] = _tagged("csv", event.get("tags"))
        return event

    return shape


def _path(column: str) -> str:
    """`data.amount` and the like name their place; any other column is data."""
    root = column.partition(".")[0]
    known = root in FIELDS or root == "resource"
    return (
        column.replace("resource.", "resources.", 1) if "." in column and known else _data(column)
    )


def _data(column: str) -> str:
    return "data." + column.replace(".", "_")


def _cell(text: str, path: str, *, own: bool) -> Any:
    if own and text.startswith("'") and text[1:2] in set("=+-@\t\r"):
        text = text[1:]  # what the export put before a formula
    if path not in _JSON or not (own or text[:1] in {"{", "["}):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if path in {"data", "before", "after"}:
            return text
        raise ShapeError(f"the column for {path} holds no JSON") from None


def _place(event: Event, path: list[str], value: Any, column: str) -> None:
    at: Any = event
    for name in path[:-1]:
        at = at.setdefault(name, {})
        if isinstance(at, list):
            return  # the whole list stands in a column of its own
        if not isinstance(at, dict):
            raise ShapeError(f"column {column}: {name} has a value already")
    at.setdefault(path[-1], value)


SHAPES: Mapping[str, tuple[Shape, tuple[str, ...]]] = {
    "jsonl": (ours, ("events",)),
    "apptrail": (apptrail, ("events",)),
    "auditledge": (auditledge, ("events",)),
    "pangea": (pangea, ("events",)),
}


def shaped(shape: Shape, record: object, place: int) -> Event:
    """The event of a record, with its id; raises `ShapeError`."""
    if not isinstance(record, Mapping):
        raise ShapeError("is no JSON object")
    event = {name: value for name, value in map(_tidy, shape(record).items()) if value is not None}
    if event.get("id") is None:
        event["id"] = _made(event, place)
    return event


def _made(event: Event, place: int) -> str:
    """Rule 2, for a record without an id."""
    try:
        content = canonical(event if "occurred_at" in event else {**event, "place": place})
    except MalformedError as error:
        raise ShapeError(str(error.args[0])) from None
    return f"import:{sha256(content).hexdigest()}"


def instant(value: Any) -> Any:
    """RFC 3339, UTC where no offset is told; what is no time stays, and fails its record."""
    if not isinstance(value, str) or not value:
        return value or None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    if moment.tzinfo is None:
        return timestamp(moment.replace(tzinfo=UTC))
    return value if _RFC_3339.fullmatch(value) else timestamp(moment)


def _tidy(member: tuple[str, Any]) -> tuple[str, Any]:
    """Without parts that say nothing; free JSON stays as it is."""
    name, value = member
    if name in {"actor", "source", "context"} and isinstance(value, dict):
        value = {k: v for k, v in value.items() if v is not None} or None
    elif name == "resources" and isinstance(value, list):
        value = [each for each in value if each] or None
    return name, value


def _own(system: str, own: Any) -> str | None:
    text = _text(own)
    if not text:
        return None
    return f"{system}:{text if _OWN_ID.fullmatch(text) else sha256(text.encode()).hexdigest()}"


def _tagged(system: str, tags: Any = None) -> Any:
    if tags is not None and not isinstance(tags, Mapping):
        return tags  # fails its record, as it should
    return {**(tags or {}), "imported_from": system}


def _detailed(told: Any) -> Any:
    """Apptrail's `{id, details}`; the kind is no vocabulary of ours, so it stays in details."""
    if not isinstance(told, Mapping):
        return told
    return {k: v for k, v in {"id": told.get("id"), "attributes": told.get("details")}.items() if v}


def _only(told: Any, *names: str) -> Any:
    if not isinstance(told, Mapping):
        return told
    return {name: told[name] for name in names if told.get(name) is not None}


def _named(value: Any) -> dict[str, str] | None:
    text = _text(value)
    return {"id": text} if text else None


def _text(value: Any) -> str | None:
    """A text, or JSON as a text: Pangea's fields may hold objects (they sign them as texts)."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _get(record: Any, *path: str) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def cloudtrail_id(record: object) -> str:
    """What tells a CloudTrail record from others in its batch; raises `ShapeError`."""
    told = record.get("detail", record) if isinstance(record, Mapping) else None
    if not isinstance(told, Mapping) or not ("eventName" in told or "eventData" in told):
        raise ShapeError("is no CloudTrail record: it has neither eventName nor eventData")
    own = told.get("eventID") or told.get("id")
    return str(own) if own else sha256(canonical(record)).hexdigest()
