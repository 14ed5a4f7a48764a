"""What calls return: typed views over the JSON that was received.

1. A view keeps the decoded answer in `.raw` and changes nothing in it: hashes and proofs are
   checked on what was received, never on a model written out again.
2. Members are read when asked for. A required one that is missing or of a wrong type raises
   `UnexpectedResponseError`, which names it; members of a newer server are in `.raw`.
3. A repr shows ids and states, never what an event holds.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from trailseal.errors import (
    ApiError,
    PartialFailureError,
    TrailSealError,
    UnexpectedResponseError,
    from_problem,
)

T = TypeVar("T")


class View:
    """A JSON object, read by name."""

    __slots__ = ("raw",)
    _shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.raw.get(name)!r}" for name in self._shown)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, View) and self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]  # it holds a dict


class _Member(Generic[T]):
    """A descriptor: one member of the JSON object below a view."""

    def __init__(self, convert: Callable[[Any], T], name: str | None = None) -> None:
        self._convert = convert
        self._name = name or ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: View, owner: type) -> T: ...
    def __get__(self, view: View | None, owner: type) -> T | Self:
        if view is None:
            return self
        try:
            return self._convert(view.raw.get(self._name))
        except (TypeError, ValueError):
            text = f"The answer's {owner.__name__}.{self._name} is missing or of a wrong type."
            raise UnexpectedResponseError(text) from None


def _exactly(kind: type[T]) -> Callable[[Any], T]:
    def convert(value: Any) -> T:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError
        return value

    return convert


def _required(kind: type[T], name: str | None = None) -> _Member[T]:
    return _Member(_exactly(kind), name)


def _optional(kind: type[T], name: str | None = None) -> _Member[T | None]:
    return _maybe(_exactly(kind), name)


def _maybe(convert: Callable[[Any], T], name: str | None = None) -> _Member[T | None]:
    return _Member(lambda value: None if value is None else convert(value), name)


def _time() -> _Member[datetime | None]:
    return _maybe(lambda value: datetime.fromisoformat(_exactly(str)(value)))


def _object(kind: Callable[[Mapping[str, Any]], T]) -> Callable[[Any], T]:
    return lambda value: kind(_exactly(dict)(value))


def _list(item: Callable[[Any], T], name: str | None = None) -> _Member[tuple[T, ...]]:
    return _Member(lambda value: tuple(item(one) for one in _exactly(list)(value or [])), name)


class ActorRecord(View):
    """Who did it; members are None where they were not sent, or were redacted."""

    _shown = ("id", "type")
    id = _optional(str)
    type = _optional(str)
    name = _optional(str)
    email = _optional(str)


class ResourceRecord(View):
    """What it was done to; members are None where they were not sent, or were redacted."""

    _shown = ("id", "type")
    id = _optional(str)
    type = _optional(str)
    name = _optional(str)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification on the way found: `error` is None where all held.

    `trusted` is True where a key that you trust signed the event, False where it was the key that
    the signature encloses, None without a signature or a key for it.
    """

    error: TrailSealError | None
    trusted: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether it was verified."""
        return self.error is None


class Event(View):
    """A stored event (`EventRecord` in the contract).

    `index` is its place in the log, from 0, without gaps; `received_at` is the server's clock,
    by which order and retention go; `occurred_at` the client's. `entry` and `proof` are there
    with `include_proof=True`, `verdict` with `verify=True`.
    """

    verdict: Verdict | None = None

    _shown = ("id", "log_id", "index", "action", "state")
    id = _required(str)
    log_id = _required(str)
    index = _required(int)
    state = _required(str)
    leaf_hash = _required(str)
    received_at = _time()
    occurred_at = _time()
    action = _required(str)
    action_type = _optional(str)
    outcome = _optional(str)
    severity = _optional(str)
    tenant_id = _optional(str)
    message = _optional(str)
    actor = _maybe(_object(ActorRecord))
    resources = _list(_object(ResourceRecord))
    context = _optional(dict)
    source = _optional(dict)
    tags = _optional(dict)
    before = _Member[Any](lambda value: value)
    after = _Member[Any](lambda value: value)
    data = _Member[Any](lambda value: value)
    ingested_by = _optional(str)
    entry = _optional(str)
    proof = _optional(dict)


class Receipt(View):
    """What the server answers for a logged event.

    `state` is `pending` until a signed checkpoint covers `index`, then `sealed`; `replayed` says
    that the same event had been stored before. Of a disabled client, `state` is `disabled` and
    `index` is -1: nothing was sent.
    """

    verdict: Verdict | None = None
    _shown = ("event_id", "log_id", "index", "state", "replayed")
    event_id = _required(str)
    log_id = _required(str)
    index = _required(int)
    state = _required(str)
    leaf_hash = _required(str)
    replayed = _required(bool)
    received_at = _time()
    proof = _optional(dict)

    @classmethod
    def disabled(cls, event_id: str) -> Receipt:
        """Make the receipt of a client that is switched off."""
        raw = {"event_id": event_id, "log_id": "", "index": -1, "leaf_hash": "", "replayed": False}
        return cls({**raw, "state": "disabled"})


class Checkpoint(View):
    """A signed statement of a log's size and root; verify `signed_note`, the rest is a comfort."""

    _shown = ("origin", "tree_size", "root_hash")
    origin = _required(str)
    tree_size = _required(int)
    root_hash = _required(str)
    signed_note = _required(str)
    published_at = _time()


