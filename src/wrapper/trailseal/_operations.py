"""One small flow for each operation: build with the generated layer, send, read the answer.

1. `request_kwargs()` of the generated endpoint makes the request; its path is escaped there.
2. A creating call is replayable because its event ids, or its idempotency key, are made before
   the first try.
3. Any status but the documented successes is an error. Answers become views over the raw JSON.
4. A disabled client sends nothing: writes answer receipts of state `disabled`, all else raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from trailseal_api.api.account import get_caller, get_usage
from trailseal_api.api.events import (
    create_event,
    create_events,
    create_events_async,
    get_event,
    ingest_payload,
    list_events,
)
from trailseal_api.api.keys import create_verification_key, list_verification_keys
from trailseal_api.api.logs import (
    get_checkpoint,
    get_consistency_proof,
    get_inclusion_proof,
    get_latest_checkpoint,
    seal_log,
)
from trailseal_api.api.searches import create_search, list_search_results
from trailseal_api.models.action_type import ActionType
from trailseal_api.models.actor_type import ActorType
from trailseal_api.models.event_include import EventInclude
from trailseal_api.models.ingest_source import IngestSource
from trailseal_api.models.order import Order
from trailseal_api.models.outcome import Outcome
from trailseal_api.models.page_include import PageInclude
from trailseal_api.models.time_field import TimeField
from trailseal_api.types import UNSET

from trailseal._events import Prepared, check_names, encode
from trailseal._flow import Content, Flow, Request, Response
from trailseal._ids import now, timestamp, uuid7
from trailseal._json import loads
from trailseal._models import (
    BatchResult,
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
from trailseal._retry import Policy, attempts
from trailseal.config import Settings
from trailseal.errors import (
    ConfigurationError,
    InvalidPageError,
    InvalidQueryError,
    UnexpectedResponseError,
)

MAX_LIMIT = 1000  # items of a page, by the contract
MAX_KEY_PAGES = 100  # 100,000 keys of one log: more is a loop

Raw = dict[str, Any]
_log = logging.getLogger("trailseal")


class Filters(TypedDict, total=False):
    """Which events: all given filters must match.

    `…_contains` is partial in any case, `action_prefix` a beginning, all else exact. `q` is words
    that must all occur; `tag` is `key:value`, or several. `start` and `end` are inclusive: a
    datetime with a zone, RFC 3339, or relative (`-7d`, `now-1h`); `last` is a length of time
    (`24h`). They mean `received_at` unless `time_field` is `occurred_at`.
    """

    actor_id: str
    actor_name_contains: str
    actor_type: str
    action: str
    action_contains: str
    action_prefix: str
    action_type: str
    outcome: str
    resource_type: str
    resource_id: str
    source: str
    source_ip: str
    tag: str | Iterable[str]
    schema_id: str
    q: str
    start: str | datetime
    end: str | datetime
    last: str
    time_field: str


_ENUMS: Mapping[str, Callable[[str], Any]] = {
    "actor_type": ActorType,
    "action_type": ActionType,
    "outcome": Outcome,
    "time_field": TimeField,
}


class _Body(Raw):
    """A body that travels as it is: a model would drop or reorder what it does not know."""

    def to_dict(self) -> Raw:
        return self


def body(raw: Mapping[str, Any]) -> Any:
    """Wrap a request body for `request_kwargs`; None members are left out."""
    return _Body({name: value for name, value in raw.items() if value is not None})


def request(settings: Settings, kwargs: Raw, content: bytes | Content | None = None) -> Request:
    """Make a request of what a generated `request_kwargs` built."""
    if settings.disabled:
        raise ConfigurationError(
            "This client is disabled (TRAILSEAL_DISABLED): it only takes events."
        )
    if content is None and "json" in kwargs:
        content = encode(kwargs["json"])
    headers = {**settings.headers, **kwargs.get("headers", {}), "Request-Id": uuid7()}
    return Request(kwargs["method"], kwargs["url"], kwargs.get("params", {}), headers, content)


def call(
    settings: Settings,
    kwargs: Raw,
    *,
    content: bytes | Content | None = None,
    replayable: bool | None = None,
    accept: tuple[int, ...] = (200,),
    after: float = 0.0,
) -> Flow[Response]:
    """Send what a generated `request_kwargs` built; return an answer of an accepted status."""
    made = request(settings, kwargs, content)
    policy = Policy(settings.max_retries, budget=settings.budget, hooks=settings.hooks)
    response = yield from attempts(made, policy, replayable=replayable, after=after)
    if response.status not in accept:
        raise UnexpectedResponseError(
            f"Status {response.status} is none of this call.", status=response.status
        )
    return response


def decoded(response: Response) -> Raw:
    """Read a JSON object; anything else raises `UnexpectedResponseError`."""
    try:
        raw = loads(response.content)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        raise UnexpectedResponseError(
            f"The answer of {len(response.content)} bytes is no JSON object.",
            status=response.status,
            request_id=response.headers.get("request-id"),
        )
    return raw


# --------------------------------------------------------------------- writing


def log(
    settings: Settings, event: Prepared, *, log_id: str | None, include_proof: bool
) -> Flow[Receipt]:
    """Store one event; replayable, because its id is made."""
    if settings.disabled:
        _log.debug("disabled: one event was not sent")
        return Receipt.disabled(event.id)
    kwargs = create_event.request_kwargs(
        body=body({}), log_id=_or_unset(log_id), include=_proof(include_proof), sent_at=now()
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
        _log.debug("disabled: %d events were not sent", len(events))
        receipts = enumerate(map(Receipt.disabled, ids))
        return [
            {"position": i, "id": r.event_id, "status": "disabled", "receipt": r.raw}
            for i, r in receipts
        ]
    content = batch_body(events, atomic=atomic, channel=channel, external_id=external_id)
    kwargs = create_events.request_kwargs(
        body=body({}), log_id=_or_unset(log_id), imported=imported or UNSET, sent_at=now()
    )
    raw = decoded((yield from call(settings, kwargs, content=content, replayable=True)))
    items = results_of(raw)
    if [item.get("position") for item in items] != list(range(len(events))):
        raise UnexpectedResponseError(
            "The answer does not hold one result for each event, in order."
        )
    return items


def batch_body(events: Iterable[bytes], **rest: Any) -> bytes:
    """Write the body of a batch around events that are encoded already."""
    others = encode(body({name: value or None for name, value in rest.items()}))
    end = b"," + others[1:] if len(others) > 2 else b"}"
    return b'{"events":[' + b",".join(events) + b"]" + end


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
    kwargs = create_events_async.request_kwargs(
        body=body({}),
        log_id=_or_unset(log_id),
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
    kwargs = ingest_payload.request_kwargs(
        IngestSource(source),
        body=None if isinstance(payload, bytes) else payload,
        sent_at=now(),
        idempotency_key=uuid7(),
        imported=imported or UNSET,
        **{name: _or_unset(value) for name, value in rest.items()},
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
    response = yield from call(settings, seal_log.request_kwargs(log_id), replayable=True)
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
    kwargs = get_event.request_kwargs(
        event_id, log_id=_or_unset(log_id), include=_proof(include_proof)
    )
    return Event(decoded((yield from call(settings, kwargs, after=after))))


def page(
    settings: Settings, cursor: str | None, filters: Mapping[str, Any], **options: Any
) -> Flow[Page]:
    """Fetch one page of events."""
    values = {
        name: _ENUMS[name](v) if name in _ENUMS else v for name, v in filter_values(filters).items()
    }
    order, include = options.pop("order"), options.pop("include")
    kwargs = list_events.request_kwargs(
        **values,
        **{name: _or_unset(value) for name, value in options.items()},
        order=Order(order) if order else UNSET,
        include=[PageInclude(name) for name in include] or UNSET,
        cursor=_or_unset(cursor),
    )
    return Page(decoded((yield from call(settings, kwargs))))


def search(settings: Settings, given: Mapping[str, Any], *, log_id: str | None) -> Flow[Raw]:
    """Store a search; the raw answer holds its first page."""
    kwargs = create_search.request_kwargs(
        body=body(given), log_id=_or_unset(log_id), idempotency_key=uuid7()
    )
    return decoded((yield from call(settings, kwargs, replayable=True, accept=(201, 200))))


def results(settings: Settings, search_id: str, given: Mapping[str, Any]) -> Flow[Page]:
    """Fetch one page of a stored search: a read, whatever its method."""
    kwargs = list_search_results.request_kwargs(search_id, body=body(given))
    return Page(decoded((yield from call(settings, kwargs, replayable=True))))


def whoami(settings: Settings) -> Flow[Caller]:
    """Ask whose key this is."""
    return Caller(decoded((yield from call(settings, get_caller.request_kwargs()))))


def usage(settings: Settings) -> Flow[Usage]:
    """Ask what was used this month."""
    return Usage(decoded((yield from call(settings, get_usage.request_kwargs()))))


def root(settings: Settings, tree_size: int | None, *, log_id: str | None) -> Flow[Checkpoint]:
    """Fetch the latest checkpoint, or that of a size."""
    if tree_size is None:
        kwargs = get_latest_checkpoint.request_kwargs(log_id=_or_unset(log_id))
    else:
        kwargs = get_checkpoint.request_kwargs(tree_size, log_id=_or_unset(log_id))
    return Checkpoint(decoded((yield from call(settings, kwargs))))


def inclusion_proof(settings: Settings, **given: Any) -> Flow[InclusionProof]:
    """Fetch the proof that an event is in the log."""
    if (given["event_id"] is None) == (given["index"] is None):
        raise ConfigurationError("Give either event_id or index.")
    kwargs = get_inclusion_proof.request_kwargs(**{name: _or_unset(v) for name, v in given.items()})
    return InclusionProof(decoded((yield from call(settings, kwargs))))


def consistency_proof(
    settings: Settings, first: int, second: int, *, log_id: str | None
) -> Flow[ConsistencyProof]:
    """Fetch the proof that the log of one size continues that of another."""
    kwargs = get_consistency_proof.request_kwargs(
        first=first, second=second, log_id=_or_unset(log_id)
    )
    return ConsistencyProof(decoded((yield from call(settings, kwargs))))


def verification_keys(settings: Settings, *, log_id: str | None) -> Flow[list[VerificationKey]]:
    """Fetch all keys that the server publishes for a log."""
    keys: list[VerificationKey] = []
    cursor: str | None = None
    for _ in range(MAX_KEY_PAGES):
        kwargs = list_verification_keys.request_kwargs(
            log_id=_or_unset(log_id), limit=1000, cursor=_or_unset(cursor)
        )
        raw = decoded((yield from call(settings, kwargs)))
        keys += map(VerificationKey, raw.get("items") or [])
        cursor = raw.get("next_cursor")
        if cursor is None:
            return keys
    raise UnexpectedResponseError("The list of keys does not end.")


def register_key(
    settings: Settings, given: Mapping[str, Any], *, log_id: str | None
) -> Flow[VerificationKey]:
    """Register a client's public key with a log; the same one again is fine."""
    kwargs = create_verification_key.request_kwargs(
        body=body({"algorithm": "ed25519", **given}), log_id=_or_unset(log_id)
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(200, 201))
    return VerificationKey(decoded(response))


