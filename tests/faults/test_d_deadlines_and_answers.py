"""D7 to D9 of the promises: slow servers, cancelled calls, answers that no server should send."""

import asyncio
import gzip
import random
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from trailseal import errors

from .conftest import Count
from .loopback import RECEIPT, Engine, Loopback, engine, loopback, make_key, reply  # noqa: F401
from .servers import rounds

CANCELS = rounds(80, 500)
SLOW = rounds(1, 20)  # calls for each way to be slow
DEADLINE = 0.25  # seconds
SLACK = 0.25  # seconds: the promise
DRIP = 0.02  # seconds between two bytes
TURN = 0.01  # seconds: how often `Turns` looks
MEMORY = 64 << 20  # bytes: the promise
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Turns(threading.Thread):
    """Seconds in which this whole process did not get its turn on a busy machine.

    Whoever waits in the client lets this thread run, so that no slowness of ours is taken for it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.missed, self._end = 0.0, threading.Event()

    def run(self) -> None:
        before = time.monotonic()
        while not self._end.wait(TURN):
            now = time.monotonic()
            self.missed += now - before - TURN
            before = now

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()


def drips(at_once: bytes, dripped: bytes) -> Iterator[bytes]:
    yield at_once
    for byte in dripped:
        yield bytes([byte])


@pytest.mark.row("P-08", "L-16", "A-25")
@pytest.mark.parametrize(
    ("at_once", "dripped"),
    [
        (b"", b""),
        (b"", HEAD * 20),
        (HEAD + b"Content-Length: 9999\r\n\r\n", b"x" * 999),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 99),
        (HEAD + b"Content-Length: 9999\r\n\r\n" + b"x" * 500, b""),
    ],
    ids=["stalls", "drips-head", "drips-body", "drips-chunks", "stalls-in-body"],
)
def test_d7_no_server_holds_a_call_beyond_its_deadline(
    engine: Engine,  # noqa: F811
    at_once: bytes,
    dripped: bytes,
    trials: Count,
) -> None:
    """One deadline for the call, not one for each read."""

    def behave(connection: socket.socket, _request: bytes, number: int) -> bool:
        if number == 1:  # what loads at the first call has loaded
            connection.sendall(reply())
            return True
        for piece in drips(at_once, dripped):
            connection.sendall(piece)
            if server.end.wait(DRIP):
                break
        server.end.wait(5)
        return False

    with loopback(behave) as server:
        client = engine.client(server.url, timeout=DEADLINE)
        engine(client.with_options(timeout=10).log("d7"))
        for number in range(SLOW):
            with Turns() as turns:
                begun = time.monotonic()
                with pytest.raises(errors.TimeoutError):
                    engine(client.whoami())
                taken = time.monotonic() - begun
            assert taken <= DEADLINE + SLACK + turns.missed, number
    trials(SLOW)


@pytest.mark.row("P-08")
def test_d7_retries_and_their_waits_are_within_the_deadline(engine: Engine) -> None:  # noqa: F811
    """A server that asks to wait is not waited for longer than the call may take."""

    def refuse(connection: socket.socket, _request: bytes, _number: int) -> None:
        connection.sendall(reply(b"{}", 503, "Retry-After: 9"))

    with loopback(refuse) as server:
        client = engine.client(server.url, timeout=5, max_retries=50)
        begun = time.monotonic()
        with pytest.raises(errors.UnavailableError) as caught:
            engine(client.whoami())
        assert time.monotonic() - begun <= 5 + SLACK  # it ends at once
    assert caught.value.attempts == len(server.requests) == 1


@pytest.mark.row("P-14")
def test_d8_a_cancelled_call_leaves_nothing_behind(
    engine: Engine,  # noqa: F811
    trials: Count,
) -> None:
    """Cancelled at any moment: no task, no connection out of the pool, no open file."""
    if engine.name == "blocking":
        pytest.skip("a blocking call cannot be cancelled")
    chance = random.Random(8)  # noqa: S311  # the same each time

    def slow(connection: socket.socket, _request: bytes, _number: int) -> None:
        time.sleep(0.002)
        connection.sendall(reply()[:80])
        time.sleep(0.002)
        connection.sendall(reply()[80:])

    async def cancel_some(server: Loopback) -> int:
        client = engine.client(server.url, max_connections=2)
        cancelled = 0
        while cancelled < CANCELS:
            task = asyncio.create_task(client.log("d8"))
            await asyncio.sleep(chance.random() * 0.008)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
        calls = [client.with_options(timeout=5).log("d8") for _ in range(4)]
        assert len(await asyncio.gather(*calls)) == 4, "a connection was lost to the pool"
        await client.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return cancelled

    with loopback(slow) as server:
        before = _sockets(server)
        trials(engine(cancel_some(server)))
        engine(asyncio.sleep(0.05))
        assert _sockets(server) <= before


def _sockets(server: Loopback) -> int:
    """Established connections to a server, this process's own end."""
    port = f":{int(server.url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[2].endswith(port) and row[3] == "01")


