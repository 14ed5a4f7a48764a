"""What erasures and retention leave on disk, how they go on, and that every hash still holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from trailseal_server import prepare
from trailseal_server.check import Check
from trailseal_server.erasures import Erasures
from trailseal_server.exports import Exports
from trailseal_server.problems import Problem
from trailseal_server.removals import locked
from trailseal_server.retention import DAY, Janitor
from trailseal_server.store import Store, holds, jobs, listings, retained, tenants
from trailseal_server.store.append import Group, Names, append
from trailseal_server.store.search import Filters
from trailseal_server.worker import Lease

from .conftest import ORIGIN, PREFIX, START, Trail

SUBJECT = "Quentin-77"
WORDS = ("quentin", "zebedee", "xylophone", "wombat", "vercingetorix", "obelisk")
LATER = START + 400 * DAY


@pytest.fixture
def erasures(trail: Trail, tmp_path: Path) -> Erasures:
    exports = Exports(trail.reader, trail.signer, tmp_path / "exports")
    exports._maker.prepare()
    return Erasures(trail.reader, exports)


def personal(number: int) -> dict[str, Any]:
    return {
        "action": "a.b",
        "actor": {"id": SUBJECT, "name": f"Zebedee {number}", "email": "z@xylophone.example"},
        "message": f"the wombat of {SUBJECT}, number {number}",
        "data": {"name": "Vercingetorix", "n": number},
        "context": {"user_agent": "obelisk/1"},
        "subjects": [SUBJECT, "other"],
    }


def sound(trail: Trail) -> None:
    """`check` recomputes every hash of the database, and finds no fault."""
    assert list(Check(trail.store, PREFIX, trail.public_keys).all()) == []


def erase(trail: Trail, erasures: Erasures, log_id: str = "main") -> dict[str, Any]:
    made = erasures.create(trail.caller(), log_id, {"subject": SUBJECT, "reason": "request"})
    assert erasures.worker.work()
    return erasures.get(trail.caller(), made["operation_id"])


def words_in(folder: Path) -> set[tuple[str, str]]:
    """The words that lie in any file of a folder, in any case."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {(p.name, w) for p in files for w in WORDS if w.encode() in p.read_bytes().lower()}


def test_on_sqlite_no_file_holds_a_word_of_what_was_erased(
    tmp_path: Path,
) -> None:
    """Database, WAL, exports: every byte is searched, for text as it was written and as the terms
    index and the list of names fold it. Only the process that wrote it all is still running."""
    (tmp_path / "db").mkdir()
    store = Store.open(f"sqlite:///{tmp_path / 'db' / 'trailseal.db'}")
    trail = Trail(store)
    trail.log()
    erasures = Erasures(trail.reader, Exports(trail.reader, trail.signer, tmp_path / "exports"))
    erasures._exports._maker.prepare()
    for start in range(0, 600, 50):  # many segments of the terms index, and pages that split
        trail.append("main", ({"id": f"e{start + n}", **personal(start + n)} for n in range(50)))
    trail.signer.seal("main")
    exports = erasures._exports
    made = exports.create(trail.caller(), "main", {"filter": {"actor_id": SUBJECT}})
    assert exports.worker.work()
    with store.write() as connection:
        hold = holds.create(connection, "main", "key_test", {"subject": SUBJECT, "reason": "r"})
        holds.release(connection, hold)
    assert {word for _, word in words_in(tmp_path)} == set(WORDS)
    assert erase(trail, erasures)["events"] == 600
    assert words_in(tmp_path) == set()
    with pytest.raises(Problem, match="export_expired"):
        exports.content(trail.caller(), made["operation_id"])
    sound(trail)
    store.close()


def test_on_postgresql_no_row_holds_a_word_of_what_was_erased(
    postgresql: Callable[[], str], tmp_path: Path
) -> None:
    """Every column of every table is searched as text."""
    store = Store.open(postgresql())
    trail = Trail(store)
    trail.log()
    erasures = Erasures(trail.reader, Exports(trail.reader, trail.signer, tmp_path))
    trail.append("main", map(personal, range(300)))
    assert {word for _, word in _rows(store)} >= set(WORDS) - {"xylophone"}
    erase(trail, erasures)
    assert _rows(store) == set()
    sound(trail)
    store.close()


def _rows(store: Store) -> set[tuple[str, str]]:
    found = set()
    with store.read() as connection:
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        for table in connection.execute(text(tables)).scalars().all():
            held = connection.exec_driver_sql(f"SELECT {table} FROM {table}").scalars()  # noqa: S608
            for row in map(str, held):
                plain = row.lower() + _unhex(row)
                found |= {(table, word) for word in WORDS if word in plain}
    return found


def _unhex(row: str) -> str:
    """What lies in the bytea columns of a row."""
    parts = [part.strip('"(),\\') for part in row.replace("\\\\x", ",").split(",")]
    hexes = [
        part
        for part in parts
        if part and len(part) % 2 == 0 and set(part) <= set("0123456789abcdef")
    ]
    return b" ".join(map(bytes.fromhex, hexes)).decode("utf-8", "replace").lower()


