"""`EventLogger`: events that follow schemas, with personal data held back, to any number of sinks.

What happens to an event, in this order:

1. Its schema is found (else `SchemaNotRegisteredError`) and must be allowed.
2. It is copied, completed and checked, and its data against the schema.
3. The policy and the redactors take out what may not leave; always first, whatever was added when.
4. Processors change it, in the order they were added.
5. For each sink, the sink's own policy. The result must still follow the schema: the server checks.
6. All sinks take it, under one id. 7. Listeners are told; they never see what was taken out.

A redactor that fails must not leak, and must not lose: the event goes on without data and schema,
with the tag `redaction: failed`. A processor that fails, or whose result does not follow the
schema, is left out. Both are counted and logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self, overload

from trailseal._context import filled
from trailseal._events import prepare
from trailseal.errors import ConfigurationError
from trailseal.schemas import typed
from trailseal.schemas._listeners import Listener, Teller
from trailseal.schemas._load import SchemaSource
from trailseal.schemas._parts import (
    Emitted,
    EventStats,
    Processor,
    Sink,
    Step,
    answer,
    check,
    for_sink,
    ids,
    processed,
)
from trailseal.schemas.policy import Policy
from trailseal.schemas.registry import LocalSchema, Registry

CLOSE_TIMEOUT = 2.0  # seconds for listeners when it is closed

_log = logging.getLogger("trailseal")

PolicyLike = Policy | Mapping[str, Any]


class EventLogger:
    """Emits events that follow registered schemas.

        events = EventLogger(sinks=[client])
        events.register(Path("invoice.deleted.yaml"))
        events.emit("com.example.invoice.deleted", {"invoice": "inv_1"}, actor="user_1")

    Args:
        sinks: Clients, `Audit` objects, sinks of `trailseal.integrations.sinks`, `logging`
            handlers, or a function that returns such.
        registry: Where schemas are; its own, if left out.
        policy: What may leave at all; everything, if left out.
        allowed_schemas: The ids that are emitted, or a mapping of ids to the policy of each; all
            registered ones, if left out. Others are counted, and the first of each is logged.
        disabled: Check events and send none.

    Raises:
        ConfigurationError: A sink or a policy cannot work.
    """

    def __init__(
        self,
        sinks: Iterable[Any] | Callable[[], Any] = (),
        *,
        registry: Registry | None = None,
        policy: PolicyLike | None = None,
        allowed_schemas: Collection[str] | Mapping[str, PolicyLike] | None = None,
        disabled: bool = False,
    ) -> None:
        self.registry = Registry() if registry is None else registry
        self._policy = None if policy is None else Policy.of(policy)
        if isinstance(allowed_schemas, str):
            raise ConfigurationError("allowed_schemas must be a list or a mapping.")
        self._allowed = None if allowed_schemas is None else frozenset(allowed_schemas)
        self._policies = {
            name: Policy.of(given)
            for name, given in (
                allowed_schemas.items() if isinstance(allowed_schemas, Mapping) else ()
            )
        }
        self._disabled = disabled
        self._sinks: list[Sink] = []
        self._steps: list[Step] = []
        self._listeners: list[tuple[Listener, frozenset[str] | None]] = []
        self._counts = EventStats()
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._teller = Teller(self._count)
        found = sinks() if callable(sinks) else sinks
        for sink in found if isinstance(found, Iterable) else [found]:
            self.add_sink(sink)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ----------------------------------------------------------------- set-up

    def register(self, schema: SchemaSource, **options: Any) -> LocalSchema:
        """Add a schema to the registry: see `Registry.register`."""
        return self.registry.register(schema, **options)

    def add_sink(
        self,
        sink: Any,
        *,
        policy: PolicyLike | None = None,
        schemas: Collection[str] | None = None,
    ) -> None:
        """Send events to `sink` too; its `policy` holds back more, `schemas` are all it gets."""
        to = sink
        if isinstance(sink, logging.Handler):
            from trailseal.integrations.sinks import HandlerSink  # noqa: PLC0415  # few need it

            to = HandlerSink(sink)
        if not callable(getattr(to, "log_event", None)):
            raise ConfigurationError(
                "A sink is a client, an Audit, a logging handler or has log_event(event)."
            )
        own = None if policy is None else Policy.of(policy)
        self._sinks = [*self._sinks, Sink(to, own, ids(schemas), sink)]

    def remove_sink(self, sink: Any) -> None:
        """Send no more to `sink`; it stays open."""
        self._sinks = [each for each in self._sinks if each.given is not sink]

    def add_redactor(self, redactor: Processor, *, schemas: Collection[str] | None = None) -> None:
        """Have `redactor(schema_id=, data=)` return the data that may leave, before all else."""
        self._steps = [*self._steps, Step(redactor, ids(schemas), "redactor_failures")]

    def add_processor(
        self, processor: Processor, *, schemas: Collection[str] | None = None
    ) -> None:
        """Have `processor(schema_id=, data=)` return other data, for all schemas or some.

        It gets a copy, redacted already; processors run in the order they were added.
        """
        self._steps = [*self._steps, Step(processor, ids(schemas), "processor_failures")]

    def remove_processor(self, processor: Processor) -> None:
        """Remove a processor; a redactor stays for good."""
        keep = "redactor_failures"
        self._steps = [s for s in self._steps if s.call is not processor or s.counter == keep]

    def add_listener(self, listener: Listener, *, schemas: Collection[str] | None = None) -> None:
        """Tell `listener(logger=, schema_id=, data=)`, sync or async, of what was emitted."""
        self._listeners = [*self._listeners, (listener, ids(schemas))]

    def remove_listener(self, listener: Listener) -> None:
        """Tell `listener` no more."""
        self._listeners = [each for each in self._listeners if each[0] is not listener]

    # ---------------------------------------------------------------- emitting

    @overload
    def emit(
        self, schema: str, data: Any, *, version: str | int | None = None, **fields: Any
    ) -> Emitted: ...
    @overload
    def emit(self, schema: object, **fields: Any) -> Emitted: ...
    def emit(
        self, schema: Any, data: Any = None, *, version: str | int | None = None, **fields: Any
    ) -> Emitted:
        """Check, redact and send an event: a schema's id with `data`, or a typed event.

        `version` is the latest registered one if left out. `fields` are those of `log`: `actor`,
        `resource`, `occurred_at`, …; `action` is the schema's if left out.

        Raises:
            SchemaNotRegisteredError: The schema, or this version, is not registered here.
            EventValidationError: The event is not valid; no sink got it.
            ConfigurationError: There is no sink; or an async one, which needs `aemit`.
            TrailSealError: What a sink raised; the other sinks have it.
        """
        emitted, plan = self._planned(schema, data, version, fields)
        if any(sink.is_async for sink, _ in plan):
            raise ConfigurationError("A sink is asynchronous: await aemit(…).")
        answers = [answer(sink.to.log_event, event) for sink, event in plan]
        return self._finish(emitted, answers)

    @overload
    async def aemit(
        self, schema: str, data: Any, *, version: str | int | None = None, **fields: Any
    ) -> Emitted: ...
    @overload
    async def aemit(self, schema: object, **fields: Any) -> Emitted: ...
    async def aemit(
        self, schema: Any, data: Any = None, *, version: str | int | None = None, **fields: Any
    ) -> Emitted:
        """As `emit`, for an event loop: awaits async sinks, and runs the others in threads."""
        emitted, plan = self._planned(schema, data, version, fields)
        calls = [
            sink.to.log_event(event)
            if sink.is_async
            else asyncio.to_thread(sink.to.log_event, event)
            for sink, event in plan
        ]
        return self._finish(emitted, await asyncio.gather(*calls, return_exceptions=True))

    def _planned(
        self, schema: Any, data: Any, version: str | int | None, fields: dict[str, Any]
    ) -> tuple[Emitted, list[tuple[Sink, dict[str, Any]]]]:
        """The final event, and what each sink is to get; nothing was sent yet."""
        if not isinstance(schema, str):
            schema, version, data = typed.data_of(schema)
        found = self.registry.get(schema, version)
        fields["action"] = fields.get("action") or found.action
        fields |= {"schema": {"id": found.id, "version": found.version}, "data": data}
        prepared = prepare(filled(fields, {}))
        event: dict[str, Any] = json.loads(prepared.content)
        check(found, event["data"])
        skipped = self._skipped(found.id)
        if skipped is None and not self._sinks and not self._listeners:
            raise ConfigurationError("The EventLogger has no sink: add one, or pass disabled=True.")
        policies = [each for each in (self._policy, self._policies.get(found.id)) if each]
        event = processed(found, event, policies, self._steps, self._note)
        emitted = Emitted(prepared.id, event, skipped=skipped)
        suits = [s for s in self._sinks if s.schemas is None or found.id in s.schemas]
        return emitted, [] if skipped else [(s, for_sink(s, found, event)) for s in suits]

    def _skipped(self, schema_id: str) -> str | None:
        if self._disabled:
            return "disabled"
        if self._allowed is None or schema_id in self._allowed:
            return None
        if schema_id not in self._said:
            self._said.add(schema_id)
            _log.warning("events of %s are not in allowed_schemas: none is emitted", schema_id)
        return "not_allowed"

    def _note(self, step: Step, error: Exception) -> None:
        self._count(step.counter)
        name = getattr(step.call, "__qualname__", type(step.call).__name__)
        what = step.counter.partition("_")[0]
        _log.warning("a %s failed: %s: %s", what, name, type(error).__name__)

    def _finish(self, emitted: Emitted, answers: list[Any]) -> Emitted:
        """Count, raise what a sink raised, tell listeners."""
        if emitted.skipped:
            self._count(emitted.skipped)
            return emitted
        failures = [each for each in answers if isinstance(each, BaseException)]
        for failure in failures:
            self._count("sink_failures")
            if failure is not failures[0]:
                failures[0].add_note(f"Another sink failed too: {type(failure).__name__}.")
        if failures:
            raise failures[0]
        self._count("emitted")
        named = emitted.event.get("schema")
        for listener, schemas in self._listeners:
            if named and (schemas is None or named["id"] in schemas):
                data = json.loads(json.dumps(emitted.event["data"]))
                self._teller.tell(listener, logger=self, schema_id=named["id"], data=data)
        return replace(emitted, receipts=tuple(answers))

    # -------------------------------------------------------------- afterwards

    def stats(self) -> EventStats:
        """What was emitted, skipped, and what failed."""
        return self._counts

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + 1})

    async def gather_listeners(self) -> None:
        """Wait for the async listeners that were told so far."""
        await self._teller.gather()

    def wait_for_listeners(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait for async listeners that were told where no event loop runs; True if all ended."""
        return self._teller.wait(timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait for listeners as above and end their thread. Sinks are yours to close."""
        return self._teller.close(timeout)
