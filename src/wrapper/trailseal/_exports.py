"""Exports: make one, wait for it, download it whole or not at all.

1. The server makes an export as an operation. `wait` looks again until it ended or the call's
   deadline passed; the operation goes on, and any process can wait on with its id.
2. A download goes to `NAME.part`. After a cut it goes on with Range and If-Range; content that
   changed meanwhile, or a server that ignores Range, starts it again, never splices.
3. Size and SHA-256 must be those of the export. Only then does the file get its name, at once
   (`os.replace`, or `os.link`, which never overwrites). A failed download leaves nothing.
4. A `jsonl` export gets `NAME.manifest.json`, `NAME.manifest.note` and `NAME.checkpoint` beside
   it first, so that a file under its own name can always be verified.
5. Memory is constant. File writes block; under asyncio too, in pieces of some 64 KiB.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

from trailseal_api.api.exports import (
    create_export,
    download_export,
    get_export,
    get_export_manifest,
)
from trailseal_api.api.operations import get_operation
from trailseal_api.types import UNSET

from trailseal import _operations, errors
from trailseal._flow import Flow, Response
from trailseal._ids import uuid7
from trailseal._models import BatchItem, BatchResult, Download, Export, Operation
from trailseal._retry import delay
from trailseal.config import Settings
from trailseal.errors import (
    AcceptedRequestError,
    ConfigurationError,
    DownloadError,
    OperationFailedError,
    OperationTimeoutError,
    ResultExpiredError,
    ServerError,
    TransportError,
    UnexpectedResponseError,
    from_problem,
)

LONG_POLL = 10  # seconds that the server may hold an answer: below the idle limits of proxies
PROGRESS_POLL = 1  # seconds between two reports of progress
MAX_PAUSE = 10.0  # seconds between two looks, whatever the server asks for
MAX_LOOKS = 100_000  # a day of looks, one a second
MAX_RESUMES = 1000  # each with progress: a line that breaks more often is no line
SIDECARS = {"manifest": ".manifest.json", "note": ".manifest.note", "checkpoint": ".checkpoint"}

OnProgress = Callable[[Operation], object]
OnBytes = Callable[[int, int | None], object]  # bytes so far, and in all where known
Reference = Operation | Export | AcceptedRequestError | OperationTimeoutError | str


def create(settings: Settings, given: Mapping[str, Any], *, log_id: str | None) -> Flow[Operation]:
    """Start an export."""
    kwargs = create_export.request_kwargs(
        body=_operations.body(given), log_id=log_id or UNSET, idempotency_key=uuid7()
    )
    response = yield from _operations.call(settings, kwargs, replayable=True, accept=(202, 200))
    return Operation(_operations.decoded(response))


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
            return BatchResult(map(BatchItem, batch.get("results") or []))
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
) -> Flow[Export]:
    """Fetch an export, or make one of a search first, into a target; returns what was fetched."""
    if (export_id is None) == (search_id is None):
        raise ConfigurationError("Give either export_id or search_id.")
    if export_id is None:
        made = yield from create(settings, {**given, "search_id": search_id}, log_id=None)
        yield from wait(settings, made, None)
        export_id = made.id
    export = yield from _finished(settings, export_id)
    target.expect(export)
    if export.format == "jsonl":
        kwargs = get_export_manifest.request_kwargs(export.id)
        raw = _operations.decoded((yield from _operations.call(settings, kwargs)))
        if not all(isinstance(raw.get(name), str) for name in SIDECARS):
            raise UnexpectedResponseError("The manifest is not complete.")
        target.sidecars = {name: raw[name] for name in SIDECARS}
    yield from _content(settings, target, export)
    return export


def _look(
    settings: Settings, identity: str, *, hold: int | None = None, after: float = 0.0
) -> Flow[tuple[Operation, float | None]]:
    """Fetch an operation once, and how long the server asks to wait before the next look."""
    kwargs = get_operation.request_kwargs(identity, wait=hold or UNSET)
    response = yield from _operations.call(settings, kwargs, accept=(200, 202), after=after)
    return Operation(_operations.decoded(response)), _seconds(response)


def _seconds(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else None


def _finished(settings: Settings, export_id: str) -> Flow[Export]:
    kwargs = get_export.request_kwargs(export_id)
    export = Export(_operations.decoded((yield from _operations.call(settings, kwargs))))
    if export.state in {"pending", "running"}:
        text = f"Export {export.id} is {export.state}."
        raise AcceptedRequestError(text, operation_id=export.id, status=202)
    if export.state == "expired":
        raise ResultExpiredError(f"Export {export.id} is gone.", code="export_expired")
    if export.state != "succeeded":
        raise OperationFailedError(f"Export {export.id} is {export.state}.", operation_id=export.id)
    return export


def _content(settings: Settings, target: Target, export: Export) -> Flow[None]:
    """Fetch the bytes; each further request begins where the last one broke.

    The tries are counted here, not in the call, which would ask for the old range again.
    """
    stalls, pause = 0, 0.0
    for _ in range(MAX_RESUMES):
        before = target.size
        if before and before == export.bytes:
            return
        resume = (
            {"range_": f"bytes={before}-", "if_range": target.etag}
            if before and target.etag
            else {}
        )
        kwargs = download_export.request_kwargs(export.id, **resume)
        try:
            yield from _operations.call(
                settings, kwargs, accept=(200, 206), sink=target, replayable=False, after=pause
            )
        except (TransportError, ServerError) as error:
            stalls = 0 if target.size > before else stalls + 1
            wait = delay(error, stalls, random.random)
            if (
                isinstance(error, errors.TimeoutError)
                or stalls > settings.max_retries
                or wait is None
            ):
                raise DownloadError(
                    "The download was cut off.", request_id=error.request_id
                ) from error
            pause = wait
        else:
            return
    raise DownloadError(f"The download was cut {MAX_RESUMES} times.")


class Target:
    """Where a download goes: a sink for its bytes, and what must be true of them.

    Used as a context manager; what was not committed is removed at its end.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, overwrite: bool, on_progress: OnBytes | None
    ) -> None:
        self.path = Path(path)
        self.size = 0
        self.etag: str | None = None
        self.sidecars: dict[str, str] = {}
        self._overwrite, self._on_progress = overwrite, on_progress
        self._export: Export | None = None
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ConfigurationError("path must name a file, in a folder that exists.")
        self._refuse_to_overwrite()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def expect(self, export: Export) -> None:
        """Learn what is to come; raises `ConfigurationError` for a name that cannot be verified."""
        self._export = export
        suffix = f".{export.format}" + (".gz" if export.compression == "gzip" else "")
        if export.format == "jsonl" and not self.path.name.endswith(suffix):
            raise ConfigurationError(
                f"The path must end in {suffix}: verification goes by the name."
            )
        self._refuse_to_overwrite()

    def begin(self, head: Response) -> None:
        """Take up a body: at its place for a 206 that fits, else from the beginning."""
        if self._file is None:
            self._file = self._part.open("wb")
        if head.status == 206:
            if not head.headers.get("content-range", "").startswith(f"bytes {self.size}-"):
                raise DownloadError("The server sent another range than was asked for.")
        else:
            self._file.seek(0)
            self._file.truncate()
            self.size, self._hash = 0, hashlib.sha256()
        self.etag = head.headers.get("etag") or None

    def write(self, chunk: bytes) -> None:
        """Write the next bytes; more than the export has raise `DownloadError`."""
        assert self._file is not None  # noqa: S101  # begin() comes first, by the protocol
        total = self._export.bytes if self._export else None
        if total is not None and self.size + len(chunk) > total:
            raise DownloadError(f"More than the {total} bytes of the export arrived.")
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)
        if self._on_progress:
            self._on_progress(self.size, total)

    def commit(self, export: Export) -> Download:
        """Check size and digest, write the sidecars, give the file its name."""
        if self._file is None:  # an empty export: nothing was streamed
            self.begin(Response(200))
        digest = self._hash.hexdigest()
        if self.size != export.bytes or digest != export.sha256:
            text = "The content is not the one that the server announced (size or SHA-256)."
            raise DownloadError(text, code="download_checksum")
        assert self._file is not None  # noqa: S101  # opened above
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        for name, text in self.sidecars.items():
            self._sidecar(name).write_bytes(text.encode())
        self._publish()
        self._file = None
        beside = tuple(self._sidecar(name) for name in self.sidecars)
        return Download(self.path, export, self.size, digest, beside)

    def _publish(self) -> None:
        if self._overwrite:
            self._part.replace(self.path)
            return
        try:
            os.link(self._part, self.path)  # unlike rename, it never replaces
        except FileExistsError:
            raise DownloadError(_exists(self.path)) from None
        except OSError:  # a file system without links: the check before must do
            self._refuse_to_overwrite()
            self._part.rename(self.path)
        self._part.unlink(missing_ok=True)

    def _refuse_to_overwrite(self) -> None:
        taken = [self.path] if self.path.exists() else []
        if taken and not self._overwrite:
            raise DownloadError(_exists(self.path))

    @property
    def _part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    def _sidecar(self, name: str) -> Path:
        stem = self.path.name.removesuffix(".gz").removesuffix(".jsonl")
        return self.path.with_name(stem + SIDECARS[name])


def _exists(path: Path) -> str:
    return f"{path.name} exists: pass overwrite=True, or another path."
