"""The hashes of a log's tree: tiles (C2SP tlog-tiles, height 8) and the leaves not yet in one.

Rules:
- A tile of level L holds 256 hashes of tree level 8 * L. It is written once, in the transaction
  that appends its last leaf, with its root, which is an entry of the tile above.
- Entries that are in no complete tile are read one level below: leaf hashes from the events, others
  from the roots of tiles.
- A tile path is `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`, N in groups of three digits,
  all but the last with an `x` before (C2SP tlog-tiles).
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import ClassVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, insert, select

from ..log import HASH_BYTES, extend, fold, node_hash, split
from .driver import cursor
from .schema import events, tiles

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILES = 256  # whose nodes are kept: those above 16 million leaves; some 8 MB
MAX_KEPT = 256  # tiles of one database: 2 MiB
MAX_LEVEL = 5  # 256**6 leaves are beyond terms.ROW_BITS

_PATH = re.compile(
    r"tile/(?P<level>[0-5]|entries)/(?P<n>(?:x\d{3}/){0,4}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?",
    re.ASCII,
)


class TilePathError(ValueError):
    """A path that names no tile of this log."""


def write_complete(connection: Connection, log_id: str, size: int, leaves: Sequence[bytes]) -> None:
    """Write the tiles that `leaves`, appended at `size`, complete; call it before their rows."""
    start = size - size % WIDTH
    after = size + len(leaves)
    if after - start < WIDTH:
        return
    entries = [*_leaves(connection, log_id, start, size - start), *leaves]
    for level in range(MAX_LEVEL + 1):
        first, last = start >> HEIGHT, after >> HEIGHT
        rows = [
            _tile(log_id, level, n, entries[(n - first) * WIDTH : (n - first + 1) * WIDTH])
            for n in range(first, last)
        ]
        connection.execute(insert(tiles), rows)
        start, after = first - first % WIDTH, last
        if after - start < WIDTH:
            return
        entries = _roots(connection, log_id, level, start, after - start)


class Kept:
    """Tiles of a database that nearly every proof needs: those above the leaves, and those where a
    tree ends. They never change, for a log's leaves are only added to. Safe for threads."""

    _of: ClassVar = WeakKeyDictionary[Engine, "Kept"]()

    def __init__(self) -> None:
        self._lock = Lock()
        self._tiles = OrderedDict[tuple[str, int, int, int], bytes]()

    @classmethod
    def of(cls, connection: Connection) -> "Kept":
        """Those of a connection's database."""
        return cls._of.setdefault(connection.engine, cls())

    def get(self, key: tuple[str, int, int, int]) -> bytes | None:
        """The tile of this log, level, number and width; None if it is not kept."""
        return self._tiles.get(key)

    def keep(self, key: tuple[str, int, int, int], tile: bytes) -> None:
        """Keep a tile in the place of the one that was read first."""
        with self._lock:
            self._tiles[key] = tile
            if len(self._tiles) > MAX_KEPT:
                self._tiles.popitem(last=False)


class NodeReader:
    """Reads nodes of one log's tree of `size` leaves; keeps the tiles it has read, and looks into
    `kept` for those of others."""

    def __init__(
        self, connection: Connection, log_id: str, size: int, kept: Kept | None = None
    ) -> None:
        self._connection = connection
        self._log_id = log_id
        self._size = size
        self._kept = kept
        self._read: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of node (level, index), which must lie within the tree."""
        tile_level, above = divmod(level, HEIGHT)
        n, at = divmod(index << above, WIDTH)
        return _levels(self.tile(tile_level, n))[above][at >> above]

    def tile(self, level: int, n: int) -> bytes:
        """The hashes of tile `n`, fewer than 256 where the tree ends."""
        if (level, n) not in self._read:
            self._read[level, n] = self._tile(level, n)
        return self._read[level, n]

    def _tile(self, level: int, n: int) -> bytes:
        width = min(WIDTH, (self._size >> HEIGHT * level) - n * WIDTH)
        if self._kept is None or (level == 0 and width == WIDTH):
            return self._stored(level, n, width)
        key = self._log_id, level, n, width
        tile = self._kept.get(key)
        if tile is None:
            tile = self._stored(level, n, width)
            self._kept.keep(key, tile)
        return tile

    def _stored(self, level: int, n: int, width: int) -> bytes:
        if width == WIDTH:
            found = _hashes(self._connection, _DATA, (self._log_id, level, n))
            return b"".join(_exactly(1, found, WIDTH * HASH_BYTES))
        if level == 0:
            return b"".join(_leaves(self._connection, self._log_id, n * WIDTH, width))
        return b"".join(_roots(self._connection, self._log_id, level - 1, n * WIDTH, width))


@lru_cache(maxsize=TILES)
def _levels(tile: bytes) -> list[list[bytes]]:
    """The nodes over a tile's hashes, level by level; what is incomplete is left out."""
    levels = [split(tile)]
    while len(below := levels[-1]) > 1:
        levels.append([node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)])
    return levels


