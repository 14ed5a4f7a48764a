"""Damaged spools: what is sound is delivered, the rest is counted, nothing is sent without end."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from trailseal.delivery import _database
from trailseal.delivery._file import spool_files
from trailseal.delivery._statements import delete, transaction
from trailseal.delivery.batching import Limits
from trailseal.delivery.spool import Spool
from trailseal.errors import DeliveryError

from .spools import WHERE, adopt, crash, everything, new


def on_disk(spool: Spool) -> tuple[Path, bytearray]:
    """The database with all that is in its log, as it lies on the disk."""
    spool._db.run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    return spool.path, bytearray(spool.path.read_bytes())


def damaged(spool: Spool, raw: bytes) -> None:
    """Give a running spool another content, which it has to read."""
    spool.path.write_bytes(raw)
    connection = spool._db._connection
    assert connection is not None
    connection.execute("PRAGMA shrink_memory")


def leaf(raw: bytes, more_than: int = 8) -> int:
    """Where the first page of many rows begins (SQLite file format 1.6)."""
    pages = range(4096, len(raw), 4096)
    return next(at for at in pages if raw[at] == 0x0D and raw[at + 4] > more_than)


def cell(raw: bytes, page: int, number: int) -> int:
    """Where a row of a page begins."""
    return page + int.from_bytes(raw[page + 8 + 2 * number : page + 10 + 2 * number])


def filled(folder: Path, lost: list[int], events: int = 50) -> Spool:
    """A spool with events that span several pages."""
    spool = new(folder, lost)
    for number in range(events):
        spool.enqueue(f"e{number}", None, b"x" * 300, 0.0)
    return spool


def emptied(spool: Spool) -> list[str]:
    """The ids of all that is delivered, five at a time."""
    ids = list[str]()
    while batch := spool.take(Limits(events=5), (), ()):
        ids += [item.id for item in batch]
        spool.settle(batch)
        assert len(ids) < 1000, "it is sent without end"
    return ids


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


def test_s4_a_mending_that_a_kill_broke_off_is_ended_by_who_comes_next(
    folder: Path, lost: list[int]
) -> None:
    """Between the damaged file's leaving its place and the other's taking it, nothing has its
    name: it is found all the same, and what was lost is counted."""
    spool = filled(folder, lost)
    path, raw = on_disk(spool)
    crash(spool)
    raw[cell(raw, leaf(raw), 3) + 100] ^= 1
    path.write_bytes(raw)
    script = f"""
import os, pathlib
from trailseal.delivery._file import SpoolFile
from trailseal.delivery.batching import Limits
from trailseal.delivery.spool import Spool
pathlib.Path.rename = lambda self, to, rename=pathlib.Path.rename: (
    os.kill(os.getpid(), 9) if self.suffix == ".new" else rename(self, to))
Spool(SpoolFile.claim(pathlib.Path({str(path)!r})), print).take(Limits(), (), ())
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert not path.exists()
    spool = adopt(folder, lost)
    assert len(emptied(spool)) == 49
    assert lost == [1]
    spool.close()


def test_s4_a_mending_that_an_error_broke_off_is_ended_by_the_next_call(
    folder: Path, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same process; meanwhile nothing is accepted into the file that was set aside."""
    spool = filled(folder, lost)
    _, raw = on_disk(spool)
    raw[cell(raw, leaf(raw), 3) + 100] ^= 1
    damaged(spool, raw)

    rename = Path.rename

    def fails(self: Path, to: Path) -> Path:
        if self.suffix == ".new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails)
        with pytest.raises(DeliveryError, match="Input/output"):
            spool.take(Limits(), (), ())
        with pytest.raises(DeliveryError):
            spool.enqueue("refused", None, b"{}", 0.0)
    spool.enqueue("accepted", None, b"{}", 0.0)
    delivered = emptied(spool)
    assert (len(delivered), delivered[-1], lost) == (50, "accepted", [1])
    spool.close()


def test_a_file_that_could_not_be_opened_again_is_kept(
    folder: Path, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was mended, and there were no handles left: what it holds is known, and not deleted."""
    spool = filled(folder, lost)
    _, raw = on_disk(spool)
    raw[cell(raw, leaf(raw), 3) + 100] ^= 1
    damaged(spool, raw)
    with monkeypatch.context() as patch:
        patch.setattr(_database, "connect", no_handles)
        with pytest.raises(DeliveryError, match="unable to open"):
            spool.take(Limits(), (), ())
        assert (spool.pending(), lost) == (49, [1])
        spool.close()
    assert len(emptied(adopt(folder, lost))) == 49


def no_handles(path: Path) -> sqlite3.Connection:
    raise sqlite3.OperationalError(f"unable to open database file {path.name}")


def test_a_commit_that_failed_and_is_found_is_no_damage(folder: Path, lost: list[int]) -> None:
    """SQLite says that it failed to sync, the process is killed, and the log has it whole."""
    spool = filled(folder, lost)
    batch = spool.take(Limits(events=10), (), ())

    def work(connection: sqlite3.Connection, keys: Sequence[int]) -> None:
        with transaction(connection):
            delete(connection, keys)
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(DeliveryError):
        spool._db.remove(batch, spool._sent, work)
    crash(spool)
    spool = adopt(folder, lost)
    assert len(emptied(spool)) == 40
    assert lost == []
    spool.close()
