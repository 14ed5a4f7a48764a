"""Whose turn it is to take a connection, of several processes on one listening socket.

Rules:
- The process with the fewest open connections takes the next. Left to themselves, whoever is awake
  takes all that wait: of eight connections five and three, and one core stands still.
- One that has more waits for the others, in small steps and for at most PATIENCE_S: then it takes
  the connection all the same, and for REST_S all others: whoever let it wait may hang.
- Each process publishes its number; one that does not serve (yet, or any more) is not waited for.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

from .failures import account

BACKLOG = 2048  # connections that the system keeps for us, as uvicorn asks for
PATIENCE_S = 0.05  # whoever computes in threads gets to its event loop within some 20 ms
STEP_S = 0.002
REST_S = 1.0
SOME = 16  # one more connection for each so many is no difference worth a wait
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_S = 1.0  # before it is tried again, as asyncio waits

_ABSENT = -1
_log = logging.getLogger("trailseal.server")


class Turns:
    """The open connections of each of `processes`; made in one process, given to its children."""

    def __init__(self, processes: int) -> None:
        self._open = get_context("spawn").RawArray("q", [_ABSENT] * processes)

    def publish(self, process: int, connections: int) -> None:
        """So many are open in a process."""
        self._open[process] = connections

    def withdraw(self, process: int) -> None:
        """It takes no connections."""
        self._open[process] = _ABSENT

    def has_more(self, process: int) -> bool:
        """Whether another one should take the next."""
        mine: int = self._open[process]
        fewest = min((each for each in self._open if each != _ABSENT), default=mine)
        return mine - fewest > mine // SOME


class Turn:
    """One process's part: takes connections when it is its turn."""

    def __init__(self, turns: Turns, process: int) -> None:
        self._turns, self._process = turns, process
        self._taking: asyncio.Task[None] | None = None
        self._patient_from = 0.0  # by the loop's clock

    def start(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
    ) -> None:
        """Take connections of a bound socket until `stop`; `connections` counts those open now."""
        listener.listen(BACKLOG)
        listener.setblocking(False)
        self._connections = connections
        self._taking = asyncio.create_task(self._take(listener, protocol))
        self._taking.add_done_callback(self._ended)
        self.publish()

    def publish(self) -> None:
        """Tell the others how many are open; to be called every now and then."""
        if self._taking and not self._taking.done():
            self._turns.publish(self._process, self._connections())

    async def stop(self) -> None:
        """Take no more."""
        if self._taking:
            self._taking.cancel()
            await asyncio.wait([self._taking])

    def _ended(self, taking: asyncio.Task[None]) -> None:
        self._turns.withdraw(self._process)
        if not taking.cancelled() and (error := taking.exception()) is not None:
            _log.error("no more connections are taken\n%s", account(error))

    async def _take(self, listener: socket.socket, protocol: Callable[[], Any]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await _readable(listener)
            await self._others_first()
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    _log.error("no connection can be taken: %s", error.strerror)
                    await asyncio.sleep(EXHAUSTED_S)
                continue  # another took it, or its client is gone
            made = asyncio.ensure_future(loop.connect_accepted_socket(protocol, connection))
            try:
                await asyncio.shield(made)
            except asyncio.CancelledError:
                await asyncio.wait([made])  # taken is taken: it ends as all others do
                if made.exception() is not None:
                    connection.close()
                raise
            except Exception as error:  # noqa: BLE001 - the next one is taken all the same
                connection.close()
                if not isinstance(error, OSError):  # its client is not just gone
                    _log.error("a connection failed\n%s", account(error))
            self.publish()

    async def _others_first(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._patient_from:
            return
        for _ in range(round(PATIENCE_S / STEP_S)):
            if not self._turns.has_more(self._process):
                return
            await asyncio.sleep(STEP_S)
        self._patient_from = loop.time() + REST_S


async def _readable(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(listener, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(listener)
