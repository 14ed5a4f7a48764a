"""The outbox: committed is sent once, rolled back is never sent, whoever is killed in between.

Writers and relays are processes of their own; SQLAlchemy and Django, SQLite and PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trailseal
from sqlalchemy import Engine, MetaData, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from trailseal.delivery import Delivered
from trailseal.errors import ConfigurationError, EventValidationError
from trailseal.integrations.outbox import Relay
from trailseal.integrations.outbox.__main__ import main
from trailseal.integrations.outbox.sqlalchemy import Outbox, SQLAlchemyRows, outbox_table
from trailseal_server.app import Running

from .children import DEADLINE_S, ROUNDS, until

BEGIN = """
import os, signal, sys
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from trailseal import Client
from trailseal.integrations.outbox import Relay
from trailseal.integrations.outbox.sqlalchemy import Outbox, SQLAlchemyRows
url, log_id, name = sys.argv[1:]
engine, outbox = create_engine(url), Outbox()
"""
WRITER = """
with Session(engine) as session:
    with session.begin():
        for number in range(20):
            outbox.log(session, "a.b", id=f"{name}-{number}", log_id=log_id)
    os.write(1, b"committed\\n")
    outbox.log(session, "a.b", id=f"{name}-never", log_id=log_id)
    session.flush()
    os.kill(os.getpid(), signal.SIGKILL)  # after one commit, within the next transaction
"""
# Killed at the answer: the server has stored the batch, the row is still there.
RELAY = """
relay = Relay(Client.from_env(), SQLAlchemyRows(engine),
              on_delivered=lambda _: None)
relay._place.settle = lambda items: os.kill(os.getpid(), signal.SIGKILL)
relay.run()
"""
DJANGO = """
import os, signal, sys, django
from django.conf import settings
name, log_id, do, engine, place, host, user = sys.argv[1:]
settings.configure(
    INSTALLED_APPS=["trailseal.integrations.django"], USE_TZ=True,
    TRAILSEAL={"CLIENT": {"tenant": None}},
    DATABASES={"default": {"ENGINE": engine, "NAME": place, "HOST": host, "USER": user}})
django.setup()
from django.core.management import call_command
from django.db import transaction
from trailseal.integrations.django import outbox
if do == "relay":
    call_command("trailseal_relay", "--once")
else:
    call_command("migrate", verbosity=0)
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    with transaction.atomic():
        for number in range(20):
            outbox.log("a.b", id=f"{name}-{number}", log_id=log_id)
    try:
        with transaction.atomic():
            outbox.log("a.b", id=f"{name}-rolled-back", log_id=log_id)
            raise KeyError
    except KeyError:
        pass
    with transaction.atomic():
        outbox.log("a.b", id=f"{name}-never", log_id=log_id)
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Shop:
    """An application's database, and the log that its events go to."""

    def __init__(self, url: str, server: Running, log_id: str) -> None:
        self.url, self.server, self.log_id = url, server, log_id
        self.engine: Engine = create_engine(url)
        metadata = MetaData()
        self.outbox = Outbox(outbox_table(metadata))
        self.metadata = metadata
        self.client = trailseal.Client(server.url, server.key)

    def run(self, *command: str) -> int:
        """Run a program to its end, which may be a kill."""
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=60, check=False
        )
        assert not done.stderr, done.stderr
        return done.returncode

    def child(self, program: str, name: str) -> int:
        """Run a program on this database."""
        return self.run("-c", BEGIN + program, self.url, self.log_id, name)

    def left(self) -> int:
        """The rows in the table, parked ones too."""
        with self.engine.connect() as connection:
            count: int = connection.execute(text("select count(*) from trailseal_outbox")).scalar()
            return count

    def stored(self) -> list[str]:
        """The ids in the log."""
        pages = self.client.query(log_id=self.log_id, order="asc", limit=1000)
        return [event.id for event in pages]


