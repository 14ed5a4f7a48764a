"""Health and metrics: for load balancers and monitoring, without a key."""

from starlette.responses import Response

from ..contract import operation
from ..metrics import MEDIA_TYPE
from ..problems import Problem
from ..store import SQLAlchemyError, keys
from ._http import ServerCall, answer


@operation("getHealth")
async def get_health(call: ServerCall) -> Response:
    """The process runs."""
    return answer({"status": "ok", "version": call.services.version})


@operation("getReadiness")
def get_readiness(call: ServerCall) -> Response:
    """The database answers."""
    try:
        with call.services.store.read() as connection:
            keys.any_exists(connection)
    except SQLAlchemyError:
        raise Problem("unavailable", "The database does not answer", retry_after=1.0) from None
    return answer({"status": "ok", "version": call.services.version})


@operation("getMetrics")
def get_metrics(call: ServerCall) -> Response:
    """What this process counted."""
    return Response(call.services.metrics.text(), media_type=MEDIA_TYPE)
