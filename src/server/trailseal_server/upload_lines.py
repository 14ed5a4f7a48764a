"""The events of an uploaded file, some at a time: JSON Lines, perhaps gzip (RFC 1952).

Rules:
- A line is one event in strict JSON; an empty one is skipped. One that is none, or too long, is a
  problem in its place. Nothing longer than a line and a chunk is ever in memory.
- What gzip makes of a file is bounded by `MAX_PLAIN_BYTES`: beyond it the whole file is refused.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from .prepare import MAX_EVENT, Event
from .problems import Problem
from .strict_json import parse

CHUNK_EVENTS = 1000  # written in one transaction, as a batch is
CHUNK_BYTES = 8 << 20  # of lines: what a chunk may hold besides its last line
MAX_LINE = 2 * MAX_EVENT  # bytes: an event in a spelling of its own, with seed and signature
MAX_PLAIN_BYTES = 8 << 30  # eight times the largest file; JSON Lines shrink about tenfold


def chunks(path: Path, *, packed: bool) -> Iterator[list[Event | Problem]]:
    """The file's lines, at most `CHUNK_EVENTS` and about `CHUNK_BYTES` at a time.

    Raises `Problem` request_invalid for what is no whole gzip, body_too_large for too much of it.
    """
    chunk: list[Event | Problem] = []
    size = 0
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            for line in _lines(cast("BinaryIO", file)):
                chunk.append(line if isinstance(line, Problem) else _event(line))
                size += 0 if isinstance(line, Problem) else len(line)
                if len(chunk) == CHUNK_EVENTS or size >= CHUNK_BYTES:
                    yield chunk
                    chunk, size = [], 0
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise Problem("request_invalid", "The file is not whole gzip: send it again") from None
    if chunk:
        yield chunk


def _lines(file: BinaryIO) -> Iterator[bytes | Problem]:
    """The lines that are not empty; a problem for each one that is too long."""
    plain = 0
    while line := file.readline(MAX_LINE):
        whole = line
        plain += len(line)
        while len(line) == MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
            plain += len(line)
            _bound(plain)
        _bound(plain)
        if line is not whole:
            yield Problem("event_too_large", f"A line must have fewer than {MAX_LINE} bytes")
        elif whole.strip():
            yield whole


def _bound(plain: int) -> None:
    if plain > MAX_PLAIN_BYTES:
        raise Problem("body_too_large", f"The file unpacks to more than {MAX_PLAIN_BYTES} bytes")


def _event(line: bytes) -> Event | Problem:
    try:
        found: Any = parse(line.rstrip(b"\r\n"), check=False)
    except Problem as problem:
        return problem
    return found if isinstance(found, dict) else Problem("field_type", "A line must be an object")