@pytest.fixture
def shop(
    make_database: Callable[[], str],
    server: Running,
    log_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    """A shop, with the table, and the environment that a relay needs."""
    assert server.key
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    made = Shop(make_database(), server, log_id)
    made.metadata.create_all(made.engine)
    yield made
    made.client.close()
    made.engine.dispose()


def relay_until_sigterm(shop: Shop) -> None:
    """Run the command until the table is empty; it ends in order."""
    command = [sys.executable, "-m", "trailseal.integrations.outbox", "relay", shop.url]
    child = subprocess.Popen([*command, "--poll", "0.05"], stderr=subprocess.PIPE)
    try:
        until(lambda: shop.left() == 0)
    finally:
        child.send_signal(signal.SIGTERM)
        errors = child.communicate(timeout=DEADLINE_S)[1]
    assert (child.returncode, errors) == (0, b"")


def test_o1_committed_is_sent_once_and_rolled_back_never_whoever_is_killed(shop: Shop) -> None:
    """kill -9 of the application after its commit, and of a relay after the server's answer."""
    assert shop.child(WRITER, "w") == -signal.SIGKILL
    assert shop.left() == 20
    assert shop.child(RELAY, "r") == -signal.SIGKILL
    assert (shop.left(), len(shop.stored())) == (20, 20)  # stored, and not yet forgotten
    relay_until_sigterm(shop)
    assert shop.stored() == [f"w-{number}" for number in range(20)]


@pytest.mark.skipif(not ROUNDS, reason="make faults-full")
def test_o1_a_relay_that_is_killed_at_random_times(shop: Shop) -> None:
    """A writer goes on; whatever it committed is in the log, once."""
    stopping = threading.Event()
    expected: list[str] = []

    def work() -> None:
        with Session(shop.engine) as session:
            while not stopping.wait(0.002):
                with session.begin():
                    event_id = f"e-{len(expected)}"
                    shop.outbox.log(session, "a.b", id=event_id, log_id=shop.log_id)
                expected.append(event_id)

    writer = threading.Thread(target=work)
    writer.start()
    program = "Relay(Client.from_env(), SQLAlchemyRows(engine), poll=0.01).run()"
    command = [sys.executable, "-c", BEGIN + program, shop.url, shop.log_id, "r"]
    for _ in range(ROUNDS):
        before = len(shop.stored())
        child = subprocess.Popen(command)
        until(lambda before=before: len(shop.stored()) > before)  # type: ignore[misc]
        time.sleep(random.uniform(0, 0.1))  # noqa: S311 - no secret
        child.kill()
        child.wait(DEADLINE_S)
    stopping.set()
    writer.join(DEADLINE_S)
    relay_until_sigterm(shop)
    assert sorted(shop.stored()) == sorted(expected)


def test_a_rollback_sends_nothing_and_the_receipts_id_is_final(shop: Shop) -> None:
    """What `trailseal.context` knows is filled in when the event is written."""
    with Session(shop.engine) as session:
        shop.outbox.log(session, "a.b", log_id=shop.log_id)
        session.rollback()
        with trailseal.context(actor="u1"):
            receipt = shop.outbox.log(session, "a.b", log_id=shop.log_id)
        session.commit()
    assert (receipt.state, receipt.index) == ("accepted", -1)
    with Relay(shop.client, SQLAlchemyRows(shop.engine)) as relay:
        assert relay.run_once()
    assert shop.stored() == [receipt.event_id]
    event = shop.client.get(receipt.event_id, log_id=shop.log_id)
    assert event.actor is not None
    assert event.actor.id == "u1"
    with Session(shop.engine) as session, pytest.raises(EventValidationError):
        shop.outbox.log(session, "", log_id=shop.log_id)


def test_o2_a_row_that_is_refused_for_good_is_parked_and_the_others_flow(shop: Shop) -> None:
    """The same id was logged with another content; `requeue` tries again."""
    shop.client.log("a.b", id="e-7", log_id=shop.log_id)
    with Session(shop.engine) as session, session.begin():
        for number in range(20):
            shop.outbox.log(session, "a.other", id=f"e-{number}", log_id=shop.log_id)
    rows = SQLAlchemyRows(shop.engine)
    with Relay(shop.client, rows) as relay:
        assert relay.run_once()
        assert (relay.stats().delivered, relay.stats().parked) == (19, 1)
    [(event_id, code, detail)] = rows.parked()
    assert (event_id, code) == ("e-7", "event_id_conflict")
    assert detail
    assert len(shop.stored()) == 20
    assert rows.requeue() == 1
    assert rows.count(10) == 1


def test_while_the_server_is_away_rows_wait(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--once` says that something is left, and `status` how much."""
    with Session(shop.engine) as session, session.begin():
        shop.outbox.log(session, "a.b", id="e-1", log_id=shop.log_id)
    monkeypatch.setenv("TRAILSEAL_URL", "http://127.0.0.1:9")
    assert main(["relay", shop.url, "--once"]) == 1
    assert main(["status", shop.url]) == 0
    assert json.loads(capsys.readouterr().out) == {"waiting": 1, "requeued": 0, "parked": []}


def test_two_relays_share_the_work_while_it_comes_in(shop: Shop) -> None:
    """Rows that one relay has locked are skipped by the other; nothing is missing or twice."""
    delivered: list[Delivered] = []
    engines = [create_engine(shop.url) for _ in range(2)]
    relays = [
        Relay(shop.client, SQLAlchemyRows(each), poll=0.01, on_delivered=delivered.append)
        for each in engines
    ]
    for relay in relays:
        relay.start()
    writers = [threading.Thread(target=write, args=(shop, name)) for name in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(DEADLINE_S)
    until(lambda: shop.left() == 0)
    for relay, engine in zip(relays, engines, strict=True):
        relay.close()
        engine.dispose()
    assert sorted(shop.stored()) == sorted(f"{n}-{m}" for n in range(2) for m in range(60))
    if shop.engine.dialect.name == "postgresql":
        assert not any(each.replayed for each in delivered)
        assert len(delivered) == 120


def write(shop: Shop, name: int) -> None:
    with Session(shop.engine) as session:
        for number in range(60):
            with session.begin():
                shop.outbox.log(session, "a.b", id=f"{name}-{number}", log_id=shop.log_id)


def test_sessions_of_asyncio_write_too(shop: Shop) -> None:
    """The same table, the same transaction."""

    async def work() -> None:
        url = shop.url.replace("sqlite:", "sqlite+aiosqlite:")
        engine = create_async_engine(url)
        async with AsyncSession(engine) as session:
            await shop.outbox.alog(session, "a.b", id="e-1", log_id=shop.log_id)
            await session.commit()
            await shop.outbox.alog(session, "a.b", id="e-2", log_id=shop.log_id)
            await session.rollback()
        await engine.dispose()

    asyncio.run(work())
    with Relay(shop.client, SQLAlchemyRows(shop.engine)) as relay:
        assert relay.run_once()
    assert shop.stored() == ["e-1"]


def test_a_database_that_fails_is_asked_again(shop: Shop) -> None:
    """The relay waits, and goes on when the table is there."""
    shop.metadata.drop_all(shop.engine)
    with Relay(shop.client, SQLAlchemyRows(shop.engine), poll=0.01) as relay:
        relay.start()
        until(lambda: relay._counters.last_error is not None)
        shop.metadata.create_all(shop.engine)
        with Session(shop.engine) as session, session.begin():
            shop.outbox.log(session, "a.b", id="e-1", log_id=shop.log_id)
        until(lambda: shop.left() == 0)
    assert shop.stored() == ["e-1"]


def test_a_relay_of_a_disabled_client_is_refused(shop: Shop) -> None:
    """It would send nothing, for ever."""
    client: Any = trailseal.Client(disabled=True)
    with pytest.raises(ConfigurationError):
        Relay(client, SQLAlchemyRows(shop.engine))
    client.close()


def test_o1_django_commits_event_and_change_together(shop: Shop, tmp_path: Path) -> None:
    """Django's own transaction, migration and command; killed after the commit."""
    shop.metadata.drop_all(shop.engine)
    if shop.engine.dialect.name == "postgresql":
        found = shop.engine.url
        host = str(found.query["host"])
        place = ("django.db.backends.postgresql", str(found.database), host, str(found.username))
    else:
        place = ("django.db.backends.sqlite3", str(shop.engine.url.database), "", "")
    django = ("-W", "error", "-c", DJANGO, "d", shop.log_id)
    assert shop.run(*django, "write", *place) == -signal.SIGKILL
    assert shop.left() == 20
    assert shop.run(*django, "relay", *place) == 0
    assert shop.left() == 0
    assert shop.stored() == [f"d-{number}" for number in range(20)]
