"""V7: one bit of a stored row is flipped, and `trailseal-server check` names the place."""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, LargeBinary, Table, select, text, update
from trailseal_server import command
from trailseal_server.store import IntegrityError, Store, audit
from trailseal_server.store.schema import checkpoints, directory, events, logs, tiles

from .servers import Process, rounds

TRIALS = rounds(20, 500)  # on each engine
SIZE = 300  # a complete tile, and leaves beyond it
SEED = 7

# Every column that a hash covers, or that is stored twice; the others (`sent_at`, `published_at`,
# settings) are neither.
KEYS = {events: ("idx",), tiles: ("level", "n"), checkpoints: ("tree_size",)}
KEYS |= {logs: (), directory: ()}
COLUMNS: dict[Table, tuple[str, ...]] = {
    events: (
        "idx", "event_id", "received_at", "occurred_at", "body", "seed", "entry", "leaf_hash",
        "ingested_by", "imported",
    ),
    tiles: ("level", "n", "data", "root"),
    checkpoints: ("tree_size", "root_hash", "note"),
    logs: ("log_no", "size", "edge", "last_received_at", "sealed_size"),
    directory: ("log_no",),
}  # fmt: skip
WEIGHTS = {events: 16, tiles: 4, checkpoints: 4, logs: 2, directory: 1}


@pytest.fixture
def database(
    make_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A database that a real server wrote, at rest."""
    url = make_database()
    with Process(url, tmp_path) as server:
        key = server.key or ""
        for first in (0, 1, SIZE - 1):
            last = {0: 1, 1: SIZE - 1}.get(first, SIZE)
            sent = [
                {"id": f"e{n}", "action": "a.b", "occurred_at": "2026-01-02T03:04:05Z",
                 "actor": {"id": f"u{n}"}, "data": {"n": n, "list": [1.5, None, {}]}}
                for n in range(first, last)
            ]  # fmt: skip
            assert server.call(key, "POST", "/v1/events/batch", {"events": sent})[0] == 200
            assert server.call(key, "POST", "/v1/logs/main/seal")[0] == 200
        assert server.end() == 0
    monkeypatch.setenv("TRAILSEAL_DATABASE_URL", url)
    monkeypatch.setenv("TRAILSEAL_LOG_KEY_FILE", str(tmp_path / "signing.key"))
    monkeypatch.setenv("TRAILSEAL_EXPORT_DIR", str(tmp_path))
    return url


def test_v7_one_flipped_bit_is_named_where_it_is(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any row, any column that a hash covers, any bit; and the mended database is clean again."""

    def check() -> list[dict[str, str]]:
        with pytest.raises(SystemExit) as ended:
            command.main(["check", "--json"])
        *found, counts = map(json.loads, capsys.readouterr().out.splitlines())
        assert ended.value.code == (1 if found else 0)
        assert counts["damages"] == len(found)
        return found

    assert check() == []
    store = audit.open_for_check(database)
    chance = random.Random(SEED)  # noqa: S311 - no secret
    missed = []
    for _ in range(TRIALS):
        (table,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        column = chance.choice(COLUMNS[table])
        places, undo = flip_any(store, table, column, chance)
        found = check()
        undo()
        if not places & {each["where"] for each in found}:
            missed.append((table.name, places, column, found))
        elif column not in KEYS[table] and table not in {logs, directory}:
            # A row that kept its place accuses nothing but itself.
            assert {each["where"] for each in found} == places, (column, found)
    store.close()
    assert missed == []
    assert check() == []


def flip_any(
    store: Store, table: Table, column: str, chance: random.Random
) -> tuple[set[str], Callable[[], None]]:
    """A flip that the database takes: it refuses a key that another row has."""
    while True:
        with suppress(IntegrityError):
            return flip(store, table, column, chance)


def place(table: Table, key: Sequence[int]) -> str:
    """What the check calls a row."""
    names = {events: "event %d", tiles: "tile %d/%d", checkpoints: "checkpoint %d"}
    return names.get(table, "log") % tuple(key)


def flip(
    store: Store, table: Table, column: str, chance: random.Random
) -> tuple[set[str], Callable[[], None]]:
    """Flip a bit of a column in a row; where the row was and is, and what mends it."""
    keys = [table.c[name] for name in KEYS[table]]
    with store.read() as connection:
        rows = connection.execute(select(table.c[column], *keys).order_by(*keys)).all()
    good, *key = chance.choice(rows)
    kind = table.c[column].type
    bad: Any
    if isinstance(kind, Boolean):
        bad = not good
    elif isinstance(good, int):
        bits = 62 if isinstance(kind, BigInteger) else 31
        bad = good ^ 1 << chance.randrange(bits)
    else:
        bad = flipped(good, chance, store.engine.dialect.name, binary=isinstance(kind, LargeBinary))
    was = [one == value for one, value in zip(keys, key, strict=True)]
    moved = [bad if name == column else value for name, value in zip(KEYS[table], key, strict=True)]
    now = [one == value for one, value in zip(keys, moved, strict=True)]

    def put(where: list[Any], value: Any) -> None:
        with store.write() as connection:
            changed = update(table).where(*where).values({column: value})
            assert connection.execute(changed).rowcount == 1

    put(was, bad)
    return {place(table, key), place(table, moved)}, lambda: put(now, good)


def flipped(good: Any, chance: random.Random, engine: str, *, binary: bool) -> Any:
    """Bytes or text with one bit flipped; text that PostgreSQL would not hold is not tried."""
    raw = good if binary else good.encode()
    while True:
        changed = bytearray(raw)
        changed[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        if binary:
            return bytes(changed)
        try:
            decoded = changed.decode()
        except UnicodeDecodeError:
            if engine == "sqlite":
                return text(f"CAST(x'{changed.hex()}' AS TEXT)")
            continue
        if "\0" not in decoded:
            return decoded
