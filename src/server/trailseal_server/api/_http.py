"""What the functions of this package share: JSON answers, and the log that a call means."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ..contract import Call
from ..limits import POLL_S
from ..problems import FieldError, Problem
from ..services import Services
from ..store import micros
from ..targets import resolve_log

ServerCall: TypeAlias = Call[Services]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; dataclasses and raw fragments are written as they are."""
    return Response(orjson.dumps(value), status, headers, "application/json")


def empty() -> Response:
    """204: done, and nothing to say."""
    return Response(status_code=204)


def log_of(call: ServerCall, tenant_id: str | None = None) -> str:
    """The log that a call means; raises `Problem` log_required, log_not_found, tenant_mismatch."""
    with call.services.store.read() as connection:
        return resolve_log(connection, call.caller, call.params.get("log_id"), tenant_id)


def sent_at(call: ServerCall) -> int | None:
    """The client's clock when it sent the request, in microseconds since 1970, if it said so."""
    text = call.params.get("Sent-At")
    if text is None:
        return None
    try:
        return micros.parse(text)
    except ValueError:
        advice = "must be RFC 3339 with an offset"
        errors = [FieldError("request_invalid", "/header/Sent-At", advice)]
        raise Problem("request_invalid", f"Sent-At {advice}", errors=errors) from None


async def until(
    call: ServerCall, look: Callable[[], Any], found: Callable[[Any], bool], seconds: float
) -> Any:
    """What `look`, which may block, last saw: when it is `found`, after `seconds`, or when the
    server stops."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        seen = await run_in_threadpool(look)
        left = end - asyncio.get_running_loop().time()
        if left <= 0 or found(seen) or call.services.stopping.is_set():
            return seen
        await asyncio.sleep(min(POLL_S, left))
