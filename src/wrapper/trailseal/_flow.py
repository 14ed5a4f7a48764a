"""Calls of several steps, written once, without I/O; and the two drivers that run them.

1. A flow is a generator. It yields an `Attempt`, is told its `Outcome`, and returns its result or
   raises an error of ours. It reads no clock, opens nothing and sleeps never.
2. A driver does what an attempt says: it waits, sends, and hands back the outcome. It decides
   nothing. `run` and `arun` are the same lines, once blocking and once awaiting.
3. One deadline for the whole call: an attempt that cannot begin before it is not made; its
   outcome is a `TimeoutError` with `expired=True`, at which every flow ends.
4. A streamed body goes to a `Sink`, which sees status and headers first: a 200 in answer to a
   Range request must start the file again, never be appended to it.

After httpx's `auth_flow` and psycopg's `generators` with `waiting`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from trailseal.errors import ConfigurationError, TransportError, from_transport

T = TypeVar("T")
NO_UNICODE = "A text is no Unicode: it holds a lone surrogate, which cannot be sent."


class Content(Protocol):
    """A body too large for memory: read in pieces, and from its beginning for each try."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces."""
        ...


class Request:  # plain, as `Response`: a frozen dataclass takes three times as long to make
    """One HTTP request, which nobody changes; `url` is a path below the base URL, already escaped.

    A whole URL instead names another place, which is told neither the API key nor more headers.
    """

    __slots__ = ("content", "headers", "method", "params", "url")

    def __init__(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | Content | None = None,
    ) -> None:
        self.method, self.url, self.content = method, url, content
        self.params: Mapping[str, Any] = {} if params is None else params
        self.headers: Mapping[str, str] = {} if headers is None else headers

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.url.partition('?')[0]!r})"  # a query may permit


class Response:
    """One answer; header names are lower case; `content` is empty where a sink took the body."""

    __slots__ = ("content", "headers", "status")

    def __init__(
        self, status: int, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> None:
        self.status, self.content = status, content
        self.headers: Mapping[str, str] = {} if headers is None else headers

    def __repr__(self) -> str:
        return f"Response({self.status})"


class Sink(Protocol):
    """Takes the body of a 2xx answer in pieces, so that memory stays constant."""

    def begin(self, head: Response) -> None:
        """Prepare for the body that follows this status and these headers."""

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""


class Attempt(NamedTuple):
    """The only thing a flow may ask for: wait `after` seconds, then send `request`."""

    request: Request
    after: float = 0.0
    sink: Sink | None = None


Outcome = Response | TransportError
Flow = Generator[Attempt, Outcome, T]
Send = Callable[[Attempt, float], Outcome]  # the float is how many seconds are left
AsyncSend = Callable[[Attempt, float], Awaitable[Outcome]]


def run(
    flow: Flow[T],
    send: Send,
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Run a flow to its end within `timeout` seconds; return or raise what it does."""
    deadline = clock() + timeout
    try:
        attempt = next(flow)
        while True:  # bounded by the flow, and by the deadline, at which a flow must end
            outcome: Outcome = _too_late(timeout)
            if clock() + attempt.after < deadline:
                if attempt.after:
                    sleep(attempt.after)
                outcome = send(attempt, deadline - clock())
            attempt = flow.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except UnicodeEncodeError as error:
        raise ConfigurationError(NO_UNICODE) from error
    finally:
        flow.close()


async def arun(
    flow: Flow[T],
    send: AsyncSend,
    *,
    timeout: float,  # noqa: ASYNC109  # the deadline is a rule of the call, the same on both sides
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> T:
    """Run a flow to its end within `timeout` seconds; return or raise what it does."""
    import asyncio  # noqa: PLC0415  # a fifth of what importing the blocking client costs

    deadline, sleep = clock() + timeout, sleep or asyncio.sleep
    try:
        attempt = next(flow)
        while True:  # bounded by the flow, and by the deadline, at which a flow must end
            outcome: Outcome = _too_late(timeout)
            if clock() + attempt.after < deadline:
                if attempt.after:
                    await sleep(attempt.after)
                outcome = await send(attempt, deadline - clock())
            attempt = flow.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except UnicodeEncodeError as error:
        raise ConfigurationError(NO_UNICODE) from error
    finally:
        flow.close()


def _too_late(timeout: float) -> TransportError:
    return from_transport("deadline", f"the call's deadline of {timeout:g} s has passed")
