"""The classes; each names its codes (the first is its own) and the bare statuses that mean it."""

from __future__ import annotations

from typing import ClassVar

from trailseal.errors._base import ApiError


class ConfigurationError(ApiError, codes=("configuration_invalid",)):
    """The client's settings, or the way it was called, cannot work; found before any I/O."""

    advice = "Do what the message says: it names the argument or the setting."

    @property
    def next_step(self) -> str:
        """Nothing: the message says it."""
        return ""


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

    advice = "Give each event an id of its own, or none: one is made."


class ChecksumMismatchError(EventValidationError, codes=("checksum_mismatch",)):
    """An event's checksum is not that of its content."""

    advice = "Compute it over the event's canonical JSON as it is sent, or leave it out."


class SignatureInvalidError(EventValidationError, codes=("signature_invalid",)):
    """An event's signature does not hold."""

    advice = "Sign the event as it is sent, with a signing key that is registered and valid."


class EventConflictError(
    ApiError, codes=("event_id_conflict", "idempotency_conflict", "legal_hold"), statuses=(409,)
):
    """The event's id, or the idempotency key, was used before with other content."""

    advice = "An event never changes: log a new one with its own id (and `amends`, to correct)."
    advice_for: ClassVar = {
        "idempotency_conflict": "Send another request with another idempotency key.",
        "legal_hold": "Nothing was taken out.",
    }


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
    advice_for: ClassVar = {
        "recipient_mismatch": "Send it through the channel of its recipient.",
        "source_not_allowed": "Send it through a channel that takes its source.",
        "tenant_not_subscribed": "Ask the server's operator to subscribe the tenant.",
        "throttled": "Send it again later, with its id.",
        "internal_failure": "Send it again later, with its id.",
    }


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
    advice_for: ClassVar = {
        "tenant_mismatch": "Leave tenant_id out, or use a key of that tenant.",
        "channel_permission": "Use a key that may use the channel.",
        "external_id_required": "Pass the channel's external_id.",
        "external_id_mismatch": "Pass the channel's own external_id.",
    }


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

    advice = "Check the id and the log: what belongs to another tenant is not found either."
    advice_for: ClassVar = {
        "route_not_found": "Check the base URL: the server's own address, without /v1.",
    }


class ChannelNotFoundError(NotFoundError, codes=("channel_not_found",)):
    """There is no such channel."""

    advice = "Check its name, or create it."


class CheckpointNotFoundError(NotFoundError, codes=("checkpoint_not_found",)):
    """No checkpoint was published with this tree size."""

    advice = "client.root() is the latest; a log has its first soon after its first event."


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

    advice = "Mend what the message names."
    advice_for: ClassVar = {
        "log_required": "Pass log_id or tenant_id, or use a key that has a log.",
        "body_too_large": "Send less in one request.",
    }


class InvalidChannelError(RequestError, codes=("channel_invalid",)):
    """A channel's name is malformed, or the channel does not take this."""

    advice = "Name a channel that exists and takes events of this kind."


class UnsupportedSchemaError(RequestError, codes=("schema_unsupported",)):
    """The channel does not take events of this schema."""

    advice = "Use a schema that the channel takes, or another channel."


class SchemaInvalidError(RequestError, codes=("schema_invalid",)):
    """A schema is no valid JSON Schema, or uses what TrailSeal does not support."""

    advice = "Mend the schema; `trailseal schemas validate` tries one without registering it."


class SchemaConflictError(RequestError, codes=("schema_version_exists", "schema_incompatible")):
    """This version of the schema exists with other content, or breaks its predecessor."""

    advice = "Register what changed as a new version."
    advice_for: ClassVar = {
        "schema_incompatible": "Change less than .errors name, or register it under another id.",
    }


class InvalidQueryError(RequestError, codes=("query_invalid",)):
    """A filter or a search query cannot be understood; `errors` name the position."""

    advice = "Mend the filter or the query."


class InvalidPageError(
    InvalidQueryError, codes=("cursor_invalid", "offset_invalid", "limit_invalid")
):
    """An offset, limit or cursor cannot be used; also a pager that would never end."""

    advice = "Begin the list again, without the cursor."
    advice_for: ClassVar = {
        "limit_invalid": "Pass a limit that is allowed.",
        "offset_invalid": "Pass an offset that is allowed, or go on by cursor.",
    }


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
    advice = "Mend its cause, in .errors and __cause__, and start it again."


class DownloadError(ApiError, codes=("download_failed", "download_checksum")):
    """A download did not arrive whole; the final path was not touched."""

    advice = "Call it again: it goes on where it broke."
    advice_for: ClassVar = {
        "download_checksum": "Call it again; if it stays, the digest or the content is another's.",
    }


class RateLimitError(ApiError, codes=("rate_limited",), statuses=(429,)):
    """Too many requests; `retry_after` says how long to wait."""

    retryable = True
    advice = "Wait, or call less often: log_bulk sends a thousand events in one request."


class QuotaExceededError(ApiError, codes=("quota_exceeded",), statuses=(402,)):
    """The plan's quota is used up."""

    advice = "Ask for a larger quota; client.usage() shows it."


class ServerError(ApiError, codes=("internal_error",), statuses=(500,)):
    """The server failed; for a writing call without an id, the outcome is unknown."""

    retryable = True
    advice = "Try again, with the same event id; tell the server's operator the request id."


class UnavailableError(
    ServerError, codes=("unavailable", "bad_gateway", "gateway_timeout"), statuses=(502, 503, 504)
):
    """The server, or what stands before it, cannot answer now."""

    advice = "Try again later; trailseal.Audit would keep events until it is back."


class StorageFullError(ServerError, codes=("storage_full",), statuses=(507,)):
    """The server has no room left; nothing was written."""

    advice = "Nothing was written: try again when the server's operator has made room."


class UnsupportedOperationError(ServerError, codes=("operation_unsupported",), statuses=(501,)):
    """This server does not do this operation."""

    retryable = False
    advice = "Do without it, or use a server that does it."


class TransportError(ApiError, codes=("transport_failed",)):
    """No complete answer arrived. `sent` tells whether the server may have got the request."""

    retryable = True
    advice = "Try again; a sent event may have been logged, so keep its id."
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


class SigningError(ApiError, codes=("signing_failed",)):
    """The signer failed, so the event was not sent."""

    advice = "Its cause is in __cause__; log the event again when the signer works."


class DeliveryError(ApiError, codes=("delivery_failed",)):
    """Background delivery cannot take an event."""

    advice = "Nothing was accepted: log the event again when the cause is mended."


class SpoolFullError(DeliveryError, codes=("spool_full",)):
    """The spool or queue is full."""

    advice = 'Log it again when there is room; on_full="block" waits for it.'


class ClosedError(DeliveryError, codes=("client_closed",)):
    """The client is closed."""

    advice = "Make a new one."
