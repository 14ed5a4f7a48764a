"""What is around every request: its id, problem documents, the access log, metrics.

Rules:
- Every answer carries `Request-Id`: the request's own if it is 1-128 printable ASCII characters,
  else a new one. Every error is a problem document; what nobody foresaw is `internal_error`, logged
  with an account of its traceback (failures.py) and told to nobody.
- `%2F` in a path is a part of its segment, no separator: it stays escaped for the router, and no
  id of the contract has a `%`.
- The access log (`trailseal.server.access`) has method, path, status, milliseconds, operation, key
  id and request id: no query, no header, no body.
"""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import unquote

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import account, problem_of
from .problems import PROBLEM_TYPE, Problem

_PROCESS = secrets.token_hex(8)  # random once: a request id must be unique, not unguessable
_numbers = itertools.count(1)
_SLASH = re.compile("%2f", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_access = logging.getLogger("trailseal.server.access")
_log = logging.getLogger("trailseal.server")

Observe = Callable[[str, int, float], object]  # operation, status, seconds


class Edge:
    """An application with all that around it; `observe` is told operation, status and seconds."""

    def __init__(self, app: ASGIApp, observe: Observe = lambda *_: None) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if b"%2" in scope["raw_path"]:
            scope["path"] = unquote(_SLASH.sub("%252F", scope["raw_path"].decode("ascii")))
        began, status, request_id = time.perf_counter(), 0, _request_id(scope)

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Problem as problem:
            await self._refuse(problem, status, request_id, scope, receive, tagged)
        except Exception as error:  # noqa: BLE001 - the last place that can answer at all
            _log.error("request %s failed\n%s", request_id, account(error))
            await self._refuse(problem_of(error), status, request_id, scope, receive, tagged)
        finally:
            operation, key_id = scope.get("trailseal", ("-", "-"))
            spent = (time.perf_counter() - began) * 1000
            self._observe(operation, status, spent / 1000)
            if _access.isEnabledFor(logging.INFO):
                line = (
                    scope["method"],
                    scope["path"],
                    status,
                    spent,
                    operation,
                    key_id,
                    request_id,
                )
                _access.info("%s %s %d %.1fms %s %s %s", *line)

    async def _refuse(  # noqa: PLR0917 - what ASGI needs to answer
        self,
        problem: Problem,
        status: int,
        request_id: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if status:
            # The answer has begun: break off the connection. What uvicorn logs has no content.
            raise ConnectionAbortedError(f"an answer broke off: {problem.code}") from None
        await problem_response(problem, scope["path"], request_id)(scope, receive, send)


def problem_response(problem: Problem, path: str, request_id: str) -> Response:
    """The problem document as an answer."""
    headers = dict(problem.headers)
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    body = orjson.dumps(problem.as_json(instance=path, request_id=request_id))
    return Response(body, problem.status, headers, PROBLEM_TYPE)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"request-id":
            text = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return str(text)
    return f"req_{_PROCESS}{next(_numbers):x}"