def by_path(connection: Connection, log_id: str, size: int, path: str) -> bytes:
    """The bytes of a tile or entry bundle of a tree of `size`; raises TilePathError."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise TilePathError("not a tile path, such as tile/0/x001/067")
    n = int(found["n"].replace("/", "").replace("x", ""))
    if _number(n) != found["n"]:
        raise TilePathError("a tile's number has no leading zeros beyond three digits")
    level = 0 if found["level"] == "entries" else int(found["level"])
    there = (size >> HEIGHT * level) - n * WIDTH
    width = int(found["width"] or WIDTH)
    if not width <= there or (found["width"] and width >= WIDTH):
        raise TilePathError("the tree does not reach that tile yet")
    if found["level"] == "entries":
        return _bundle(connection, log_id, n * WIDTH, width)
    return NodeReader(connection, log_id, size).tile(level, n)[: width * HASH_BYTES]


def _number(n: int) -> str:
    text = f"{n % 1000:03}"
    while n := n // 1000:
        text = f"x{n % 1000:03}/{text}"
    return text


def _tile(log_id: str, level: int, n: int, entries: Sequence[bytes]) -> dict[str, object]:
    root = fold(extend((), 0, entries))
    return {"log_id": log_id, "level": level, "n": n, "root": root, "data": b"".join(entries)}


# Written out: a proof reads five tiles, and building a statement costs more than reading one.
_DATA = "SELECT data FROM tiles WHERE log_id = {0} AND level = {0} AND n = {0}"
_LEAVES = "SELECT leaf_hash FROM events WHERE log_id = {0} AND idx BETWEEN {0} AND {0} ORDER BY idx"
_ROOTS = (
    "SELECT root FROM tiles WHERE log_id = {0} AND level = {0} AND n BETWEEN {0} AND {0} ORDER BY n"
)


def _leaves(connection: Connection, log_id: str, start: int, count: int) -> list[bytes]:
    return _exactly(count, _hashes(connection, _LEAVES, (log_id, start, start + count - 1)))


def _roots(connection: Connection, log_id: str, level: int, start: int, count: int) -> list[bytes]:
    return _exactly(count, _hashes(connection, _ROOTS, (log_id, level, start, start + count - 1)))


def _hashes(connection: Connection, statement: str, given: tuple[object, ...]) -> list[bytes]:
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    with cursor(connection) as on:
        return [row[0] for row in on.execute(statement.format(mark), given)]


def _exactly(count: int, hashes: list[bytes], size: int = HASH_BYTES) -> list[bytes]:
    if len(hashes) != count or any(len(each) != size for each in hashes):
        raise RuntimeError("the database lacks hashes of a log's tree: restore it from a copy")
    return hashes


def _bundle(connection: Connection, log_id: str, start: int, count: int) -> bytes:
    inside = (events.c.log_id == log_id) & events.c.idx.between(start, start + count - 1)
    query = select(events.c.entry).where(inside).order_by(events.c.idx)
    entries = connection.execute(query).scalars()
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
