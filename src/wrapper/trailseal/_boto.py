"""What boto3's names mean here: which calls have paginators, and what waiters wait for."""

from __future__ import annotations

from trailseal import _operations
from trailseal._flow import Flow
from trailseal._models import Event
from trailseal.config import Settings
from trailseal.errors import ConfigurationError, OperationTimeoutError, TimeoutError  # noqa: A004  # its name in the contract

PAGEABLE = ("query", "search")
WAITERS = ("operation_succeeded", "event_sealed")
SEALED_PAUSE = 0.5  # seconds between two looks: a checkpoint is signed about once a second
MAX_LOOKS = 100_000


def check_pageable(name: str) -> None:
    """Raise `ConfigurationError` for a method without a paginator."""
    if name not in PAGEABLE:
        raise ConfigurationError(f"{name!r} cannot be paginated; {', '.join(PAGEABLE)} can.")


def check_waiter(name: str) -> None:
    """Raise `ConfigurationError` for an unknown waiter."""
    if name not in WAITERS:
        raise ConfigurationError(f"There is no waiter {name!r}; there are {', '.join(WAITERS)}.")


def sealed(
    settings: Settings, event_id: str, *, log_id: str | None = None, include_proof: bool = True
) -> Flow[Event]:
    """Look until a signed checkpoint covers the event; the event, with its proof."""
    pause = 0.0
    try:
        for _ in range(MAX_LOOKS):
            event = yield from _operations.get(
                settings, event_id, log_id=log_id, include_proof=include_proof, after=pause
            )
            if event.state == "sealed":
                return event
            pause = SEALED_PAUSE
    except TimeoutError as error:
        raise OperationTimeoutError("The event was not sealed in time.") from error
    raise OperationTimeoutError("The event was not sealed.")
