"""`AuditHandler`: which records are events, and what becomes of them."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trailseal
from trailseal._events import prepare
from trailseal.errors import ConfigurationError
from trailseal.integrations.logging import AuditHandler
from trailseal.integrations.sinks import FileSink, HandlerSink
from trailseal_server.app import Running

from ..conftest import make_key

CHILD_S = 20


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Any]:
    """A logger whose events go to a file, and a reader of that file."""
    path = tmp_path / "audit.jsonl"
    handler = AuditHandler(audit=FileSink(path))
    logger = logging.getLogger("shop.orders")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    yield read
    logger.removeHandler(handler)
    handler.close()


def test_a_record_with_audit_is_an_event_and_its_text_the_action(lines: Any) -> None:
    """`audit` holds fields of `log`; time, severity and logger come from the record."""
    log = logging.getLogger("shop.orders")
    log.info("invoice.%s", "deleted", extra={"audit": {"actor": "u1", "resource": ("inv", "i1")}})
    log.info("plain")
    [event] = lines()
    assert event["action"] == "invoice.deleted"
    assert event["actor"] == {"id": "u1"}
    assert event["resources"] == [{"type": "inv", "id": "i1"}]
    assert (event["severity"], event["tags"]) == ("info", {"logger": "shop.orders"})
    assert event["occurred_at"].endswith("Z")
    assert "message" not in event


def test_an_action_of_its_own_makes_the_text_the_message(lines: Any) -> None:
    """`audit` wins over what the record says; tags are joined."""
    given = {"action": "login", "severity": "low", "tags": {"a": "b"}, "id": "e-1"}
    logging.getLogger("shop.orders").error("somebody came", extra={"audit": given})
    [event] = lines()
    assert (event["action"], event["message"]) == ("login", "somebody came")
    assert (event["severity"], event["id"]) == ("low", "e-1")
    assert event["tags"] == {"logger": "shop.orders", "a": "b"}
    assert "occurred_at" not in event  # logged again, it must be the same event


def test_an_exception_is_a_failure_that_names_its_class_alone(lines: Any) -> None:
    """What an exception says may hold anything."""
    log = logging.getLogger("shop.orders")
    try:
        int("secret")
    except ValueError:
        log.exception("invoice.deleted", extra={"audit": {}})
    [event] = lines()
    assert (event["outcome"], event["reason"], event["severity"]) == (
        "failure",
        {"code": "ValueError"},
        "high",
    )
    assert "secret" not in str(event)


def test_every_record_is_an_event_if_that_is_wanted(tmp_path: Path) -> None:
    """A long text is cut as an action, and whole as a message."""
    sink = FileSink(tmp_path / "audit.jsonl")
    handler = AuditHandler(audit=sink, every_record=True)
    for text in ("short", "x" * 300):
        handler.handle(logging.makeLogRecord({"name": "shop", "msg": text}))
    short, long = map(json.loads, (tmp_path / "audit.jsonl").read_bytes().splitlines())
    assert (short["action"], "message" in short) == ("short", False)
    assert (long["action"], long["message"]) == ("x" * 256, "x" * 300)


def test_what_a_request_knows_is_in_the_event_too(lines: Any) -> None:
    """`trailseal.context` holds for records as for `log`."""
    with trailseal.context(actor="u1", context={"request_id": "r-1"}):
        logging.getLogger("shop.orders").info("a.b", extra={"audit": {}})
    [event] = lines()
    assert (event["actor"], event["context"]) == ({"id": "u1"}, {"request_id": "r-1"})


@pytest.mark.parametrize(
    "audit", [{"no_such_field": 1}, {"actor": object()}, "text", 17, {"action": 3}]
)
def test_nothing_is_raised_into_the_application(
    lines: Any, audit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be accepted is said on standard error."""
    logging.getLogger("shop.orders").info("a.b", extra={"audit": audit})
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trailseal", "trailseal.x", "httpx", "httpcore.http11"])
def test_records_of_our_own_are_no_events(name: str) -> None:
    """An event about sending events would never end."""

    class Never:
        def log_event(self, event: Mapping[str, Any], *, log_id: str | None = None) -> Any:
            raise AssertionError

    handler = AuditHandler(audit=Never(), every_record=True)  # type: ignore[arg-type]
    handler.handleError = lambda record: pytest.fail("it was logged")  # type: ignore[method-assign]
    handler.handle(logging.makeLogRecord({"name": name, "msg": "x", "audit": {}}))


