"""Reading a large body from its connection itself.

httpx's parser copies a body three times and looks at every 64 KiB of it, which costs a third of a
download. A body whose length is known needs no parser, so the rest of a large one is read from the
`network_stream` that httpcore offers beside a response. Its connection is not used again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import httpcore
    import httpx

LARGE = 1 << 20  # bytes: less is not worth a new connection for the next call
LEAST, MOST = 64 << 10, 256 << 10  # bytes asked for at once: they stay in a usual cache


def pieces(
    response: httpx.Response, headers: Mapping[str, str], deadline: float
) -> Iterable[bytes]:
    """A body's bytes as they lie on the connection; `deadline` is of `time.monotonic`.

    Raises what iterating `response.stream` raises.
    """
    whole = cast("Iterable[bytes]", response.stream)
    length = headers.get("content-length", "")
    plain = response.extensions.get("http_version") == b"HTTP/1.1"  # else the stream is shared
    stream = response.extensions.get("network_stream")
    if stream is None or not plain or "transfer-encoding" in headers:
        return whole
    if not length.isascii() or not length.isdigit() or int(length) < LARGE:
        return whole
    return _rest(whole, stream, int(length), deadline)


def _rest(
    whole: Iterable[bytes], stream: httpcore.NetworkStream, left: int, deadline: float
) -> Iterator[bytes]:
    import httpcore  # noqa: PLC0415  # few need it
    import httpx  # noqa: PLC0415

    parsed = iter(whole)  # held, because it closes the connection when it goes
    first = next(parsed, b"")  # all that was read with the headers
    yield first
    left -= len(first)
    size = MOST
    while left > 0:
        try:
            piece = stream.read(min(size, left), max(deadline - time.monotonic(), 0.0))
        except httpcore.TimeoutException as error:
            raise httpx.ReadTimeout("") from error
        except httpcore.NetworkError as error:
            raise httpx.ReadError("") from error
        if not piece:
            raise httpx.RemoteProtocolError(f"peer closed the connection, {left} bytes early")
        if len(piece) == size:
            size = min(2 * size, MOST)
        elif len(piece) < size // 4:  # segments just below `LEAST` must not hold it there
            size = max(size // 2, LEAST)
        left -= len(piece)
        yield piece
