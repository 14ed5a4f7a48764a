"""The server as an ASGI application, and the ways to run it.

Rules:
- Paths without parameters are looked up at once and go past Starlette's router and middleware,
  which would be a twentieth of a small request.
- The lifespan opens the store and starts its threads. SIGTERM ends it all within
  `SHUTDOWN_DEADLINE`: requests that wait for something answer at once, the others are finished,
  what was accepted is written, and the process exits with 0.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, NamedTuple

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import api, contract
from .bodies import EVENT, item_validator
from .edge import Edge, Observe
from .limits import ANSWER_DEADLINE, MAX_CONNECTIONS, MAX_THREADS, SHUTDOWN_DEADLINE
from .memory import bound_arenas
from .problems import Problem
from .services import Services, bootstrap
from .settings import Settings
from .signer import Signer
from .store import Store
from .turns import Turn
from .workers import Configure, run_workers

GC_THRESHOLD = 100_000  # objects more than before; batches hold many, few of them in a cycle
SWITCH_S = 0.001  # a writer that waits for the interpreter holds a log's lock; 5 ms as it comes
START_DEADLINE = 30.0  # seconds for a server in a thread: it may have to migrate its database

_log = logging.getLogger("trailseal.server")


class Running(NamedTuple):
    """A server that runs: its base URL, and the first key if this start made it."""

    url: str
    key: str | None


def create_app(settings: Settings) -> Starlette:
    """The application; it opens nothing before its lifespan begins."""
    document = contract.load()
    served = contract.functions()
    operations = contract.operation_ids(document)
    validate = item_validator(EVENT, document["components"])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = MAX_THREADS
        store = Store.open(settings.database_url)
        unsupported = sorted(operations - served.keys())
        services = Services.open(settings, store, validate, contract.limits(document), unsupported)
        app.state.services = services
        services.start()
        try:
            yield
        finally:
            services.stop(SHUTDOWN_DEADLINE - ANSWER_DEADLINE)

    async def authenticate(request: Request) -> Any:
        services = request.app.state.services
        caller = await services.authenticate(request)
        services.rates.take(caller.key_id)
        return caller

    routes = contract.routes(document, served, authenticate)

    def observe(operation: str, status: int, seconds: float) -> None:
        application.state.services.metrics.request(operation, status, seconds)

    application = _Application(
        fixed=routes.fixed,
        observe=observe,
        routes=[*routes.others, *api.tlog.ROUTES],
        middleware=[Middleware(Edge, observe)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _from_starlette},
    )
    return application


class _Application(Starlette):
    """Starlette, and the fixed paths beside it."""

    def __init__(self, *, fixed: Mapping[str, ASGIApp], observe: Observe, **options: Any) -> None:
        super().__init__(**options)
        self._fixed = {path: Edge(endpoint, observe) for path, endpoint in fixed.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._fixed.get(scope["path"]) if scope["type"] == "http" else None
        if found is None or b"%" in scope["raw_path"]:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await found(scope, receive, send)


def serve(
    settings: Settings, announce: Callable[[Running], object], *, new_key: bool = False
) -> None:
    """Run the server until SIGINT or SIGTERM. `announce` is called once it answers, with the first
    key if this start made it, or another one with `new_key`. Prints nothing itself.

    Raises OSError if the address cannot be taken or the database cannot be opened, ValueError
    for settings that cannot work, RuntimeError if one of several processes does not start.
    """
    with listening(settings) as (listener, url):
        key = _key(settings, new_key=new_key)
        _serve(settings, listener, lambda: announce(Running(url, key)))


def run(settings: Settings, configure: Configure = bool) -> None:
    """Run the server until SIGINT or SIGTERM, for a supervisor: it makes no key, and only logs.
    `configure` is called at the start of each further process, for its logging.

    Raises as `serve` does; uvicorn exits with 3 if the application cannot start.
    """
    with _checked(settings):
        pass
    with listening(settings) as (listener, url):
        _serve(settings, listener, lambda: _log.info("listens on %s", url), configure)


def _serve(
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[], object],
    configure: Configure = bool,
) -> None:
    if settings.workers > 1:
        run_workers(settings, listener, announce, configure)
    else:
        work(settings, listener, announce)


def work(
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[], object],
    turn: Turn | None = None,
) -> None:
    """One server in a process of its own, until SIGINT or SIGTERM. `turn`: one of several."""
    bound_arenas()
    gc.freeze()  # what is loaded now stays
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_S)
    Server(settings, announce, turn).run([listener])


class Server(uvicorn.Server):
    """A server that says when it has started, and ends waiting requests when it stops."""

    def __init__(
        self,
        settings: Settings,
        announce: Callable[[], object] = lambda: None,
        turn: Turn | None = None,
    ) -> None:
        self._app = create_app(settings)
        self._announce = announce
        self._turn = turn
        super().__init__(_config(settings, self._app))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([] if self._turn else sockets)
        if self._turn and sockets and self.started:
            self._turn.start(sockets[0], self._protocol, lambda: len(self.server_state.connections))
        if self.started:
            self._announce()

    async def on_tick(self, counter: int) -> bool:
        if self._turn:
            self._turn.publish()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.services.stopping.set()
        if self._turn:
            await self._turn.stop()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """What speaks HTTP on one connection, as uvicorn makes it."""
        made: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM:  # asked for: the exit code is 0, not that of a killed process
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """A server in a thread, on a free port if the settings' port is 0; stopped with the block.

    Raises RuntimeError if it does not start within `START_DEADLINE` seconds.
    """
    with listening(settings) as (listener, url):
        key = _key(settings, new_key=False)
        server = Server(settings)
        thread = threading.Thread(target=server.run, args=([listener],), name="trailseal-server")
        thread.start()
        try:
            _await_start(server, thread)
            yield Running(url, key)
        finally:
            server.should_exit = True
            thread.join(2 * SHUTDOWN_DEADLINE)


@contextmanager
def listening(settings: Settings) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket and its URL: the port is known, and taken, before the server runs."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol must be named: asyncio turns Nagle's algorithm off (40 ms an answer) only for
    # sockets that say they are TCP.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        yield listener, f"http://{host}:{listener.getsockname()[1]}"


async def _from_starlette(_request: Request, error: Exception) -> Response:
    """The framework's own refusals: an unknown route, a method that `/tlog` does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    if error.status_code == 405:
        raise Problem("method_not_allowed", "Only GET is allowed here", headers=error.headers)
    raise Problem("route_not_found", "There is no such route; see the contract for those there are")


def _key(settings: Settings, *, new_key: bool) -> str | None:
    with _checked(settings) as store:
        return bootstrap(store, again=new_key)


@contextmanager
def _checked(settings: Settings) -> Iterator[Store]:
    """The store, for a moment: a wrong database or signing key is refused while it can be told."""
    store = Store.open(settings.database_url)
    try:
        Signer.open(store, settings.key_file, settings.origin_prefix)
        yield store
    finally:
        store.close()


def _config(settings: Settings, app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=ANSWER_DEADLINE,
        lifespan="on",
        proxy_headers=False,  # nobody asks for the client's address
    )


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    end = time.monotonic() + START_DEADLINE
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise RuntimeError("the server did not start; its log says why")
        time.sleep(0.01)
