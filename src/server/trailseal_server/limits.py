"""What one request may cost, and the reading of bodies within it.

Rules:
- A body is counted while it streams in, so a false or missing Content-Length costs nothing.
- A compressed body is refused: a small one could stand for a huge one.
- Every read has a deadline, so that slow senders do not pile up.
"""

import asyncio

from starlette.requests import Request

from .problems import Problem

MAX_BODY_BYTES = 1 << 20  # unless the contract says otherwise (`x-max-bytes`)
INLINE_BYTES = 32 << 10  # parsing this takes about 0.3 ms; larger bodies are parsed in a thread
BODY_DEADLINE = 30.0  # seconds for the whole body: 10 MiB at 350 kB/s
POLL_S = 0.1  # between looks while a request waits: one row by its key, for most of them
PROOF_WAIT = 3.0  # seconds that createEvent waits for a checkpoint
MAX_THREADS = 32  # blocking handlers at once; the others queue
MAX_CONNECTIONS = 1000  # beyond it uvicorn answers 503
SHUTDOWN_DEADLINE = 9.5  # seconds to finish what was accepted: ten, less what uvicorn needs
ANSWER_DEADLINE = 6  # of these, for answers; the rest is for what writes behind them


async def read_body(request: Request, limit: int, too_large: str = "body_too_large") -> bytes:
    """The request's body; raises `Problem` 413, 415, or 400 when it is slow or cut off."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("media_type_unsupported", "Send the body without Content-Encoding")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) <= 20 and int(declared) > limit:
        raise _too_large(too_large, limit)
    chunks: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise _cut_off()
                chunk, more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size > limit:
                    raise _too_large(too_large, limit)
                chunks.append(chunk)
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_DEADLINE:.0f} seconds"
        raise Problem("request_invalid", detail) from None
    return b"".join(chunks)


def _too_large(code: str, limit: int) -> Problem:
    return Problem(code, f"The body may have at most {limit} bytes")


def _cut_off() -> Problem:
    return Problem("request_invalid", "The connection ended before the body did")