def test_an_erasure_that_was_put_down_goes_on_where_it_was(
    trail: Trail, erasures: Erasures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its count includes what the first worker did, and the log tells of it once."""
    trail.log()
    trail.append("main", map(personal, range(450)))
    made = erasures.create(trail.caller(), "main", {"subject": SUBJECT, "reason": "request"})
    seen: list[int] = []
    report = Lease.report

    def stop_in_between(self: Lease, done: int, total: int | None = None) -> None:
        seen.append(done)
        if done == 200 and seen.count(200) == 1:
            raise OSError("the worker dies here")
        report(self, done, total)

    monkeypatch.setattr(Lease, "report", stop_in_between)
    monkeypatch.setattr(erasures.worker, "_fail", lambda row, _: _given_back(trail.store, row))
    assert erasures.worker.work()
    assert erasures.worker.work()
    found = erasures.get(trail.caller(), made["operation_id"])
    assert (found["state"], found["events"]) == ("succeeded", 450)
    assert seen == [0, 200, 200, 400, 450]
    with trail.store.read() as connection:
        assert listings.find_event(connection, "main", index=450)
        with pytest.raises(Problem):
            listings.find_event(connection, "main", index=451)
    sound(trail)


def _given_back(store: Store, row: jobs.JobRow) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE operations SET state = 'pending', lease_until = NULL"))


def test_a_hold_placed_meanwhile_ends_an_erasure(trail: Trail, erasures: Erasures) -> None:
    """It fails and says why; nothing behind the hold was touched."""
    trail.log()
    trail.append("main", map(personal, range(3)))
    made = erasures.create(trail.caller(), "main", {"subject": SUBJECT, "reason": "request"})
    with trail.store.write() as connection:
        holds.create(connection, "main", "key_test", {"subject": "other", "reason": "case"})
    assert erasures.worker.work()
    with trail.store.read() as connection:
        row = jobs.find(connection, trail.caller(), made["operation_id"])
        assert row.state == "failed"
        assert orjson.loads(row.error)["code"] == "legal_hold"
        assert jobs.content(connection, row) == b"[]"
        assert listings.find_event(connection, "main", index=0).seed is not None


@pytest.fixture
def aged(trail: Trail) -> Trail:
    """A tenant whose events live for 30 days, with ten of them a day apart."""
    with trail.store.write() as connection:
        tenants.create(connection, {"tenant_id": "t", "retention_days": 30})
    trail.log("main", tenant_id="t")
    for day in range(10):
        who = ["held"] if day == 2 else []
        event = {"id": f"d{day}", **personal(day), "subjects": who}
        trail.append("main", [event], received_at=START + day * DAY)
    trail.signer.seal("main")
    return trail


@pytest.mark.row("P-72")
def test_retention_leaves_id_action_entry_and_hashes(aged: Trail) -> None:
    """Of events past their time, and of no others; every hash still holds, terms are gone."""
    janitor = Janitor(aged.store, lambda: START + 34 * DAY)
    assert janitor.sweep() == 4
    assert janitor.sweep() == 0
    records = [orjson.loads(aged.reader.get_event("main", f"d{n}", ["proof"])) for n in range(10)]
    assert [each.get("expired", False) for each in records] == [True] * 4 + [False] * 6
    assert records[0].keys().isdisjoint({"actor", "message", "data", "subjects", "seed"})
    assert (records[0]["id"], records[0]["action"]) == ("d0", "a.b")
    assert {each["policy"] for each in records[0]["redactions"]} == {"retention"}
    assert len(found(aged, "wombat")) == 6
    sound(aged)
    with aged.store.write() as connection:  # the same id, with any content, is a replay
        log, _ = locked(connection, "main")
        draft = plain_draft({"id": "d0", "action": "other"})
        ((placed,),) = append(connection, log, [Group([draft])], LATER, Names())
        assert getattr(placed, "replayed", False)


def test_a_hold_keeps_events_beyond_retention(aged: Trail) -> None:
    """A subject's or all of them; once it is released, their time is over."""
    with aged.store.write() as connection:
        one = holds.create(connection, "main", "k", {"subject": "held", "reason": "case"})
        every = holds.create(connection, "main", "k", {"reason": "all"})
    janitor = Janitor(aged.store, lambda: LATER)
    assert janitor.sweep() == 0
    for hold, left in ((every, ["d2"]), (one, [])):
        with aged.store.write() as connection:
            holds.release(connection, hold)
            retained.looked_at(connection, "main", 0)
        janitor.sweep()
        assert found(aged, "wombat") == left
    sound(aged)


def test_on_sqlite_the_janitor_makes_expired_words_go(tmp_path: Path) -> None:
    """Without VACUUM, beside writers: no file of the folder holds a word of what expired."""
    (tmp_path / "db").mkdir()
    store = Store.open(f"sqlite:///{tmp_path / 'db' / 'trailseal.db'}")
    trail = Trail(store)
    with store.write() as connection:
        tenants.create(connection, {"tenant_id": "t", "retention_days": 1})
    trail.log(tenant_id="t")
    for start in range(0, 300, 30):
        trail.append("main", ({"id": f"e{start + n}", **personal(start + n)} for n in range(30)))
    janitor = Janitor(store, lambda: LATER)
    assert janitor.sweep() == 300
    janitor.compact()
    assert words_in(tmp_path) == set()
    sound(trail)
    store.close()


def found(trail: Trail, word: str) -> list[str]:
    """The ids of events with this word."""
    page = trail.reader.list_events("main", Filters.of({"q": word}), limit=100)
    return [orjson.loads(item)["id"] for item in page.items]


def plain_draft(event: dict[str, Any]) -> Any:
    return prepare.draft(event, lambda _: (), ORIGIN, "")