# ---------------------------------------------------------------------- values


def filter_values(filters: Mapping[str, Any]) -> Raw:
    """Check the names of filters and write their values as the contract does; None is left out."""
    check_names(filters, Filters.__annotations__, "filter")
    given = {name: value for name, value in filters.items() if value is not None}
    for name in ("start", "end"):
        if name in given:
            given[name] = moment(given[name], name)
    if "tag" in given:
        given["tag"] = [given["tag"]] if isinstance(given["tag"], str) else list(given["tag"])
    return given


def check_page(limit: int, offset: int | None) -> None:
    """Raise `InvalidPageError` for a page that cannot be."""
    if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidPageError(f"limit must be 1 to {MAX_LIMIT}.", code="limit_invalid")
    if offset is not None and (not isinstance(offset, int) or offset < 0):
        raise InvalidPageError("offset must be a number from 0.", code="offset_invalid")


def moment(value: str | datetime | None, name: str) -> str | None:
    """Write a bound of time; a naive datetime raises `InvalidQueryError`."""
    if not isinstance(value, datetime):
        return value
    try:
        return timestamp(value)
    except ValueError as error:
        raise InvalidQueryError(f"{name} {error}.") from None


def _or_unset(value: object) -> Any:
    return UNSET if value is None else value


def _proof(include: bool) -> Any:
    return [EventInclude.PROOF] if include else UNSET
