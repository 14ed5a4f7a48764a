"""One small flow for each operation: build with the generated layer, send, read the answer.

1. `request_kwargs()` of the generated endpoint makes the request; its path is escaped there.
2. A creating call is replayable because its event ids, or its idempotency key, are made before
   the first try.
3. Answers become views over the raw JSON.
4. A disabled client sends nothing: writes answer receipts of state `disabled`, all else raises.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from trailseal_api import models
from trailseal_api.types import UNSET

from trailseal import _api
from trailseal._call import Raw, all_items, body, call, decoded, or_unset
from trailseal._events import Prepared, encode
from trailseal._filters import typed
from trailseal._flow import Flow
from trailseal._ids import now, uuid7
from trailseal._models import (
    Caller,
    Checkpoint,
    ConsistencyProof,
    Event,
    InclusionProof,
    Operation,
    Page,
    Receipt,
    Usage,
    VerificationKey,
)
from trailseal._results import BatchResult
from trailseal.config import Settings
from trailseal.errors import ConfigurationError, UnexpectedResponseError

_log = logging.getLogger("trailseal")


# --------------------------------------------------------------------- writing


def log(
    settings: Settings, event: Prepared, *, log_id: str | None, include_proof: bool
) -> Flow[Receipt]:
    """Store one event; replayable, because its id is made."""
    if settings.disabled:
        _log.debug("disabled: one event was not sent")
        return Receipt.local(event.id, "disabled")
    kwargs = _api.create_event.request_kwargs(
        body=body({}), log_id=or_unset(log_id), include=_proof(include_proof), sent_at=now()
    )
    response = yield from call(
        settings, kwargs, content=event.content, replayable=True, accept=(200, 201)
    )
    return Receipt(decoded(response))


def log_batch(
    settings: Settings,
    ids: list[str],
    events: list[bytes],
    *,
    atomic: bool,
    log_id: str | None,
    channel: str | None,
    external_id: str | None,
    imported: bool = False,
) -> Flow[list[Raw]]:
    """Store encoded events with one request; one raw `BatchItem` for each, in their order."""
    if settings.disabled:
        _log.debug("disabled: %d events were not sent", len(ids))
        receipts = enumerate(Receipt.local(event_id, "disabled") for event_id in ids)
        return [
            {"position": i, "id": r.event_id, "status": "disabled", "receipt": r.raw}
            for i, r in receipts
        ]
    content = batch_body(events, atomic=atomic, channel=channel, external_id=external_id)
    kwargs = _api.create_events.request_kwargs(
        body=body({}), log_id=or_unset(log_id), imported=imported or UNSET, sent_at=now()
    )
    raw = decoded((yield from call(settings, kwargs, content=content, replayable=True)))
    items = results_of(raw)
    if [item.get("position") for item in items] != list(range(len(ids))):
        raise UnexpectedResponseError(
            "The answer does not hold one result for each event, in order."
        )
    return items


def batch_body(events: Iterable[bytes], **rest: Any) -> bytes:
    """Write the body of a batch around events that are encoded already."""
    others = encode(body({name: value or None for name, value in rest.items()}))
    pieces = [*events]
    pieces[0] = b'{"events":[' + pieces[0]  # joined with the rest: a body is large, and copied once
    pieces[-1] += b"]," + others[1:] if len(others) > 2 else b"]}"
    return b",".join(pieces)


def log_batch_async(
    settings: Settings,
    events: Iterable[bytes],
    *,
    log_id: str | None,
    imported: bool = False,
    **rest: Any,
) -> Flow[Operation]:
    """Have the server keep encoded events, store them later; replayable by its idempotency key."""
    content = batch_body(events, **rest)
    kwargs = _api.create_events_async.request_kwargs(
        body=body({}),
        log_id=or_unset(log_id),
        imported=imported or UNSET,
        sent_at=now(),
        idempotency_key=uuid7(),
    )
    response = yield from call(
        settings, kwargs, content=content, replayable=True, accept=(202, 200)
    )
    return Operation(decoded(response))


def log_stream(
    settings: Settings, source: str, payload: Any, *, imported: bool = False, **rest: str | None
) -> Flow[BatchResult]:
    """Store the records of a vendor's payload; replayable by its idempotency key."""
    kwargs = _api.ingest_payload.request_kwargs(
        models.IngestSource(source),
        body=None if isinstance(payload, bytes) else payload,
        sent_at=now(),
        idempotency_key=uuid7(),
        imported=imported or UNSET,
        **{name: or_unset(value) for name, value in rest.items()},
    )
    content = payload if isinstance(payload, bytes) else _json(payload)
    raw = decoded((yield from call(settings, kwargs, content=content, replayable=True)))
    return BatchResult(results_of(raw), raw)


