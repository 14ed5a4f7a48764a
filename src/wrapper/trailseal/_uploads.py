"""Uploads: any number of events as one file of JSON Lines, logged by an operation.

1. The events are checked and written to a temporary file before anything is sent: one that is not
   valid raises, and nothing is logged.
2. The file is streamed, and again from its beginning when it breaks. Every event has its id by
   then, so that nothing is logged twice.
3. An upload that expired (`UploadExpiredError`) is begun anew once.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from typing import IO, Self, cast

from trailseal_api.types import UNSET

from trailseal import _api
from trailseal._call import body, call, decoded
from trailseal._context import Fields, filled
from trailseal._events import EventLike
from trailseal._flow import Flow
from trailseal._ids import uuid7
from trailseal._models import Operation
from trailseal._signing import is_local, prepare
from trailseal.config import Settings
from trailseal.errors import (
    BatchTooLargeError,
    ConfigurationError,
    EmptyBatchError,
    UnexpectedResponseError,
    UploadExpiredError,
)

MAX_BYTES = 1 << 30  # of the contract, as sent
IN_MEMORY = 4 << 20  # bytes: a larger file lies on disk
CHUNK = 64 << 10  # bytes sent at a time
GZIP_LEVEL = 3  # JSON Lines shrink about tenfold; higher levels cost time for a few percent


class EventFile:
    """The file of one upload; a context manager, at whose end it is gone."""

    def __init__(self, settings: Settings, bound: Fields, compression: str) -> None:
        if compression not in {"none", "gzip"}:
            raise ConfigurationError("compression must be none or gzip.")
        self.compression = compression
        self.size = 0
        self.sha256 = ""
        self._tenant, self._bound, self._signer = settings.tenant, bound, settings.signer
        self.blocking = not is_local(settings.signer)  # `add` may wait for a network
        self._file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115  # closed by __exit__
        self._lines = (
            gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)
            if compression == "gzip"
            else self._file
        )
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, event: EventLike) -> None:
        """Take the next event; raises `EventValidationError`, `BatchTooLargeError`."""
        at = f"/events/{self._count}"
        made = filled(event, self._bound)
        prepared = prepare(made, tenant=self._tenant, signer=self._signer, at=at)
        self._lines.write(prepared.content + b"\n")
        self._count += 1
        if self._file.tell() > MAX_BYTES:
            raise BatchTooLargeError("The upload is above 1 GiB: cut it, or use gzip.")

    def finish(self) -> None:
        """Know size and digest; raises `EmptyBatchError`."""
        if not self._count:
            raise EmptyBatchError("There is no event to log.")
        if self._lines is not self._file:
            self._lines.close()
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self.size, self.sha256 = self._file.tell(), digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the file in pieces, from its beginning."""
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield chunk


def upload(
    settings: Settings,
    file: EventFile,
    *,
    log_id: str | None,
    channel: str | None,
    external_id: str | None,
    imported: bool = False,
) -> Flow[Operation]:
    """Send a finished file and have it logged."""
    begun = {
        "compression": file.compression,
        "bytes": file.size,
        "channel": channel,
        "external_id": external_id,
    }
    try:
        upload_id = yield from _sent(settings, file, begun, log_id, imported)
    except UploadExpiredError:
        upload_id = yield from _sent(settings, file, begun, log_id, imported)
    kwargs = _api.complete_upload.request_kwargs(upload_id, body=body({"sha256": file.sha256}))
    response = yield from call(settings, kwargs, replayable=True, accept=(202, 200))
    return Operation(decoded(response))


def _sent(
    settings: Settings,
    file: EventFile,
    begun: dict[str, object],
    log_id: str | None,
    imported: bool,
) -> Flow[str]:
    kwargs = _api.create_upload.request_kwargs(
        body=body(begun),
        log_id=UNSET if log_id is None else log_id,
        imported=imported or UNSET,
        idempotency_key=uuid7(),
    )
    made = decoded((yield from call(settings, kwargs, replayable=True, accept=(201, 200))))
    upload_id, token = made.get("upload_id"), made.get("token")
    if not isinstance(upload_id, str) or not isinstance(token, str):
        raise UnexpectedResponseError("The answer names no upload.")
    kwargs = _api.upload_content.request_kwargs(upload_id, body=b"", token=token)
    yield from call(settings, kwargs, content=file)
    return upload_id
