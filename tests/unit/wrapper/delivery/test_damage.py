"""Damaged spools: what is sound is delivered, the rest is counted, nothing is sent without end."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from trailseal.delivery._file import spool_files
from trailseal.delivery.batching import Limits

from .spools import (
    WHERE,
    adopt,
    cell,
    crash,
    damaged,
    emptied,
    everything,
    filled,
    leaf,
    new,
    on_disk,
)


@pytest.fixture
def crashed(folder: Path, lost: list[int]) -> Iterator[Path]:
    """The folder of a process that was killed with thirty events, ten in the log of SQLite."""
    spool = new(folder, lost)
    for number in range(40):
        spool.enqueue(f"e{number}", None, b"x" * (200 + number), 0.0)
        if number == 29:
            spool._db.run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        if number == 19:
            spool.settle(spool.take(Limits(events=10), (), ()))
    crash(spool)
    return folder


def test_s4_a_broken_first_page_costs_no_event(folder: Path, lost: list[int]) -> None:
    """It is the same in every spool; the damaged file is kept for people to look at."""
    spool = new(folder, lost)
    for number in range(30):
        spool.enqueue(f"e{number}", None, b"x" * 300, 0.0)
    spool._db.run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    crash(spool)
    [path] = spool_files(folder, WHERE)
    path.write_bytes(b"\0" * 4096 + path.read_bytes()[4096:])
    spool = adopt(folder, lost)
    assert [item.id for item in everything(spool)] == [f"e{n}" for n in range(30)]
    assert lost == [0]
    assert list(folder.glob("*.damaged-*"))
    spool.enqueue("after", None, b"{}", 0.0)
    assert spool.pending() == 31
    spool.close()


def test_s4_a_row_that_is_there_twice_hides_no_other(folder: Path, lost: list[int]) -> None:
    """A page that shows one row in the place of another: their number alone would be right."""
    spool = new(folder, lost)
    for number in range(5):
        spool.enqueue(f"e{number}", None, b"{}", 0.0)
    spool.leave()
    spool._db._file.release(remove=False)
    [path] = spool_files(folder, WHERE)
    raw = bytearray(path.read_bytes())
    page = 4096  # the second: the table's only one
    assert raw[page] == 0x0D  # its rows, SQLite file format 1.6
    raw[page + 8 + 4 : page + 8 + 6] = raw[page + 8 + 2 : page + 8 + 4]  # the third is the second
    path.write_bytes(raw)
    spool = adopt(folder, lost)
    assert [item.id for item in everything(spool)] == ["e0", "e1", "e3", "e4"]
    assert lost == [1]
    spool.close()


def test_s4_a_write_ahead_log_that_lost_its_end_is_noticed(crashed: Path, lost: list[int]) -> None:
    """SQLite takes such a log for one that was never finished."""
    [path] = spool_files(crashed, WHERE)
    log = Path(f"{path}-wal")
    log.write_bytes(log.read_bytes()[: 32 + (4096 + 24) * 5])
    spool = adopt(crashed, lost)
    found = {item.id for item in everything(spool)}
    assert lost == [30 - len(found)]
    assert lost[0] > 0
    spool.close()


@pytest.mark.parametrize(
    ("at", "bit"),
    [(b"CREATE TABLE", 0x80), (b"pendingpending", 0x80), (b"parkedparked", 0x80), (47, 8)],
)
def test_s4_one_bit_of_the_first_page_costs_no_event(
    folder: Path, lost: list[int], at: bytes | int, bit: int
) -> None:
    """Also where SQLite's message is no text, and where it has no code for what it found."""
    spool = filled(folder, lost)
    path, raw = on_disk(spool)
    crash(spool)
    raw[at if isinstance(at, int) else raw.index(at)] ^= bit
    path.write_bytes(raw)
    spool = adopt(folder, lost)
    assert len(emptied(spool)) == 50
    assert lost == [0]
    spool.close()


def test_s4_a_changed_key_takes_no_other_event_away(folder: Path, lost: list[int]) -> None:
    """Whatever bit of it: what was read under a wrong key is not forgotten under it."""
    spool = filled(folder, lost)
    path, good = on_disk(spool)
    crash(spool)
    page = leaf(good)
    for number, bit in itertools.product(range(8), range(7)):
        raw = bytearray(good)
        raw[cell(raw, page, number) + 2] ^= 1 << bit  # behind the two bytes of its length
        trial = folder.parent / f"{number}-{bit}"
        shutil.copytree(folder, trial)
        (trial / path.name).write_bytes(raw)
        lost.clear()
        spool = adopt(trial, lost)
        delivered = emptied(spool)
        assert set(delivered) == {f"e{number}" for number in range(50)}
        assert sum(lost) <= 1
        assert spool.pending() == 0
        spool.close()


def test_s4_rows_that_disappear_while_it_runs_are_counted(folder: Path, lost: list[int]) -> None:
    """A look at what was requeued does not note them away; the end of what is there tells."""
    spool = filled(folder, lost)
    _, raw = on_disk(spool)
    raw[leaf(raw) + 4] ^= 8  # the number of its rows
    damaged(spool, raw)
    assert spool.refresh() == 0
    assert len(emptied(spool)) == 42
    assert (lost, spool.pending()) == ([8], 0)
    spool.close()


def test_s4_damage_that_is_found_when_events_leave_counts_none_of_them(
    folder: Path, lost: list[int]
) -> None:
    """They were delivered, whether their rows can be read or not."""
    spool = filled(folder, lost)
    batch = spool.take(Limits(events=10), (), ())
    _, raw = on_disk(spool)
    raw[leaf(raw) : leaf(raw) + 512] = os.urandom(512)
    damaged(spool, raw)
    spool.settle(batch)
    delivered = {item.id for item in batch} | set(emptied(spool))
    assert lost == [50 - len(delivered)]
    spool.close()


def test_s4_a_row_that_moves_after_it_was_read_is_not_forgotten_for_another(
    folder: Path, lost: list[int]
) -> None:
    """Its key is another event's now: nothing is deleted under it."""
    spool = filled(folder, lost)
    batch = spool.take(Limits(events=3), (), ())
    _, raw = on_disk(spool)
    page = leaf(raw)
    first, fourth = cell(raw, page, 0), cell(raw, page, 3)
    raw[first + 2], raw[fourth + 2] = raw[fourth + 2], raw[first + 2]
    damaged(spool, raw)
    spool.settle(batch)
    assert {item.id for item in batch} | set(emptied(spool)) == {f"e{n}" for n in range(50)}
    assert sum(lost) <= 2
    spool.close()


def test_s4_an_inner_page_that_leads_astray_sends_nothing_without_end(
    folder: Path, lost: list[int]
) -> None:
    """Whatever bit of its keys."""
    spool = filled(folder, lost)
    path, good = on_disk(spool)
    crash(spool)
    page = next(at for at in range(4096, len(good), 4096) if good[at] == 0x05)
    for number, bit in itertools.product(range(good[page + 4]), range(7)):
        raw = bytearray(good)
        at = page + 12 + 2 * number
        raw[page + int.from_bytes(raw[at : at + 2]) + 4] ^= 1 << bit
        trial = folder.parent / f"{number}-{bit}"
        shutil.copytree(folder, trial)
        (trial / path.name).write_bytes(raw)
        lost.clear()
        spool = adopt(trial, lost)
        assert set(emptied(spool)) == {f"e{number}" for number in range(50)}
        assert (sum(lost), spool.pending()) == (0, 0)
        spool.close()
