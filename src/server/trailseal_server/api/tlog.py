"""The tree of a log as C2SP tlog-tiles, byte for byte, for other people's verifiers.

Outside the contract's operations: `/tlog/{log_id}/checkpoint` and `/tlog/{log_id}/tile/…`. A public
log needs no key; any other needs one with the scope `logs:read` that reaches the log. A complete
tile never changes and may be cached for ever.
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..auth import ANONYMOUS, Caller
from ..contract import ADMIN_SCOPE
from ..problems import Problem
from ..services import Services
from ..store import checkpoints, logs, tiles
from ..store.tiles import TilePathError
from ..targets import resolve_log

SCOPE = "logs:read"
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


async def checkpoint(request: Request) -> Response:
    """The latest checkpoint, a signed note."""
    services, log_id = await _opened(request)
    return await run_in_threadpool(_checkpoint, services, log_id)


async def tile(request: Request) -> Response:
    """A tile of hashes, or a bundle of entries."""
    services, log_id = await _opened(request)
    return await run_in_threadpool(_tile, services, log_id, f"tile/{request.path_params['path']}")


ROUTES = [
    Route("/tlog/{log_id}/checkpoint", checkpoint, methods=["GET"]),
    Route("/tlog/{log_id}/tile/{path:path}", tile, methods=["GET"]),
]


async def _opened(request: Request) -> tuple[Services, str]:
    """The log, if the request may read it."""
    services: Services = request.app.state.services
    log_id = request.path_params["log_id"]
    public = await run_in_threadpool(_is_public, services, log_id)
    caller = ANONYMOUS if public else await services.authenticate(request)
    if not public and not {SCOPE, ADMIN_SCOPE} & caller.scopes:
        raise Problem("permission_denied", f"This needs a key with the scope {SCOPE}")
    return services, log_id if public else await run_in_threadpool(
        _reached, services, caller, log_id
    )


def _is_public(services: Services, log_id: str) -> bool:
    with services.store.read() as connection:
        log = logs.find(connection, log_id)
    return log is not None and log.public


def _reached(services: Services, caller: Caller, log_id: str) -> str:
    with services.store.read() as connection:
        return resolve_log(connection, caller, log_id, None)


def _checkpoint(services: Services, log_id: str) -> Response:
    with services.store.read() as connection:
        found = checkpoints.latest(connection, log_id)
    if found is None:
        raise Problem("checkpoint_not_found", "The log has no checkpoint yet")
    return PlainTextResponse(found.note, headers={"Cache-Control": "no-store"})


def _tile(services: Services, log_id: str, path: str) -> Response:
    with services.store.read() as connection:
        log = logs.find(connection, log_id)
        try:
            data = tiles.by_path(connection, log_id, log.sealed_size if log else 0, path)
        except TilePathError as error:
            raise Problem("checkpoint_not_found", f"No such tile: {error}") from None
    return Response(data, headers=FOR_EVER, media_type="application/octet-stream")
