"""A log in a real database, filled event by event, and a signer with a real key."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, text, update
from trailseal_server import commitments
from trailseal_server import log as tree
from trailseal_server.auth import Caller
from trailseal_server.signer import Signer
from trailseal_server.store import Store, logs, micros, terms, tiles
from trailseal_server.store.pages import Reader
from trailseal_server.store.schema import events as events_table
from trailseal_server.store.schema import logs as logs_table
from trailseal_server.store.schema import names as names_table

PREFIX = "example.org/test"
START = micros.parse("2026-01-01T00:00:00+00:00")


class Trail:
    """Appends with the parts that ingestion uses, with times that the test chooses."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reader = Reader(store)
        self._key = Ed25519PrivateKey.generate()
        self.signer = Signer(store, self._key, PREFIX)

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
            rows = [
                self._row(log, log.size + n, event, received_at) for n, event in enumerate(events)
            ]
            leaves = [row["leaf_hash"] for row in rows]
            tiles.write_complete(connection, log_id, log.size, leaves)
            connection.execute(insert(events_table), rows)
            self._index(connection, log, [terms_of(row) for row in rows], log.size)
            edge = b"".join(tree.extend(tree.split(log.edge), log.size, leaves))
            grown = {"size": log.size + len(rows), "edge": edge}
            connection.execute(
                update(logs_table).where(logs_table.c.log_id == log_id).values(grown)
            )

    def _row(
        self, log: logs.LogRow, index: int, event: dict[str, Any], at: int | None
    ) -> dict[str, Any]:
        event = {"id": f"ev-{index}", **event}
        at = START + index * 1_000_000 if at is None else at
        prepared, seed = commitments.prepare(event), commitments.new_seed()
        entry = commitments.entry(
            log_id=log.log_id,
            event_id=event["id"],
            received_at=micros.text(at),
            ingested_by="key_test",
            committed=commitments.fields_hash(prepared, commitments.decode_seed(seed)),
        )
        occurred = event.get("occurred_at")
        return {
            "log_id": log.log_id,
            "idx": index,
            "event_id": event["id"],
            "received_at": at,
            "occurred_at": None if occurred is None else micros.parse(occurred),
            "sent_at": None,
            "body": prepared.body,
            "seed": seed,
            "entry": entry,
            "leaf_hash": commitments.leaf_hash(entry),
            "ingested_by": "key_test",
            "imported": False,
        }

    def _index(self, connection: Any, log: logs.LogRow, found: list[terms.Terms], at: int) -> None:
        statement = text("INSERT INTO terms (rowid, exact, text) VALUES (:row, :exact, :text)")
        rows = [
            {"row": terms.row_id(log.log_no, at + n), "exact": each.exact, "text": each.text}
            for n, each in enumerate(found)
        ]
        connection.execute(statement, rows)
        distinct = {name for each in found for name in each.names}
        if distinct:
            values = [
                {"log_id": log.log_id, "field": f, "value": v, "folded": v.casefold(), "token": t}
                for f, v, t in distinct
            ]
            connection.execute(insert(names_table).prefix_with("OR IGNORE"), values)

    def verify_note(self, note: str) -> str:
        """The note's text; raises InvalidSignature."""
        body, _, last = note.rpartition("\n\n")
        signature = last.rpartition(" ")[2].encode()
        self._key.public_key().verify(b64decode(signature)[4:], f"{body}\n".encode())
        return f"{body}\n"


def terms_of(row: dict[str, Any]) -> terms.Terms:
    return terms.derive(orjson.loads(row["body"]), "key_test", None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new SQLite database."""
    store = Store.open(f"sqlite:///{tmp_path}/trailseal.db")
    yield store
    store.close()


@pytest.fixture
def trail(store: Store) -> Trail:
    """What fills logs and signs them."""
    return Trail(store)


@pytest.fixture(scope="module")
def shared_trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Trail]]:
    """One database for all tests of a module that only read it."""
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('trail')}/trailseal.db")
    trail = Trail(store)
    yield lambda: trail
    store.close()
