"""Every exception of TrailSeal, and how an answer of the server becomes one.

1. One class for each thing that a caller can do something about; `code` tells the rest apart.
2. `str(error)` ends with what to do next and with the request id to quote.
3. An error never holds a payload, a body or a secret: `response` keeps status and headers only.
4. `from_response` takes any bytes: a proxy's HTML, an empty body, a wrong type. It never fails.
5. Errors can be pickled: the only argument is the message, the rest lies in attributes.

    TrailSealError
    ├── ConfigurationError
    ├── EventValidationError
    │   ├── EmptyBatchError, BatchTooLargeError, DuplicateEventInBatchError
    │   └── ChecksumMismatchError, SignatureInvalidError
    ├── EventConflictError
    ├── PartialFailureError
    ├── AuthenticationError
    ├── PermissionDeniedError
    │   └── UploadExpiredError, RestrictionMismatchError
    ├── NotFoundError
    │   └── ChannelNotFoundError, CheckpointNotFoundError, SchemaNotRegisteredError
    ├── RequestError
    │   ├── InvalidChannelError, UnsupportedSchemaError, SchemaInvalidError, SchemaConflictError
    │   └── InvalidQueryError
    │       └── InvalidPageError
    ├── ResultExpiredError
    ├── AcceptedRequestError
    ├── OperationTimeoutError, OperationFailedError
    ├── DownloadError
    ├── RateLimitError, QuotaExceededError
    ├── ServerError
    │   └── UnavailableError, StorageFullError, UnsupportedOperationError
    ├── TransportError
    │   └── ConnectError, ReadError, TimeoutError
    ├── UnexpectedResponseError
    ├── DeliveryError
    │   └── SpoolFullError, ClosedError
    └── IntegrityError (see trailseal.verify.errors)
        └── MalformedError, UnverifiableError, EventCorruptionError, ProofError, CheckpointForkError
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trailseal.verify.errors import CheckpointForkError as CheckpointForkError  # noqa: PLC0414  # re-exported
from trailseal.verify.errors import EventCorruptionError as EventCorruptionError  # noqa: PLC0414  # re-exported
from trailseal.verify.errors import IntegrityError as IntegrityError  # noqa: PLC0414  # re-exported
from trailseal.verify.errors import MalformedError as MalformedError  # noqa: PLC0414  # re-exported
from trailseal.verify.errors import ProofError as ProofError  # noqa: PLC0414  # re-exported
from trailseal.verify.errors import TrailSealError as TrailSealError  # noqa: PLC0414  # re-exported
from trailseal.verify.errors import UnverifiableError as UnverifiableError  # noqa: PLC0414  # re-exported

if TYPE_CHECKING:
    from trailseal._flow import Response
    from trailseal._models import BatchResult

MAX_DETAIL = 500  # characters of the server's text in a message: a line or a few, not a page
MAX_DETAILS = 1000  # one for each event of the largest batch
KEPT_HEADERS = ("content-type", "date", "request-id", "retry-after", "server", "via")


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """One fault: a stable code, where (a JSON Pointer, RFC 6901) and what is wrong."""

    code: str
    pointer: str
    detail: str
    event_id: str | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ErrorDetail:
        """Read one entry of a problem document's `errors`; wrong types become empty text."""
        event_id = _text(raw.get("event_id")) or None
        return cls(
            _text(raw.get("code")), _text(raw.get("pointer")), _text(raw.get("detail")), event_id
        )


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    """What an error keeps of an answer: never its body."""

    status: int
    headers: Mapping[str, str]


_BY_CODE: dict[str, type[ApiError]] = {}
_BY_STATUS: dict[int, type[ApiError]] = {}


