"""Watching what a client does: functions of yours that are told of requests, retries and answers.

    client = trailseal.Client(hooks=[Hooks(on_retry=lambda retry: print(retry.wait, retry.error))])

1. A hook gets a frozen dataclass: it watches, it changes nothing. No payload, secret or query
   string is in it; ids that stand in a path are.
2. Hooks run in the calling thread, under asyncio in the event loop: they must not block.
3. A hook that raises is logged as a warning, and the call goes on: watching breaks no audit log.
4. `on_request` alone may answer with headers to add, such as `traceparent`.

`trailseal.integrations.opentelemetry` is built on this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trailseal.errors import ApiError, ConfigurationError

_log = logging.getLogger("trailseal")


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One try is about to be sent. `attempt` counts from 0; tries of a call share `request_id`."""

    method: str
    path: str
    request_id: str
    attempt: int
    size: int  # bytes of the body


@dataclass(frozen=True, slots=True)
class RetryInfo:
    """Another try was decided on: after `wait` seconds, because of `error`."""

    method: str
    path: str
    request_id: str
    attempt: int  # the number of the try to come
    wait: float
    error: ApiError


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    """One try has ended: with a `status`, or without an answer and with an `error`."""

    method: str
    path: str
    request_id: str
    attempt: int
    status: int | None
    error: str | None  # the class of the error, such as `ConnectError`
    seconds: float  # from sending to the last byte
    size: int  # bytes of the answer in memory; 0 where it was streamed to a file


@dataclass(frozen=True, slots=True)
class Hooks:
    """What to call; each may be left out."""

    on_request: Callable[[RequestInfo], Mapping[str, str] | None] | None = None
    on_retry: Callable[[RetryInfo], object] | None = None
    on_response: Callable[[ResponseInfo], object] | None = None


def check_hooks(hooks: Hooks | Iterable[Hooks]) -> tuple[Hooks, ...]:
    """Return hooks as a tuple; raises `ConfigurationError` for anything else."""
    several = hooks if isinstance(hooks, Iterable) else (hooks,)
    given = tuple(several)
    if not all(isinstance(one, Hooks) for one in given):
        raise ConfigurationError("hooks must be Hooks(on_request=…, on_retry=…, on_response=…).")
    return given


def tell(hooks: Iterable[Hooks], name: str, info: object) -> dict[str, str]:
    """Call every hook of a name; return the headers that they answered."""
    headers: dict[str, str] = {}
    for one in hooks:
        function: Callable[[Any], Any] | None = getattr(one, name)
        if function is None:
            continue
        try:
            answer = function(info)
            if name == "on_request" and answer:
                headers.update(answer)
        except Exception as error:  # noqa: BLE001  # whatever a hook does, the call goes on
            _log.warning("a hook %s failed: %s", name, type(error).__name__)
    return headers
