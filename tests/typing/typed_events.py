"""Typed events as a type checker sees them; checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, assert_type

import trailseal
from trailseal.schemas import Emitted, EventLogger, Field, LocalSchema, Policy, Registry, schema
from trailseal.testing import AuditLog


@schema("com.example.invoice.deleted", version="1", action="invoice.deleted")
class InvoiceDeleted:
    invoice: str
    amount: Annotated[int, Field(minimum=0)] = 0
    email: Annotated[str | None, Field(classes=["contact"])] = None


def events() -> None:
    """Members are keyword arguments with types, and cannot be changed."""
    event = InvoiceDeleted(invoice="inv_1")
    assert_type(event, InvoiceDeleted)
    assert_type(event.amount, int)
    assert_type(event.email, str | None)
    InvoiceDeleted(invoice=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a wrong type is found
    InvoiceDeleted(amount=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # what is missing is found
    InvoiceDeleted("inv_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # members have names
    event.amount = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # an event does not change


async def emitting(client: trailseal.Client, log: AuditLog) -> None:
    """Both forms of `emit`, and what listeners are."""
    logger = EventLogger([client], policy=Policy(allow=["account"]), registry=Registry())
    assert_type(logger.register(InvoiceDeleted), LocalSchema)
    assert_type(logger.emit(InvoiceDeleted(invoice="a"), actor="user_1"), Emitted)
    assert_type(logger.emit("urn:x", {"a": 1}, version=2), Emitted)
    assert_type(await logger.aemit("urn:x", None), Emitted)

    async def listener(*, logger: EventLogger, schema_id: str, data: Any) -> None: ...

    def other(*, schema_id: str) -> None: ...

    logger.add_listener(listener)
    logger.add_listener(other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it lacks parameters
    assert_type(log.assert_logged("a", actor="b").received_at, datetime | None)
