"""The path of an event: schema, redaction, processors, sinks, listeners."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from trailseal import Audit, Client, context
from trailseal.errors import (
    ConfigurationError,
    ConnectError,
    EventValidationError,
    SchemaNotRegisteredError,
)
from trailseal.integrations.sinks import FileSink
from trailseal.schemas import EventLogger, Policy, Registry
from trailseal.testing import AuditLog

NAME = "urn:test:user.updated"
SCHEMA: dict[str, Any] = {
    "$id": NAME,
    "version": "1",
    "type": "object",
    "required": ["user"],
    "properties": {
        "user": {"type": "string", "x-data-classes": ["unrestricted"]},
        "email": {"type": "string", "x-data-classes": ["contact"]},
        "note": {"type": "string"},
    },
}
DATA = {"user": "u1", "email": "ann@example.com"}


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def data(self) -> list[Any]:
        return [json.loads(record.getMessage())["data"] for record in self.records]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def make(kept: Kept) -> Callable[..., EventLogger]:
    def made(sinks: Any = None, **options: Any) -> EventLogger:
        events = EventLogger([kept] if sinks is None else sinks, **options)
        events.register(SCHEMA)
        return events

    return made


Make = Callable[..., EventLogger]


@pytest.mark.row("J-01", "J-20", "J-27")
def test_handlers_of_logging_take_events_as_json(make: Make, kept: Kept) -> None:
    """Without a server: a line of JSON at INFO; nothing goes to other loggers; `message` stays."""
    root = Kept()
    logging.getLogger().addHandler(root)
    other = Kept()
    try:
        events = make(lambda: [kept, other])
        emitted = events.emit(NAME, DATA, actor="a", message="hello")
    finally:
        logging.getLogger().removeHandler(root)
    (record,) = kept.records
    line = json.loads(record.getMessage())
    assert (record.levelname, root.records, len(other.records)) == ("INFO", [], 1)
    assert line == dict(emitted.event)
    assert line["message"] == "hello"
    events.remove_sink(kept)
    events.emit(NAME, DATA)
    assert len(kept.records) == 1


@pytest.mark.row("J-01")
def test_what_is_no_sink_is_refused() -> None:
    """At construction, not at the first event."""
    with pytest.raises(ConfigurationError, match="log_event"):
        EventLogger([print])


@pytest.mark.row("J-13", "J-15", "J-10")
def test_an_event_has_an_id_its_schema_and_an_rfc_3339_time(make: Make, kept: Kept) -> None:
    """One id and time for all sinks; times end in `Z`, and may be given."""
    other = Kept()
    emitted = make([kept, other]).emit(NAME, DATA, action="user.changed")
    one, two = (json.loads(each.records[0].getMessage()) for each in (kept, other))
    assert one == two
    assert one["id"] == emitted.id
    assert one["schema"] == {"id": NAME, "version": "1"}
    assert one["action"] == "user.changed"
    assert one["occurred_at"].endswith("Z")
    assert datetime.fromisoformat(one["occurred_at"]).utcoffset() is not None
    at = "2026-01-02T03:04:05+02:00"
    assert make().emit(NAME, DATA, occurred_at=at).event["occurred_at"] == at


def test_fields_of_a_context_are_filled_in(make: Make) -> None:
    """As in `log`."""
    with context(actor="user_9"):
        assert make().emit(NAME, DATA).event["actor"] == {"id": "user_9"}


@pytest.mark.row("J-02")
def test_an_event_is_never_dropped_silently(make: Make, kept: Kept) -> None:
    """No sink is an error; disabled is asked for, checks all the same, and is counted."""
    with pytest.raises(ConfigurationError, match="no sink"):
        make([]).emit(NAME, DATA)
    events = make(disabled=True)
    assert events.emit(NAME, DATA).skipped == "disabled"
    with pytest.raises(EventValidationError):
        events.emit(NAME, {})
    assert (events.stats().disabled, events.stats().emitted, kept.records) == (1, 0, [])


@pytest.mark.row("J-03")
def test_only_allowed_schemas_are_emitted_and_others_counted(
    make: Make, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """A list of ids, or a mapping with a policy for each; a warning once, a count always."""
    events = make(allowed_schemas=["urn:test:other"])
    assert events.emit(NAME, DATA).skipped == "not_allowed"
    events.emit(NAME, DATA)
    assert (events.stats().not_allowed, kept.records) == (2, [])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    make(allowed_schemas={NAME: {"allowed_categories": []}}).emit(NAME, DATA)
    assert kept.data == [{"user": "u1"}]
    with pytest.raises(ConfigurationError, match="Unknown option"):
        make(allowed_schemas={NAME: {"allowed": []}})


@pytest.mark.row("J-11")
def test_an_unregistered_schema_or_version_raises(make: Make, kept: Kept) -> None:
    """The event is not lost with a warning."""
    with pytest.raises(SchemaNotRegisteredError):
        make().emit("urn:test:none", {})
    with pytest.raises(SchemaNotRegisteredError):
        make().emit(NAME, DATA, version=2)
    assert not kept.records


@pytest.mark.row("J-12")
def test_an_invalid_event_reaches_no_sink(make: Make, kept: Kept) -> None:
    """Neither with wrong data nor with a wrong field."""
    events = make()
    with pytest.raises(EventValidationError):
        events.emit(NAME, {"email": 5})
    with pytest.raises(EventValidationError):
        events.emit(NAME, DATA, actr="a")
    assert not kept.records


@pytest.mark.row("J-09")
def test_events_of_two_versions_go_side_by_side(make: Make, kept: Kept) -> None:
    """Each is checked by its own version; the latest where none is named."""
    events = make()
    events.register({**SCHEMA, "version": "2", "required": ["user", "note"]})
    events.emit(NAME, {"user": "a"}, version=1)
    with pytest.raises(EventValidationError):
        events.emit(NAME, {"user": "a"})
    assert json.loads(kept.records[0].getMessage())["schema"]["version"] == "1"


@pytest.mark.row("J-21", "J-24")
def test_redaction_comes_first_whatever_was_added_when(make: Make, kept: Kept) -> None:
    """Processors and listeners, in their order, get copies without what was taken out."""
    events, seen = make(policy=Policy()), []

    def first(schema_id: str, data: Any) -> Any:
        seen.append((schema_id, dict(data)))
        return {**data, "note": data.get("note", "") + "1"}

    def second(schema_id: str, data: Any) -> Any:
        return {**data, "note": data["note"] + "2"}

    def shout(schema_id: str, data: Any) -> Any:
        return {**data, "user": "U"}

    events.add_processor(first)
    events.add_processor(second)
    events.add_listener(lambda logger, schema_id, data: seen.append((schema_id, data)))
    events.add_redactor(shout)
    given = dict(DATA)
    events.emit(NAME, given)
    assert seen == [(NAME, {"user": "U"}), (NAME, {"user": "U", "note": "12"})]
    assert kept.data == [{"user": "U", "note": "12"}]
    assert given == DATA
    events.remove_processor(first)
    events.remove_processor(shout)
    events.add_processor(lambda schema_id, data: {**data, "note": ""}, schemas=["urn:test:other"])
    events.remove_processor(second)
    events.emit(NAME, DATA)
    assert kept.data[1] == {"user": "U"}


@pytest.mark.row("J-24", "J-21")
def test_a_redactor_that_fails_neither_leaks_nor_loses(make: Make, kept: Kept) -> None:
    """The event goes on without its data, marked; it is counted."""
    events = make()
    events.add_redactor(lambda schema_id, data: 1 / 0)
    told: list[Any] = []
    events.add_listener(lambda **about: told.append(about))
    events.emit(NAME, DATA, actor="a", tags={"x": "y"})
    line = json.loads(kept.records[0].getMessage())
    assert "data" not in line
    assert "schema" not in line
    assert (line["actor"], line["tags"]) == ({"id": "a"}, {"x": "y", "redaction": "failed"})
    assert events.stats().redactor_failures == 1
    assert told == []


@pytest.mark.row("J-21")
@pytest.mark.parametrize(
    "processor",
    [
        lambda schema_id, data: 1 / 0,
        lambda schema_id, data: {},
        lambda schema_id, data: None,
        lambda schema_id, data: data.clear(),
        lambda schema_id, data: {"user": object()},
    ],
)
def test_a_processor_that_fails_is_left_out(
    make: Make, kept: Kept, processor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it raises or answers what the schema does not allow: the event goes on as it was."""
    events = make()
    events.add_processor(processor)
    events.emit(NAME, DATA)
    assert kept.data == [DATA]
    assert events.stats().processor_failures == 1
    assert "ann@example.com" not in caplog.text


