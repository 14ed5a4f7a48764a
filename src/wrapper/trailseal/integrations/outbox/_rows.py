"""What a row of an outbox is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trailseal._context import filled
from trailseal._events import prepare
from trailseal._models import Receipt

TABLE = "trailseal_outbox"
MAX_ID = 128  # characters, of the contract, as are the next
MAX_LOG_ID = 64
MAX_CODE = 64
MAX_DETAIL = 500


class Row(NamedTuple):
    """A row to insert, and the receipt for it: its state is `accepted`, its index -1."""

    values: Mapping[str, Any]
    receipt: Receipt


def row(event: Mapping[str, Any], *, log_id: str | None, tenant: str | None) -> Row:
    """Complete, check and encode an event; raises `EventValidationError`.

    What `trailseal.context` knows is filled in now: the relay runs elsewhere.
    """
    prepared = prepare(filled(event, {}), tenant=tenant)
    values = {
        "event_id": prepared.id,
        "log_id": log_id,
        "content": prepared.content.decode(),
        "created_at": datetime.now(UTC),
    }
    return Row(values, Receipt.local(prepared.id, "accepted", log_id))
