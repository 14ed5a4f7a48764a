"""`Idempotency-Key`: a creating call that is repeated gets the first answer."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import orjson
from starlette.responses import Response

from ..store import idempotency
from ._http import ServerCall

NAME = "Idempotency-Key"


def once(
    call: ServerCall,
    create: Callable[[], tuple[int, Any]],
    headers: Callable[[Any], Mapping[str, str]] | None = None,
) -> Response:
    """Do `create`, which answers status and body, or repeat the answer it gave before.

    Raises `Problem` idempotency_conflict when the key was used for another request.
    """
    name = call.params.get(NAME)
    if name is None:
        status, value = create()
        body = orjson.dumps(value)
    else:
        status, body = _kept(call, name, create)
    extra = headers(orjson.loads(body)) if headers else None
    return Response(body, status, extra, "application/json")


def _kept(call: ServerCall, name: str, create: Callable[[], tuple[int, Any]]) -> tuple[int, bytes]:
    store, key_id = call.services.store, call.caller.key_id
    url = call.request.url
    request = [call.request.method, url.path, url.query, call.body]
    digest = sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).digest()
    with store.write() as connection:
        kept = idempotency.begin(connection, key_id, name, digest)
    if kept is not None:
        return kept
    try:
        status, value = create()
    except BaseException:
        with store.write() as connection:
            idempotency.drop(connection, key_id, name)
        raise
    body = orjson.dumps(value)
    with store.write() as connection:
        idempotency.end(connection, key_id, name, status, body)
    return status, body
