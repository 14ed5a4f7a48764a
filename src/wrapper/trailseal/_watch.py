"""Telling hooks and the debug log of one try, whatever becomes of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trailseal._flow import Outcome, Request, Response
from trailseal.config import check_headers
from trailseal.errors import TransportError

if TYPE_CHECKING:
    from trailseal.hooks import Hooks

_log = logging.getLogger("trailseal")


class Watch:
    """A context manager around one try; set `outcome` inside it."""

    def __init__(self, hooks: tuple[Hooks, ...], request: Request) -> None:
        self._hooks = hooks
        self._attempt = int(request.headers.get("Retry-Attempt", "0"))
        self._id = request.headers.get("Request-Id", "")
        self._method, self._path = request.method, shown(request.url)
        content = request.content
        self._size = len(content) if isinstance(content, bytes) else content.size if content else 0
        self.outcome: Outcome | None = None
        self.headers: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        from trailseal.hooks import RequestInfo, tell  # noqa: PLC0415  # few have any

        info = RequestInfo(self._method, self._path, self._id, self._attempt, self._size)
        self.headers = check_headers(tell(self._hooks, "on_request", info))
        self._begun = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from trailseal.hooks import ResponseInfo, tell  # noqa: PLC0415  # as above

        seconds = time.monotonic() - self._begun
        outcome = self.outcome
        failed = outcome if isinstance(outcome, TransportError) else error
        info = ResponseInfo(
            self._method,
            self._path,
            self._id,
            self._attempt,
            status=outcome.status if isinstance(outcome, Response) else None,
            error=type(failed).__name__ if failed is not None else None,
            seconds=seconds,
            size=len(outcome.content) if isinstance(outcome, Response) else 0,
        )
        tell(self._hooks, "on_response", info)


def note(request: Request, outcome: Outcome) -> Outcome:
    """Write one line to the debug log: never a payload, a secret or a query."""
    if _log.isEnabledFor(logging.DEBUG):
        what = outcome.status if isinstance(outcome, Response) else outcome.args[0]
        _log.debug("%s %s: %s", request.method, shown(request.url), what)
    return outcome


def shown(url: str) -> str:
    """A URL as a log may show it: its query may be a signed permission."""
    return url.partition("?")[0]
