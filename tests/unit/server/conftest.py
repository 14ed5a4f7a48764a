"""A log in a real database, filled event by event, and a signer with a real key."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import update
from trailseal_server import commitments, prepare
from trailseal_server.auth import Caller
from trailseal_server.signer import Signer
from trailseal_server.signing_key import public
from trailseal_server.store import Store, logs, micros
from trailseal_server.store import append as writing
from trailseal_server.store.pages import Reader
from trailseal_server.store.schema import events as events_table

PREFIX = "example.org/test"
START = micros.parse("2026-01-01T00:00:00+00:00")
ORIGIN = prepare.Origin("key_test")


class Trail:
    """Appends with the parts that ingestion uses, with times that the test chooses."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reader = Reader(store)
        self._key = Ed25519PrivateKey.generate()
        self.signer = Signer(store, [self._key], PREFIX)
        self.public_keys = [public(self._key)]

    def caller(self, tenant_id: str | None = None) -> Caller:
        return Caller("key_test", tenant_id, None, frozenset({"admin"}))

    def log(self, log_id: str = "main", tenant_id: str | None = None) -> str:
        with self.store.write() as connection:
            logs.create(connection, log_id, tenant_id=tenant_id)
        return log_id

    def append(
        self, log_id: str, events: Iterable[dict[str, Any]], received_at: int | None = None
    ) -> None:
        """In one transaction; `received_at` is that of all of them, else a second apart."""
        with self.store.write() as connection:
            log = logs.find(connection, log_id, lock=True)
            assert log is not None
            names = writing.Names()
            drafts = [
                prepare.draft({"id": f"ev-{n}", **event}, lambda _: (), ORIGIN, "")
                for n, event in enumerate(events, log.size)
            ]
            if received_at is not None:
                writing.append(connection, log, [writing.Group(drafts)], received_at, names)
                return
            # One transaction has one instant: write as `append` does, with an instant for each.
            at = [START + n * 1_000_000 for n in range(log.size, log.size + len(drafts))]
            entries = [
                writing._entry(log_id, draft, micros.text(instant))
                for draft, instant in zip(drafts, at, strict=True)
            ]
            leaves = map(commitments.leaf_hash, entries)
            fresh = list(zip(drafts, entries, leaves, strict=True))
            writing._write(connection, log, fresh, max([log.last_received_at, *at]), names)
            mine = (events_table.c.log_id == log_id) & (events_table.c.idx >= log.size)
            moved = {"received_at": START + events_table.c.idx * 1_000_000}
            connection.execute(update(events_table).where(mine).values(moved))

    def verify_note(self, note: str) -> str:
        """The note's text; raises InvalidSignature."""
        body, _, last = note.rpartition("\n\n")
        signature = last.rpartition(" ")[2].encode()
        self._key.public_key().verify(b64decode(signature)[4:], f"{body}\n".encode())
        return f"{body}\n"


@pytest.fixture
def store(make_database: Callable[[], str]) -> Iterator[Store]:
    """A new database."""
    store = Store.open(make_database())
    yield store
    store.close()


@pytest.fixture
def trail(store: Store) -> Trail:
    """What fills logs and signs them."""
    return Trail(store)


@pytest.fixture(scope="module")
def shared_trail(make_database: Callable[[], str]) -> Iterator[Callable[[], Trail]]:
    """One database for all tests of a module that only read it."""
    store = Store.open(make_database())
    trail = Trail(store)
    yield lambda: trail
    store.close()
