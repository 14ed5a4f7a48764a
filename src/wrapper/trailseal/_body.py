"""Taking in the body of an answer: into a sink in pieces, or into memory up to a limit."""

from __future__ import annotations

import zlib

from trailseal._flow import Attempt, Response
from trailseal.errors import UnexpectedResponseError

MAX_BODY_BYTES = 32 << 20  # unpacked; a page of ordinary events is below 4 MiB

UNZIP_BYTES = 1 << 20  # unpacked at once


class Body:
    """Takes the pieces of one body. What is unpacked counts: a gzip bomb is an error."""

    def __init__(self, attempt: Attempt, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers
        self._sink = attempt.sink if 200 <= status <= 299 else None
        self._unzip = None
        self._pieces: list[bytes] = []
        self._size = 0
        coding = headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            if coding != "gzip" or self._sink:
                raise UnexpectedResponseError(f"The answer has the content coding {coding[:20]!r}.")
            self._unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        if self._sink:
            self._sink.begin(Response(status, headers))

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self._sink:
            self._sink.write(chunk)
            return
        while chunk and self._unzip:
            try:
                self._keep(self._unzip.decompress(chunk, UNZIP_BYTES))
            except zlib.error:
                text = "The answer is no gzip, which it says it is."
                raise UnexpectedResponseError(text) from None
            chunk = self._unzip.unconsumed_tail
        if not self._unzip:
            self._keep(chunk)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            text = f"The answer has more than {MAX_BODY_BYTES} bytes: ask for less with limit=."
            raise UnexpectedResponseError(text, status=self._status)
        self._pieces.append(piece)

    def finish(self) -> Response:
        """The whole answer."""
        if self._unzip and self._pieces and not self._unzip.eof:
            raise UnexpectedResponseError("The gzip of the answer ends too early.")
        pieces = self._pieces
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return Response(self._status, self._headers, content)