def test_data_that_breaks_its_schema_by_redaction_is_said_before_anything_is_sent(
    make: Make, kept: Kept
) -> None:
    """The server would refuse it: the error names the property, for every sink's policy."""
    schema = {**SCHEMA, "version": "3", "required": ["email"]}
    events = make(policy={"method": "drop"})
    events.register(schema)
    with pytest.raises(EventValidationError, match="After redaction"):
        events.emit(NAME, DATA)
    other = make()
    other.register(schema)
    other.add_sink(Kept(), policy={})
    with pytest.raises(EventValidationError, match="for a sink"):
        other.emit(NAME, DATA)
    assert not kept.records


@pytest.mark.row("J-04")
def test_each_sink_has_its_own_policy_and_schemas(make: Make, kept: Kept) -> None:
    """What may go to one place may not go to another."""
    outside, other = Kept(), Kept()
    events = make()
    events.add_sink(outside, policy=Policy(method="mask"))
    events.add_sink(other, schemas=["urn:test:other"])
    events.emit(NAME, DATA)
    assert kept.data == [DATA]
    assert outside.data == [{"user": "u1", "email": "***"}]
    assert not other.records


@pytest.mark.row("J-22")
async def test_async_listeners_run_in_the_callers_loop_and_are_awaited(make: Make) -> None:
    """`gather_listeners` waits; a failure is counted and logged, never raised."""
    events, seen = make(), []

    async def slow(logger: Any, schema_id: str, data: Any) -> None:
        await asyncio.sleep(0)
        seen.append((logger, schema_id, data, asyncio.get_running_loop()))
        data.clear()

    async def bad(logger: Any, schema_id: str, data: Any) -> None:
        raise RuntimeError(data["user"])

    for listener in (bad, slow, slow):
        events.add_listener(listener)
    events.emit(NAME, DATA)
    await events.gather_listeners()
    assert seen == [(events, NAME, {}, asyncio.get_running_loop())] * 2
    assert events.stats().listener_failures == 1
    events.remove_listener(slow)
    events.emit(NAME, DATA)
    await events.gather_listeners()
    assert len(seen) == 2