def test_a_configuration_is_plain_and_its_mistakes_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dictConfig` takes the server from the environment, and says what is missing."""
    monkeypatch.delenv("TRAILSEAL_SPOOL_DIR", raising=False)
    monkeypatch.setenv("TRAILSEAL_URL", "http://127.0.0.1:9")
    handler = {"class": "trailseal.integrations.logging.AuditHandler", "level": "WARNING"}
    config: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
    config |= {"handlers": {"audit": handler}, "loggers": {"shop.config": {"handlers": ["audit"]}}}
    with pytest.raises(ValueError, match="audit") as caught:
        logging.config.dictConfig(config)
    assert isinstance(caught.value.__cause__, ConfigurationError)
    monkeypatch.setenv("TRAILSEAL_API_KEY", make_key())
    with pytest.raises(ValueError, match="audit") as caught:
        logging.config.dictConfig(config)
    assert "spool=" in str(caught.value.__cause__)
    handler["spool"] = str(tmp_path / "spool")
    logging.config.dictConfig(config)
    logger = logging.getLogger("shop.config")
    [made] = logger.handlers
    assert isinstance(made, AuditHandler)
    assert made.level == logging.WARNING
    assert not (tmp_path / "spool").exists()  # nothing is opened before the first event
    logger.removeHandler(made)
    made.close()


def test_other_peoples_audit_takes_no_server(tmp_path: Path) -> None:
    """Two answers to one question are a mistake."""
    with pytest.raises(ConfigurationError):
        AuditHandler(audit=FileSink(tmp_path / "a"), base_url="http://127.0.0.1:9")


PROGRAM = """
import atexit, logging, logging.config, sys
@atexit.register
def late():  # runs after the audit object has closed, which was made later
    logging.getLogger("shop").info("late", extra={"audit": {"id": "late"}})
logging.config.dictConfig({
    "version": 1,
    "handlers": {"audit": {"class": "trailseal.integrations.logging.AuditHandler",
                           "spool": sys.argv[1], "log_id": sys.argv[2], "delivery": sys.argv[3]}},
    "root": {"handlers": ["audit"], "level": "DEBUG"},
})
for number in range(50):
    logging.getLogger("shop").info("a.b", extra={"audit": {"id": f"e{number}"}})
raise SystemExit(3)
"""


@pytest.mark.parametrize("delivery", ["durable", "background"])
def test_no_record_is_lost_when_python_ends(
    server: Running, log_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    """`logging.shutdown` delivers all, also what exit functions logged after the `Audit` closed."""
    assert server.key
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "spool"), log_id, delivery],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    with trailseal.Client(server.url, server.key) as client:
        found = {event.id for event in client.query(log_id=log_id, limit=100)}
    assert found == {*(f"e{number}" for number in range(50)), "late"}


AGAIN = """
import logging, logging.config, sys
config = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"audit": {"class": "trailseal.integrations.logging.AuditHandler",
                           "log_id": sys.argv[1], "delivery": "background"}},
    "root": {"handlers": ["audit"], "level": "DEBUG"},
}
for number in range(3):
    logging.config.dictConfig(config)  # closes the handlers there are, under the module's lock
    logging.getLogger("shop").info("a.b", extra={"audit": {"id": f"e{number}"}})
"""


def test_b10_configuring_logging_again_loses_nothing(
    server: Running, log_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dictConfig` waits for our delivery while it holds logging's lock: no deadlock."""
    assert server.key
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, log_id],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=True,
    )
    assert done.stderr == ""  # where events are dropped, it is said here
    with trailseal.Client(server.url, server.key) as client:
        assert {event.id for event in client.query(log_id=log_id)} == {"e0", "e1", "e2"}


def test_handlers_get_events_with_no_server_at_all() -> None:
    """Any handler will do: the record's text is the event, and `record.audit` too."""
    stream = io.StringIO()
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    with HandlerSink([logging.StreamHandler(stream), Keeper()], tenant="acme") as sink:
        receipt = sink.log("a.b", actor="u1", delivery="durable")
        sink.emit("https://example.com/s", {"n": 1}, version="1")
    assert (receipt.state, receipt.index) == ("written", -1)
    assert (sink.stats().accepted, sink.stats().delivered) == (2, 2)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["id"], first["tenant_id"]) == (receipt.event_id, "acme")
    assert second["schema"] == {"id": "https://example.com/s", "version": "1"}
    assert [record.__dict__["audit"] for record in records] == [first, second]


@pytest.mark.row("J-01", "J-02", "J-20")
@pytest.mark.parametrize("wrong", ["handler", None, [], [1], AuditHandler])
def test_a_sink_needs_handlers(wrong: Any, tmp_path: Path) -> None:
    """Anything else is refused; so is a handler that would ignore our records."""
    given = AuditHandler(audit=FileSink(tmp_path / "a")) if wrong is AuditHandler else wrong
    with pytest.raises(ConfigurationError):
        HandlerSink(given)
    kept = logging.NullHandler()
    assert HandlerSink(lambda: [kept]).log("a.b").state == "written"


def test_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One record that takes its time holds no other thread's up."""
    entered, free = threading.Event(), threading.Event()

    class Slow:
        def log_event(self, event: Mapping[str, Any], *, log_id: str | None = None) -> Any:
            prepare(event)
            if event["action"] == "slow":
                entered.set()
                assert free.wait(CHILD_S)

    handler = AuditHandler(audit=Slow(), every_record=True)  # type: ignore[arg-type]
    record = logging.makeLogRecord({"name": "shop", "msg": "slow"})
    slow = threading.Thread(target=handler.handle, args=(record,))
    slow.start()
    assert entered.wait(CHILD_S)
    fast = threading.Thread(
        target=handler.handle, args=(logging.makeLogRecord({"name": "shop", "msg": "fast"}),)
    )
    fast.start()
    fast.join(CHILD_S)
    assert not fast.is_alive()
    assert slow.is_alive()
    free.set()
    slow.join(CHILD_S)
