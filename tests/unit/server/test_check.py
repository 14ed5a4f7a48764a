"""`trailseal-server check`: damage of every kind of row is named, and a good database is clean."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, select, update
from trailseal_server import check_events, commitments
from trailseal_server.check import Check
from trailseal_server.store import audit
from trailseal_server.store.schema import checkpoints, events, logs, tiles

from .conftest import PREFIX, START, Trail

SIZE = 600  # two complete tiles, and leaves beyond them
EVENT = {"action": "invoice.deleted", "actor": {"id": "u"}, "occurred_at": "2026-01-01T00:00:00Z"}
VECTORS = Path(__file__).parents[4] / "shared/vectors/trailseal/redacted.json"
CASES = json.loads(VECTORS.read_text())["cases"] if VECTORS.exists() else []


@pytest.fixture(scope="module")
def shared(shared_trail: Callable[[], Trail]) -> Trail:
    """Two logs, one of a tenant, signed at several sizes; what a test damages it mends."""
    trail = shared_trail()
    trail.log("main")
    trail.log("acme", tenant_id="acme")
    trail.log("empty")
    for size in (1, 299, 300):
        trail.append("main", [EVENT] * size, received_at=START + size)
        trail.signer.seal("main")
    trail.append("acme", [EVENT, {**EVENT, "data": {"n": 1.5, "o": {}, "l": [None]}}])
    trail.signer.seal("empty")
    return trail


def checker(trail: Trail) -> Check:
    """A check of the trail's database with its own key."""
    return Check(trail.store, PREFIX, trail.public_keys)


def damages(trail: Trail) -> list[tuple[str, str]]:
    """Log and place of each finding."""
    return [(found.log_id, found.where) for found in checker(trail).all()]


