"""Stopping the clock of events, in the SDK and in the server of this process.

Only the modules that give events their times look at it; timeouts and retries go by another clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Self, cast

from trailseal.errors import ConfigurationError

READ_TIME = (  # modules that ask time.time_ns for an event's time
    "trailseal._ids",
    "trailseal.delivery.emitter",
    "trailseal_server.auth",
    "trailseal_server.prepare",
    "trailseal_server.store.micros",
)


class Frozen:
    """A clock that stands still until it is told to go on."""

    def __init__(self, moment: str | datetime) -> None:
        self._undo: list[tuple[Any, str, Any]] = []
        self.set(moment)

    @property
    def now(self) -> datetime:
        """Where it stands."""
        return self._now

    def set(self, moment: str | datetime) -> None:
        """Put it to another moment: RFC 3339, or an aware `datetime`."""
        try:
            found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        except ValueError:
            raise ConfigurationError(f"{moment!r} is no RFC 3339 time.") from None
        if found.tzinfo is None:
            raise ConfigurationError("The time needs a zone: 2026-01-01T00:00:00Z.")
        self._now = found.astimezone(UTC)

    def tick(self, seconds: float = 1.0) -> None:
        """Let this many seconds pass."""
        self._now += timedelta(seconds=seconds)

    def start(self) -> Self:
        """Put it in the place of the system's clock."""
        frozen = self

        class Clock:
            """`time`, but for one function."""

            def __getattr__(self, name: str) -> Any:
                return getattr(time, name)

            def time_ns(self) -> int:
                return (
                    int((frozen.now - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
                    * 1000
                )

        class Moment(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # a plain datetime
                return frozen.now.astimezone(tz)

        for name in READ_TIME:
            module = import_module(name)
            self._replace(module, "time", Clock())
        self._replace(import_module("trailseal._ids"), "datetime", Moment)
        return self

    def _replace(self, module: Any, name: str, value: object) -> None:
        self._undo.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def stop(self) -> None:
        """Let time go on."""
        while self._undo:
            module, name, value = self._undo.pop()
            setattr(module, name, cast("Any", value))
