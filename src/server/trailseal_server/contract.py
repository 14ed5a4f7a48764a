"""The contract kernel: `openapi.yaml` compiled into routes that refuse whatever it does not allow.

Rules:
- A function serves an operation when `@operation("createEvent")` names its operationId; an
  operation without a function answers 501. A function without an operation is an error at start.
- The order for each request: route (404), method (405), key (401), scope `x-scope` (403), is it
  built (501), `Accept` (406), parameters (400), body (400, 413, 415), schema (400; 422 for events).
- Where an array of the body says `x-validate-items-separately: true`, only the envelope is
  validated here; the items are, one by one, where they are taken in (bodies.py).
- Small bodies are parsed on the event loop, large ones and every synchronous function in a thread.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast

import yaml
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .auth import ANONYMOUS, Caller
from .bodies import Body
from .limits import INLINE_BYTES, MAX_BODY_BYTES, read_body
from .parameters import Parameters, merged
from .problems import PROBLEM_TYPE, Problem

S = TypeVar("S")
ANY_SCOPE = "any"  # every valid key
ADMIN_SCOPE = "admin"  # includes all others
METHODS = ("get", "put", "post", "delete", "patch")
_PARAMETER = re.compile(r"\{[^}]+\}")


@dataclass(frozen=True, slots=True)
class Call(Generic[S]):
    """One request that follows the contract, as the function that serves it sees it.

    `params` holds the parameters that were sent, by name; `body` the parsed JSON, or None.
    """

    request: Request
    services: S
    caller: Caller
    params: Mapping[str, Any]
    body: Any = None


Function = Callable[[Call[Any]], Response | Awaitable[Response]]
Authenticate = Callable[[Request], Awaitable[Caller]]
_functions: dict[str, Function] = {}
F = TypeVar("F", bound=Function)


def operation(operation_id: str) -> Callable[[F], F]:
    """Make a function the one that serves an operation. A synchronous one runs in a thread."""

    def register(function: F) -> F:
        if operation_id in _functions:
            raise ValueError(f"operation {operation_id} has two functions")
        _functions[operation_id] = function
        return function

    return register


def functions() -> dict[str, Function]:
    """The functions registered so far, by operationId."""
    return dict(_functions)


@cache
def load() -> dict[str, Any]:
    """The contract: beside this module in an installed wheel, `spec/` of the checkout otherwise."""
    here = Path(__file__).parent
    installed = here / "openapi.yaml"
    path = installed if installed.exists() else here.parents[2] / "spec" / "openapi.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast
    document: dict[str, Any] = yaml.load(path.read_bytes(), loader)  # noqa: S506 - both are safe loaders
    return document


def operation_ids(document: Mapping[str, Any]) -> set[str]:
    """The operationId of every operation."""
    return {spec["operationId"] for _, _, spec in _operations(document)}


def limits(document: Mapping[str, Any]) -> dict[str, int]:
    """The contract's limits, as `getCapabilities` shows them."""
    sizes = {
        spec["operationId"]: spec["requestBody"].get("x-max-bytes", MAX_BODY_BYTES)
        for _, _, spec in _operations(document)
        if "requestBody" in spec
    }
    schemas = document["components"]["schemas"]
    return {
        "event_bytes": sizes["createEvent"],
        "batch_events": schemas["EventBatch"]["properties"]["events"]["maxItems"],
        "batch_bytes": sizes["createEvents"],
        "upload_bytes": sizes["uploadContent"],
        "page_items": schemas["PageLimit"]["maximum"],
        "wait_seconds": document["components"]["parameters"]["WaitQuery"]["schema"]["maximum"],
    }


class Routes(NamedTuple):
    """The paths of the contract: those without parameters, and the others."""

    fixed: Mapping[str, ASGIApp]
    others: Sequence[BaseRoute]


def routes(
    document: Mapping[str, Any], served: Mapping[str, Function], authenticate: Authenticate
) -> Routes:
    """The paths of the contract, compiled; fixed ones come before those with parameters."""
    components = document.get("components", {})
    table: dict[str, dict[str, Operation]] = {}
    for path, method, spec in _operations(document):
        compiled = Operation(document["paths"][path], spec, components, served)
        table.setdefault(path, {})[method.upper()] = compiled
    known = {each.operation_id for methods in table.values() for each in methods.values()}
    if strangers := served.keys() - known:
        raise ValueError(f"functions without an operation: {', '.join(sorted(strangers))}")
    endpoints = {
        path: _Endpoint(table[path], authenticate) for path in sorted(table, key=_generality)
    }
    fixed = {path: each for path, each in endpoints.items() if not _PARAMETER.search(path)}
    others = [Route(path, each) for path, each in endpoints.items() if path not in fixed]
    return Routes(fixed, others)


