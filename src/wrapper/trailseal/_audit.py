"""`trailseal.Audit`: the client's `log` and `log_event`, with delivery in the background.

Here the delivery core meets the client's settings, flows and transport.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any, Literal, Self, Unpack

from trailseal import _operations
from trailseal._context import filled, of_schema
from trailseal._events import EventFields, EventLike
from trailseal._flow import NO_UNICODE, run
from trailseal._models import Receipt
from trailseal._signing import prepare
from trailseal._transport import Transport
from trailseal.client import Client
from trailseal.config import Settings, check_timeout
from trailseal.delivery import (
    Delivered,
    Dropped,
    Emitter,
    Item,
    OnFull,
    Options,
    Refused,
    Send,
    Stats,
)
from trailseal.delivery._options import BLOCK_TIMEOUT, EXIT_TIMEOUT
from trailseal.delivery.memory import MAX_EVENTS
from trailseal.delivery.spool import MAX_BYTES
from trailseal.errors import ConfigurationError, UnexpectedResponseError

Delivery = Literal["durable", "background", "confirmed"]
MODES = frozenset({"durable", "background", "confirmed"})
ON_FULL = frozenset({"raise", "block", "drop_oldest"})


# Imported before there is a sending thread: there their loggers would be made under logging's lock,
# and a fork in the middle of an import leaves the child a lock that nobody frees.
_OF_SENDING = (
    *("httpcore", "encodings.idna", "trailseal._connect", "trailseal._deadline"),
    "trailseal_api.api.events.create_events",
)


class Audit:
    """Takes events now, and delivers them in the background: nothing is lost silently.

        audit = trailseal.Audit(client, spool="/var/lib/myapp/audit")
        audit.log("invoice.deleted", actor="user_1", resource=("invoice", "inv_1"))

    One object serves a whole process, its threads, its event loops and its forks. Nothing is
    started before the first event. No signal handler is installed: a process that is killed leaves
    its spool to the next one with the same folder.

    Args:
        client: Whose server, key and tenant are used, over connections of its own.
        delivery: `durable`: committed to the spool before `log` returns. `background`: in memory,
            in microseconds; what is wrong with an event beyond its names is found later, and what
            waits when the process is killed is lost. `confirmed`: as `client.log`.
        spool: A folder for this server and this key's tenants alone, on a local disk, made if it
            is not there, mode 0700; else `TRAILSEAL_SPOOL_DIR`. Durable delivery needs one.
        on_full: `raise` `SpoolFullError`; `block` up to `block_timeout` seconds, then raise; or
            `drop_oldest`, which is counted (what is on its way cannot be dropped, and then it
            raises). A full disk is `SpoolFullError` too.
        max_events: In memory.
        max_bytes: Of waiting events in the spool.
        exit_timeout: Seconds for what waits when the process ends, or in `close`.
        on_delivered, on_drop: Called by the sending thread with `Delivered` and `Dropped`; keep
            them short. What they raise is counted.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        client: Client,
        *,
        delivery: Delivery = "durable",
        spool: str | os.PathLike[str] | None = None,
        on_full: OnFull = "raise",
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        block_timeout: float = BLOCK_TIMEOUT,
        exit_timeout: float = EXIT_TIMEOUT,
        on_delivered: Callable[[Delivered], object] | None = None,
        on_drop: Callable[[Dropped], object] | None = None,
    ) -> None:
        if not isinstance(client, Client):
            raise ConfigurationError("Audit needs a trailseal.Client, under an event loop too.")
        folder = spool if spool is not None else os.environ.get("TRAILSEAL_SPOOL_DIR") or None
        self._settings: Settings = client._settings  # noqa: SLF001  # same package
        self._connect_by = client._transport._connection  # noqa: SLF001  # same package
        self._bound = client._bound  # noqa: SLF001  # same package
        self._delivery = _check_mode(delivery)
        if on_full not in ON_FULL:
            raise ConfigurationError(f"on_full must be one of {', '.join(sorted(ON_FULL))}.")
        if delivery == "durable" and folder is None and not self._settings.disabled:
            raise ConfigurationError(
                "Durable delivery needs a folder: pass spool=, or set TRAILSEAL_SPOOL_DIR."
            )
        if min(max_events, max_bytes) < 1:
            raise ConfigurationError("max_events and max_bytes must be at least 1.")
        self._transport: tuple[int, Transport] | None = None
        options = Options(
            self._make_send,
            destination=self._settings.base_url,
            tenant=self._settings.tenant,
            signer=self._settings.signer,
            folder=folder,
            on_full=on_full,
            max_events=max_events,
            max_bytes=max_bytes,
            block_timeout=check_timeout(block_timeout),
            exit_timeout=check_timeout(exit_timeout),
            on_delivered=on_delivered,
            on_drop=on_drop,
        )
        self._emitter = Emitter(options)

    def __repr__(self) -> str:
        return f"Audit({self._settings.described}, delivery={self._delivery!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log(
        self,
        action: str,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        delivery: Delivery | None = None,
        **fields: Unpack[EventFields],
    ) -> Receipt:
        """Log that something was done; the fields are those of `Client.log`.

        Unless `delivery` (of this call, or of the object) is `confirmed`, the receipt's state is
        `accepted`, its index -1; `event_id` is final. `include_proof` is for `confirmed` only.

        Raises:
            EventValidationError: A field is unknown, missing or too long.
            SpoolFullError: There is no room, or the disk is full; nothing was accepted.
            DeliveryError: The spool's disk failed. Give it again with its own id.
            ClosedError: After `close`.
        """
        event = {"action": action, **fields}
        return self.log_event(event, log_id=log_id, include_proof=include_proof, delivery=delivery)

    def log_event(
        self,
        event: EventLike,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        delivery: Delivery | None = None,
    ) -> Receipt:
        """Log an event given as a mapping, which is not changed; else as `log`."""
        event = filled(event, self._bound)
        mode = self._delivery if delivery is None else _check_mode(delivery)
        if mode == "confirmed" or self._settings.disabled:
            return self._confirm(event, log_id, include_proof=include_proof)
        if include_proof or not (log_id is None or isinstance(log_id, str)):
            raise ConfigurationError("include_proof needs delivery='confirmed'; log_id is text.")
        try:
            (log_id or "").encode()
        except UnicodeEncodeError:
            raise ConfigurationError(NO_UNICODE) from None
        if mode == "background":
            event_id = self._emitter.background(event, log_id)
        else:
            prepared = prepare(event, tenant=self._settings.tenant, signer=self._settings.signer)
            event_id = prepared.id
            self._emitter.durable(prepared, log_id)
        return Receipt.local(event_id, "accepted", log_id)

    def emit(
        self,
        schema: str,
        data: Any,
        *,
        version: str,
        action: str | None = None,
        log_id: str | None = None,
        delivery: Delivery | None = None,
        **fields: Any,
    ) -> Receipt:
        """Log an event whose `data` follows this version of a registered schema.

        The server checks it; what does not follow is parked or dropped with its reason. `action`
        is the schema's id if left out. All other fields are those of `log`.
        """
        event = of_schema(schema, version, data, action, fields)
        return self.log_event(event, log_id=log_id, delivery=delivery)

    def _confirm(self, event: EventLike, log_id: str | None, *, include_proof: bool) -> Receipt:
        prepared = prepare(event, tenant=self._settings.tenant, signer=self._settings.signer)
        flow = _operations.log(self._settings, prepared, log_id=log_id, include_proof=include_proof)
        return run(flow, self._connection().send, timeout=self._settings.timeout)

    def start(self) -> None:
        """Begin before the first event: deliver what an earlier process left in the folder."""
        self._emitter.start()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait up to `timeout` seconds; True only if all that was accepted before is settled.

        Settled is delivered, or parked or dropped with a reason: `stats` tells them apart. In a
        coroutine, `await asyncio.to_thread(audit.flush)`.
        """
        return self._emitter.flush(check_timeout(timeout))

    def drain(self, timeout: float = 60.0) -> bool:
        """As `flush`, and also deliver what processes that ended have left in the folder."""
        return self._emitter.drain(check_timeout(timeout))

    def close(self, timeout: float | None = None) -> bool:
        """Send what waits for `timeout` seconds (`exit_timeout`); True if nothing was left.

        What is left in memory is dropped and counted; what is left in the spool stays there. It
        is called when the process ends, and may be called again.
        """
        done = self._emitter.close(None if timeout is None else check_timeout(timeout))
        if self._transport is not None and self._transport[0] == os.getpid():
            if self._connect_by.http_transport is None:  # the caller's is his to close
                self._transport[1].close()
            self._transport = None
        return done

    def stats(self) -> Stats:
        """The numbers of this process: every loss with its reason."""
        return self._emitter.stats()

    # ------------------------------------------------------------ connecting

    def _connection(self) -> Transport:
        """The transport of this process: a forked child shares no socket with its parent."""
        if self._transport is None or self._transport[0] != os.getpid():
            self._transport = os.getpid(), Transport(self._settings, self._connect_by)
        return self._transport[1]

    def _make_send(self) -> Send:
        for module in _OF_SENDING:
            import_module(module)
        transport, settings = self._connection(), replace(self._settings, max_retries=0)
        with suppress(ConfigurationError):  # the sending thread will tell
            transport.http()  # here, since OpenSSL has locks of that kind, too

        def send(batch: Sequence[Item]) -> list[Delivered | Refused]:
            flow = _operations.log_batch(
                settings,
                [item.id for item in batch],
                [item.content for item in batch],
                atomic=False,
                log_id=batch[0].log_id,
                channel=None,
                external_id=None,
            )
            items = run(flow, transport.send, timeout=settings.timeout)
            return [_result(item, answer) for item, answer in zip(batch, items, strict=True)]

        return send


def _result(item: Item, raw: Mapping[str, Any]) -> Delivered | Refused:
    """Read one event's result; raises `UnexpectedResponseError` for what the contract lacks."""
    receipt, error = raw.get("receipt"), raw.get("error")
    if raw.get("status") in {"created", "duplicate"} and isinstance(receipt, dict):
        replayed = raw["status"] == "duplicate"
        log_id, index = str(receipt.get("log_id")), receipt.get("index")
        return Delivered(item.id, log_id, index if isinstance(index, int) else -1, replayed)
    if raw.get("status") == "failed" and isinstance(error, dict):
        details = error.get("errors") or [{}]
        texts = [error.get("message"), *(f"{e.get('pointer')}: {e.get('detail')}" for e in details)]
        detail = " ".join(str(text) for text in texts if text and text != "None: None")
        retryable = error.get("retryable") is True
        return Refused(item.id, str(error.get("code")), detail[:500], retryable)
    raise UnexpectedResponseError("A result is none of the contract.")


def _check_mode(delivery: str) -> Any:
    if delivery not in MODES:
        raise ConfigurationError(f"delivery must be one of {', '.join(sorted(MODES))}.")
    return delivery
