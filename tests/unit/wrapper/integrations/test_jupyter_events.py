"""jupyter-events' own `EventLogger`, as it comes from PyPI, with our handler."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger
from trailseal import Client
from trailseal.integrations.logging import AuditHandler
from trailseal_server.app import Running
from traitlets import TraitError
from traitlets.config import Config

SCHEMA_ID = "https://example.com/schemas/file-saved"
SCHEMA = {
    "$id": SCHEMA_ID,
    "version": "2",
    "title": "A file was saved",
    "type": "object",
    "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
    "required": ["path"],
}


class Place:
    """A log, and handlers of it."""

    def __init__(self, server: Running, log_id: str, spool: Path) -> None:
        self._server, self._log_id, self._spool = server, log_id, spool
        self.handlers: list[AuditHandler] = []

    def handler(self, **options: Any) -> AuditHandler:
        where = {"base_url": self._server.url, "api_key": self._server.key, "spool": self._spool}
        self.handlers.append(AuditHandler(log_id=self._log_id, **where, **options))
        return self.handlers[-1]

    def stored(self) -> list[Any]:
        """What arrived."""
        for handler in self.handlers:
            handler.close()
        with Client(self._server.url, self._server.key) as client:
            return list(client.query(log_id=self._log_id, order="asc"))


@pytest.fixture
def place(server: Running, log_id: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(server, log_id, tmp_path / "spool")
    yield made
    for handler in made.handlers:
        handler.close()


@pytest.mark.row("J-01", "J-10", "J-20", "J-27")
def test_its_event_logger_takes_our_handler_and_its_events_arrive(place: Place) -> None:
    """The schema's id is the action, the event is `data`; the caller's dict stays as it is."""
    logger = EventLogger(handlers=[place.handler()])
    logger.register_event_schema(SCHEMA)
    data = {"path": "a.ipynb", "message": "hello"}
    logger.emit(schema_id=SCHEMA_ID, data=data)
    assert data == {"path": "a.ipynb", "message": "hello"}
    [event] = place.stored()
    assert (event.action, event.data) == (SCHEMA_ID, data)
    assert event.tags["schema"] == SCHEMA_ID
    assert event.tags["schema_version"] == "2"


@pytest.mark.row("J-13", "J-15")
def test_its_times_are_mended(place: Place) -> None:
    """It writes `+00:00Z`, which is no RFC 3339; the moment is kept."""
    logger = EventLogger(handlers=[place.handler()])
    logger.register_event_schema(SCHEMA)
    moment = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)
    capsule = logger.emit(schema_id=SCHEMA_ID, data={"path": "a"}, timestamp_override=moment)
    assert capsule is not None
    assert capsule["__timestamp__"].endswith("+00:00Z")
    [event] = place.stored()
    assert event.occurred_at == moment
    assert not [name for name in event.data if name.startswith("__")]


def test_a_schema_can_be_checked_by_the_server(place: Place) -> None:
    """With `schemas=True` the event names it, and the server refuses one that it does not know."""
    handler = place.handler(schemas=True, delivery="confirmed")
    errors: list[Any] = []
    handler.handleError = errors.append  # type: ignore[method-assign]
    logger = EventLogger(handlers=[handler])
    logger.register_event_schema(SCHEMA)
    logger.emit(schema_id=SCHEMA_ID, data={"path": "a"})
    assert len(errors) == 1  # not registered at the server
    with Client(place._server.url, place._server.key) as client:
        client.schemas.register(SCHEMA)
    logger.emit(schema_id=SCHEMA_ID, data={"path": "a"})
    assert len(errors) == 1
    [event] = place.stored()
    assert event.raw["schema"] == {"id": SCHEMA_ID, "version": "2"}


@pytest.mark.row("J-01")
def test_it_is_configured_by_traitlets_as_ever(place: Place) -> None:
    """A list, or a function that returns one; other things are its own errors."""
    config = Config()
    config.EventLogger.handlers = [place.handler()]
    logger = EventLogger(config=config)
    logger.register_event_schema(SCHEMA)
    logger.emit(schema_id=SCHEMA_ID, data={"path": "a"})
    assert len(place.stored()) == 1
    with pytest.raises(TraitError):
        EventLogger(handlers=["no handler"])
