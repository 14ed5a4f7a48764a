"""A mending, a commit, a close that something broke off: a kill, a full disk, a signal."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from trailseal.delivery import _database, _rows
from trailseal.delivery._contents import contents
from trailseal.delivery._database import Database
from trailseal.delivery._file import SpoolFile, spool_files
from trailseal.delivery._statements import delete, transaction
from trailseal.delivery.batching import Limits
from trailseal.delivery.spool import Spool
from trailseal.errors import DeliveryError

from .spools import adopt, crash, damaged, emptied, filled, new, one_row_changed


def test_s4_a_mending_that_a_kill_broke_off_is_ended_by_who_comes_next(
    folder: Path, lost: list[int]
) -> None:
    """Between the damaged file's leaving its place and the other's taking it, nothing has its
    name: it is found all the same, and what was lost is counted."""
    spool = filled(folder, lost)
    path, raw = one_row_changed(spool)
    crash(spool)
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
    damaged(spool, one_row_changed(spool)[1])

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
    damaged(spool, one_row_changed(spool)[1])
    with monkeypatch.context() as patch:
        patch.setattr(_database, "connect", no_handles)
        with pytest.raises(DeliveryError, match="unable to open"):
            spool.take(Limits(), (), ())
        assert (spool.pending(), lost) == (49, [1])
        spool.close()
    assert len(emptied(adopt(folder, lost))) == 49


def test_a_file_that_cannot_be_opened_takes_no_handles(
    folder: Path, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is tried."""
    filled(folder, lost).close()
    [path] = spool_files(folder)
    file = SpoolFile.claim(path)
    assert file is not None
    database = Database(file, lost.append)

    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(_database, "measure", fails)
    before = len([*Path("/dev/fd").iterdir()])
    for _ in range(3):
        with pytest.raises(DeliveryError):
            database.catch_up()
    assert len([*Path("/dev/fd").iterdir()]) == before
    file.release(remove=True)


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
    spool.refresh()
    crash(spool)
    spool = adopt(folder, lost)
    assert len(emptied(spool)) == 40
    assert lost == []
    spool.close()


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_s4_a_full_disk_while_an_orphan_is_mended_costs_none_of_its_log(
    folder: Path, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing it does not throw away what lies behind the damage."""
    spool = filled(folder, lost)
    crash(spool)
    log = Path(f"{spool.path}-wal")
    raw = bytearray(log.read_bytes())
    raw[32 + 4120 * (len(raw) // 4120 // 2) + 2000] ^= 1
    log.write_bytes(raw)
    with monkeypatch.context() as patch:
        patch.setattr(_rows.shutil, "copyfileobj", full_disk)
        file = SpoolFile.claim(spool.path)
        assert file is not None
        with pytest.raises(DeliveryError, match="No space"):
            Spool(file, lost.append)
        file.release(remove=False)
    spool = adopt(folder, lost)
    delivered = emptied(spool)
    assert lost == [50 - len(delivered)]
    assert lost[0] <= 1
    spool.close()


def test_s4_a_full_disk_while_it_is_mended_leaves_what_comes_after_safe(
    folder: Path, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's locks hold all the while: another process that looks does not tidy up."""
    spool = filled(folder, lost)
    _, raw = one_row_changed(spool)
    overwrite = "import sys; open(sys.argv[1], 'r+b').write(sys.stdin.buffer.read())"
    command = [sys.executable, "-c", overwrite, str(spool.path)]
    subprocess.run(command, input=raw, check=True)
    assert spool._db._connection is not None
    spool._db._connection.execute("PRAGMA shrink_memory")
    with monkeypatch.context() as patch:
        patch.setattr(_rows.shutil, "copyfileobj", full_disk)
        for _ in range(2):
            with pytest.raises(DeliveryError, match="No space"):
                spool.take(Limits(), (), ())
    look = f"""
import pathlib
from trailseal.delivery._contents import contents
[*contents(pathlib.Path({str(folder)!r}))]
"""
    subprocess.run([sys.executable, "-c", look], check=True)
    for number in range(5):
        spool.enqueue(f"after{number}", None, b"{}", 0.0)
    crash(spool)
    spool = adopt(folder, lost)
    assert len(emptied(spool)) == 54
    assert lost == [1]
    spool.close()


def test_s4_what_an_earlier_mending_left_is_no_hindrance_and_goes(
    folder: Path, lost: list[int]
) -> None:
    """A kill in the middle of it leaves two files."""
    spool = filled(folder, lost)
    path, raw = one_row_changed(spool)
    crash(spool)
    path.write_bytes(raw)
    for suffix in (".image", ".new"):
        path.with_suffix(suffix).touch(0o600)
    spool = adopt(folder, lost)
    assert len(emptied(spool)) == 49
    for suffix in (".image", ".new"):
        path.with_suffix(suffix).touch(0o600)
    spool.close()
    assert all(".damaged-" in each.name for each in folder.iterdir())
    assert [each.state for each in contents(folder)] == ["damaged"]


class Interrupting:
    """A connection during whose COMMIT a signal comes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        found = self.connection.execute(statement, *values)
        if statement == "COMMIT":
            os.kill(os.getpid(), signal.SIGUSR1)
        return found


@pytest.fixture
def interrupting() -> Any:
    """A handler that raises, as that of Ctrl-C does."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interrupting")
def test_a_signal_during_a_commit_is_no_damage(folder: Path, lost: list[int]) -> None:
    """The event is there or not, what made room for it is gone, and both are counted."""
    spool = new(folder, lost, max_bytes=200, drop_oldest=True)
    for number in range(20):
        spool.enqueue(f"e{number}", None, b"x" * 10, 0.0)
    spool._db._connection = Interrupting(spool._db._connection)  # type: ignore[assignment,arg-type]
    with pytest.raises(KeyboardInterrupt):
        spool.enqueue("new", None, b"x" * 10, 0.0)
    spool.refresh()
    assert (spool.pending(), spool.bytes()) == (20, 200)
    assert emptied(spool) == [*(f"e{number}" for number in range(1, 20)), "new"]
    assert lost == []
    spool.close()


def test_an_event_is_parked_whatever_the_server_says(folder: Path, lost: list[int]) -> None:
    """Also what no UTF-8 can hold; no file is set aside for it."""
    spool = new(folder, lost)
    spool.enqueue("a", None, b"{}", 0.0)
    [item] = spool.take(Limits(), (), ())
    assert spool.park(item, "event_invalid", "\ud800 is wrong")
    assert (spool.pending(), lost) == (0, [])
    assert [each.parked for each in contents(folder)] == [1]
    spool.close()


def test_closing_twice_closes_no_file_of_others(folder: Path, lost: list[int]) -> None:
    """The number of the lock may be another file's by then."""
    spool = new(folder, lost)
    number = spool._db._file._lock
    spool.close()
    with (folder / "another").open("w") as others:
        os.dup2(others.fileno(), number)
        spool.close()
        os.fstat(number)
        if number != others.fileno():
            os.close(number)


def test_no_event_that_may_be_taken_is_no_damage(folder: Path, lost: list[int]) -> None:
    """Their logs are held, or they are on their way, or not yet due."""
    spool = new(folder, lost)
    for name in "ab":
        spool.enqueue(name, None, b"{}", 0.0)
    assert spool.take(Limits(), (), (None,)) == []
    assert spool.take(Limits(), (1, 2), ()) == []
    [item] = spool.take(Limits(events=1), (), ())
    assert spool.take(Limits(), (2,), ()) == []
    spool.settle([item])
    assert lost == []
    assert not list(folder.glob("*.damaged-*"))
    spool.close()
