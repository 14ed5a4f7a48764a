"""`AuditLog`: a server of a test's own, clients of it, and what was logged."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Self

from trailseal import config
from trailseal._audit import Audit
from trailseal._models import Event
from trailseal.async_client import AsyncClient
from trailseal.client import Client
from trailseal.testing import _match
from trailseal.testing._bridge import URL, Bridge, Fault, Server
from trailseal.testing._clock import Frozen

FLUSH_SECONDS = 10.0  # for an Audit of ours, before events are looked at
POLL_SECONDS = 0.02


class AuditLog:
    """The real server in this process, for one test.

    `url` and `key` are its address and an API key that may do everything; `transport` is for
    clients that you make yourself: `Client(log.url, log.key, http_transport=log.transport)`;
    `state_file` is where they remember checkpoints.

    Raises:
        ConfigurationError: The extra `[server]` is not installed.
    """

    __module__ = "trailseal.testing"  # as it is imported

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._server = Server()
        self._stack.callback(self._server.close)
        self.url, self.key = URL, self._server.key
        self.state_file = self._server.state_file
        self.transport = Bridge(self._server)
        self._inspector = self._made(Client, Bridge(self._server))  # which no fault meets
        self._stack.callback(self._inspector.close)
        self._client: Client | None = None
        self._audits: list[Audit] = []
        self._claimed: set[tuple[str, int]] = set()
        self._clock: Frozen | None = None
        self._connection = config.connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and all that was made here; time goes on."""
        self.unfreeze()
        self._stack.close()

    # ---------------------------------------------------------------- clients

    @property
    def client(self) -> Client:
        """A blocking client; closed with the log."""
        if self._client is not None:
            return self._client
        made: Client = self._made(Client, self.transport)
        self._stack.callback(made.close)
        self._client = made
        return made

    def async_client(self, **options: Any) -> AsyncClient:
        """An asynchronous client, for one event loop; yours to close."""
        made: AsyncClient = self._made(AsyncClient, self.transport, **options)
        return made

    def audit(self, **options: Any) -> Audit:
        """An `Audit` with a temporary spool; it is flushed before events are looked at."""
        if "spool" not in options and options.get("delivery", "durable") == "durable":
            folder = tempfile.TemporaryDirectory(prefix="trailseal-test-")
            self._stack.callback(folder.cleanup)
            options["spool"] = folder.name
        audit = Audit(self.client, **options)
        self._audits.append(audit)
        self._stack.callback(audit.close, 0.1)
        return audit

    def _made(self, kind: Any, transport: Bridge, **options: Any) -> Any:
        options.setdefault("state_file", self.state_file)
        return kind(self.url, self.key, http_transport=transport, disabled=False, **options)

    def connection(self, **options: Any) -> config.Connection:
        """`config.connection` whose clients reach this server, unless they bring their own way."""
        if options.get("http_client") is None and options.get("http_transport") is None:
            options |= {"http_transport": self.transport, "proxy": None}
        return self._connection(**options)

    # ------------------------------------------------------------ what was logged

    @property
    def events(self) -> list[Event]:
        """All events of all logs of this server, in the order they were received."""
        for audit in self._audits:
            audit.flush(FLUSH_SECONDS)
        found = [
            event
            for log_id in self._log_ids()
            for event in self._inspector.query(order="asc", limit=1000, log_id=log_id)
        ]
        return sorted(found, key=lambda e: (str(e.raw["received_at"]), e.raw["index"]))

    def _log_ids(self) -> list[str]:
        from trailseal_api.api.logs import list_logs  # noqa: PLC0415  # one use

        page: Any = list_logs.sync(client=self._inspector.api, limit=1000)
        return [log.log_id for log in page.items]

    def take(self) -> list[Event]:
        """The events that were neither asserted nor taken yet; they are taken now."""
        found = self._left()
        self._claimed |= {_place(event) for event in found}
        return found

    def _left(self) -> list[Event]:
        return [event for event in self.events if _place(event) not in self._claimed]

    def assert_logged(self, action: Any = None, *, within: float = 0.0, **partial: Any) -> Event:
        """Find an event with this action and these fields, that no assertion has found before.

        Fields are those of `log`, and partial: what you do not name may be anything. `within` is
        how many seconds to wait for it. Returns the event; raises `AssertionError`, which shows
        the nearest event and what is different.
        """
        __tracebackhide__ = True
        want = _match.wanted(action, partial)
        deadline = time.monotonic() + within
        while True:
            left = self._left()
            for event in left:
                if not _match.differences(want, event.raw):
                    self._claimed.add(_place(event))
                    return event
            if time.monotonic() >= deadline:
                raise AssertionError(_match.nothing_matches(want, [each.raw for each in left]))
            time.sleep(POLL_SECONDS)

    def assert_not_logged(self, action: Any = None, **partial: Any) -> None:
        """Refuse any event, asserted or not, with this action and these fields."""
        __tracebackhide__ = True
        want = _match.wanted(action, partial)
        found = [each.raw for each in self.events if not _match.differences(want, each.raw)]
        if found:
            raise AssertionError("\n".join(_match.listing("that should not be there", found)))

    def assert_nothing_else(self) -> None:
        """Refuse events that no assertion has found."""
        __tracebackhide__ = True
        if left := [event.raw for event in self._left()]:
            raise AssertionError("\n".join(_match.listing("logged that nothing asserted", left)))

    # ------------------------------------------------------------------ trouble

    def fail_next(
        self, status: int = 503, times: int = 1, *, lost: bool = False, retry_after: float = 0.0
    ) -> None:
        """Have the next requests fail, of all clients together: retries count.

        They are answered with `status` and not done. With `lost` they are done, and the answer is
        lost on its way: the case for which events have ids. `retry_after` is in seconds.
        """
        self.transport.faults.extend([Fault(status, lost, retry_after)] * times)

    def freeze(self, moment: str | datetime) -> Frozen:
        """Stop the clock of events, `occurred_at` and `received_at`, here and in the server.

        Returns the clock: `.tick(seconds)`, `.set(moment)`. It goes on with `unfreeze`, or when the
        log is closed.
        """
        if self._clock is None:
            self._clock = Frozen(moment).start()
        else:
            self._clock.set(moment)
        return self._clock

    def unfreeze(self) -> None:
        """Let time go on."""
        if self._clock is not None:
            self._clock.stop()
            self._clock = None


def _place(event: Event) -> tuple[str, int]:
    return str(event.raw["log_id"]), int(event.raw["index"])
