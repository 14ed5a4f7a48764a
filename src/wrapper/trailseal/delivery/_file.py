"""Whose a spool file is: a private folder, a lock for each file, and what its owner last knew.

1. The folder is ours alone (0700), no symbolic link; its files are 0600.
2. A file belongs to whoever holds the lock (`flock`) on the `.lock` beside it. The system frees it
   with its process, so a file whose lock is free is an orphan, whatever became of its pid.
3. The lock's file says how far its owner got, and what was left. Read after a crash, it tells what
   a damaged database no longer knows.
4. A file's name begins with a digest of its destination: events only go where they were meant to.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from trailseal.errors import ConfigurationError

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

SIDE_FILES = ("-wal", "-shm", "-journal")  # of SQLite
_MARK = struct.Struct(">QQQQI")


class Mark(NamedTuple):
    """How far an owner got: what its file held of events that are not settled."""

    key: int = 0  # the last that was given
    left: int = 0  # events
    total: int = 0  # of their rows' weights: tells these events from as many others
    oldest: int = 1  # no event that is left has a lower key


class SpoolFile:
    """A spool's database, owned by this process until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def create(cls, folder: Path, destination: str) -> SpoolFile:
        """Make a new, empty file and own it; raises OSError."""
        name = f"{tag(destination)}-{os.getpid()}-{secrets.token_hex(4)}.db"
        path = folder / name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        lock = os.open(_lock_path(path), flags, 0o600)
        try:
            _flock(lock)
            os.close(os.open(path, flags, 0o600))
            _sync_folder(folder)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    @classmethod
    def claim(cls, path: Path) -> SpoolFile | None:
        """Own an orphan; None if it has an owner, is gone, or is no private file of ours."""
        try:
            lock = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        try:
            _flock(lock)
            # Whoever owned it may have removed it between our opening and our locking.
            if os.path.samestat(os.fstat(lock), _lock_path(path).lstat()):
                file = cls(path, lock)
                file.finish()
                if not os.path.lexists(path):
                    _lock_path(path).unlink()
                elif _private(path):
                    return file
        except OSError:
            pass
        os.close(lock)
        return None

    def mark(self, mark: Mark) -> None:
        """Note how far we got; not synced, since it is for crashes of the process."""
        body = _MARK.pack(*mark, 0)[:-4]
        os.pwrite(self._lock, body + struct.pack(">I", zlib.crc32(body)), 0)

    def last_mark(self) -> Mark | None:
        """What the last owner noted, or None."""
        return _unpack(os.pread(self._lock, _MARK.size, 0))

    @property
    def successor(self) -> Path:
        """Where a database is made that takes the place of a damaged one."""
        return self.path.with_suffix(".new")

    def replace(self) -> None:
        """Put the successor, which is whole, in the place of the database; that is set aside."""
        self._set_aside()
        self.successor.rename(self.path)

    def finish(self) -> bool:
        """End a replacement that was broken off, if there is one: once the database has left its
        place, its successor is all there is."""
        new = self.successor
        broken_off = not os.path.lexists(self.path) and os.path.lexists(new) and _private(new)
        if broken_off:
            self.replace()
        return broken_off

    @contextmanager
    def keeping_log(self) -> Iterator[None]:
        """Keep the write-ahead log while a connection is closed that takes it for finished: it
        stops at the first frame that was changed, and `salvage` goes on behind that."""
        log, kept = Path(f"{self.path}-wal"), Path(f"{self.path}-wal.kept")
        with suppress(OSError):
            os.link(log, kept)
        try:
            yield
        finally:
            with suppress(OSError):
                kept.replace(log)
            kept.unlink(missing_ok=True)  # where it was there still

    def _set_aside(self) -> None:
        """Move a damaged database out of the way, to be looked at by people: itself first."""
        aside = self.path.with_suffix(f".damaged-{time.time_ns()}")
        for side in ("", *SIDE_FILES):
            old = Path(f"{self.path}{side}")
            if old.exists():
                old.rename(f"{aside}{side}")

    def release(self, *, remove: bool) -> None:
        """Give the file up; with `remove` it is deleted first."""
        if remove:
            # First: without the others it would be taken up.
            self.successor.unlink(missing_ok=True)
            self.path.with_suffix(".image").unlink(missing_ok=True)
            for side in (*SIDE_FILES, ""):
                Path(f"{self.path}{side}").unlink(missing_ok=True)
            _lock_path(self.path).unlink(missing_ok=True)
        os.close(self._lock)

    def forget(self) -> None:
        """In a forked child: leave the file to the parent."""
        os.close(self._lock)  # a copy: the parent's lock stays


def check_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder if it is not there; raises `ConfigurationError` unless it is ours alone."""
    if fcntl is None:
        raise ConfigurationError("A spool needs file locks of POSIX; use delivery='background'.")
    if not os.fspath(path):
        raise ConfigurationError("spool: name a folder.")
    folder = Path(path).absolute()
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except FileExistsError:
        raise ConfigurationError(f"spool: {folder} is no folder.") from None
    except OSError as error:
        raise ConfigurationError(f"spool: {folder}: {error.strerror}.") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"spool: {folder} must be a folder, not a link.")
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        text = f"spool: {folder} must belong to this user alone: chmod 700 {folder}."
        raise ConfigurationError(text)
    return folder


def spool_files(folder: Path, destination: str | None = None) -> Iterator[Path]:
    """The databases of a folder, of one destination or all."""
    begin = tag(destination) + "-" if destination is not None else ""
    found = {*folder.glob(f"{begin}*.db")}
    found |= {path.with_suffix(".db") for path in folder.glob(f"{begin}*.new")}  # see `finish`
    return iter(sorted(found))


def is_owned(path: Path) -> bool:
    """Tell whether a process that runs owns this file."""
    try:
        lock = os.open(_lock_path(path), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        _flock(lock)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def tag(destination: str) -> str:
    """The beginning of the names of a destination's files."""
    return hashlib.sha256(destination.encode()).hexdigest()[:12]


def _unpack(raw: bytes) -> Mark | None:
    if len(raw) != _MARK.size:
        return None
    *mark, crc = _MARK.unpack(raw)
    return Mark(*mark) if zlib.crc32(raw[:-4]) == crc else None


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _flock(lock: int) -> None:
    """Take the lock; raises BlockingIOError if it is another's."""
    assert fcntl is not None  # noqa: S101  # check_folder has refused
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _private(path: Path) -> bool:
    found = path.lstat()
    regular = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    return regular and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
