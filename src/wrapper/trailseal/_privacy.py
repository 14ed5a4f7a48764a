"""Redaction, erasure, legal holds and redaction policies.

All of it needs a key with the scope `privacy`, and is about one log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trailseal import _api
from trailseal._call import all_items, body, call, decoded, or_unset
from trailseal._flow import Flow
from trailseal._ids import uuid7
from trailseal._models import Erasure, Event, LegalHold, Operation, RedactionPolicy
from trailseal.config import Settings
from trailseal.errors import ConfigurationError


def redact(
    settings: Settings, event_id: str, paths: Iterable[str], reason: str, log_id: str | None
) -> Flow[Event]:
    """Take fields out of an event; replayable, because the same again changes nothing."""
    if isinstance(paths, str):
        raise ConfigurationError("paths is a list of JSON Pointers, such as ['/actor/email'].")
    given = body({"paths": list(paths), "reason": reason})
    kwargs = _api.redact_event.request_kwargs(event_id, body=given, log_id=or_unset(log_id))
    return Event(decoded((yield from call(settings, kwargs, replayable=True))))


def erase(settings: Settings, subject: str, reason: str, log_id: str | None) -> Flow[Operation]:
    """Begin an erasure."""
    given = body({"subject": subject, "reason": reason})
    kwargs = _api.create_erasure.request_kwargs(
        body=given, log_id=or_unset(log_id), idempotency_key=uuid7()
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(202, 200))
    return Operation(decoded(response))


def erasures(settings: Settings, log_id: str | None) -> Flow[tuple[Erasure, ...]]:
    """Fetch all pages of a log's erasures."""
    raws = yield from all_items(settings, _api.list_erasures, log_id=log_id)
    return tuple(map(Erasure, raws))


def place(
    settings: Settings, reason: str, subject: str | None, log_id: str | None
) -> Flow[LegalHold]:
    """Place a hold; replayable by its idempotency key."""
    given = body({"subject": subject, "reason": reason})
    kwargs = _api.create_legal_hold.request_kwargs(
        body=given, log_id=or_unset(log_id), idempotency_key=uuid7()
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(201, 200))
    return LegalHold(decoded(response))


def held(settings: Settings, log_id: str | None) -> Flow[tuple[LegalHold, ...]]:
    """Fetch all pages of a log's holds."""
    return tuple(
        map(LegalHold, (yield from all_items(settings, _api.list_legal_holds, log_id=log_id)))
    )


def release(settings: Settings, hold_id: str) -> Flow[LegalHold]:
    """End a hold."""
    kwargs = _api.release_legal_hold.request_kwargs(hold_id)
    return LegalHold(decoded((yield from call(settings, kwargs, replayable=True))))


def policy(settings: Settings, log_id: str | None) -> Flow[RedactionPolicy]:
    """Fetch a policy."""
    kwargs = _api.get_redaction_policy.request_kwargs(log_id=or_unset(log_id))
    return RedactionPolicy(decoded((yield from call(settings, kwargs))))


def set_policy(
    settings: Settings, rules: Iterable[Mapping[str, Any]], log_id: str | None
) -> Flow[RedactionPolicy]:
    """Replace a policy."""
    given = body({"rules": [dict(rule) for rule in rules]})
    kwargs = _api.update_redaction_policy.request_kwargs(body=given, log_id=or_unset(log_id))
    return RedactionPolicy(decoded((yield from call(settings, kwargs, replayable=True))))
