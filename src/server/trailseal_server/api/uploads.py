"""Uploads: a file of JSON Lines in three steps."""

import asyncio
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ..contract import operation
from ..problems import Problem
from ..uploads import Incoming
from ._http import ServerCall, answer
from ._once import once
from .batches import route_of
from .operations import location

CONTENT_DEADLINE_S = 900.0  # for the whole file: 1 GiB at 1.2 MB/s; a token lives as long
BUFFER_BYTES = 1 << 20  # written at a time, in a thread


@operation("createUpload")
def create_upload(call: ServerCall) -> Response:
    """Begin an upload."""

    def create() -> tuple[int, Any]:
        return 201, call.services.uploads.create(route_of(call, call.body), call.body)

    return once(call, create)


@operation("uploadContent")
async def upload_content(call: ServerCall) -> Response:
    """Take the file while it streams in; the token is the permission."""
    if call.request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("media_type_unsupported", "Send the file without Content-Encoding")
    uploads = call.services.uploads
    incoming = await run_in_threadpool(
        uploads.receive, call.params["upload_id"], call.params["token"]
    )
    try:
        async with asyncio.timeout(CONTENT_DEADLINE_S):
            await _take(call, incoming)
        return answer(await run_in_threadpool(incoming.finish))
    except TimeoutError:
        detail = f"The file did not arrive within {CONTENT_DEADLINE_S:.0f} seconds"
        raise Problem("request_invalid", detail) from None
    except ClientDisconnect:
        raise Problem("request_invalid", "The connection ended before the file did") from None
    finally:
        incoming.close()


@operation("completeUpload")
def complete_upload(call: ServerCall) -> Response:
    """Log the file that has arrived."""
    complete = call.services.uploads.complete
    found = complete(call.caller, call.params["upload_id"], call.body["sha256"])
    return answer(found, 202, location(found))


async def _take(call: ServerCall, incoming: Incoming) -> None:
    declared = call.request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) <= 20 and int(declared) > incoming.limit:
        raise Problem("body_too_large", f"The upload takes at most {incoming.limit} bytes")
    buffer = bytearray()
    async for piece in call.request.stream():
        buffer += piece
        if len(buffer) >= BUFFER_BYTES:
            await run_in_threadpool(incoming.write, bytes(buffer))
            buffer.clear()
    await run_in_threadpool(incoming.write, bytes(buffer))