@pytest.mark.row("J-23")
def test_async_listeners_need_no_event_loop(make: Make, kept: Kept) -> None:
    """From a thread without one they run in a loop of their own; `emit` raises nothing."""
    events, seen = make(), []

    async def listener(**about: Any) -> None:
        await asyncio.sleep(0)
        seen.append(about["data"])

    events.add_listener(listener)
    events.add_listener(lambda **about: 1 / 0)
    thread = threading.Thread(target=events.emit, args=(NAME, DATA))
    thread.start()
    thread.join()
    events.emit(NAME, DATA)
    assert events.wait_for_listeners(10)
    assert seen == [DATA, DATA]
    assert (len(kept.records), events.stats().listener_failures) == (2, 2)
    assert events.close()


def test_a_sink_that_fails_stops_no_other_and_is_raised(make: Make, kept: Kept) -> None:
    """The caller knows; the others have the event; listeners are not told."""

    class Broken:
        def log_event(self, event: Any) -> None:
            raise ConnectError("down")

    events, told = make([Broken(), kept]), []
    events.add_listener(lambda **about: told.append(about))
    with pytest.raises(ConnectError):
        events.emit(NAME, DATA)
    assert (len(kept.records), events.stats().sink_failures, told) == (1, 1, [])


@pytest.mark.row("J-27", "J-10")
async def test_events_go_to_clients_audits_and_files_alike(
    audit_log: AuditLog, make: Make, tmp_path: Path
) -> None:
    """One id everywhere; the server, which has the schema, accepts what was checked here."""
    client, registry = Client(), Registry()
    file = FileSink(tmp_path / "events.jsonl")
    registry.register(SCHEMA)
    client.schemas.register(SCHEMA)
    audit: Audit = audit_log.audit()
    events = make([client, audit, file], registry=registry)
    emitted = events.emit(NAME, DATA, actor="a")
    states = [receipt.state for receipt in emitted.receipts]
    assert states == ["pending", "accepted", "written"]
    line = json.loads((tmp_path / "events.jsonl").read_text())
    found = audit_log.assert_logged(NAME, data=DATA, actor="a")
    assert found.id == line["id"] == emitted.id
    async with audit_log.async_client() as asynchronous:
        events.add_sink(asynchronous)
        with pytest.raises(ConfigurationError, match="aemit"):
            events.emit(NAME, DATA)
        again = await events.aemit(NAME, {"user": "u2"})
    assert len(again.receipts) == 4
    audit_log.assert_logged(NAME, data={"user": "u2"})
    audit_log.assert_nothing_else()
    file.close()
    client.close()
