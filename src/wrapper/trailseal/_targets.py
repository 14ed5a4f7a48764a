"""Where downloads go: a path, or an open file.

1. A file grows as `NAME.part`, with its origin and ETag in `NAME.part.json` beside it; a later
   process takes it up, and hashes what is there first.
2. Size and SHA-256, where they are known, must be right. Only then does the file get its name,
   at once (`os.replace`, or `os.link`, which never overwrites).
3. A download that failed keeps its `.part` if it can go on; what proved wrong is removed.
4. Two processes never write the same `.part`: it is locked, where the system can.
5. File writes block; under asyncio too, in pieces of some 64 KiB.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, BinaryIO, Self

from trailseal._flow import Response
from trailseal.errors import ConfigurationError, DownloadError

CHUNK = 1 << 20  # bytes hashed at a time of what is there already
MAX_NOTE = 4096  # bytes of `.part.json`: an ETag and a digest

OnBytes = Callable[[int, int | None], object]  # bytes so far, and in all where known


class Target:
    """Where a download goes: a sink for its bytes, and what must be true of them.

    This one writes into an open binary file, from where that stands.
    """

    path = Path()
    named = False  # whether other files can lie beside it

    def __init__(self, file: IO[bytes] | None, on_progress: OnBytes | None) -> None:
        self.size = 0
        self.etag: str | None = None
        self.total: int | None = None
        self.resumed = False  # whether bytes of an earlier process are part of it
        self.again = False  # whether what arrived does not follow what was there
        self._sha256: str | None = None
        self._source = ""
        self._on_progress = on_progress
        self._hash = hashlib.sha256()
        self._file = file
        self._start = 0
        if isinstance(name := getattr(file, "name", None), str):
            self.path = Path(name)

    def __enter__(self) -> Self:
        if self._file is not None and self._file.seekable():
            self._start = self._file.tell()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the caller's file open."""

    def load(self) -> None:
        """Take up what an earlier process left; reads and hashes all of it."""

    def expect(self, source: str, total: int | None, sha256: str | None) -> None:
        """Learn what is to come; what was there of something else is forgotten."""
        other = self._source and self._source != source
        if self.size and (other or (total is not None and self.size > total)):
            self.restart()
        self._source, self.total, self._sha256 = source, total, sha256

    @property
    def ranges(self) -> dict[str, str]:
        """The headers that ask for what is missing; weak ETags prove nothing (RFC 9110, 13.1.5)."""
        if not self.size or self.etag is None or not self.etag.startswith('"'):
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.etag}

    def begin(self, head: Response) -> None:
        """Take up a body: at its place for a 206 that fits, else from the beginning."""
        etag = head.headers.get("etag") or None
        if head.status != 206:
            self.restart()
            self.etag = etag
            self.note()
        else:
            place = head.headers.get("content-range", "").startswith(f"bytes {self.size}-")
            self.again = not place or etag not in {None, self.etag}

    def write(self, chunk: bytes) -> None:
        """Write the next bytes; more than there should be raise `DownloadError`."""
        if self.again:
            return
        if self.total is not None and self.size + len(chunk) > self.total:
            self.spoil()
            raise DownloadError(f"More than the {self.total} bytes that were announced arrived.")
        assert self._file is not None  # noqa: S101  # open since __enter__
        try:
            self._file.write(chunk)
        except OSError as error:
            raise DownloadError(f"The file cannot be written: {error.strerror}.") from error
        self._hash.update(chunk)
        self.size += len(chunk)
        if self._on_progress:
            self._on_progress(self.size, self.total)

    @property
    def sha256(self) -> str:
        """The digest of what is there, in hex."""
        return self._hash.hexdigest()

    @property
    def right(self) -> bool:
        """Whether size and digest are those that were announced."""
        sized = self.total is None or self.size == self.total
        return sized and (self._sha256 is None or self.sha256 == self._sha256)

    def restart(self) -> None:
        """Forget all bytes."""
        if self.size and self._file is not None:
            if not self._file.seekable():
                raise DownloadError("The content changed, and this file cannot be rewound.")
            self._file.seek(self._start)
            self._file.truncate()
        self.size, self.etag, self._hash = 0, None, hashlib.sha256()
        self.resumed = self.again = False

    def spoil(self) -> None:
        """Forget bytes that are wrong, so that no later call goes on with them."""

    def note(self) -> None:
        """Write down what the next process must know."""

    def commit(self, beside: Mapping[str, str]) -> tuple[Path, ...]:
        """Check size and digest; give a file its name, and those `beside` it (by the ends of their
        names) theirs."""
        self.check()
        return tuple(self.path / end for end in beside)  # of an open file there are none

    def check(self) -> None:
        """Raise `DownloadError` unless size and digest are right."""
        if not self.right:
            self.spoil()
            text = "The content is not the one that the server announced (size or SHA-256)."
            raise DownloadError(text, code="download_checksum")


