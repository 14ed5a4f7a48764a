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
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from ..log import HASH_BYTES, extend, fold, split
from .schema import events, tiles

HEIGHT = 8
WIDTH = 1 << HEIGHT
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


class NodeReader:
    """Reads nodes of one log's tree of `size` leaves; keeps the tiles it has read."""

    def __init__(self, connection: Connection, log_id: str, size: int) -> None:
        self._connection = connection
        self._log_id = log_id
        self._size = size
        self._read: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of node (level, index), which must lie within the tree."""
        tile_level, above = divmod(level, HEIGHT)
        n, at = divmod(index << above, WIDTH)
        return fold(extend((), 0, self.entries(tile_level, n)[at : at + (1 << above)]))

    def entries(self, level: int, n: int) -> list[bytes]:
        """The hashes of tile `n`, fewer than 256 where the tree ends."""
        if (level, n) not in self._read:
            self._read[level, n] = self._entries(level, n)
        return self._read[level, n]

    def _entries(self, level: int, n: int) -> list[bytes]:
        width = min(WIDTH, (self._size >> HEIGHT * level) - n * WIDTH)
        if width == WIDTH:
            tile = (tiles.c.log_id == self._log_id) & (tiles.c.level == level) & (tiles.c.n == n)
            return split(self._connection.execute(select(tiles.c.data).where(tile)).scalar_one())
        if level == 0:
            return _leaves(self._connection, self._log_id, n * WIDTH, width)
        return _roots(self._connection, self._log_id, level - 1, n * WIDTH, width)


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
    return b"".join(NodeReader(connection, log_id, size).entries(level, n)[:width])


def _number(n: int) -> str:
    text = f"{n % 1000:03}"
    while n := n // 1000:
        text = f"x{n % 1000:03}/{text}"
    return text


def _tile(log_id: str, level: int, n: int, entries: Sequence[bytes]) -> dict[str, object]:
    root = fold(extend((), 0, entries))
    return {"log_id": log_id, "level": level, "n": n, "root": root, "data": b"".join(entries)}


def _leaves(connection: Connection, log_id: str, start: int, count: int) -> list[bytes]:
    inside = (events.c.log_id == log_id) & events.c.idx.between(start, start + count - 1)
    query = select(events.c.leaf_hash).where(inside).order_by(events.c.idx)
    return _exactly(count, connection.execute(query).scalars().all())


def _roots(connection: Connection, log_id: str, level: int, start: int, count: int) -> list[bytes]:
    inside = (tiles.c.log_id == log_id) & (tiles.c.level == level)
    inside &= tiles.c.n.between(start, start + count - 1)
    query = select(tiles.c.root).where(inside).order_by(tiles.c.n)
    return _exactly(count, connection.execute(query).scalars().all())


def _exactly(count: int, hashes: Sequence[bytes]) -> list[bytes]:
    if len(hashes) != count or any(len(each) != HASH_BYTES for each in hashes):
        raise RuntimeError("the database lacks hashes of a log's tree: restore it from a copy")
    return list(hashes)


def _bundle(connection: Connection, log_id: str, start: int, count: int) -> bytes:
    inside = (events.c.log_id == log_id) & events.c.idx.between(start, start + count - 1)
    query = select(events.c.entry).where(inside).order_by(events.c.idx)
    entries = connection.execute(query).scalars()
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
