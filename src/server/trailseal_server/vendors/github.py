"""GitHub: audit log events as streamed or listed, and the payloads of webhooks.

Rules (GitHub docs, "Audit log events" and "Webhook events and payloads"):
- An audit log event has `action` (`repo.create`), `actor`, `@timestamp` or `created_at` in epoch
  milliseconds, and `_document_id`.
- A webhook's payload has a `sender`; the kind of event and the id of the delivery stand in the
  headers `X-GitHub-Event` and `X-GitHub-Delivery`. A redelivery keeps its id.
"""

from collections.abc import Mapping
from typing import Any

from .shapes import LONG, SHORT, Event, address, event_id, first, instant, member, text, unwrap

VERBS = {
    "create": ("create", "created", "opened", "add", "added", "published", "invite"),
    "update": ("update", "updated", "edited", "rename", "renamed", "closed", "reopened", "change"),
    "delete": ("delete", "deleted", "destroy", "remove", "removed", "unpublished"),
    "read": ("read", "download", "clone", "fetch", "export"),
    "authenticate": ("login", "logout", "failed_login", "sso_response"),
    "authorize": ("grant", "approve", "approved", "authorize", "access_granted"),
}
THINGS = ("pull_request", "issue", "release", "workflow_run", "discussion", "member", "team")


def records(payload: Any) -> list[Any]:
    """The audit log events, or the one payload of a webhook."""
    return unwrap(payload)


def event(record: dict[str, Any], headers: Mapping[str, str]) -> Event:
    """The event of an audit log event or of a webhook."""
    return _webhook(record, headers) if "sender" in record else _audit(record)


def _audit(record: dict[str, Any]) -> Event:
    occurred_at = instant(first(record, ("@timestamp", "created_at")))
    action = text(record.get("action"))
    actor = text(first(record, ("actor", "actor_id")))
    return {
        "id": event_id("github", record.get("_document_id"), record, occurred_at),
        "occurred_at": occurred_at,
        "action": action,
        "action_type": _kind(action),
        "outcome": "failure" if "failed" in (action or "") else "success",
        "actor": {"id": actor, "type": "agent" if record.get("actor_is_bot") else "user"},
        "resources": [
            {"type": kind, "id": text(record.get(kind), LONG)}
            for kind in ("repo", "user", "team", "org", "business")
        ],
        "source": {"name": "github", "instance": text(first(record, ("org", "business")))},
        "context": {
            "source_ip": address(record.get("actor_ip")),
            "user_agent": text(record.get("user_agent"), LONG),
            "request_id": text(record.get("request_id")),
            "location": text(member(record, "actor_location", "country_code")),
        },
    }


def _webhook(record: dict[str, Any], headers: Mapping[str, str]) -> Event:
    thing = next((name for name in THINGS if isinstance(record.get(name), dict)), None)
    event = text(headers.get("x-github-event")) or thing or "webhook"
    told = text(record.get("action"))
    action = f"{event}.{told}" if told else event
    occurred_at = _time(record, thing)
    delivery = headers.get("x-github-delivery")
    sender = record["sender"] if isinstance(record["sender"], dict) else {}
    return {
        "id": event_id("github", delivery, record, occurred_at),
        "occurred_at": occurred_at,
        "action": action[:SHORT],
        "action_type": _kind(action),
        "actor": {
            "id": text(first(sender, ("login", "id"))),
            "type": "agent" if sender.get("type") == "Bot" else "user",
        },
        "resources": [
            _resource(thing, record.get(thing or "")),
            _resource("repo", record.get("repository")),
            _resource("org", record.get("organization")),
        ],
        "source": {"name": "github", "instance": text(member(record, "organization", "login"))},
    }


def _time(record: dict[str, Any], thing: str | None) -> str | None:
    """When it happened, as far as a webhook tells: the change of its thing or its newest commit."""
    changed = first(record.get(thing or "", {}), ("updated_at", "created_at")) if thing else None
    return instant(changed or member(record, "head_commit", "timestamp"))


def _resource(kind: str | None, found: Any) -> dict[str, Any] | None:
    if not isinstance(found, dict):
        return None
    own = first(found, ("full_name", "html_url", "login", "node_id", "id"))
    return {
        "type": kind,
        "id": text(own, LONG),
        "name": text(first(found, ("title", "name")), LONG),
    }


def _kind(action: str | None) -> str:
    verb = (action or "").rpartition(".")[2]
    return next((kind for kind, verbs in VERBS.items() if verb in verbs), "other")