class ApiError(TrailSealError):
    """The base of all errors that are no `IntegrityError`; it is never raised itself.

    Attributes: `status` (HTTP, or None), `code`, `request_id`, `errors`, `retryable`,
    `retry_after` (seconds, or None), `response` (status and headers), `continuation_token`
    (set by pagers: where to go on), `result` (set by log_bulk: what was logged so far).
    """

    advice: ClassVar[str] = ""

    errors: tuple[ErrorDetail, ...] = ()  # pyright: ignore  # narrower than for verify, which has none
    response: ResponseInfo | None = None  # pyright: ignore  # as above
    retry_after: float | None = None
    continuation_token: str | None = None
    result: BatchResult | None = None

    def __init_subclass__(cls, codes: tuple[str, ...] = (), statuses: tuple[int, ...] = ()) -> None:
        """The first code is the default; statuses are for answers without a code that we know."""
        cls.code = codes[0] if codes else cls.code
        _BY_CODE.update(dict.fromkeys(codes, cls))
        _BY_STATUS.update(dict.fromkeys(statuses, cls))

    def __init__(self, message: str = "", **known: Any) -> None:
        super().__init__(message)
        for name, value in known.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    def __str__(self) -> str:
        parts = [super().__str__() or type(self).__name__]
        if self.errors:
            first, others = self.errors[0], len(self.errors) - 1
            fault = first.detail or first.code
            if fault not in parts[0]:  # a server's message often repeats the only fault
                parts.append(f"{first.pointer}: {fault}" if first.pointer else fault)
            if others:
                parts.append(f"({others} more in .errors)")
        parts = [_sentence(part) for part in parts]
        if self.retry_after is not None:
            parts.append(f"The server asks to wait {self.retry_after:g} s.")
        if self.advice:
            parts.append(self.advice)
        tags = [self.code, f"HTTP {self.status}" if self.status else "", self.request_id or ""]
        return " ".join(parts) + f" [{', '.join(tag for tag in tags if tag)}]"


class ConfigurationError(ApiError, codes=("configuration_invalid",)):
    """The client's settings, or the way it was called, cannot work; found before any I/O."""


class EventValidationError(
    ApiError,
    codes=("event_invalid", "field_required", "field_too_long", "field_type", "field_reserved"),
    statuses=(422,),
):
    """An event is not valid; `errors` name each fault with its JSON Pointer."""

    advice = "Nothing was logged: mend the named fields and log again."


class EmptyBatchError(EventValidationError, codes=("batch_empty",)):
    """A batch holds no event."""

    advice = "Pass at least one event."


class BatchTooLargeError(
    EventValidationError, codes=("batch_too_large", "event_too_large"), statuses=(413,)
):
    """Too many events or bytes for one request, where they may not be cut into several."""

    advice = "Send fewer or smaller events; log_bulk without atomic=True cuts batches itself."


class DuplicateEventInBatchError(EventValidationError, codes=("duplicate_event_id",)):
    """Two events of one batch have the same id."""


class ChecksumMismatchError(EventValidationError, codes=("checksum_mismatch",)):
    """An event's checksum is not that of its content."""


class SignatureInvalidError(EventValidationError, codes=("signature_invalid",)):
    """An event's signature does not hold."""


class EventConflictError(
    ApiError, codes=("event_id_conflict", "idempotency_conflict", "legal_hold"), statuses=(409,)
):
    """The event's id, or the idempotency key, was used before with other content."""

    advice = "An event never changes: log a new one with its own id (and `amends`, to correct)."


class PartialFailureError(
    ApiError,
    codes=(
        "partial_failure",
        "recipient_mismatch",
        "source_not_allowed",
        "tenant_not_subscribed",
        "throttled",
        "internal_failure",
    ),
):
    """Some events of a batch were not logged; `result` tells which, and why."""

    advice = "See .result.failed; events with their id can be sent again safely."


class AuthenticationError(
    ApiError, codes=("unauthenticated", "key_expired", "key_revoked"), statuses=(401,)
):
    """No valid API key was sent."""

    advice = "Check TRAILSEAL_API_KEY, or ask for a new key."


class PermissionDeniedError(
    ApiError,
    codes=(
        "permission_denied",
        "tenant_mismatch",
        "channel_permission",
        "external_id_required",
        "external_id_mismatch",
    ),
    statuses=(403,),
):
    """The API key is valid, and may not do this."""

    advice = "Use a key with the needed scope and tenant; client.whoami() shows what this one has."


class UploadExpiredError(PermissionDeniedError, codes=("upload_expired",)):
    """A signed upload's time is over."""

    advice = "Begin a new upload."


class RestrictionMismatchError(PermissionDeniedError, codes=("restriction_mismatch",)):
    """The stored search was not made with the restrictions that were asserted."""

    advice = "Do not show these results: they belong to another scope."


