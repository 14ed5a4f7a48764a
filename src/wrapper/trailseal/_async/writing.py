"""Logging events one by one."""

from __future__ import annotations

from typing import Any, Unpack

from trailseal import _operations
from trailseal._async.core import AsyncCore
from trailseal._context import filled, of_schema
from trailseal._events import EventFields, EventLike
from trailseal._models import Receipt
from trailseal._signing import aprepare


class AsyncWriting(AsyncCore):
    """`log`, `log_event`, `emit`."""

    async def log(
        self,
        action: str,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
        **fields: Unpack[EventFields],
    ) -> Receipt:
        """Log that something was done, durable before it returns.

        `action` is dotted lower case: `invoice.deleted`. `actor` is an id, an `Actor` or a
        mapping; `resource` an id, `(type, id)`, `(type, id, name)`, a `Resource` or a mapping.
        All fields are in `EventFields`. A missing `id` (UUIDv7) is filled in, and `occurred_at`
        with it; the id makes the client's own retries safe. With an `id` of yours the same call
        can be made again at any time: it answers the first receipt. With `include_proof` the
        server waits up to 3 s for a checkpoint, else `receipt.proof` is None.

        With `verify` the receipt is proved: that the log's entry commits to what was sent, that it
        is in the log, and that the log only grew since it was last seen.

        Raises:
            IntegrityError: With `verify`. The event is logged: `.subject` is the receipt.
            EventValidationError: A field is unknown, missing or too long; found before any I/O.
            EventConflictError: The id was logged before with other content.
            TransportError: No answer; the event may have been logged.
        """
        event = {"action": action, **fields}
        return await self.log_event(
            event, log_id=log_id, include_proof=include_proof, verify=verify
        )

    async def log_event(
        self,
        event: EventLike,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
    ) -> Receipt:
        """Log an event given as a mapping, which is not changed; else as `log`."""
        check, given, settings = self._verifies(verify), filled(event, self._bound), self._settings
        sent = await aprepare(given, tenant=settings.tenant, signer=settings.signer, seeds=check)
        proof = include_proof or check
        flow = _operations.log(settings, sent, log_id=log_id, include_proof=proof)
        receipt = await self._run(flow)
        return await self._proved(sent, receipt) if check else receipt

    async def emit(
        self,
        schema: str,
        data: Any,
        *,
        version: str | None = None,
        action: str | None = None,
        log_id: str | None = None,
        **fields: Any,
    ) -> Receipt:
        """Log an event whose `data` follows a registered schema, which the server checks.

        `version` is the schema's latest if left out, which costs a request more; `action` is the
        schema's id. All other fields are those of `log`.

        Raises:
            SchemaNotRegisteredError: There is no such schema, or version of it.
            EventValidationError: The data does not follow it; nothing was logged.
        """
        if version is None:
            from trailseal import _schemas  # noqa: PLC0415  # few need it

            latest = await self._run(_schemas.get(self._settings, schema, None))
            version = latest.version
        event = of_schema(schema, version, data, action, fields)
        return await self.log_event(event, log_id=log_id)
