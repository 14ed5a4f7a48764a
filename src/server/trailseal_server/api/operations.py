"""Long operations: polling and cancelling them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from ..contract import operation
from ..store.jobs import ACTIVE
from ._http import ServerCall, answer, until

RETRY_AFTER_S = 1  # a small export takes about a second, most of it for its checkpoint


@operation("getOperation")
async def get_operation(call: ServerCall) -> Response:
    """A job: 202 while it goes on, 200 when it has ended."""
    look = partial(call.services.operations.get, call.caller, call.params["operation_id"])
    found = await until(call, look, _ended, call.params.get("wait", 0))
    if _ended(found):
        return answer(found)
    return answer(found, 202, {"Retry-After": str(RETRY_AFTER_S)})


@operation("cancelOperation")
def cancel_operation(call: ServerCall) -> Response:
    """Cancel a job that has not ended."""
    return answer(call.services.operations.cancel(call.caller, call.params["operation_id"]))


def location(found: Mapping[str, Any]) -> dict[str, str]:
    """The headers of an answer that accepts a job: where to poll it, and when."""
    place = f"/v1/operations/{found['operation_id']}"
    return {"Location": place, "Retry-After": str(RETRY_AFTER_S)}


def _ended(found: Mapping[str, Any]) -> bool:
    return found["state"] not in ACTIVE
