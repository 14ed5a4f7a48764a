"""The parts of an `EventLogger`: what it is told, what it answers, and single steps."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trailseal.errors import EventValidationError
from trailseal.schemas.policy import Policy
from trailseal.schemas.registry import LocalSchema

Processor = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Emitted:
    """What became of an event: its id and final form, and what each sink answered.

    `skipped` is None, `disabled` or `not_allowed`: then no sink got it, and `receipts` is empty.
    """

    id: str
    event: Mapping[str, Any] = field(repr=False)
    receipts: tuple[Any, ...] = ()
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class EventStats:
    """The numbers of a logger since it was made."""

    emitted: int = 0
    disabled: int = 0
    not_allowed: int = 0
    sink_failures: int = 0
    redactor_failures: int = 0
    processor_failures: int = 0
    listener_failures: int = 0
    listeners_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Sink:
    to: Any
    policy: Policy | None
    schemas: frozenset[str] | None
    given: Any  # as it was added, for remove_sink

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.to.log_event)


@dataclass(frozen=True, slots=True)
class Step:
    call: Processor
    schemas: frozenset[str] | None
    counter: str

    def suits(self, schema_id: str) -> bool:
        return self.schemas is None or schema_id in self.schemas


def ids(schemas: Collection[str] | None) -> frozenset[str] | None:
    return (
        None if schemas is None else frozenset([schemas] if isinstance(schemas, str) else schemas)
    )


def check(schema: LocalSchema, data: Any, what: str = "The") -> None:
    if faults := schema.faults(data):
        text = f"{what} data does not follow {schema.id} {schema.version}."
        raise EventValidationError(text, errors=faults, code=faults[0].code)


def applied(step: Step, schema_id: str, data: Any) -> Any:
    """A step's answer to a copy; it must be JSON."""
    return json.loads(json.dumps(step.call(schema_id=schema_id, data=json.loads(json.dumps(data)))))


def processed(
    schema: LocalSchema,
    event: dict[str, Any],
    policies: Iterable[Policy],
    steps: Collection[Step],
    failed: Callable[[Step, Exception], None],
) -> dict[str, Any]:
    """An event after policies, redactors and processors: see `logger`, 3 and 4."""
    data, steps = event["data"], [step for step in steps if step.suits(schema.id)]
    for policy in policies:
        data = schema.redacted(data, policy)
    for step in steps:
        if step.counter == "redactor_failures":
            try:
                data = applied(step, schema.id, data)
            except Exception as error:  # noqa: BLE001  # it must not leak, and not lose
                failed(step, error)
                rest = {k: v for k, v in event.items() if k not in {"data", "schema"}}
                return {**rest, "tags": {**event.get("tags", {}), "redaction": "failed"}}
    check(schema, data, "After redaction, the")
    for step in steps:
        if step.counter == "processor_failures":
            try:
                changed = applied(step, schema.id, data)
                check(schema, changed)
                data = changed
            except Exception as error:  # noqa: BLE001  # it is left out
                failed(step, error)
    return {**event, "data": data}


def for_sink(sink: Sink, schema: LocalSchema, event: dict[str, Any]) -> dict[str, Any]:
    if sink.policy is None or "data" not in event:
        return event
    data = schema.redacted(event["data"], sink.policy)
    check(schema, data, "After redaction for a sink, the")
    return {**event, "data": data}


def answer(log_event: Callable[[Any], Any], event: dict[str, Any]) -> Any:
    try:
        return log_event(event)
    except Exception as error:  # noqa: BLE001  # raised again when all sinks have it
        return error