class InclusionProof(View):
    """Hashes (hex, leaf to root) that lead from an event's leaf to a checkpoint (RFC 6962)."""

    _shown = ("log_id", "index", "tree_size")
    log_id = _required(str)
    event_id = _required(str)
    index = _required(int)
    leaf_hash = _required(str)
    entry = _required(str)
    tree_size = _required(int)
    hashes = _list(_exactly(str))
    signed_note = _required(str)


class ConsistencyProof(View):
    """Hashes (hex) that show that the log of size `second` continues that of size `first`."""

    _shown = ("log_id", "first", "second")
    log_id = _required(str)
    first = _required(int)
    second = _required(int)
    hashes = _list(_exactly(str))
    signed_note = _required(str)


class VerificationKey(View):
    """A public key; `verifier_key` is there for keys that sign checkpoints (C2SP signed notes)."""

    _shown = ("key_id", "kind")
    key_id = _required(str)
    kind = _required(str)
    public_key = _required(str)
    verifier_key = _optional(str)


class Caller(View):
    """Whose key this is and what it may do."""

    _shown = ("key_id", "name", "tenant_id")
    key_id = _required(str)
    name = _required(str)
    tenant_id = _optional(str)
    default_log_id = _optional(str)
    scopes = _list(_exactly(str))
    expires_at = _time()


class Usage(View):
    """What was logged this month; `events_limit` and `retention_days` are None for no limit."""

    _shown = ("plan", "period", "events_this_month", "events_limit")
    plan = _required(str)
    period = _required(str)
    events_this_month = _required(int)
    events_limit = _optional(int)
    bytes = _required(int)
    retention_days = _optional(int)


class Schema(View):
    """One version of a registered event schema; `document` is its JSON Schema."""

    _shown = ("schema_id", "version", "state")
    key = _required(str, "schema_key")
    id = _required(str, "schema_id")
    version = _required(str)
    document = _Member[Any](lambda value: value)
    state = _required(str)
    tenant_id = _optional(str)
    created_at = _time()