def flip(value: Any, bit: int) -> Any:
    """The value with one bit of it flipped."""
    if isinstance(value, int):
        return value ^ 1 << bit % 8
    raw = value.encode() if isinstance(value, str) else value
    at = bit % (8 * len(raw))
    flipped = bytearray(raw)
    flipped[at // 8] ^= 1 << at % 8
    return flipped.decode() if isinstance(value, str) else bytes(flipped)


ROWS: list[tuple[Table, dict[str, Any], str, str]] = [
    *((events, {"idx": 5}, column, "event 5") for column in ("body", "entry", "leaf_hash", "seed")),
    *((events, {"idx": 599}, column, "event 599") for column in ("body", "entry", "leaf_hash")),
    *((events, {"idx": 7}, column, "event 7") for column in ("received_at", "occurred_at")),
    *((events, {"idx": 7}, column, "event 7") for column in ("event_id", "ingested_by")),
    (tiles, {"level": 0, "n": 1}, "data", "tile 0/1"),
    (tiles, {"level": 0, "n": 1}, "root", "tile 0/1"),
    *((checkpoints, {"tree_size": 300}, c, "checkpoint 300") for c in ("root_hash", "note")),
    (logs, {}, "edge", "log"),
    (logs, {}, "last_received_at", "log"),
    (logs, {}, "sealed_size", "log"),
]


def _name(value: Any) -> str:
    return value.name if isinstance(value, Table) else str(value)


@pytest.mark.parametrize(("table", "key", "column", "place"), ROWS, ids=_name)
def test_v7_one_flipped_bit_is_named_and_nothing_else(
    shared: Trail, table: Table, key: dict[str, Any], column: str, place: str
) -> None:
    """In each kind of row, at several bits: the one damage is found, where it is."""
    where = [table.c.log_id == "main", *(table.c[name] == value for name, value in key.items())]
    with shared.store.read() as connection:
        good = connection.execute(select(table.c[column]).where(*where)).scalar_one()
    for bit in (0, 13, 98):
        bad = flip(good, bit)
        with shared.store.write() as connection:
            connection.execute(update(table).where(*where).values({column: bad}))
        try:
            found = damages(shared)
        finally:
            with shared.store.write() as connection:
                connection.execute(update(table).where(*where).values({column: good}))
        assert found == [("main", place)], f"bit {bit}"
    assert damages(shared) == []


def test_a_good_database_is_clean(shared: Trail) -> None:
    """No false alarm: logs with and without tiles, of a tenant, empty, sealed and unsealed."""
    check = checker(shared)
    assert list(check.all()) == []
    assert (check.logs, check.events, check.checkpoints) == (3, SIZE + 2, 4)


def test_what_is_missing_is_named(trail: Trail) -> None:
    """An event in the middle, one at the end, a tile, a log's row."""
    trail.log("a")
    trail.append("a", [EVENT] * 300)
    trail.signer.seal("a")
    with trail.store.write() as connection:
        connection.execute(delete(events).where(events.c.idx.in_([280, 299])))
    assert damages(trail) == [("a", "event 280"), ("a", "event 299")]
    with trail.store.write() as connection:
        connection.execute(delete(tiles))
    assert ("a", "tile 0/0") in damages(trail)
    with trail.store.write() as connection:
        connection.execute(delete(logs))
    assert damages(trail) == [("a", "directory"), ("a", "events"), ("a", "checkpoints")]


def test_a_log_that_went_back_is_named(trail: Trail) -> None:
    """A log's row from before its last events: they, and the checkpoint, lie beyond it."""
    trail.log("a")
    trail.append("a", [EVENT] * 3)
    trail.signer.seal("a")
    with trail.store.read() as connection:
        old = connection.execute(select(logs)).one()._asdict()
    trail.append("a", [EVENT] * 3)
    trail.signer.seal("a")
    with trail.store.write() as connection:
        connection.execute(update(logs).values(old))
    reasons = [found.reason for found in checker(trail).all()]
    assert "events reach to 5, beyond its size 3" in reasons
    assert "beyond the log's size 3" in reasons


def test_v3_an_older_database_lacks_the_checkpoint_that_was_kept(shared: Trail) -> None:
    """A copy that agrees with itself is only betrayed by what was published since."""
    check = checker(shared)
    kept = shared.signer.seal("main").note
    assert list(check.kept(kept)) == []
    later = kept.replace("\n600\n", "\n601\n")
    assert [(each.log_id, each.where) for each in check.kept(later)] == [("main", "checkpoint 601")]
    assert [each.where for each in check.kept(kept + "\n")] == ["checkpoint 600"]
    with pytest.raises(ValueError, match="no checkpoint"):
        list(check.kept("hello"))


def test_checkpoints_of_another_key_are_named(shared: Trail) -> None:
    """The signature, and nothing else, is wrong."""
    stranger = Trail(shared.store)
    found = list(Check(shared.store, PREFIX, stranger.public_keys).log("main"))
    assert {each.reason for each in found} == {"its signature is not by a key of this database"}
    assert len(found) == 3


@pytest.mark.skipif(not CASES, reason="the shared vectors are not beside the project")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["desc"])
def test_a_redacted_event_is_judged_as_its_vector_says(case: dict[str, Any]) -> None:
    """The commitment of salts and redactions together, or a refusal."""
    prepared = commitments.prepare(case["event"])
    given = (prepared, case["salts"], case["redactions"])
    try:
        found = check_events.redacted_fields_hash(*given)
    except ValueError:
        found = ""
    assert (found == case["fields_hash"]) is not case.get("want_error", False)


def test_text_that_is_no_utf8_any_more_is_damage_and_no_failure(
    trail: Trail, make_database: Callable[[], str]
) -> None:
    """On SQLite any byte may stand in a text; PostgreSQL refuses it itself."""
    if trail.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL checks text as it is written")
    trail.log("a")
    trail.append("a", [EVENT] * 3)
    with trail.store.write() as connection:
        text = "UPDATE events SET seed = CAST(x'FF' || CAST(seed AS BLOB) AS TEXT) WHERE idx = 1"
        connection.exec_driver_sql(text)
    store = audit.open_for_check(str(trail.store.engine.url))
    try:
        found = list(Check(store, PREFIX, trail.public_keys).all())
    finally:
        store.close()
    assert [each.where for each in found] == ["event 1"]
