"""AWS CloudTrail: records of log files and EventBridge, and the entries of `PutAuditEvents`.

Rules (CloudTrail User Guide, "CloudTrail record contents" and "CloudTrail Lake integrations event
schema"):
- `{"Records": […]}`, a list, one record, or an EventBridge event with the record as `detail`.
- `{"auditEvents": [{id, eventData, eventDataChecksum}]}`: `eventData` is an object or a JSON text.
  The checksum is over that text, byte for byte. The schema's required fields and lengths are
  checked; under `data` the entry stands with `eventData` as an object.
- The time is `eventTime`, else `@timestamp` where a log shipper moved it; UTC without an offset.
"""

import base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from ..problems import FieldError, Problem
from ..strict_json import parse
from .shapes import LONG, SHORT, Event, address, event_id, first, instant, member, text, unwrap

DOMAIN = ".amazonaws.com"
ACTORS = {
    "Root": "user",
    "IAMUser": "user",
    "IdentityCenterUser": "user",
    "FederatedUser": "user",
    "SAMLUser": "user",
    "WebIdentityUser": "user",
    "AssumedRole": "service_account",
    "Role": "service_account",
    "AWSService": "system",
}
VERBS = {
    "read": ("Describe", "Get", "List", "Head", "Lookup", "Search", "BatchGet"),
    "authenticate": ("AssumeRole", "ConsoleLogin", "GetSessionToken", "GetFederationToken"),
    "create": ("Create", "Run", "Put", "Add", "Register", "Import"),
    "update": ("Update", "Modify", "Set", "Attach", "Detach", "Tag", "Untag", "Enable", "Disable"),
    "delete": ("Delete", "Terminate", "Remove", "Deregister"),
}
# Of PutAuditEvents: what must be there, and the most characters (of JSON text: bytes).
REQUIRED = ("version", "userIdentity", "eventSource", "eventName", "eventTime", "UID")
LENGTHS = {
    ("version",): 256,
    ("userIdentity", "type"): 128,
    ("userIdentity", "principalId"): 1024,
    ("eventSource",): 1024,
    ("eventName",): 1024,
    ("UID",): 1024,
    ("userAgent",): 1024,
    ("errorCode",): 256,
    ("errorMessage",): 256,
    ("requestParameters",): 100_000,
    ("responseElements",): 100_000,
    ("additionalEventData",): 28_000,
}


def records(payload: Any) -> list[Any]:
    """The records of a delivery."""
    return unwrap(payload, "Records", "auditEvents")


def event(record: dict[str, Any], _headers: Mapping[str, str]) -> Event:
    """The event of a record or an entry; raises `Problem` for an entry that AWS would refuse."""
    if "eventData" in record:
        told = _event_data(record)
        mapped = _map(told, record.get("id") or told["UID"], record)
        return {**mapped, "data": {**record, "eventData": told}}
    told = record["detail"] if isinstance(record.get("detail"), dict) else record
    return _map(told, told.get("eventID"), record)


def _map(told: dict[str, Any], own: Any, record: Any) -> Event:
    source, name = text(told.get("eventSource"), LONG), text(told.get("eventName"), LONG)
    service = (source or "aws").removesuffix(DOMAIN)
    occurred_at = instant(first(told, ("eventTime", "@timestamp")))
    error = text(told.get("errorCode"))
    account = text(told.get("recipientAccountId"))
    return {
        "id": event_id("cloudtrail", own, record, occurred_at),
        "occurred_at": occurred_at,
        "action": f"{service}.{name}"[:SHORT] if name else None,
        "action_type": _action_type(told, name or ""),
        "outcome": "failure" if error else "success",
        "reason": {"code": error, "message": text(told.get("errorMessage"), 4096)},
        "actor": _actor(told.get("userIdentity")),
        "resources": [_resource(each) for each in unwrap(told.get("resources"))[:100]],
        "source": {"name": text(source), "instance": text(told.get("awsRegion"))},
        "context": {
            "source_ip": address(told.get("sourceIPAddress")),
            "user_agent": text(told.get("userAgent"), LONG),
            "request_id": text(told.get("requestID")),
        },
        "tags": {"aws_account": account, "aws_region": text(told.get("awsRegion"))},
        "amends": _amends(told.get("addendum")),
    }


def _action_type(told: dict[str, Any], name: str) -> str:
    for kind, verbs in VERBS.items():
        if name.startswith(verbs):
            return kind
    return "read" if told.get("readOnly") in (True, "true") else "other"


def _actor(identity: Any) -> dict[str, Any] | None:
    if not isinstance(identity, dict):
        return None
    issuer = member(identity, "sessionContext", "sessionIssuer", "userName")
    return {
        "id": text(first(identity, ("arn", "principalId", "userName", "invokedBy", "accountId"))),
        "type": ACTORS.get(str(identity.get("type")), "unknown"),
        "name": text(identity.get("userName") or issuer),
    }


def _resource(found: Any) -> dict[str, Any] | None:
    if not isinstance(found, dict):
        return None
    return {
        "id": text(first(found, ("ARN", "arn", "ARNPrefix", "resourceName")), LONG),
        "type": text(first(found, ("type", "resourceType"))),
    }


def _amends(addendum: Any) -> dict[str, Any] | None:
    """A correction names the event that it corrects, by our id of it."""
    own = member(addendum, "originalEventID") or member(addendum, "originalUID")
    amended = event_id("cloudtrail", own, None, None)
    return {"event_id": amended, "reason": text(member(addendum, "reason"))} if amended else None


def _event_data(entry: dict[str, Any]) -> dict[str, Any]:
    """The object inside an entry of PutAuditEvents, checked as AWS does."""
    told, checksum = entry["eventData"], entry.get("eventDataChecksum")
    if isinstance(told, str):
        if checksum is not None and checksum != _checksum(told):
            raise _refusal("checksum_mismatch", "eventDataChecksum", "does not match eventData")
        told = parse(told.encode())
    if not isinstance(told, dict):
        raise _refusal("field_type", "eventData", "must be an object, or one as a JSON text")
    for name in REQUIRED:
        if told.get(name) in (None, ""):
            raise _refusal("field_required", f"eventData/{name}", "is required")
    for path, most in LENGTHS.items():
        if _length(member(told, *path)) > most:
            pointer = "/".join(("eventData", *path))
            raise _refusal("field_too_long", pointer, f"must have at most {most} characters")
    return told


def _checksum(told: str) -> str:
    return base64.b64encode(sha256(told.encode()).digest()).decode()


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(orjson.dumps(value))


def _refusal(code: str, pointer: str, detail: str) -> Problem:
    return Problem(code, f"/{pointer} {detail}", errors=[FieldError(code, f"/{pointer}", detail)])
