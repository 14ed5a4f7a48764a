"""`Idempotency-Key`: a creating call that is repeated gets the first answer.

What is kept for that is no content: an answer that would hold some is kept as a reference (`Keep`)
and made again, and of the request only a keyed digest.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

from ..store import idempotency
from ._http import ServerCall

NAME = "Idempotency-Key"


class Keep(NamedTuple):
    """An answer to be kept as its reference; `answer` makes the body of one."""

    reference: Callable[[Any], Any]
    answer: Callable[[Any], Any]


def once(
    call: ServerCall,
    create: Callable[[], tuple[int, Any]],
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    keep: Keep | None = None,
) -> Response:
    """Do `create`, which answers status and body, or repeat the answer it gave before.

    Raises `Problem` idempotency_conflict when the key was used for another request.
    """
    name = call.params.get(NAME)
    if name is None:
        status, value = create()
        body = orjson.dumps(value)
    else:
        status, body = _kept(call, name, create, keep)
    extra = headers(orjson.loads(body)) if headers else None
    return Response(body, status, extra, "application/json")


def _kept(
    call: ServerCall, name: str, create: Callable[[], tuple[int, Any]], keep: Keep | None
) -> tuple[int, bytes]:
    store, key_id = call.services.store, call.caller.key_id
    url = call.request.url
    request = [call.request.method, url.path, url.query, call.body]
    told = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    digest = hmac.digest(call.services.reader.secret(), told, "sha256")
    with store.write() as connection:
        kept = idempotency.begin(connection, key_id, name, digest)
    if kept is not None:
        status, body = kept
        return (status, body) if keep is None else (status, _again(keep, body))
    try:
        status, value = create()
    except BaseException:
        with store.write() as connection:
            idempotency.drop(connection, key_id, name)
        raise
    body = orjson.dumps(value)
    noted = body if keep is None else orjson.dumps(keep.reference(value))
    with store.write() as connection:
        idempotency.end(connection, key_id, name, status, noted)
    return status, body


def _again(keep: Keep, reference: bytes) -> bytes:
    return orjson.dumps(keep.answer(orjson.loads(reference)))
