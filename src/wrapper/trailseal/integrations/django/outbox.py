"""The outbox in Django: `log` in your transaction; `manage.py trailseal_relay` sends.

with transaction.atomic():
    invoice.delete()
    outbox.log("invoice.deleted", actor="user_1", resource=("invoice", str(invoice.pk)))
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Unpack

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.models import Q

from trailseal._events import EventFields, EventLike
from trailseal._models import Receipt
from trailseal.delivery import Item
from trailseal.errors import DeliveryError
from trailseal.integrations.django._settings import given
from trailseal.integrations.django.models import OutboxEvent
from trailseal.integrations.outbox._rows import row

MAX_PARKED = 1000  # shown at a time


def log(
    action: str,
    *,
    log_id: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
    **fields: Unpack[EventFields],
) -> Receipt:
    """Write that something was done; it is sent after your commit, and never after a rollback.

    The fields are those of `Client.log`; `using` is the database of your transaction. The
    receipt's state is `accepted`, its index -1; `event_id` is final.

    Raises:
        EventValidationError: A field is unknown, missing or too long; nothing is written.
    """
    return log_event({"action": action, **fields}, log_id=log_id, using=using)


def log_event(
    event: EventLike, *, log_id: str | None = None, using: str = DEFAULT_DB_ALIAS
) -> Receipt:
    """Write an event given as a mapping; else as `log`."""
    tenant = given("CLIENT", {}).get("tenant")
    values, receipt = row(event, log_id=log_id, tenant=tenant)
    OutboxEvent.objects.using(using).create(**values)
    return receipt


async def alog(
    action: str,
    *,
    log_id: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
    **fields: Unpack[EventFields],
) -> Receipt:
    """As `log`, in a coroutine (where Django has no transactions: one of its own)."""
    tenant = given("CLIENT", {}).get("tenant")
    values, receipt = row({"action": action, **fields}, log_id=log_id, tenant=tenant)
    await OutboxEvent.objects.using(using).acreate(**values)
    return receipt


class DjangoRows:
    """The table as a `Relay` reads it; of one thread, as Django's connections are."""

    def __init__(self, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using
        self._open: ExitStack | None = None

    @property
    def _waiting(self) -> Any:
        return OutboxEvent.objects.using(self._using).filter(parked_code=None)

    @property
    def _parked(self) -> Any:
        return OutboxEvent.objects.using(self._using).exclude(parked_code=None)

    def count(self, most: int) -> int:
        """See `Rows`."""
        with self._guarded():
            return len(self._waiting.values_list("key")[:most])

    def select(
        self, limit: int, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        """See `Rows`."""
        named = [name for name in skip_logs if name is not None]
        with self._guarded():
            query = self._waiting.exclude(key__in=list(skip_keys)).order_by("key")
            if named:
                query = query.filter(Q(log_id=None) | ~Q(log_id__in=named))
            if None in skip_logs:
                query = query.exclude(log_id=None)
            if connections[self._using].features.has_select_for_update_skip_locked:
                self._open = ExitStack()
                self._open.enter_context(transaction.atomic(using=self._using))
                query = query.select_for_update(skip_locked=True)
            found = query.values_list("key", "event_id", "log_id", "content")[:limit]
            return [Item(key, named, log_id, text.encode()) for key, named, log_id, text in found]

    def delete(self, keys: Collection[int]) -> None:
        """See `Rows`."""
        with self._guarded(last=True):
            OutboxEvent.objects.using(self._using).filter(key__in=list(keys)).delete()

    def park(self, key: int, code: str, detail: str) -> None:
        """See `Rows`."""
        with self._guarded(last=True):
            self._waiting.filter(key=key).update(parked_code=code, parked_detail=detail)

    def end(self) -> None:
        """See `Rows`."""
        with self._guarded(last=True):
            pass

    def requeue(self) -> int:
        """See `Rows`."""
        with self._guarded():
            count: int = self._parked.update(parked_code=None, parked_detail=None)
            return count

    def parked(self) -> Sequence[tuple[str, str, str]]:
        """See `Rows`."""
        with self._guarded():
            return list(
                self._parked.values_list("event_id", "parked_code", "parked_detail")[:MAX_PARKED]
            )

    @contextmanager
    def _guarded(self, *, last: bool = False) -> Iterator[None]:
        """Turn failures into `DeliveryError`; after the `last` statement, commit."""
        stack = self._open
        try:
            yield
            if last and stack is not None:
                self._open = None
                stack.close()
        except Error as error:
            self._open = None
            if stack is not None:
                stack.__exit__(type(error), error, error.__traceback__)
            connections[self._using].close_if_unusable_or_obsolete()
            text = f"The outbox's database failed: {type(error).__name__}."
            raise DeliveryError(text) from error