class NotFoundError(
    ApiError,
    codes=(
        "event_not_found",
        "search_not_found",
        "export_not_found",
        "operation_not_found",
        "route_not_found",
        "upload_not_found",
        "log_not_found",
        "tenant_not_found",
        "key_not_found",
        "erasure_not_found",
        "hold_not_found",
    ),
    statuses=(404,),
):
    """There is no such object, or it belongs to another tenant."""


class ChannelNotFoundError(NotFoundError, codes=("channel_not_found",)):
    """There is no such channel."""


class CheckpointNotFoundError(NotFoundError, codes=("checkpoint_not_found",)):
    """No checkpoint was published with this tree size."""


class SchemaNotRegisteredError(NotFoundError, codes=("schema_not_registered",)):
    """The event names a schema, or a version of it, that is not registered."""

    advice = "Register this version of the schema first."


class RequestError(
    ApiError,
    codes=(
        "request_invalid",
        "json_invalid",
        "log_required",
        "method_not_allowed",
        "not_acceptable",
        "body_too_large",
        "media_type_unsupported",
        "range_invalid",
    ),
    statuses=(400, 405, 406, 415, 416),
):
    """The request is not one that the contract allows."""


class InvalidChannelError(RequestError, codes=("channel_invalid",)):
    """A channel's name is malformed, or the channel does not take this."""


class UnsupportedSchemaError(RequestError, codes=("schema_unsupported",)):
    """The channel does not take events of this schema."""


class SchemaInvalidError(RequestError, codes=("schema_invalid",)):
    """A schema is no valid JSON Schema, or uses what TrailSeal does not support."""


class SchemaConflictError(RequestError, codes=("schema_version_exists", "schema_incompatible")):
    """This version of the schema exists with other content, or breaks its predecessor."""


class InvalidQueryError(RequestError, codes=("query_invalid",)):
    """A filter or a search query cannot be understood; `errors` name the position."""


class InvalidPageError(
    InvalidQueryError, codes=("cursor_invalid", "offset_invalid", "limit_invalid")
):
    """An offset, limit or cursor cannot be used; also a pager that would never end."""


class ResultExpiredError(
    ApiError, codes=("search_expired", "export_expired", "cursor_lost"), statuses=(410,)
):
    """A stored search, an export or a cursor is gone."""

    advice = "Make it again: events themselves do not expire with it."


class AcceptedRequestError(ApiError, codes=("operation_pending",)):
    """The operation goes on: look again later with `poll_result(error)`, or `wait(error)`."""

    operation_id: str = ""
    advice = "Call poll_result() again later, or wait()."


class OperationTimeoutError(ApiError, codes=("operation_timeout",)):
    """`wait` gave up; the operation itself goes on."""

    operation_id: str = ""
    advice = "Call wait() again with the same id: nothing was cancelled."


class OperationFailedError(ApiError, codes=("operation_failed",)):
    """The operation ended without a result: failed, or cancelled."""

    operation_id: str = ""


class DownloadError(ApiError, codes=("download_failed", "download_checksum")):
    """A download did not arrive whole; the final path was not touched."""

    advice = "Nothing is left behind: download_results() can be called again."


class RateLimitError(ApiError, codes=("rate_limited",), statuses=(429,)):
    """Too many requests; `retry_after` says how long to wait."""

    retryable = True


class QuotaExceededError(ApiError, codes=("quota_exceeded",), statuses=(402,)):
    """The plan's quota is used up."""


class ServerError(ApiError, codes=("internal_error",), statuses=(500,)):
    """The server failed; for a writing call without an id, the outcome is unknown."""

    retryable = True


class UnavailableError(
    ServerError, codes=("unavailable", "bad_gateway", "gateway_timeout"), statuses=(502, 503, 504)
):
    """The server, or what stands before it, cannot answer now."""


class StorageFullError(ServerError, codes=("storage_full",), statuses=(507,)):
    """The server has no room left; nothing was written."""


class UnsupportedOperationError(ServerError, codes=("operation_unsupported",), statuses=(501,)):
    """This server does not do this operation."""

    retryable = False


class TransportError(ApiError, codes=("transport_failed",)):
    """No complete answer arrived. `sent` tells whether the server may have got the request."""

    retryable = True
    sent: bool = True
    expired: bool = False  # the deadline of the whole call has passed


class ConnectError(TransportError, codes=("connection_failed",)):
    """No connection could be made: nothing was sent."""

    sent = False
    advice = "Check the base URL and that the server runs."


