"""Lines that break: a loopback proxy before a real server, and a store of files that misbehaves."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

CONTENT = b"/content"  # of the path of an export's bytes
PIECE = 16 << 10  # bytes that the proxy hands on at a time
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Line:
    """A proxy on `url` to a server's port.

    `limit(head)` is asked for each request with the bytes of its head: how many bytes of the
    answer may pass, None for all. Then the line is cut, by FIN or RST, or with `hold` it hangs:
    `holding` is set, and nothing more comes.
    """

    def __init__(self, port: int, limit: Callable[[bytes], int | None], *, hold: bool = False):
        self._port, self._limit, self._hold = port, limit, hold
        self.cuts = 0
        self.heads: list[bytes] = []
        self.holding = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for each in list(self._open):
            self._end(each)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open |= {near, far}
            left: list[int | None] = [None]
            for give, take, upward in ((near, far, True), (far, near, False)):
                arguments = (give, take, left, upward)
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(
        self, give: socket.socket, take: socket.socket, left: list[int | None], upward: bool
    ) -> None:
        with suppress(OSError):
            while piece := give.recv(PIECE):
                if upward and b" HTTP/1.1\r\n" in piece:
                    self.heads.append(piece)
                    left[0] = self._limit(piece)
                elif not upward and left[0] is not None:
                    if len(piece) >= left[0]:
                        take.sendall(piece[: left[0]])
                        self.cuts += 1
                        if self._hold:
                            self.holding.set()
                            return
                        if self.cuts % 2:
                            take.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        break
                    left[0] -= len(piece)
                take.sendall(piece)
        self._end(give)
        self._end(take)

    def _end(self, each: socket.socket) -> None:
        self._open.discard(each)
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


class Answers:
    """An HTTP server that answers what `respond(request)` writes, and remembers the headers."""

    def __init__(self, respond: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.seen: list[dict[str, str]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
                respond(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"


@contextmanager
def answering(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Answers]:
    """Run `Answers` for a while."""
    made = Answers(respond)
    thread = threading.Thread(target=made._server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made._server.shutdown()
        made._server.server_close()
        thread.join()


def after(most: int, what: bytes = CONTENT) -> Callable[[bytes], int | None]:
    """Let `most` bytes of each answer to a request for `what` pass."""
    return lambda head: most if what in head else None


def cut_at_random(count: int, most: int) -> Callable[[bytes], int | None]:
    """Cut the answers to the first `count` requests for content before `most` bytes."""
    left = [count]

    def limit(head: bytes) -> int | None:
        if CONTENT not in head or not left[0]:
            return None
        left[0] -= 1
        return random.randrange(most)  # noqa: S311 - no secret

    return limit
