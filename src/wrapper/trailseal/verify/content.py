"""The lines of a content file, in constant memory, and whether it is the manifest's.

1. Every byte goes through SHA-256, also those behind a fault. It is read once, from start to end:
   standard input will do.
2. Lines, and the expansion of compressed data, have limits. A line too long is one bad line, and
   reading goes on behind it. Compressed data that is damaged ends the lines.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from .errors import ProofError
from .line import MAX_LINE_BYTES

MAX_EXPANSION = 200  # decompressed bytes for each compressed one: salts and hashes do not compress
FREE_EXPANSION_BYTES = 64 << 20  # below this no expansion harms
_CHUNK = 1 << 16


class Content:
    """An open content file: first its lines, then whether it is the manifest's."""

    def __init__(self, file: BinaryIO, *, compressed: bool) -> None:
        self._raw = _Hashing(file)
        self._reader: io.BufferedIOBase = (
            gzip.GzipFile(fileobj=self._raw) if compressed else io.BufferedReader(self._raw, _CHUNK)
        )
        self._fault: ProofError | None = None

    def lines(self) -> Iterator[bytes | None]:
        """Each line without its line feed, None for one that is too long; damage ends them."""
        try:
            yield from self._split()
        except (EOFError, zlib.error, OSError):  # gzip.BadGzipFile is an OSError
            self._fault = ProofError("the content is damaged, cut or unreadable", kind="content")

    def check(self, size: int, sha256: bytes) -> None:
        """Read what is left; `ProofError` unless all has the manifest's size and digest."""
        try:
            while self._raw.read(_CHUNK):
                pass
        except OSError:
            raise ProofError("the content cannot be read to its end", kind="content") from None
        if self._fault is not None:
            raise self._fault
        if (self._raw.size, self._raw.digest()) != (size, sha256):
            raise ProofError("the content is not the one that the manifest names", kind="content")

    def _split(self) -> Iterator[bytes | None]:
        expanded, at_start = 0, True
        while piece := self._reader.readline(MAX_LINE_BYTES):
            expanded += len(piece)
            if expanded > max(FREE_EXPANSION_BYTES, MAX_EXPANSION * self._raw.size):
                reason = f"the content expands more than {MAX_EXPANSION} times"
                self._fault = ProofError(reason, kind="content")
                return
            ended = piece.endswith(b"\n")
            if at_start:
                yield piece[:-1] if ended else piece if len(piece) < MAX_LINE_BYTES else None
            at_start = ended


class _Hashing(io.RawIOBase):
    """A file that keeps the size and the digest of what was read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # one kind of buffer
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._sha256.update(data)
        self.size += len(data)
        return len(data)

    def digest(self) -> bytes:
        return self._sha256.digest()
