"""Channels: what may be written through one, by whom, and where it goes.

Rules:
- A channel is named by its key, alone or as `urn:trailseal:channel:<key>`. Another tenant's channel
  is not found.
- A channel with an external id takes only requests that bring the same one (compared in constant
  time): who was tricked into using another's channel does not know it (the confused deputy).
- A tenant's channel writes to that tenant's logs only, one with a log to that log only, whoever
  holds the key.
- `allowed_sources` go by the event's `source.name`, or by the vendor of a payload;
  `allowed_schemas` by the event's `schema.id`. An event that breaks them is one failed item.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from secrets import compare_digest
from typing import Any

from .auth import Caller
from .prepare import Event
from .problems import FieldError, Problem
from .store import Connection, channels
from .store.channels import Channel

_REFERENCE = re.compile(r"(?:urn:trailseal:channel:)?(chn_[a-z0-9]{8,32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """On whose behalf events are written, to which log, through which channel's policy, and whether
    they come from another system's archive."""

    caller: Caller
    log_id: str | None = None
    channel: Channel | None = None
    imported: bool = False

    @property
    def channel_id(self) -> str | None:
        """The channel's key, as it stands in the events."""
        return None if self.channel is None else self.channel.channel_key

    def admit(
        self, events: Sequence[Event | Problem], vendor: str | None = None
    ) -> Sequence[Event | Problem]:
        """The events, with a problem in the place of each that the policy refuses."""
        if self.channel is None:
            return events
        policy = self.channel
        return [
            each if isinstance(each, Problem) else _refusal(policy, each, at, vendor) or each
            for at, each in enumerate(events)
        ]

    def as_json(self) -> dict[str, Any]:
        """For a job: it goes on as it was accepted, also when the channel has changed."""
        return {**asdict(self), "caller": {**asdict(self.caller), "scopes": []}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Route":
        """The route of a job."""
        caller = Caller(**{**value["caller"], "scopes": frozenset()})
        channel = None if value["channel"] is None else Channel(**value["channel"])
        return cls(caller, value["log_id"], channel, value["imported"])


def route(
    connection: Connection,
    caller: Caller,
    log_id: str | None,
    reference: str | None,
    external_id: str | None,
) -> Route:
    """The way of a request; raises `Problem` channel_invalid (400), channel_not_found (404),
    external_id_required, external_id_mismatch and channel_permission (403)."""
    if reference is None:
        return Route(caller, log_id)
    channel = find(connection, caller, _key(reference))
    if channel.external_id is not None:
        _check_external_id(channel.external_id, external_id)
    if channel.log_id is not None and log_id not in {None, channel.log_id}:
        raise Problem("channel_permission", "The channel writes to another log than the request's")
    if channel.tenant_id is not None:
        caller = replace(caller, tenant_id=channel.tenant_id)
    return Route(caller, channel.log_id or log_id, channel)


def find(connection: Connection, caller: Caller, channel_key: str) -> Channel:
    """The channel, if the caller reaches it; raises `Problem("channel_not_found")`. A channel of no
    tenant can be written through by everybody."""
    channel = channels.find(connection, channel_key)
    if channel is None or (caller.tenant_id and channel.tenant_id not in {None, caller.tenant_id}):
        raise Problem("channel_not_found", "There is no such channel")
    return channel


def _key(reference: str) -> str:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        advice = "must be chn_… or urn:trailseal:channel:chn_…"
        errors = [FieldError("channel_invalid", "/channel", advice)]
        raise Problem("channel_invalid", f"channel {advice}", errors=errors)
    return found[1]


def _check_external_id(wanted: str, sent: str | None) -> None:
    if sent is None:
        raise Problem("external_id_required", "The channel takes no request without external_id")
    if not compare_digest(wanted.encode(), sent.encode()):
        raise Problem("external_id_mismatch", "external_id is not the one of the channel")


def _refusal(policy: Channel, event: Event, at: int, vendor: str | None) -> Problem | None:
    sources, schemas = policy.allowed_sources, policy.allowed_schemas
    if sources is not None and (vendor or _member(event, "source", "name")) not in sources:
        return _problem("source_not_allowed", event, f"/events/{at}/source/name", "sources")
    if schemas is not None and _member(event, "schema", "id") not in schemas:
        return _problem("schema_unsupported", event, f"/events/{at}/schema/id", "schemas")
    return None


def _member(event: Event, name: str, inner: str) -> Any:
    found = event.get(name)
    value = found.get(inner) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def _problem(code: str, event: Event, pointer: str, what: str) -> Problem:
    event_id = event.get("id")
    detail = f"is none of the {what} that the channel takes"
    known = event_id if isinstance(event_id, str) else None
    return Problem(code, f"{pointer} {detail}", errors=[FieldError(code, pointer, detail, known)])
