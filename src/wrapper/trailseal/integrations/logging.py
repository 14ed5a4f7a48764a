"""The standard library's logging: records become events, by `dictConfig` or by hand.

    "handlers": {"audit": {
        "class": "trailseal.integrations.logging.AuditHandler",
        "level": "INFO",
        "spool": "/var/lib/myapp/audit",
    }}

    logger.info("invoice.deleted", extra={"audit": {"actor": "user_1", "resource": "inv_1"}})

1. A record with `audit`, a mapping of what `log` takes, `log_id` too, is an event. Its action is
   `audit["action"]`, and the record's text is the message; without it, the text is the action.
2. A record of Jupyter Events is an event: its action is the schema's id, its `data` the event.
3. Other records are none, unless `every_record` is set.
4. `occurred_at` is the record's time (not for an event with an id of its own), `severity` follows
   the level, a tag names the logger; an exception makes the outcome `failure`, with the name of its
   class as reason. `audit` wins over all of it.
5. Records of `trailseal`, `httpx` and `httpcore`, and those of the sending thread, are none: an
   event about sending events would never end.
6. Nothing is raised into the application. What cannot be accepted goes to `handleError`, which
   writes it to standard error, as handlers do.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from trailseal._audit import Audit, Delivery
from trailseal._ids import timestamp
from trailseal._models import Receipt
from trailseal.client import Client
from trailseal.delivery import OnFull, is_sending
from trailseal.delivery._options import EXIT_TIMEOUT
from trailseal.errors import ClosedError, ConfigurationError

OURS = frozenset({"trailseal", "httpx", "httpcore"})  # rule 5
MAX_ACTION = 256  # characters, of the contract
MAX_MESSAGE = 65_536
GAVE_UP = 0.1  # seconds for `close` after `flush` has waited in vain: servers that are down stay so
SEVERITIES = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "high"),
    (logging.WARNING, "medium"),
)
CAPSULE = ("__timestamp__", "__schema__", "__schema_version__")
_DOUBLE_ZONE = re.compile(r"([+-]\d\d:\d\d)Z")  # jupyter-events up to 0.12.1 writes both


class Log(Protocol):
    """What events can be given to: an `Audit`, a sink, a fake of yours."""

    @abstractmethod
    def log_event(self, event: Mapping[str, Any], *, log_id: str | None = None) -> Receipt:
        """Log an event."""

    @abstractmethod
    def flush(self, timeout: float = ...) -> bool:
        """Wait until it is settled."""

    @abstractmethod
    def close(self, timeout: float | None = None) -> bool:
        """Settle what can be, and end."""


class AuditHandler(logging.Handler):
    """Gives events to a `trailseal.Audit`; every argument is plain, so that it fits `dictConfig`.

    Args:
        level: As of every handler.
        base_url, api_key, tenant: As of `Client`; else from the environment.
        spool, delivery, on_full, exit_timeout: As of `Audit`.
        log_id: The log of the events, if it is not the key's.
        every_record: Make events of records without `audit`, too.
        schemas: Name a Jupyter event's schema as the event's: it must be registered at the server,
            which then checks the event. Else tags hold its id and version.
        audit: Where events go, instead of an `Audit` of its own; it is closed with the handler.

    Raises:
        ConfigurationError: A setting cannot work (`dictConfig` makes a ValueError of it).
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        tenant: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        delivery: Delivery = "durable",
        on_full: OnFull = "raise",
        exit_timeout: float = EXIT_TIMEOUT,
        log_id: str | None = None,
        every_record: bool = False,
        schemas: bool = False,
        audit: Log | None = None,
    ) -> None:
        self._log_id, self._every, self._schemas = log_id, every_record, schemas
        self._exit_timeout = exit_timeout
        self._ended = self._gave_up = False
        self._renewing = threading.Lock()

        def make() -> Log:
            client = Client(base_url, api_key, tenant=tenant)
            given: Any = {"delivery": delivery, "spool": spool, "on_full": on_full}
            return Audit(client, exit_timeout=exit_timeout, **given)

        if audit is not None and (base_url, api_key, tenant, spool) != (None,) * 4:
            raise ConfigurationError("With audit=, set the server and the spool there.")
        self._make = make if audit is None else None
        self._audit = audit or make()
        super().__init__(level)  # last: `logging` knows it from now on, and closes it

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record, without the handler's lock: the queue behind it has its own.

        So a thread that logs waits for no other one, also where this handler is slow.
        """
        found: Any = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def emit(self, record: logging.LogRecord) -> None:
        """Log the event that a record is, if it is one."""
        if record.name.partition(".")[0] in OURS or is_sending():
            return
        try:
            event = self.event(record)
            if event is not None:
                self._give(event)
        except RecursionError:
            raise  # as the standard library's handlers do: bpo-36272
        except Exception:  # noqa: BLE001  # rule 6
            self.handleError(record)

    def event(self, record: logging.LogRecord) -> dict[str, Any] | None:
        """The event that a record is, or None; override it to map records of your own kind."""
        audit = getattr(record, "audit", None)
        if isinstance(record.msg, Mapping) and record.msg.keys() >= {*CAPSULE}:
            event = self._of_jupyter(record.msg)
        elif audit is not None or self._every:
            event = _of_text(record, audit)
        else:
            return None
        if audit is not None and not isinstance(audit, Mapping):
            raise ConfigurationError('extra={"audit": …} must be a mapping of fields.')
        given = audit or {}
        common = {
            "severity": next(
                (name for level, name in SEVERITIES if (record.levelno or 0) >= level), "info"
            ),
            **event,
            **given,
            "tags": {"logger": record.name, **event.get("tags", {}), **(given.get("tags") or {})},
        }
        if "id" not in given:  # else given again it must be the same event
            moment = datetime.fromtimestamp(record.created, UTC)
            common.setdefault("occurred_at", timestamp(moment))
        return common

    def _of_jupyter(self, capsule: Mapping[str, Any]) -> dict[str, Any]:
        moment, schema, version = (str(capsule[name]) for name in CAPSULE)
        named = {"id": schema, "version": version}
        return {
            "action": schema,
            "occurred_at": _DOUBLE_ZONE.sub(r"\1", moment),
            "data": {key: value for key, value in capsule.items() if not key.startswith("__")},
            **({"schema": named} if self._schemas else {}),
            "tags": {} if self._schemas else {"schema": schema, "schema_version": version},
        }

    def _give(self, event: dict[str, Any]) -> None:
        audit, log_id = self._audit, event.pop("log_id", self._log_id)
        try:
            audit.log_event(event, log_id=log_id)
        except ClosedError:
            # At the interpreter's end `Audit` may have closed before the last record: exit
            # functions run in reverse. `logging.shutdown` is the very last, and closes us.
            if self._make is None or self._ended:
                raise
            with self._renewing:
                if self._audit is audit:
                    self._audit = self._make()
            self._audit.log_event(event, log_id=log_id)

    def flush(self) -> None:
        """Wait up to `exit_timeout` seconds until all events are settled."""
        if not self._ended:
            self._gave_up = not self._audit.flush(self._exit_timeout)

    def close(self) -> None:
        """Deliver what waits, as `Audit.close`; `logging.shutdown` calls it when Python ends."""
        if not self._ended:
            self._ended = True
            self._audit.close(GAVE_UP if self._gave_up else self._exit_timeout)
        super().close()

    @property
    def audit(self) -> Log:
        """Where events go: `handler.audit.stats()` of an `Audit` tells of every loss."""
        return self._audit


def _of_text(record: logging.LogRecord, audit: object) -> dict[str, Any]:
    text = record.getMessage()
    named = isinstance(audit, Mapping) and audit.get("action")
    event: dict[str, Any] = {} if named else {"action": text[:MAX_ACTION]}
    if named or len(text) > MAX_ACTION:
        event["message"] = text[:MAX_MESSAGE]
    if record.exc_info and record.exc_info[0] is not None:
        event["outcome"] = "failure"
        event["reason"] = {"code": record.exc_info[0].__name__}
    return event