def chunked(body: bytes) -> bytes:
    return (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    )


BOMB = gzip.compress(bytes(200 << 20), 9)
ODD = {
    "html-502": reply(b"<html>" * 1000, 502, "Server: proxy"),
    "status-520": reply(b"error code: 520", 520),
    "status-999": reply(b"{}", 999),
    "redirect": reply(b"", 302, "Location: http://evil.test/"),
    "no-content": HEAD.replace(b"200 OK", b"204 No") + b"\r\n",
    "empty": reply(b""),
    "list": reply(b"[1,2]"),
    "null": reply(b"null"),
    "nan": reply(b'{"a": NaN}'),
    "utf-16": reply('{"a": 1}'.encode("utf-16")),
    "deep": reply(b"[" * 100_000),
    "deep-object": reply(b'{"a":' * 100_000),
    "cut-json": reply(RECEIPT[:-9]),
    "cut-body": reply(RECEIPT)[:-9],
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "binary": bytes(range(256)) * 10,
    "bad-length": HEAD + b"Content-Length: -5\r\n\r\n",
    "two-lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "bad-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "endless-head": HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(200_000)),
    "gzip-bomb": reply(BOMB, 200, "Content-Encoding: gzip"),
    "gzip-lie": reply(RECEIPT, 200, "Content-Encoding: gzip"),
    "gzip-cut": reply(gzip.compress(RECEIPT)[:-4], 200, "Content-Encoding: gzip"),
    "brotli": reply(RECEIPT, 200, "Content-Encoding: br"),
    "huge": reply(b"1" * (40 << 20)),
    "huge-error": reply(b"1" * (40 << 20), 400),
}


@pytest.mark.row("L-16")
@pytest.mark.parametrize("name", ODD)
def test_d9_odd_answers_are_errors_of_ours_in_bounded_memory(
    engine: Engine,  # noqa: F811
    name: str,
    trials: Count,
) -> None:
    """Whatever a server or a proxy sends: a TrailSealError that prints, and at most 64 MB."""
    answer = ODD[name]

    def behave(connection: socket.socket, _request: bytes, _number: int) -> bool:
        connection.sendall(answer)
        return False

    with loopback(behave) as server:
        client = engine.client(server.url, max_retries=1, timeout=10)
        tracemalloc.start()
        try:
            with pytest.raises(errors.TrailSealError) as caught:
                engine(client.log("d9"))
            assert tracemalloc.get_traced_memory()[1] < MEMORY
        finally:
            tracemalloc.stop()
    text = str(caught.value)
    assert text.endswith("]")
    assert make_key() not in text
    assert all(b"127.0.0.1" in request for request in server.requests)
    trials(1)


@pytest.mark.parametrize(
    "body",
    [b"{}", RECEIPT.replace(b'"index":0', b'"index":"0"'), RECEIPT.replace(b'"main"', b"null")],
)
def test_d9_wrong_types_are_named_when_they_are_read(engine: Engine, body: bytes) -> None:  # noqa: F811
    """An answer that lacks what it must have says which member."""

    def behave(connection: socket.socket, _request: bytes, _number: int) -> None:
        connection.sendall(reply(body))

    with loopback(behave) as server:
        receipt = engine(engine.client(server.url).log("d9"))
        with pytest.raises(errors.UnexpectedResponseError, match=r"Receipt\.(index|log_id)"):
            _ = receipt.index, receipt.log_id
