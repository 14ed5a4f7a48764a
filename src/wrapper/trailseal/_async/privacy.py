"""Personal data: redaction, erasure, legal holds, redaction policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trailseal import _privacy
from trailseal._async.core import AsyncCore
from trailseal._models import Erasure, Event, LegalHold, Operation, RedactionPolicy


class AsyncLegalHolds:
    """Duties to keep events: they stop redaction, erasure and retention until they are released."""

    def __init__(self, core: AsyncCore) -> None:
        self._settings, self._run = core._settings, core._run  # noqa: SLF001  # its own part

    async def place(
        self, reason: str, *, subject: str | None = None, log_id: str | None = None
    ) -> LegalHold:
        """Hold the events that name a subject, or without one the whole log."""
        return await self._run(_privacy.place(self._settings, reason, subject, log_id))

    async def list(self, *, log_id: str | None = None) -> tuple[LegalHold, ...]:
        """Fetch all holds on a log, newest first, released ones included."""
        return await self._run(_privacy.held(self._settings, log_id))

    async def release(self, hold_id: str) -> LegalHold:
        """End a hold; one that has ended stays as it is. Raises `NotFoundError`."""
        return await self._run(_privacy.release(self._settings, hold_id))


class AsyncRedactionPolicies:
    """What the server takes out of `data` of arriving events, after it committed to them."""

    def __init__(self, core: AsyncCore) -> None:
        self._settings, self._run = core._settings, core._run  # noqa: SLF001  # its own part

    async def get(self, *, log_id: str | None = None) -> RedactionPolicy:
        """Fetch a log's policy; without one, `rules` are empty."""
        return await self._run(_privacy.policy(self._settings, log_id))

    async def set(
        self, rules: Iterable[Mapping[str, Any]], *, log_id: str | None = None
    ) -> RedactionPolicy:
        """Replace a log's policy for events that arrive from now on; no rules end it.

        A rule is `{schema_id, allowed_classes, allowed_properties, method}`: `schema_id` `*` is
        for all other events, `method` is `drop mask hash`.
        """
        return await self._run(_privacy.set_policy(self._settings, rules, log_id))


class AsyncPrivacy(AsyncCore):
    """`redact`, `erase`, `erasures`, `legal_holds`, `redaction_policies`."""

    async def redact(
        self, event_id: str, paths: Iterable[str], reason: str, *, log_id: str | None = None
    ) -> Event:
        """Take all fields at or below JSON Pointers (`/actor/email`) out of an event, for good.

        Proofs and signatures stay valid, the log tells of it, the same again changes nothing.
        Returns the event as it is now. Scope: `privacy`.

        Raises:
            EventConflictError: A legal hold keeps the event.
            RequestError: A path leads to nothing, or to what must stay.
        """
        return await self._run(_privacy.redact(self._settings, event_id, paths, reason, log_id))

    async def erase(self, subject: str, reason: str, *, log_id: str | None = None) -> Operation:
        """Begin to erase a data subject from all events of a log that name it in `subjects`.

        Give the operation to `wait`: its `.erasure` counts events and deleted exports.
        Scope: `privacy`. Raises `EventConflictError` where a legal hold keeps
        such events.
        """
        return await self._run(_privacy.erase(self._settings, subject, reason, log_id))

    async def erasures(self, *, log_id: str | None = None) -> tuple[Erasure, ...]:
        """Fetch all erasures in a log, newest first."""
        return await self._run(_privacy.erasures(self._settings, log_id))

    @property
    def legal_holds(self) -> AsyncLegalHolds:
        """Duties to keep events: `place`, `list`, `release`."""
        return AsyncLegalHolds(self)

    @property
    def redaction_policies(self) -> AsyncRedactionPolicies:
        """What the server takes out of arriving events: `get`, `set`."""
        return AsyncRedactionPolicies(self)
