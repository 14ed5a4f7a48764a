"""Redaction, erasure, legal holds and redaction policies: the flows, and the two namespaces.

All of it needs a key with the scope `privacy`, and is about one log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trailseal_api.api.erasures import (
    create_erasure,
    create_legal_hold,
    list_erasures,
    list_legal_holds,
    redact_event,
    release_legal_hold,
)
from trailseal_api.api.policies import get_redaction_policy, update_redaction_policy

from trailseal._call import all_items, body, call, decoded, or_unset
from trailseal._flow import Flow
from trailseal._ids import uuid7
from trailseal._models import Erasure, Event, LegalHold, Operation, RedactionPolicy
from trailseal._schemas import AsyncRun, Run
from trailseal.config import Settings
from trailseal.errors import ConfigurationError


class LegalHolds:
    """Duties to keep events: they stop redaction, erasure and retention until they are released."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings, self._run = settings, run

    def place(
        self, reason: str, *, subject: str | None = None, log_id: str | None = None
    ) -> LegalHold:
        """Hold the events that name a subject, or without one the whole log."""
        return self._run(place(self._settings, reason, subject, log_id))

    def list(self, *, log_id: str | None = None) -> tuple[LegalHold, ...]:
        """Fetch all holds on a log, newest first, released ones included."""
        return self._run(held(self._settings, log_id))

    def release(self, hold_id: str) -> LegalHold:
        """End a hold; one that has ended stays as it is. Raises `NotFoundError`."""
        return self._run(release(self._settings, hold_id))


class AsyncLegalHolds:
    """Duties to keep events: they stop redaction, erasure and retention until they are released."""

    def __init__(self, settings: Settings, run: AsyncRun) -> None:
        self._settings, self._run = settings, run

    async def place(
        self, reason: str, *, subject: str | None = None, log_id: str | None = None
    ) -> LegalHold:
        """Hold the events that name a subject, or without one the whole log."""
        return await self._run(place(self._settings, reason, subject, log_id))

    async def list(self, *, log_id: str | None = None) -> tuple[LegalHold, ...]:
        """Fetch all holds on a log, newest first, released ones included."""
        return await self._run(held(self._settings, log_id))

    async def release(self, hold_id: str) -> LegalHold:
        """End a hold; one that has ended stays as it is. Raises `NotFoundError`."""
        return await self._run(release(self._settings, hold_id))


class RedactionPolicies:
    """What the server takes out of `data` of arriving events, after it committed to them."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings, self._run = settings, run

    def get(self, *, log_id: str | None = None) -> RedactionPolicy:
        """Fetch a log's policy; without one, `rules` are empty."""
        return self._run(policy(self._settings, log_id))

    def set(
        self, rules: Iterable[Mapping[str, Any]], *, log_id: str | None = None
    ) -> RedactionPolicy:
        """Replace a log's policy for events that arrive from now on; no rules end it.

        A rule is `{schema_id, allowed_classes, allowed_properties, method}`: `schema_id` `*` is
        for all other events, `method` is `drop mask hash`.
        """
        return self._run(set_policy(self._settings, rules, log_id))


class AsyncRedactionPolicies:
    """What the server takes out of `data` of arriving events, after it committed to them."""

    def __init__(self, settings: Settings, run: AsyncRun) -> None:
        self._settings, self._run = settings, run

    async def get(self, *, log_id: str | None = None) -> RedactionPolicy:
        """Fetch a log's policy; without one, `rules` are empty."""
        return await self._run(policy(self._settings, log_id))

    async def set(
        self, rules: Iterable[Mapping[str, Any]], *, log_id: str | None = None
    ) -> RedactionPolicy:
        """Replace a log's policy for events that arrive from now on; no rules end it.

        A rule is `{schema_id, allowed_classes, allowed_properties, method}`: `schema_id` `*` is
        for all other events, `method` is `drop mask hash`.
        """
        return await self._run(set_policy(self._settings, rules, log_id))


def redact(
    settings: Settings, event_id: str, paths: Iterable[str], reason: str, log_id: str | None
) -> Flow[Event]:
    """Take fields out of an event; replayable, because the same again changes nothing."""
    if isinstance(paths, str):
        raise ConfigurationError("paths is a list of JSON Pointers, such as ['/actor/email'].")
    given = body({"paths": list(paths), "reason": reason})
    kwargs = redact_event.request_kwargs(event_id, body=given, log_id=or_unset(log_id))
    return Event(decoded((yield from call(settings, kwargs, replayable=True))))


def erase(settings: Settings, subject: str, reason: str, log_id: str | None) -> Flow[Operation]:
    """Begin an erasure."""
    given = body({"subject": subject, "reason": reason})
    kwargs = create_erasure.request_kwargs(
        body=given, log_id=or_unset(log_id), idempotency_key=uuid7()
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(202, 200))
    return Operation(decoded(response))


def erasures(settings: Settings, log_id: str | None) -> Flow[tuple[Erasure, ...]]:
    """Fetch all pages of a log's erasures."""
    return tuple(map(Erasure, (yield from all_items(settings, list_erasures, log_id=log_id))))


def place(
    settings: Settings, reason: str, subject: str | None, log_id: str | None
) -> Flow[LegalHold]:
    """Place a hold; replayable by its idempotency key."""
    given = body({"subject": subject, "reason": reason})
    kwargs = create_legal_hold.request_kwargs(
        body=given, log_id=or_unset(log_id), idempotency_key=uuid7()
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(201, 200))
    return LegalHold(decoded(response))


def held(settings: Settings, log_id: str | None) -> Flow[tuple[LegalHold, ...]]:
    """Fetch all pages of a log's holds."""
    return tuple(map(LegalHold, (yield from all_items(settings, list_legal_holds, log_id=log_id))))


def release(settings: Settings, hold_id: str) -> Flow[LegalHold]:
    """End a hold."""
    kwargs = release_legal_hold.request_kwargs(hold_id)
    return LegalHold(decoded((yield from call(settings, kwargs, replayable=True))))


def policy(settings: Settings, log_id: str | None) -> Flow[RedactionPolicy]:
    """Fetch a policy."""
    kwargs = get_redaction_policy.request_kwargs(log_id=or_unset(log_id))
    return RedactionPolicy(decoded((yield from call(settings, kwargs))))


def set_policy(
    settings: Settings, rules: Iterable[Mapping[str, Any]], log_id: str | None
) -> Flow[RedactionPolicy]:
    """Replace a policy."""
    given = body({"rules": [dict(rule) for rule in rules]})
    kwargs = update_redaction_policy.request_kwargs(body=given, log_id=or_unset(log_id))
    return RedactionPolicy(decoded((yield from call(settings, kwargs, replayable=True))))