def results_of(raw: Raw) -> list[Raw]:
    """The results in an answer, each an object; raises `UnexpectedResponseError`."""
    results = raw.get("results")
    if not isinstance(results, list):
        raise UnexpectedResponseError("The answer holds no results.")
    return [item for item in results if isinstance(item, dict)]


def _json(value: Any) -> bytes:
    try:
        return encode(value)
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError("This cannot be written as JSON.") from None


def seal(settings: Settings, log_id: str) -> Flow[Checkpoint]:
    """Have the log sign a checkpoint now."""
    response = yield from call(settings, _api.seal_log.request_kwargs(log_id), replayable=True)
    return Checkpoint(decoded(response))


# --------------------------------------------------------------------- reading


def get(
    settings: Settings,
    event_id: str,
    *,
    log_id: str | None,
    include_proof: bool,
    after: float = 0.0,
) -> Flow[Event]:
    """Fetch one event."""
    if not event_id:
        raise ConfigurationError("event_id must not be empty.")
    kwargs = _api.get_event.request_kwargs(
        event_id, log_id=or_unset(log_id), include=_proof(include_proof)
    )
    return Event(decoded((yield from call(settings, kwargs, after=after))))


def page(
    settings: Settings, cursor: str | None, values: Mapping[str, Any], **options: Any
) -> Flow[Page]:
    """Fetch one page of the events that match values of `filter_values`."""
    order, include = options.pop("order"), options.pop("include")
    kwargs = _api.list_events.request_kwargs(
        **typed(values),
        **{name: or_unset(value) for name, value in options.items()},
        order=models.Order(order) if order else UNSET,
        include=[models.PageInclude(name) for name in include] or UNSET,
        cursor=or_unset(cursor),
    )
    return Page(decoded((yield from call(settings, kwargs))))


def search(settings: Settings, given: Mapping[str, Any], *, log_id: str | None) -> Flow[Raw]:
    """Store a search; the raw answer holds its first page."""
    kwargs = _api.create_search.request_kwargs(
        body=body(given), log_id=or_unset(log_id), idempotency_key=uuid7()
    )
    return decoded((yield from call(settings, kwargs, replayable=True, accept=(201, 200))))


def results(settings: Settings, search_id: str, given: Mapping[str, Any]) -> Flow[Page]:
    """Fetch one page of a stored search: a read, whatever its method."""
    kwargs = _api.list_search_results.request_kwargs(search_id, body=body(given))
    return Page(decoded((yield from call(settings, kwargs, replayable=True))))


def whoami(settings: Settings) -> Flow[Caller]:
    """Ask whose key this is."""
    return Caller(decoded((yield from call(settings, _api.get_caller.request_kwargs()))))


def usage(settings: Settings) -> Flow[Usage]:
    """Ask what was used this month."""
    return Usage(decoded((yield from call(settings, _api.get_usage.request_kwargs()))))


def root(settings: Settings, tree_size: int | None, *, log_id: str | None) -> Flow[Checkpoint]:
    """Fetch the latest checkpoint, or that of a size."""
    if tree_size is None:
        kwargs = _api.get_latest_checkpoint.request_kwargs(log_id=or_unset(log_id))
    else:
        kwargs = _api.get_checkpoint.request_kwargs(tree_size, log_id=or_unset(log_id))
    return Checkpoint(decoded((yield from call(settings, kwargs))))


def inclusion_proof(settings: Settings, **given: Any) -> Flow[InclusionProof]:
    """Fetch the proof that an event is in the log."""
    if (given["event_id"] is None) == (given["index"] is None):
        raise ConfigurationError("Give either event_id or index.")
    kwargs = _api.get_inclusion_proof.request_kwargs(
        **{name: or_unset(v) for name, v in given.items()}
    )
    return InclusionProof(decoded((yield from call(settings, kwargs))))


def consistency_proof(
    settings: Settings, first: int, second: int, *, log_id: str | None
) -> Flow[ConsistencyProof]:
    """Fetch the proof that the log of one size continues that of another."""
    kwargs = _api.get_consistency_proof.request_kwargs(
        first=first, second=second, log_id=or_unset(log_id)
    )
    return ConsistencyProof(decoded((yield from call(settings, kwargs))))


def verification_keys(settings: Settings, *, log_id: str | None) -> Flow[list[VerificationKey]]:
    """Fetch all keys that the server publishes for a log."""
    raws = yield from all_items(settings, _api.list_verification_keys, log_id=log_id)
    return [VerificationKey(raw) for raw in raws]


def register_key(
    settings: Settings, given: Mapping[str, Any], *, log_id: str | None
) -> Flow[VerificationKey]:
    """Register a client's public key with a log; the same one again is fine."""
    kwargs = _api.create_verification_key.request_kwargs(
        body=body({"algorithm": "ed25519", **given}), log_id=or_unset(log_id)
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(200, 201))
    return VerificationKey(decoded(response))


def _proof(include: bool) -> Any:
    return [models.EventInclude.PROOF] if include else UNSET
