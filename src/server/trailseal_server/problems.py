"""Errors as RFC 9457 problem documents.

Rules:
- Whoever finds an error raises `Problem(code, detail)`; one table gives the status, the title and
  whether the same request may succeed later. A code that is not in the table is a bug (`KeyError`).
- `detail` says what to do next. Neither it nor a `FieldError` ever holds a value that was sent.
- A field error names its place with a JSON Pointer (RFC 6901) that begins with `/query`, `/path`,
  `/header` for parameters, and with the member's name for the body: `/events/3/actor/id`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:trailseal:problem:"
MAX_FIELD_ERRORS = 100  # an answer's size must not grow with the number of mistakes in a request


class Kind(NamedTuple):
    """What a code means: its HTTP status, a title for people, and whether to try again."""

    status: int
    title: str
    retryable: bool = False


CODES: dict[str, Kind] = {
    # the request itself
    "json_invalid": Kind(400, "The body is not valid JSON"),
    "request_invalid": Kind(400, "The request does not follow the contract"),
    "log_required": Kind(400, "The request names no log"),
    "channel_invalid": Kind(400, "The channel is not valid"),
    "query_invalid": Kind(400, "The query is not valid"),
    "offset_invalid": Kind(400, "The offset is not valid"),
    "limit_invalid": Kind(400, "The limit is not valid"),
    "cursor_invalid": Kind(400, "The cursor is not valid"),
    # who is asking
    "unauthenticated": Kind(401, "An API key is required"),
    "key_expired": Kind(401, "The API key has expired"),
    "key_revoked": Kind(401, "The API key was revoked"),
    "quota_exceeded": Kind(402, "The quota is used up"),
    "permission_denied": Kind(403, "The API key may not do this"),
    "tenant_mismatch": Kind(403, "The API key is bound to another tenant"),
    "channel_permission": Kind(403, "The API key may not use this channel"),
    "external_id_required": Kind(403, "The channel requires an external id"),
    "external_id_mismatch": Kind(403, "The external id is not the channel's"),
    "upload_expired": Kind(403, "The upload has expired"),
    "restriction_mismatch": Kind(403, "The search has other restrictions"),
    # what is not there, or no longer
    "route_not_found": Kind(404, "There is no such route"),
    "event_not_found": Kind(404, "There is no such event"),
    "search_not_found": Kind(404, "There is no such search"),
    "export_not_found": Kind(404, "There is no such export"),
    "operation_not_found": Kind(404, "There is no such operation"),
    "channel_not_found": Kind(404, "There is no such channel"),
    "checkpoint_not_found": Kind(404, "There is no such checkpoint"),
    "schema_not_registered": Kind(404, "The schema is not registered"),
    "upload_not_found": Kind(404, "There is no such upload"),
    "log_not_found": Kind(404, "There is no such log"),
    "tenant_not_found": Kind(404, "There is no such tenant"),
    "key_not_found": Kind(404, "There is no such key"),
    "erasure_not_found": Kind(404, "There is no such erasure"),
    "hold_not_found": Kind(404, "There is no such legal hold"),
    "method_not_allowed": Kind(405, "The route does not have this method"),
    "not_acceptable": Kind(406, "No acceptable media type"),
    "search_expired": Kind(410, "The search has expired"),
    "export_expired": Kind(410, "The export has expired"),
    "cursor_lost": Kind(410, "The cursor's place is gone"),
    # conflicts
    "event_id_conflict": Kind(409, "The event id is taken by another event"),
    "idempotency_conflict": Kind(409, "The idempotency key was used for another request"),
    "schema_version_exists": Kind(409, "The schema version exists"),
    "schema_incompatible": Kind(409, "The schema is not compatible with its last version"),
    "legal_hold": Kind(409, "A legal hold stops this"),
    "operation_pending": Kind(409, "The operation has not ended", retryable=True),
    # sizes and types
    "body_too_large": Kind(413, "The body is too large"),
    "event_too_large": Kind(413, "The event is too large"),
    "batch_too_large": Kind(413, "The batch is too large"),
    "media_type_unsupported": Kind(415, "The body's media type is not supported"),
    "range_invalid": Kind(416, "The range lies outside the content"),
    # content
    "event_invalid": Kind(422, "The event is not valid"),
    "field_required": Kind(422, "A required field is missing"),
    "field_too_long": Kind(422, "A field is too long"),
    "field_type": Kind(422, "A field has the wrong type"),
    "field_reserved": Kind(422, "A field's name is reserved"),
    "batch_empty": Kind(422, "The batch holds no event"),
    "partial_failure": Kind(422, "Some events of the batch failed"),
    "duplicate_event_id": Kind(422, "An event id occurs twice in the batch"),
    "checksum_mismatch": Kind(422, "The checksum does not match the event"),
    "signature_invalid": Kind(422, "The signature is not valid"),
    "schema_unsupported": Kind(422, "The schema is not supported"),
    "schema_invalid": Kind(422, "The schema is not valid"),
    "recipient_mismatch": Kind(422, "The event is meant for another recipient"),
    "source_not_allowed": Kind(422, "The channel does not take this source"),
    "tenant_not_subscribed": Kind(422, "The tenant is not subscribed"),
    "operation_failed": Kind(422, "The operation failed"),
    # load, and ourselves
    "rate_limited": Kind(429, "Too many requests", retryable=True),
    "throttled": Kind(429, "The event was throttled", retryable=True),
    "internal_error": Kind(500, "The server failed", retryable=True),
    "internal_failure": Kind(500, "The server failed on this event", retryable=True),
    "operation_unsupported": Kind(501, "The server does not do this yet"),
    "bad_gateway": Kind(502, "A server behind this one failed", retryable=True),
    "unavailable": Kind(503, "The server cannot answer now", retryable=True),
    "gateway_timeout": Kind(504, "A server behind this one did not answer", retryable=True),
    "storage_full": Kind(507, "The disk is full", retryable=True),
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake: its code, its place as a JSON Pointer, and what is allowed there."""

    code: str
    pointer: str
    detail: str
    event_id: str | None = None

    def as_json(self) -> dict[str, str]:
        """The error as a member of `errors[]`; `event_id` only where it is known."""
        body = {"code": self.code, "pointer": self.pointer, "detail": self.detail}
        return body if self.event_id is None else {**body, "event_id": self.event_id}


class Problem(Exception):  # noqa: N818  # named for the document that it becomes (RFC 9457)
    """A request, or one event of a batch, that cannot be served.

    `retry_after` is in seconds; `headers` go with the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        self.status, self.title, self.retryable = CODES[code]

    def as_json(
        self, *, instance: str | None = None, request_id: str | None = None
    ) -> dict[str, Any]:
        """The problem document: JSON-ready, members without a value left out."""
        body: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "message": self.detail,
            "request_id": request_id,
            "retryable": self.retryable,
            "retry_after_ms": None if self.retry_after is None else round(self.retry_after * 1000),
            "errors": [error.as_json() for error in self.errors[:MAX_FIELD_ERRORS]] or None,
        }
        return {name: value for name, value in body.items() if value is not None}
