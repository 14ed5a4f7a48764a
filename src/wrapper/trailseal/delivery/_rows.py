"""The tables of a spool, and how they are read when they are damaged.

1. Every row has a CRC-32 over its id, log and content: what a disk changed is not sent. It comes
   before the content, so that counting need not read that.
2. Page 1 of every spool is the same but for counters, so a broken one is replaced.
3. What lies in the write-ahead log counts even after a frame whose checksum is wrong, where SQLite
   stops: rows prove themselves.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from trailseal.delivery._file import Mark

PAGE = 4096  # bytes
VERSION = 1
# The order of the tables decides their root pages: see rule 2.
SCHEMA = f"""
CREATE TABLE pending (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, log_id TEXT,
  crc INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE parked (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, log_id TEXT,
  crc INTEGER NOT NULL, content BLOB NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL,
  parked_at TEXT NOT NULL);
PRAGMA user_version = {VERSION};
"""
# A header may also claim another version of the format (read-only), or a longer file.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY})
_DAMAGE_SAYS = ("no such", "unsupported file format")  # where SQLite has no code of its own
# What tells a row from others: its checksum and its key, which the checksum does not cover.
WEIGHT = "ifnull((crc + seq) & 0xffffffff, 0)"
COPIED = 1 << 20  # bytes at a time
MAX_KEY = 1 << 62  # far from where SQLite would begin to draw keys by chance
_MAX_SAVED = 1 << 61  # of a damaged spool, so that others can follow
_MAX_PROBES = 200_000  # keys looked for one by one in a damaged table: some seconds


class DamagedError(sqlite3.DatabaseError):
    """A spool does not hold what its owner wrote."""


class Row(NamedTuple):
    """A row of `pending`, or of `parked` with its last three columns."""

    seq: int
    id: str
    log_id: str | None
    crc: int
    content: bytes
    code: str = ""
    detail: str = ""
    parked_at: str = ""

    @property
    def sound(self) -> bool:
        """Tell whether it is what was written."""
        kinds = isinstance(self.id, str) and isinstance(self.content, bytes)
        known = kinds and (self.log_id is None or isinstance(self.log_id, str))
        return known and self.crc == checksum(self.id, self.log_id, self.content)


class Saved(NamedTuple):
    """What was read from a damaged spool: how far the new one is, how much of that the old mark
    covers (see `measure`), and how many rows had changed, by whether it covered them."""

    mark: Mark
    covered: tuple[int, int]
    unsound: int
    unsound_others: int


def checksum(event_id: str, log_id: str | None, content: bytes) -> int:
    """The CRC-32 of a row."""
    head = f"{event_id}\0{'' if log_id is None else '+' + log_id}\0"
    return zlib.crc32(content, zlib.crc32(head.encode("utf-8", "surrogateescape")))


def connect(path: Path, *, uri: str = "") -> sqlite3.Connection:
    """Open a database; transactions are begun by hand, text may be damaged."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?{uri}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection


def is_damage(error: BaseException) -> bool:
    """Tell whether an error says that the file is not what we wrote."""
    code = getattr(error, "sqlite_errorcode", 0)
    short = code == sqlite3.SQLITE_IOERR_SHORT_READ
    said = code == sqlite3.SQLITE_ERROR and any(each in str(error) for each in _DAMAGE_SAYS)
    ours = isinstance(error, (DamagedError, UnicodeDecodeError))  # or a message with damaged text
    return ours or short or said or code & 0xFF in _DAMAGE


def weight(key: int, crc: int) -> int:
    """`WEIGHT` of a row."""
    return (crc + key) & 0xFFFFFFFF


def measure(connection: sqlite3.Connection, noted: Mark) -> tuple[Mark, int, tuple[int, int]]:
    """How far a spool is, the bytes of what waits, and how much of it has the keys that `noted`
    covers: rows and total. Rows below had left; damage to the write-ahead log can bring them back.

    Raises `DamagedError` for keys that are none, and sqlite3.Error.
    """
    query = f"""SELECT (SELECT ifnull(max(seq), 0) FROM sqlite_sequence), count(*),
      ifnull(sum({WEIGHT}), 0), min(seq), max(seq), ifnull(sum(length(content)), 0),
      count(*) FILTER (WHERE seq BETWEEN ?1 AND ?2),
      ifnull(sum({WEIGHT}) FILTER (WHERE seq BETWEEN ?1 AND ?2), 0) FROM pending"""  # noqa: S608  # names of ours
    found = connection.execute(query, (noted.oldest, noted.key)).fetchone()
    last, left, total, oldest, newest, size, *covered = found
    known = isinstance(last, int) and 0 <= last < MAX_KEY
    if not known or (left and not 0 < oldest <= newest <= last):
        raise DamagedError("keys that we do not give")
    return Mark(last, left, total, oldest or last + 1), size, (covered[0], covered[1])


def salvage(damaged: BinaryIO, log: Path, target: Path, mark: Mark) -> Saved:
    """Write a new spool at `target` with all sound rows of a damaged one, under their keys.

    `log` is its write-ahead log, `mark` what the owner noted. Raises OSError and sqlite3.Error for
    `target` only.
    """
    image = target.with_suffix(".image")
    try:
        _replay(damaged, log, image)
        with closing(connect(image, uri="immutable=1")) as source, closing(connect(target)) as new:
            new.execute(f"PRAGMA page_size = {PAGE}")
            new.executescript(SCHEMA)
            new.execute("BEGIN")
            last = max(mark.key, _sequence(source))
            new.execute("INSERT INTO sqlite_sequence VALUES ('pending', ?)", (last,))
            counts: Counter[str] = Counter()
            for table, places in (("pending", "?,?,?,?,?"), ("parked", "?,?,?,?,?,?,?,?")):
                for row in _readable(source, table, mark.key):
                    if row.sound:
                        _save(new, table, places, row)
                    else:
                        mine = table == "pending" and row.seq <= mark.key
                        counts["mine" if mine else "others"] += 1
            new.execute("COMMIT")
            now, _, covered = measure(new, mark)
            return Saved(now, covered, counts["mine"], counts["others"])
    finally:
        image.unlink(missing_ok=True)


def _save(new: sqlite3.Connection, table: str, places: str, row: Row) -> None:
    """Write a row under its key, or behind the others where damage has changed that."""
    insert = f"INSERT INTO {table} VALUES ({places})"  # noqa: S608  # names of ours
    there = f"SELECT id FROM {table} WHERE seq = ?"  # noqa: S608  # names of ours
    values = row[: places.count("?")]
    found = new.execute(there, (row.seq,)).fetchone()
    if found is None and 0 < row.seq < _MAX_SAVED:
        new.execute(insert, values)
    elif found != (row.id,):  # else it was read twice
        new.execute(insert, (None, *values[1:]))


def _replay(damaged: BinaryIO, log: Path, image: Path) -> None:
    """Copy a database, with all frames of its write-ahead log applied and page 1 as it was made."""
    image.unlink(missing_ok=True)
    os.close(os.open(image, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    with image.open("r+b") as file:
        damaged.seek(0)
        shutil.copyfileobj(damaged, file, COPIED)
        for number, page in _frames(log):
            file.seek((number - 1) * PAGE)
            file.write(page)
        size = max(file.seek(0, os.SEEK_END), 1)
        pages = -(-size // PAGE)
        file.truncate(pages * PAGE)
        first = bytearray(_first_page())
        first[28:32] = struct.pack(">I", pages)  # the size in pages, SQLite file format 1.3.7
        file.seek(0)
        file.write(first)


def _frames(log: Path) -> Iterator[tuple[int, bytes]]:
    """Page numbers and pages of a write-ahead log's current round (SQLite file format, 4.1)."""
    try:
        raw = log.read_bytes()[32:]
    except OSError:
        return
    step = 24 + PAGE
    frames = [raw[at : at + step] for at in range(0, len(raw) - step + 1, step)]
    if not frames:
        return
    salts = Counter(frame[8:16] for frame in frames[:3]).most_common(1)[0][0]
    last = max(
        (n for n, f in enumerate(frames) if f[8:16] == salts and f[4:8] != bytes(4)), default=-1
    )
    for frame in frames[: last + 1]:  # up to the last commit
        number = int.from_bytes(frame[:4])
        if 0 < number <= 1 << 24:  # 64 GiB: more is damage
            yield number, frame[24:]


def _first_page() -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fresh.execute(f"PRAGMA page_size = {PAGE}")
        fresh.executescript(SCHEMA)
        return fresh.serialize()[:PAGE]


def _readable(source: sqlite3.Connection, table: str, highest: int) -> Iterator[Row]:
    """All rows that can be reached: from the beginning, from the end, and one by one between."""
    low, high = 0, highest + 1
    try:
        for row in _select(source, table, "1 ORDER BY seq"):
            low = max(low, row.seq)
            yield row
        return  # noqa: TRY300  # all of them
    except sqlite3.Error:
        pass
    try:
        for row in _select(source, table, "seq > ? ORDER BY seq DESC", low):
            high = row.seq
            yield row
    except sqlite3.Error:
        pass
    for key in range(low + 1, min(high, low + _MAX_PROBES)):
        try:
            yield from _select(source, table, "seq = ?", key)
        except sqlite3.Error:
            continue


def _select(source: sqlite3.Connection, table: str, where: str, *values: Any) -> Iterator[Row]:
    for raw in source.execute(f"SELECT * FROM {table} WHERE {where}", values):  # noqa: S608  # names of ours
        yield Row(*raw)


def _sequence(source: sqlite3.Connection) -> int:
    try:
        found = source.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()[0]
    except sqlite3.Error:
        return 0
    return found if isinstance(found, int) and 0 < found < _MAX_SAVED else 0
