"""What batches of events come to."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from trailseal._models import Receipt
from trailseal._view import View, maybe, object_of, optional, required
from trailseal._words import counted
from trailseal.errors import (
    ApiError,
    PartialFailureError,
    UnexpectedResponseError,
    from_problem,
)


class BatchItem(View):
    """What became of one event: `status` is `created`, `duplicate` or `failed`.

    `position` counts from 0 over all events that were given to the call.
    """

    _shown = ("position", "id", "status")
    position = required(int)
    id = optional(str)
    status = required(str)
    receipt = maybe(object_of(Receipt))

    @property
    def error(self) -> ApiError | None:
        """Why it failed, as the exception that a single call would have raised."""
        problem = self.raw.get("error")
        return from_problem(problem) if isinstance(problem, dict) else None


class UnreadFailuresWarning(UserWarning):
    """A batch had failed events, and nobody looked at them."""

    __module__ = "trailseal"  # as it is imported


class BatchResult:
    """The results of `log_bulk`, one for each event, in the order given.

    An upload's result holds its failed events only, at most 1,000; `counts` count all.
    A result with failures warns (`UnreadFailuresWarning`) when it is thrown away unread.
    It is made of what the server answered; a `BatchItem` is made when it is looked at.
    """

    _read = True  # until it is known to hold failures

    def __init__(
        self, raws: Sequence[Mapping[str, Any]] = (), counts: Mapping[str, Any] | None = None
    ) -> None:
        self._raws = raws
        try:
            self.counts: Counter[str] = Counter(map(itemgetter("status"), raws))
        except (KeyError, TypeError):
            raise UnexpectedResponseError("A result of the answer has no status.") from None
        for name in ("created", "duplicate", "failed"):
            found = counts.get(name) if counts else None
            if isinstance(found, int):
                self.counts[name] = max(found, self.counts[name])
        self._read = not self.counts["failed"]

    def __repr__(self) -> str:
        counts = ("created", "duplicate", "failed")
        return f"BatchResult({', '.join(f'{name}={self.counts[name]}' for name in counts)})"

    def __len__(self) -> int:
        return len(self._raws)

    def __iter__(self) -> Iterator[BatchItem]:
        self._read = True
        return map(BatchItem, self._raws)

    def _of(self, status: str) -> tuple[BatchItem, ...]:
        if not self.counts[status]:
            return ()
        return tuple(BatchItem(raw) for raw in self._raws if raw["status"] == status)

    @property
    def created(self) -> tuple[BatchItem, ...]:
        """The events that were stored now."""
        return self._of("created")

    @property
    def duplicates(self) -> tuple[BatchItem, ...]:
        """The events that had been stored before, with the same content."""
        return self._of("duplicate")

    @property
    def failed(self) -> tuple[BatchItem, ...]:
        """The events that were not stored; each item's `error` says why."""
        self._read = True
        return self._of("failed")

    @property
    def receipts(self) -> tuple[Receipt | None, ...]:
        """One receipt for each event, in the order given; None for a failed one."""
        return tuple(BatchItem(raw).receipt for raw in self._raws)

    def raise_for_failures(self) -> None:
        """Raise `PartialFailureError` if an event was not stored."""
        failed = self.failed
        if count := self.counts["failed"]:
            text = f"Not logged: {count} of {counted(self.counts.total(), 'event')}."
            errors = (item.error for item in failed)
            details = tuple(detail for error in errors if error for detail in error.errors)
            raise PartialFailureError(text, result=self, errors=details)

    def __del__(self) -> None:
        if not self._read:
            text = f"not logged, and .failed never read: {counted(self.counts['failed'], 'event')}"
            warnings.warn(text, UnreadFailuresWarning, stacklevel=2, source=self)