class ReadError(TransportError, codes=("outcome_unknown",)):
    """The connection broke while the answer was awaited: the outcome is unknown."""

    advice = "Send it again with the same event id, or look it up, before assuming either outcome."


class TimeoutError(TransportError, codes=("timeout",)):  # noqa: A001  # its name in the contract; it is reached as errors.TimeoutError
    """No answer within the deadline of the call."""

    advice = "Raise `timeout`; a sent event may have been logged, so keep its id when trying again."


class UnexpectedResponseError(ApiError, codes=("response_invalid",)):
    """The answer is none that the contract knows: not JSON, a wrong type, a status of a proxy."""

    advice = "Check that the base URL is a TrailSeal server and what proxies stand before it."


class DeliveryError(ApiError, codes=("delivery_failed",)):
    """Background delivery cannot take an event."""


class SpoolFullError(DeliveryError, codes=("spool_full",)):
    """The spool or queue is full."""


class ClosedError(DeliveryError, codes=("client_closed",)):
    """The client is closed."""

    advice = "Make a new one."


Phase = Literal["connect", "read", "timeout", "deadline"]


def from_transport(phase: Phase, reason: str, request_id: str | None = None) -> TransportError:
    """Say what went wrong below HTTP; `reason` is a short text without payload or secret."""
    if phase == "connect":
        return ConnectError(f"No connection to the server ({reason}).", request_id=request_id)
    if phase == "read":
        return ReadError(f"The connection broke ({reason}).", request_id=request_id)
    return TimeoutError(
        f"No answer in time ({reason}).", request_id=request_id, expired=phase == "deadline"
    )


def from_response(response: Response, *, now: datetime | None = None) -> ApiError:
    """Turn any answer that is no success into the one exception for it.

    A problem document (RFC 9457) decides by its `code`, anything else by its status. `now` is
    what an HTTP date in Retry-After is counted from.
    """
    problem = _problem(response)
    error = from_problem(problem, status=response.status) if problem else _bare(response)
    error.request_id = error.request_id or response.headers.get("request-id") or None
    wait = parse_retry_after(response.headers.get("retry-after"), now or datetime.now(UTC))
    error.retry_after = wait if wait is not None else error.retry_after
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    error.response = ResponseInfo(response.status, kept)
    return error


def from_problem(problem: Mapping[str, Any], *, status: int | None = None) -> ApiError:
    """Read a problem document: a whole answer's, a batch item's or an operation's."""
    code = _text(problem.get("code"))
    kind = _BY_CODE.get(code) or _for_status(status)
    known: dict[str, Any] = {"status": status, "errors": _details(problem.get("errors"))}
    if code:
        known["code"] = code
    if isinstance(problem.get("retryable"), bool):
        known["retryable"] = problem["retryable"]
    if request_id := _text(problem.get("request_id")):
        known["request_id"] = request_id
    wait_ms = problem.get("retry_after_ms")
    if isinstance(wait_ms, int) and not isinstance(wait_ms, bool) and wait_ms >= 0:
        known["retry_after"] = wait_ms / 1000
    texts = (problem.get("detail"), problem.get("message"), problem.get("title"))
    return kind(next(filter(None, map(_text, texts)), ""), **known)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3); None for garbage."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:12])  # 12 digits are 30,000 years: no OverflowError, no cost
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _problem(response: Response) -> Mapping[str, Any] | None:
    """Take a JSON object as a problem whatever its media type says: proxies rewrite that."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and ("code" in body or "status" in body) else None


def _bare(response: Response) -> ApiError:
    """Judge an answer without a problem document, which the server itself never sends."""
    kind = _for_status(response.status)
    media = response.headers.get("content-type", "no content type").split(";")[0]
    size = len(response.content)
    text = f"HTTP {response.status} without a problem document ({media[:80]}, {size} bytes)."
    return kind(text, status=response.status)


def _for_status(status: int | None) -> type[ApiError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is None or 500 <= status <= 599:
        return ServerError
    return RequestError if 400 <= status <= 499 else UnexpectedResponseError


def _details(raw: object) -> tuple[ErrorDetail, ...]:
    items = raw[:MAX_DETAILS] if isinstance(raw, list) else []
    return tuple(ErrorDetail.from_dict(item) for item in items if isinstance(item, dict))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!", ")")) else f"{text}."


def _text(value: object) -> str:
    return value[:MAX_DETAIL] if isinstance(value, str) else ""
