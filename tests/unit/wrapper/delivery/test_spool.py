"""The spool beside a plain model, and what it does with other people's files."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from trailseal.delivery._contents import requeue
from trailseal.delivery._file import Mark, SpoolFile, check_folder, is_owned, spool_files
from trailseal.delivery._orphans import Orphans
from trailseal.delivery._rows import measure
from trailseal.delivery.batching import Item, Limits
from trailseal.delivery.spool import Spool
from trailseal.delivery.stats import Counters
from trailseal.errors import ConfigurationError, DeliveryError, SpoolFullError

from .spools import WHERE, adopt, crash, everything, new

LIMITS = Limits(events=4, bytes=60)
MAX_BYTES = 120


class Model(RuleBasedStateMachine):
    """Any order of verbs, crashes included, leaves what a list of events would."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = check_folder(self.root / "spool")
        self.lost: list[int] = []
        self.drop = False
        self.spool = new(self.folder, self.lost, max_bytes=MAX_BYTES)
        self.events: list[tuple[str, str | None, bytes]] = []
        self.sent: list[tuple[str, str | None, bytes]] = []
        self.items: list[Item] = []
        self.parked = 0
        self.number = 0

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.root)

    @rule(log_id=st.sampled_from([None, "main"]), content=st.binary(min_size=1, max_size=40))
    def enqueue(self, log_id: str | None, content: bytes) -> None:
        self.number += 1
        event = (f"e{self.number}", log_id, content)
        if sum(len(each[2]) for each in self.events + self.sent) + len(content) > MAX_BYTES:
            with pytest.raises(SpoolFullError):
                self.spool.enqueue(*event, 0.0)
        else:
            assert list(self.spool.enqueue(*event, 0.0)) == []
            self.events.append(event)

    @rule()
    def take(self) -> None:
        batch = self.spool.take(LIMITS, (), ())
        expected, size = list[tuple[str, str | None, bytes]](), 0
        for event in self.events:
            size += len(event[2]) + 1 if event[1] == self.events[0][1] else 0
            if expected and (len(expected) == LIMITS.events or size > LIMITS.bytes):
                break
            if event[1] == self.events[0][1]:
                expected.append(event)
        assert [(item.id, item.log_id, item.content) for item in batch] == expected
        self.items += batch
        self.sent += expected
        self.events = [event for event in self.events if event not in expected]

    @rule()
    def settle(self) -> None:
        self.spool.settle(self.items)
        self.items, self.sent = [], []

    @rule(which=st.integers(0, 3))
    def settle_one(self, which: int) -> None:
        if which < len(self.items):
            self.spool.settle([self.items.pop(which)])
            self.sent.pop(which)

    @rule()
    def park(self) -> None:
        if self.items:
            item = self.items.pop(0)
            self.sent.pop(0)
            assert self.spool.park(item, "event_invalid", "why")
            self.parked += 1

    @rule()
    def release(self) -> None:
        self.spool.release(self.items)
        self._return()

    @rule()
    def crash_and_adopt(self) -> None:
        crash(self.spool)
        [path] = spool_files(self.folder, WHERE)
        file = SpoolFile.claim(path)
        assert file is not None
        self.spool = Spool(file, self.lost.append, max_bytes=MAX_BYTES)
        self._return()

    def _return(self) -> None:
        back = self.sent + self.events
        self.events = sorted(back, key=lambda event: int(event[0][1:]))
        self.items, self.sent = [], []

    @invariant()
    def it_knows_what_it_holds(self) -> None:
        held = self.events + self.sent
        assert self.spool.pending() == len(held)
        assert self.spool.bytes() == sum(len(event[2]) for event in held)
        assert self.spool.waiting().events == len(self.events)
        assert (self.spool.oldest() is None) == (not held)
        assert self.lost == []
        parked = self.spool._db.run(
            lambda c: c.execute("SELECT count(*) FROM parked").fetchone()[0]
        )
        assert parked == self.parked
        database = self.spool._db
        found, size, _ = database.run(lambda c: measure(c, Mark()))
        assert (found, found, size) == (database.mark, database._file.last_mark(), database.bytes)


Model.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModel = Model.TestCase


def test_b6_the_oldest_make_room_where_that_is_wanted(folder: Path, lost: list[int]) -> None:
    """Not what is on its way; their ids are told."""
    spool = new(folder, lost, max_bytes=30, drop_oldest=True)
    for name in "abc":
        spool.enqueue(name, None, b"x" * 10, 0.0)
    [first] = spool.take(Limits(events=1), (), ())
    assert spool.enqueue("d", None, b"x" * 15, 0.0) == ["b", "c"]
    with pytest.raises(SpoolFullError):
        spool.enqueue("e", None, b"x" * 31, 0.0)
    spool.release([first])
    assert [item.id for item in everything(spool)] == ["a", "d"]
    spool.close()


