"""Any JSON: records in a list, or under `events`, `logs`, `records` or `Records`, or a single one.

The usual names are tried in order, first come; a record that tells no action is still an event:
`generic.record`, whose `data` can be searched.
"""

from collections.abc import Mapping
from typing import Any

from .shapes import LONG, MESSAGE, Event, address, event_id, first, instant, text, unwrap

ID = ("id", "event_id", "eventId", "uuid", "UID", "log_id")
TIME = ("occurred_at", "timestamp", "time", "@timestamp", "date", "eventTime", "created_at", "ts")
ACTION = ("action", "event", "event_type", "eventName", "event_name", "type", "operation")
ACTOR = ("actor", "user", "principal", "user_id", "userId", "username", "actor_id", "email")
RESOURCE = ("resource", "target", "object", "resource_id", "target_id")
OUTCOME = ("outcome", "status", "result")
SOURCE = ("source", "service", "app", "application")
IP = ("source_ip", "ip", "ip_address", "sourceIPAddress", "client_ip", "remote_addr")
MESSAGES = ("message", "description", "msg", "text")
OUTCOMES = {
    "success": "success",
    "succeeded": "success",
    "ok": "success",
    "allowed": "success",
    "failure": "failure",
    "failed": "failure",
    "error": "failure",
    "denied": "failure",
}


def records(payload: Any) -> list[Any]:
    """The records of a payload; what is no object is put into one."""
    found = unwrap(payload, "events", "logs", "records", "Records")
    return [each if isinstance(each, dict) else {"value": each} for each in found]


def event(record: dict[str, Any], _headers: Mapping[str, str]) -> Event:
    """The event of a record, as far as it can be told."""
    occurred_at = instant(first(record, TIME))
    return {
        "id": event_id("generic", first(record, ID), record, occurred_at),
        "occurred_at": occurred_at,
        "action": text(first(record, ACTION)) or "generic.record",
        "outcome": OUTCOMES.get(str(first(record, OUTCOME)).lower()),
        "actor": _thing(first(record, ACTOR)),
        "resources": [_thing(first(record, RESOURCE), LONG)],
        "source": {"name": _name(first(record, SOURCE))},
        "context": {
            "source_ip": address(first(record, IP)),
            "user_agent": text(first(record, ("user_agent", "userAgent")), LONG),
            "request_id": text(first(record, ("request_id", "requestId"))),
        },
        "message": text(first(record, MESSAGES), MESSAGE),
    }


def _thing(found: Any, most: int = 256) -> dict[str, Any]:
    """An actor or a resource, told by an object or by its id alone."""
    if not isinstance(found, dict):
        return {"id": text(found, most)}
    own = first(found, ("id", "user_id", "arn", "login", "username", "email", "name"))
    return {"id": text(own, most), "name": text(found.get("name"))}


def _name(found: Any) -> str | None:
    return text(found.get("name") if isinstance(found, dict) else found)
