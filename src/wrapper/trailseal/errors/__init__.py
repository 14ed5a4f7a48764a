"""Every exception of TrailSeal.

`_tree` holds the classes, `_base` what they share, `_answers` how an answer becomes one.

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
    ├── SigningError
    ├── DeliveryError
    │   └── SpoolFullError, ClosedError
    └── IntegrityError (see trailseal.verify.errors)
        └── MalformedError, UnverifiableError, EventCorruptionError, ProofError, CheckpointForkError
"""

from trailseal.errors._answers import from_problem, from_response, from_transport, parse_retry_after
from trailseal.errors._base import ApiError, ErrorDetail, ResponseInfo
from trailseal.errors._tree import (
    AcceptedRequestError,
    AuthenticationError,
    BatchTooLargeError,
    ChannelNotFoundError,
    CheckpointNotFoundError,
    ChecksumMismatchError,
    ClosedError,
    ConfigurationError,
    ConnectError,
    DeliveryError,
    DownloadError,
    DuplicateEventInBatchError,
    EmptyBatchError,
    EventConflictError,
    EventValidationError,
    InvalidChannelError,
    InvalidPageError,
    InvalidQueryError,
    NotFoundError,
    OperationFailedError,
    OperationTimeoutError,
    PartialFailureError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ReadError,
    RequestError,
    RestrictionMismatchError,
    ResultExpiredError,
    SchemaConflictError,
    SchemaInvalidError,
    SchemaNotRegisteredError,
    ServerError,
    SignatureInvalidError,
    SigningError,
    SpoolFullError,
    StorageFullError,
    TimeoutError,  # noqa: A004  # the library's own
    TransportError,
    UnavailableError,
    UnexpectedResponseError,
    UnsupportedOperationError,
    UnsupportedSchemaError,
    UploadExpiredError,
)
from trailseal.verify.errors import (
    CheckpointForkError,
    EventCorruptionError,
    IntegrityError,
    MalformedError,
    ProofError,
    TrailSealError,
    UnverifiableError,
)

__all__ = [
    "AcceptedRequestError",
    "ApiError",
    "AuthenticationError",
    "BatchTooLargeError",
    "ChannelNotFoundError",
    "CheckpointForkError",
    "CheckpointNotFoundError",
    "ChecksumMismatchError",
    "ClosedError",
    "ConfigurationError",
    "ConnectError",
    "DeliveryError",
    "DownloadError",
    "DuplicateEventInBatchError",
    "EmptyBatchError",
    "ErrorDetail",
    "EventConflictError",
    "EventCorruptionError",
    "EventValidationError",
    "IntegrityError",
    "InvalidChannelError",
    "InvalidPageError",
    "InvalidQueryError",
    "MalformedError",
    "NotFoundError",
    "OperationFailedError",
    "OperationTimeoutError",
    "PartialFailureError",
    "PermissionDeniedError",
    "ProofError",
    "QuotaExceededError",
    "RateLimitError",
    "ReadError",
    "RequestError",
    "ResponseInfo",
    "RestrictionMismatchError",
    "ResultExpiredError",
    "SchemaConflictError",
    "SchemaInvalidError",
    "SchemaNotRegisteredError",
    "ServerError",
    "SignatureInvalidError",
    "SigningError",
    "SpoolFullError",
    "StorageFullError",
    "TimeoutError",
    "TrailSealError",
    "TransportError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnsupportedOperationError",
    "UnsupportedSchemaError",
    "UnverifiableError",
    "UploadExpiredError",
    "from_problem",
    "from_response",
    "from_transport",
    "parse_retry_after",
]

for _kind in [globals()[name] for name in __all__]:
    if isinstance(_kind, type) and _kind.__module__.startswith("trailseal.errors._"):
        _kind.__module__ = __name__  # tracebacks name what is imported