class FileTarget(Target):
    """A path, which gets its content at once when all of it is there and right."""

    named = True

    def __init__(
        self, path: str | os.PathLike[str], *, overwrite: bool, on_progress: OnBytes | None
    ) -> None:
        super().__init__(None, on_progress)
        self.path = Path(path)
        self._overwrite = overwrite
        name = self.path.name or "none"
        self._part = self.path.parent / f"{name}.part"
        self._note = self.path.parent / f"{name}.part.json"

    def __enter__(self) -> Self:
        if not self.path.name or self.path.is_dir() or not self.path.parent.is_dir():
            raise ConfigurationError("path must name a file, in a folder that exists.")
        self._refuse_to_overwrite()
        self._file = _opened(self._part)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is None:
            return
        if not self.ranges:  # nothing that could go on
            self._remove()
        self._file.close()

    def load(self) -> None:
        """Take up what an earlier process left; reads and hashes all of it."""
        assert self._file is not None  # noqa: S101  # open since __enter__
        try:
            with self._note.open("rb") as file:
                note = json.loads(file.read(MAX_NOTE))
            self.etag, self._source = str(note["etag"]), str(note["source"])
        except (OSError, ValueError, LookupError, TypeError):
            self._file.truncate(0)
            return
        while chunk := self._file.read(CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)
        self.resumed = self.size > 0

    def note(self) -> None:
        """Write down what the next process must know: no URL, which may be a permission."""
        self._note.write_text(json.dumps({"etag": self.etag, "source": self._source}))

    def spoil(self) -> None:
        """Remove bytes that are wrong."""
        self.etag = None

    def commit(self, beside: Mapping[str, str]) -> tuple[Path, ...]:
        """Check, sync, write the files beside it, and give the file its name."""
        self.check()
        assert self._file is not None  # noqa: S101  # open since __enter__
        self._file.flush()
        os.fsync(self._file.fileno())
        made = {self.path.with_name(self.stem + suffix): text for suffix, text in beside.items()}
        for path, text in made.items():
            path.write_bytes(text.encode())
        self._publish()
        self._remove()
        self._file.close()
        self._file = None
        return tuple(made)

    @property
    def stem(self) -> str:
        """The name that files beside it begin with."""
        return self.path.name.removesuffix(".gz").removesuffix(".jsonl")

    def _publish(self) -> None:
        if self._overwrite:
            self._part.replace(self.path)
            return
        try:
            os.link(self._part, self.path)  # unlike rename, it never replaces
        except FileExistsError:
            raise DownloadError(_exists(self.path), advice="") from None
        except OSError:  # a file system without links: the check before must do
            self._refuse_to_overwrite()
            self._part.rename(self.path)

    def _remove(self) -> None:
        self._note.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _refuse_to_overwrite(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            raise DownloadError(_exists(self.path), advice="")


def target(
    path: str | os.PathLike[str] | BinaryIO, *, overwrite: bool, on_progress: OnBytes | None
) -> Target:
    """Make the target of a path or an open binary file."""
    if isinstance(path, str | os.PathLike):
        return FileTarget(path, overwrite=overwrite, on_progress=on_progress)
    if not callable(getattr(path, "write", None)):
        raise ConfigurationError("path must be a path or a file that is open for writing bytes.")
    return Target(path, on_progress)


def _opened(path: Path) -> IO[bytes]:
    """Open a `.part`, which may exist, for this process alone."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(path, flags, 0o666), "r+b")
    except OSError as error:
        raise ConfigurationError(f"{path.name} cannot be written: {error.strerror}.") from error
    if not _locked(file) or not _there(path, file):
        file.close()
        raise DownloadError(f"Another process is writing {path.name}.", advice="Wait for it.")
    return file


def _locked(file: IO[bytes]) -> bool:
    """Whether the file is ours now; as well where the system has no locks."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415  # not on Windows

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _there(path: Path, file: IO[bytes]) -> bool:
    """Whether the name still means the file: another process may just have finished with it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _exists(path: Path) -> str:
    return f"{path.name} exists: pass overwrite=True, or another path."
