"""What the writer's thread gives to the event loop: many results by one wake-up.

`asyncio.wrap_future` wakes the loop for each of them, and every time two threads then want the
interpreter's lock: with 64 clients, a fifth of what a small request took.
"""

import asyncio
from collections import deque
from typing import Any


class Handoff:
    """To one event loop, in the order in which results are given."""

    def __init__(self) -> None:
        self._given: deque[Reply] = deque()
        self._woken = False

    def reply(self) -> "Reply":
        """A place for one result; to be called on the event loop."""
        return Reply(self)

    def give(self, reply: "Reply") -> None:
        """From any thread: wake who waits for a reply, soon."""
        self._given.append(reply)
        if not self._woken:
            self._woken = True
            try:
                reply.future.get_loop().call_soon_threadsafe(self._settle)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._given.clear()
                self._woken = False

    def _settle(self) -> None:
        self._woken = False  # before the first is taken: what is given from now on wakes again
        while self._given:
            self._given.popleft().settle()


class Reply:
    """What one caller waits for: await `future` on the event loop. Takes a result or an exception
    in any thread, as a `concurrent.futures.Future` does."""

    __slots__ = ("_error", "_handoff", "_result", "future")

    def __init__(self, handoff: Handoff) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._handoff = handoff
        self._result: Any = None
        self._error: BaseException | None = None

    def set_result(self, result: Any) -> None:
        self._result = result
        self._handoff.give(self)

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._handoff.give(self)

    def settle(self) -> None:
        """On the event loop: the future is done, unless its caller is gone."""
        if self.future.done():
            return
        if self._error is not None:
            self.future.set_exception(self._error)
            self.future.exception()  # whoever asked may be gone: no line in the log about that
        else:
            self.future.set_result(self._result)