class Page(View):
    """One page of events; `next_cursor` is None on the last one.

    An ascending list ends with a `tail_cursor`: `query(wait=…).resume_from(tail_cursor)` waits
    for later events.
    """

    _shown = ("next_cursor", "has_more")
    _items = _list(_object(Event), "items")
    verified: tuple[Event, ...] | None = None  # with `verify=True`: the items, with verdicts
    next_cursor = _optional(str)
    has_more = _required(bool)
    tail_cursor = _optional(str)
    total = _optional(int)
    total_exact = _optional(bool)

    @property
    def items(self) -> tuple[Event, ...]:
        """The events."""
        return self._items if self.verified is None else self.verified


class Progress(View):
    """How far an operation is: events dealt with, and in all (None while unknown)."""

    _shown = ("done", "total")
    done = _required(int)
    total = _optional(int)


class Export(View):
    """A file of events that the server makes; `events`, `bytes`, `sha256` once it is whole."""

    _shown = ("export_id", "state", "format", "events", "bytes")
    id = _required(str, "export_id")
    log_id = _required(str)
    state = _required(str)
    format = _required(str)
    compression = _required(str)
    progress = _maybe(_object(Progress))
    events = _optional(int)
    bytes = _optional(int)
    sha256 = _optional(str)
    expires_at = _time()


class Erasure(View):
    """The erasure of a subject; `events` and `exports` count what was redacted and deleted."""

    _shown = ("erasure_id", "state", "events")
    id = _required(str, "erasure_id")
    log_id = _required(str)
    subject = _optional(str)
    reason = _required(str)
    state = _required(str)
    events = _optional(int)
    exports = _optional(int)
    created_at = _time()
    completed_at = _time()


class LegalHold(View):
    """A duty to keep events: of one subject, or (None) of the whole log."""

    _shown = ("hold_id", "log_id", "released_at")
    id = _required(str, "hold_id")
    log_id = _required(str)
    subject = _optional(str)
    reason = _required(str)
    created_by = _required(str)
    created_at = _time()
    released_at = _time()


class RedactionPolicy(View):
    """What a log's server takes out of arriving events; `rules` as the contract has them."""

    _shown = ("rules",)
    rules = _Member[list[dict[str, Any]]](lambda value: list(value or ()))
    updated_at = _time()


class Operation(View):
    """A job that goes on at the server: `pending running succeeded failed cancelled expired`."""

    _shown = ("operation_id", "kind", "state")
    id = _required(str, "operation_id")
    kind = _required(str)
    state = _required(str)
    progress = _maybe(_object(Progress))
    expires_at = _time()
    export = _maybe(_object(Export))
    erasure = _maybe(_object(Erasure))

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state not in {"pending", "running"}


class BatchItem(View):
    """What became of one event: `status` is `created`, `duplicate` or `failed`.

    `position` counts from 0 over all events that were given to the call.
    """

    _shown = ("position", "id", "status")
    position = _required(int)
    id = _optional(str)
    status = _required(str)
    receipt = _maybe(_object(Receipt))

    @property
    def error(self) -> ApiError | None:
        """Why it failed, as the exception that a single call would have raised."""
        problem = self.raw.get("error")
        return from_problem(problem) if isinstance(problem, dict) else None


class UnreadFailuresWarning(UserWarning):
    """A batch had failed events, and nobody looked at them."""


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
            text = f"{count} of {self.counts.total()} events were not logged."
            errors = (item.error for item in failed)
            details = tuple(detail for error in errors if error for detail in error.errors)
            raise PartialFailureError(text, result=self, errors=details)

    def __del__(self) -> None:
        if not self._read:
            text = f"{self.counts['failed']} events were not logged and .failed was never read"
            warnings.warn(text, UnreadFailuresWarning, stacklevel=2, source=self)


@dataclass(frozen=True, slots=True)
class Download:
    """A finished download; `manifest`, `note` and `checkpoint` lie beside a `jsonl` export.

    Of an open file, `path` is its name as far as it has one.
    """

    path: Path
    export: Export
    bytes: int
    sha256: str
    sidecars: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """What `download_file` has fetched; `sha256` in hex."""

    path: Path
    bytes: int
    sha256: str