class Operation:
    """One operation of the contract, with everything that it checks compiled."""

    def __init__(
        self,
        item: Mapping[str, Any],
        spec: Mapping[str, Any],
        components: Mapping[str, Any],
        served: Mapping[str, Function],
    ) -> None:
        self.operation_id: str = spec["operationId"]
        self.scope: str | None = spec.get("x-scope")
        self.public = not any(spec["security"])
        self.function = served.get(self.operation_id)
        self.is_async = inspect.iscoroutinefunction(self.function)
        self.parameters = Parameters(merged(item, spec, components), components)
        self.body = Body.compiled(spec.get("requestBody"), components)
        self.produces = _produces(spec, components)

    async def serve(self, request: Request, caller: Caller) -> Response:
        """Check the request and call the function; raises `Problem`."""
        self._permit(caller)
        if self.function is None:
            detail = f"This server does not do {self.operation_id} yet; see getCapabilities"
            raise Problem("operation_unsupported", detail)
        self._negotiate(request)
        params = self.parameters.read(request)
        body = await self._read(request)
        call = Call(request, request.app.state.services, caller, params, body)
        function: Any = self.function
        if self.is_async:
            return cast("Response", await function(call))
        return cast("Response", await run_in_threadpool(function, call))

    def _permit(self, caller: Caller) -> None:
        if self.scope in {None, ANY_SCOPE} or {self.scope, ADMIN_SCOPE} & caller.scopes:
            return
        raise Problem("permission_denied", f"This needs a key with the scope {self.scope}")

    def _negotiate(self, request: Request) -> None:
        accepts = request.headers.get("accept", "*/*")
        if (
            accepts != "*/*"
            and self.produces
            and not any(_matches(accepts, t) for t in self.produces)
        ):
            raise Problem("not_acceptable", f"This answers {' or '.join(sorted(self.produces))}")

    async def _read(self, request: Request) -> Any:
        if self.body is None:
            return None
        self.body.check_type(request.headers.get("content-type"))
        if not self.body.is_json:
            return None  # the function streams it
        text = await read_body(request, self.body.limit, self.body.too_large)
        if len(text) <= INLINE_BYTES:
            return self.body.parse(text)
        return await run_in_threadpool(self.body.parse, text)


class _Request(Request):
    """A request whose headers are found in a dictionary: they are asked for some ten times."""

    @property
    def headers(self) -> Headers:
        if not hasattr(self, "_headers"):
            self._headers = _Headers(raw=self.scope["headers"])
        return self._headers


class _Headers(Headers):
    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._first = dict(reversed(raw))  # names in lower case, as ASGI says

    def get(self, key: str, default: Any = None) -> Any:
        found = self._first.get(key.lower().encode("latin-1"))
        return default if found is None else found.decode("latin-1")


class _Endpoint:
    """All operations of one path, as an ASGI application."""

    def __init__(self, methods: dict[str, Operation], authenticate: Authenticate) -> None:
        self._methods = methods
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(scope, receive, send)
        chosen = self._methods.get(request.method)
        if chosen is None:
            allowed = ", ".join(sorted(self._methods))
            raise Problem(
                "method_not_allowed", f"Allowed here: {allowed}", headers={"Allow": allowed}
            )
        caller = ANONYMOUS if chosen.public else await self._authenticate(request)
        scope["trailseal"] = (chosen.operation_id, caller.key_id)  # for the access log
        response = await chosen.serve(request, caller)
        await response(scope, receive, send)


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and specification of every operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _generality(path: str) -> list[tuple[bool, str]]:
    """Sorts a fixed segment before a parameter at the same place."""
    return [(bool(_PARAMETER.search(part)), part) for part in path.split("/")]


def _produces(spec: Mapping[str, Any], components: Mapping[str, Any]) -> frozenset[str]:
    """The media types of an operation's successes."""
    types: set[str] = set()
    for status, response in spec["responses"].items():
        if "$ref" in response:
            response = components["responses"][response["$ref"].rpartition("/")[2]]  # noqa: PLW2901 - the same response, found
        if str(status).startswith("2"):
            types.update(response.get("content", {}))
    return frozenset(types)


def _matches(accepts: str, produced: str) -> bool:
    """Whether an Accept header (RFC 9110, section 12.5.1) takes a media type."""
    for part in accepts.split(","):
        wanted, *options = (each.strip().lower() for each in part.split(";"))
        if any(re.fullmatch(r"q=0(\.0*)?", option) for option in options):
            continue
        kind, _, subtype = wanted.partition("/")
        if wanted in {produced, PROBLEM_TYPE} or kind == "*":
            return True
        if subtype == "*" and produced.startswith(f"{kind}/"):
            return True
    return False
