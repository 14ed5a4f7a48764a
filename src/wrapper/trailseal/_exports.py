"""Exports: make one, wait for it, download it.

1. The server makes an export as an operation. `wait` looks again until it ended or the call's
   deadline passed; the operation goes on, and any process can wait on with its id.
2. Content of another size or SHA-256 than the export's gets no name (`_downloads`).
3. A `jsonl` export gets `NAME.manifest.json`, `NAME.manifest.note` and `NAME.checkpoint` beside
   it first, so that a file under its own name can always be verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trailseal_api.types import UNSET

from trailseal import _api, errors
from trailseal._call import body, call, decoded, request
from trailseal._downloads import fetch
from trailseal._flow import Flow, Response
from trailseal._ids import uuid7
from trailseal._models import Export, Operation
from trailseal._operations import results_of
from trailseal._results import BatchResult
from trailseal._targets import Target
from trailseal.config import Settings
from trailseal.errors import (
    AcceptedRequestError,
    ConfigurationError,
    OperationFailedError,
    OperationTimeoutError,
    ResultExpiredError,
    UnexpectedResponseError,
    from_problem,
)

LONG_POLL = 10  # seconds that the server may hold an answer: below the idle limits of proxies
PROGRESS_POLL = 1  # seconds between two reports of progress
MAX_PAUSE = 10.0  # seconds between two looks, whatever the server asks for
MAX_LOOKS = 100_000  # a day of looks, one a second
SIDECARS = {"manifest": ".manifest.json", "note": ".manifest.note", "checkpoint": ".checkpoint"}

OnProgress = Callable[[Operation], object]
Reference = Operation | Export | AcceptedRequestError | OperationTimeoutError | str


def create(settings: Settings, given: Mapping[str, Any], *, log_id: str | None) -> Flow[Operation]:
    """Start an export."""
    kwargs = _api.create_export.request_kwargs(
        body=body(given), log_id=log_id or UNSET, idempotency_key=uuid7()
    )
    response = yield from call(settings, kwargs, replayable=True, accept=(202, 200))
    return Operation(decoded(response))


def operation_id(reference: Reference) -> str:
    """The id that an operation, an export, an error about one, or a string means."""
    found = reference if isinstance(reference, str) else None
    if isinstance(reference, Operation | Export):
        found = reference.id
    elif isinstance(reference, AcceptedRequestError | OperationTimeoutError):
        found = reference.operation_id
    if not found:
        raise ConfigurationError("Give an operation, its id, or the error that carries it.")
    return found


def poll_result(settings: Settings, reference: Reference) -> Flow[Export | BatchResult | Operation]:
    """Look once: the result, or `AcceptedRequestError` while it goes on."""
    operation, pause = yield from _look(settings, operation_id(reference))
    if not operation.done:
        text = f"Operation {operation.id} is {operation.state}."
        raise AcceptedRequestError(text, operation_id=operation.id, status=202, retry_after=pause)
    return settle(operation)


def wait(
    settings: Settings, reference: Reference, on_progress: OnProgress | None
) -> Flow[Export | BatchResult | Operation]:
    """Look until it has ended; the driver's deadline becomes `OperationTimeoutError`."""
    identity, pause = operation_id(reference), 0.0
    hold = PROGRESS_POLL if on_progress else LONG_POLL
    try:
        for _ in range(MAX_LOOKS):
            operation, asked = yield from _look(settings, identity, hold=hold, after=pause)
            if on_progress:
                on_progress(operation)
            if operation.done:
                return settle(operation)
            pause = min(asked or 0.0, MAX_PAUSE)
    except errors.TimeoutError as error:
        text = f"Operation {identity} has not ended in time."
        raise OperationTimeoutError(
            text, operation_id=identity, request_id=error.request_id
        ) from error
    raise OperationTimeoutError(f"Operation {identity} did not end.", operation_id=identity)


def settle(operation: Operation) -> Export | BatchResult | Operation:
    """The result of an operation that has ended; raises what ended it otherwise."""
    if operation.state == "succeeded":
        batch = operation.raw.get("batch")
        if isinstance(batch, dict):
            return BatchResult(results_of({"results": [], **batch}), batch)
        return operation.export or operation
    if operation.state == "expired":
        raise ResultExpiredError(f"The result of operation {operation.id} is gone.")
    problem = operation.raw.get("error")
    cause = from_problem(problem) if isinstance(problem, dict) else None
    text = f"Operation {operation.id} is {operation.state}."
    faults = cause.errors if cause else ()
    raise OperationFailedError(text, operation_id=operation.id, errors=faults) from cause


def download(
    settings: Settings,
    target: Target,
    export_id: str | None,
    search_id: str | None,
    given: Mapping[str, Any],
) -> Flow[tuple[Export, dict[str, str]]]:
    """Fetch an export, or make one of a search first, into a target.

    Returns the export and the texts that belong beside a `jsonl` one, by the ends of their names.
    """
    if (export_id is None) == (search_id is None):
        raise ConfigurationError("Give either export_id or search_id.")
    if export_id is None:
        made = yield from create(settings, {**given, "search_id": search_id}, log_id=None)
        yield from wait(settings, made, None)
        export_id = made.id
    export = yield from _finished(settings, export_id)
    end = f".{export.format}" + (".gz" if export.compression == "gzip" else "")
    proved = export.format == "jsonl" and target.named
    if proved and not target.path.name.endswith(end):
        raise ConfigurationError(f"The path must end in {end}: verification goes by the name.")
    target.expect(f"export {export.id}", export.bytes, export.sha256)
    beside: dict[str, str] = {}
    if proved:
        kwargs = _api.get_export_manifest.request_kwargs(export.id)
        raw = decoded((yield from call(settings, kwargs)))
        if not all(isinstance(raw.get(each), str) for each in SIDECARS):
            raise UnexpectedResponseError("The manifest is not complete.")
        beside = {end: raw[each] for each, end in SIDECARS.items()}
    kwargs = _api.download_export.request_kwargs(export.id)
    if export.bytes:
        yield from fetch(
            settings, target, lambda more: request(settings, {**kwargs, "headers": more})
        )
    return export, beside


def cancel(settings: Settings, reference: Reference) -> Flow[Operation]:
    """Cancel an operation that goes on; one that ended stays as it is."""
    kwargs = _api.cancel_operation.request_kwargs(operation_id(reference))
    response = yield from call(settings, kwargs, replayable=True)
    return Operation(decoded(response))


def _look(
    settings: Settings, identity: str, *, hold: int | None = None, after: float = 0.0
) -> Flow[tuple[Operation, float | None]]:
    """Fetch an operation once, and how long the server asks to wait before the next look."""
    kwargs = _api.get_operation.request_kwargs(identity, wait=hold or UNSET)
    response = yield from call(settings, kwargs, accept=(200, 202), after=after)
    return Operation(decoded(response)), _seconds(response)


def _seconds(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else None


def _finished(settings: Settings, export_id: str) -> Flow[Export]:
    kwargs = _api.get_export.request_kwargs(export_id)
    export = Export(decoded((yield from call(settings, kwargs))))
    if export.state in {"pending", "running"}:
        text = f"Export {export.id} is {export.state}."
        raise AcceptedRequestError(text, operation_id=export.id, status=202)
    if export.state == "expired":
        raise ResultExpiredError(f"Export {export.id} is gone.", code="export_expired")
    if export.state != "succeeded":
        raise OperationFailedError(f"Export {export.id} is {export.state}.", operation_id=export.id)
    return export