def test_threads_share_commits_and_each_event_is_there_once(folder: Path, lost: list[int]) -> None:
    """Sixteen threads; every event, in the order of its thread."""
    spool = new(folder, lost)

    def write(thread: int) -> None:
        for number in range(25):
            spool.enqueue(f"{thread}-{number}", None, b"{}", 0.0)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [item.id for item in everything(spool)]
    assert len(found) == len(set(found)) == 400
    for thread in range(16):
        mine = [name for name in found if name.startswith(f"{thread}-")]
        assert mine == [f"{thread}-{number}" for number in range(25)]
    spool.close()


def test_s5_a_file_with_an_owner_is_left_alone_and_an_orphan_adopted(
    folder: Path, lost: list[int]
) -> None:
    """Also by its own process: the lock decides, not the pid."""
    spool = new(folder, lost)
    spool.enqueue("a", None, b"{}", 0.0)
    assert is_owned(spool.path)
    assert SpoolFile.claim(spool.path) is None
    assert list(spool_files(folder, "http://another.test")) == []
    spool.close()
    assert not is_owned(spool.path)
    second = adopt(folder, lost)
    assert [item.id for item in everything(second)] == ["a"]
    second.settle(second.take(Limits(), (), ()))
    second.close()
    assert list(folder.iterdir()) == []


def test_s9_the_folder_and_its_files_are_private(folder: Path, lost: list[int]) -> None:
    """0700 and 0600, whatever the umask."""
    old = os.umask(0)
    try:
        spool = new(folder, lost)
        spool.enqueue("a", None, b"{}", 0.0)
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name[-4:]: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4
    spool.close()


def test_s9_links_and_folders_of_others_are_refused(
    tmp_path: Path, folder: Path, lost: list[int]
) -> None:
    """With what to do."""
    link = tmp_path / "link"
    link.symlink_to(folder)
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(0o755)
    a_file = tmp_path / "file"
    a_file.touch()
    for bad in (link, open_to_all, a_file, a_file / "below"):
        with pytest.raises(ConfigurationError, match="spool"):
            check_folder(bad)
    spool = new(folder, lost)
    spool.enqueue("a", None, b"{}", 0.0)
    spool.close()
    [path] = spool_files(folder, WHERE)
    real = path.rename(tmp_path / "elsewhere.db")
    path.symlink_to(real)
    assert SpoolFile.claim(path) is None


@pytest.mark.parametrize("name", ["file", "file/below", ""])
def test_what_can_be_no_folder_is_said_to_be_none(name: str, tmp_path: Path) -> None:
    """A file, a path below one, no name: before any event is taken."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"is no folder|Not a directory|name a folder"):
        check_folder(tmp_path / name if name else "")


def test_after_close_nothing_is_taken(folder: Path, lost: list[int]) -> None:
    """And no file is opened again."""
    spool = new(folder, lost)
    spool.close()
    with pytest.raises(DeliveryError):
        spool.enqueue("a", None, b"{}", 0.0)
    assert list(folder.iterdir()) == []


def test_what_the_command_line_requeued_is_counted_before_anybody_says_so(
    folder: Path, lost: list[int]
) -> None:
    """An event that is accepted or delivered meanwhile shows it; it is told once."""
    spool = new(folder, lost)
    for name in "ab":
        spool.enqueue(name, None, b"{}", 0.0)
        [item] = spool.take(Limits(), (), ())
        spool.park(item, "event_invalid", "why")
    assert requeue(folder, "a") == 1
    spool.settle(spool.take(Limits(), (), ()))
    assert spool.pending() == 0
    assert requeue(folder, "b") == 1
    spool.enqueue("c", None, b"{}", 0.0)
    assert spool.pending() == 2
    assert spool.bytes() == 4
    assert (spool.refresh(), spool.refresh()) == (2, 0)
    assert [item.id for item in everything(spool)] == ["b", "c"]
    spool.close()


def test_what_was_requeued_is_there_after_close(folder: Path, lost: list[int]) -> None:
    """Also if nobody looked since."""
    spool = new(folder, lost)
    spool.enqueue("a", None, b"{}", 0.0)
    [item] = spool.take(Limits(), (), ())
    spool.park(item, "event_invalid", "why")
    assert requeue(folder) == 1
    spool.close()
    assert [item.id for item in everything(adopt(folder, lost))] == ["a"]


def test_an_orphan_that_cannot_be_opened_keeps_none_of_the_others_waiting(
    folder: Path, lost: list[int]
) -> None:
    """It is told, and looked at again; whatever comes first in the folder."""
    for _ in range(3):
        spool = new(folder, lost)
        spool.enqueue("a", None, b"{}", 0.0)
        spool.close()
    first, *_ = spool_files(folder)
    Path(f"{first}-wal").mkdir()
    counters = Counters()
    orphans = Orphans(WHERE, lambda file: Spool(file, lost.append), counters)
    orphans.look(folder, None)
    assert len(orphans.spools) == 2
    assert counters.last_error == "DeliveryError"
    Path(f"{first}-wal").rmdir()
    orphans.look_soon()
    orphans.look(folder, None)
    assert {spool.path for spool in orphans.spools} == {*spool_files(folder)}
    for spool in orphans.spools:
        spool.close()
