"""What calls return: views of the contract's objects; batches and downloads are in `_results`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trailseal._view import (
    Member,
    View,
    anything,
    exactly,
    list_of,
    maybe,
    object_of,
    optional,
    required,
    timestamp,
)
from trailseal.errors import TrailSealError


class ActorRecord(View):
    """Who did it; members are None where they were not sent, or were redacted."""

    _shown = ("id", "type")
    id = optional(str)
    type = optional(str)
    name = optional(str)
    email = optional(str)


class ResourceRecord(View):
    """What it was done to; members are None where they were not sent, or were redacted."""

    _shown = ("id", "type")
    id = optional(str)
    type = optional(str)
    name = optional(str)


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
    id = required(str)
    log_id = required(str)
    index = required(int)
    state = required(str)
    leaf_hash = required(str)
    received_at = timestamp()
    occurred_at = timestamp()
    action = required(str)
    action_type = optional(str)
    outcome = optional(str)
    severity = optional(str)
    tenant_id = optional(str)
    message = optional(str)
    actor = maybe(object_of(ActorRecord))
    resources = list_of(object_of(ResourceRecord))
    context = optional(dict)
    source = optional(dict)
    tags = optional(dict)
    before = anything()
    after = anything()
    data = anything()
    ingested_by = optional(str)
    entry = optional(str)
    proof = optional(dict)


class Receipt(View):
    """What the server answers for a logged event.

    `state` is `pending` until a signed checkpoint covers `index`, then `sealed`; `replayed` says
    that the same event had been stored before. Of a disabled client, `state` is `disabled` and
    `index` is -1: nothing was sent.
    """

    verdict: Verdict | None = None
    _shown = ("event_id", "log_id", "index", "state", "replayed")
    event_id = required(str)
    log_id = required(str)
    index = required(int)
    state = required(str)
    leaf_hash = required(str)
    replayed = required(bool)
    received_at = timestamp()
    proof = optional(dict)

    @classmethod
    def local(cls, event_id: str, state: str, log_id: str | None = None) -> Receipt:
        """Make the receipt of an event that no server has answered for."""
        raw = {"event_id": event_id, "log_id": log_id or "", "index": -1, "leaf_hash": ""}
        return cls({**raw, "state": state, "replayed": False})


class Checkpoint(View):
    """A signed statement of a log's size and root; verify `signed_note`, the rest is a comfort."""

    _shown = ("origin", "tree_size", "root_hash")
    origin = required(str)
    tree_size = required(int)
    root_hash = required(str)
    signed_note = required(str)
    published_at = timestamp()


class InclusionProof(View):
    """Hashes (hex, leaf to root) that lead from an event's leaf to a checkpoint (RFC 6962)."""

    _shown = ("log_id", "index", "tree_size")
    log_id = required(str)
    event_id = required(str)
    index = required(int)
    leaf_hash = required(str)
    entry = required(str)
    tree_size = required(int)
    hashes = list_of(exactly(str))
    signed_note = required(str)


class ConsistencyProof(View):
    """Hashes (hex) that show that the log of size `second` continues that of size `first`."""

    _shown = ("log_id", "first", "second")
    log_id = required(str)
    first = required(int)
    second = required(int)
    hashes = list_of(exactly(str))
    signed_note = required(str)


class VerificationKey(View):
    """A public key; `verifier_key` is there for keys that sign checkpoints (C2SP signed notes)."""

    _shown = ("key_id", "kind")
    key_id = required(str)
    kind = required(str)
    public_key = required(str)
    verifier_key = optional(str)


class Caller(View):
    """Whose key this is and what it may do."""

    _shown = ("key_id", "name", "tenant_id")
    key_id = required(str)
    name = required(str)
    tenant_id = optional(str)
    default_log_id = optional(str)
    scopes = list_of(exactly(str))
    expires_at = timestamp()


class Usage(View):
    """What was logged this month; `events_limit` and `retention_days` are None for no limit."""

    _shown = ("plan", "period", "events_this_month", "events_limit")
    plan = required(str)
    period = required(str)
    events_this_month = required(int)
    events_limit = optional(int)
    bytes = required(int)
    retention_days = optional(int)


class Schema(View):
    """One version of a registered event schema; `document` is its JSON Schema."""

    _shown = ("schema_id", "version", "state")
    key = required(str, "schema_key")
    id = required(str, "schema_id")
    version = required(str)
    document = anything()
    state = required(str)
    tenant_id = optional(str)
    created_at = timestamp()


class Page(View):
    """One page of events; `next_cursor` is None on the last one.

    An ascending list ends with a `tail_cursor`: `query(wait=…).resume_from(tail_cursor)` waits
    for later events.
    """

    _shown = ("next_cursor", "has_more")
    _items = list_of(object_of(Event), "items")
    verified: tuple[Event, ...] | None = None  # with `verify=True`: the items, with verdicts
    next_cursor = optional(str)
    has_more = required(bool)
    tail_cursor = optional(str)
    total = optional(int)
    total_exact = optional(bool)

    @property
    def items(self) -> tuple[Event, ...]:
        """The events."""
        return self._items if self.verified is None else self.verified


class Progress(View):
    """How far an operation is: events dealt with, and in all (None while unknown)."""

    _shown = ("done", "total")
    done = required(int)
    total = optional(int)


class Export(View):
    """A file of events that the server makes; `events`, `bytes`, `sha256` once it is whole."""

    _shown = ("export_id", "state", "format", "events", "bytes")
    id = required(str, "export_id")
    log_id = required(str)
    state = required(str)
    format = required(str)
    compression = required(str)
    progress = maybe(object_of(Progress))
    events = optional(int)
    bytes = optional(int)
    sha256 = optional(str)
    expires_at = timestamp()


class Erasure(View):
    """The erasure of a subject; `events` and `exports` count what was redacted and deleted."""

    _shown = ("erasure_id", "state", "events")
    id = required(str, "erasure_id")
    log_id = required(str)
    subject = optional(str)
    reason = required(str)
    state = required(str)
    events = optional(int)
    exports = optional(int)
    created_at = timestamp()
    completed_at = timestamp()


class LegalHold(View):
    """A duty to keep events: of one subject, or (None) of the whole log."""

    _shown = ("hold_id", "log_id", "released_at")
    id = required(str, "hold_id")
    log_id = required(str)
    subject = optional(str)
    reason = required(str)
    created_by = required(str)
    created_at = timestamp()
    released_at = timestamp()


class RedactionPolicy(View):
    """What a log's server takes out of arriving events; `rules` as the contract has them."""

    _shown = ("rules",)
    rules = Member[list[dict[str, Any]]](lambda value: list(value or ()))
    updated_at = timestamp()


class Operation(View):
    """A job that goes on at the server: `pending running succeeded failed cancelled expired`."""

    _shown = ("operation_id", "kind", "state")
    id = required(str, "operation_id")
    kind = required(str)
    state = required(str)
    progress = maybe(object_of(Progress))
    expires_at = timestamp()
    export = maybe(object_of(Export))
    erasure = maybe(object_of(Erasure))

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state not in {"pending", "running"}
