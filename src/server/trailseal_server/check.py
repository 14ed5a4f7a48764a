"""Checking a database: every hash of every log, recomputed from the stored events.

Rules:
- Memory is constant: a chunk of events, one tile for each level, one compact range.
- Each damage is named once, where it is. Of a leaf there are three copies (entry, `leaf_hash`, the
  tile): the tree goes on with the one that holds, so that one bad row does not accuse the rest.
  Behind a missing event no root can be computed, and that is said.
- A checkpoint must be, byte for byte, a note about its size and the root computed here, signed by
  keys of this database; the log's last one is its largest, within its size.
- Not checked, because no hash covers them: `sent_at`, `published_at`, settings; nor the indexes for
  searching. A checkpoint that was removed below the last one is missed only by `kept`.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from .check_events import faults
from .commitments import leaf_hash
from .log import HASH_BYTES, extend, fold, split
from .signer import signed_by
from .store import Store, audit, checkpoints
from .store.audit import Extent
from .store.checkpoints import CheckpointRow
from .store.tiles import HEIGHT, MAX_LEVEL, WIDTH

_NOTE = re.compile(r"(.+)\n([0-9]{1,18})\n")

Fault = tuple[str, str]  # the place in a log, what is wrong


class Finding(NamedTuple):
    """A damage: the log, the place in it (`event 5`, `tile 0/3`, `checkpoint 8`), what is wrong."""

    log_id: str
    where: str
    reason: str


class Tile(NamedTuple):
    """A complete tile as it must be."""

    level: int
    n: int
    data: bytes
    root: bytes


class Tree:
    """A tree that grows by one leaf: its compact range, and the entries of incomplete tiles."""

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[bytes] = []
        self._open: list[list[bytes]] = [[] for _ in range(MAX_LEVEL + 1)]

    def add(self, leaf: bytes) -> Iterator[Tile]:
        """Append a leaf; the tiles that it completes."""
        self.edge = extend(self.edge, self.size, (leaf,))
        self.size += 1
        top = leaf
        for level, entries in enumerate(self._open):
            entries.append(top)
            if len(entries) < WIDTH:
                return
            top = fold(extend((), 0, entries))
            yield Tile(level, (self.size >> HEIGHT * (level + 1)) - 1, b"".join(entries), top)
            entries.clear()


class Check:
    """A check of one store: its origins' prefix, and the public keys that may have signed.
    `logs`, `events` and `checkpoints` count what was looked at."""

    def __init__(self, store: Store, prefix: str, public_keys: Sequence[bytes]) -> None:
        self._store = store
        self._prefix = prefix
        self._keys = public_keys
        self.logs = self.events = self.checkpoints = 0

    def all(self) -> Iterator[Finding]:
        """The damage of the whole database."""
        for log_id in audit.log_ids(self._store):
            yield from self.log(log_id)
        for table, log_id in audit.strays(self._store):
            yield Finding(log_id, table, "rows of a log that is not there")

    def kept(self, note: str) -> Iterator[Finding]:
        """Whether a checkpoint that was kept elsewhere is one of this database still; raises
        ValueError where it is none."""
        found = _NOTE.match(note)
        if found is None:
            raise ValueError("the kept file is no checkpoint: origin, size and root, a line each")
        log_id, size = found[1].removeprefix(f"{self._prefix}/"), int(found[2])
        with self._store.read() as connection:
            row = checkpoints.at(connection, log_id, size)
        if row is None or row.note != note:
            reason = "was published and is not there: this database is an older one, or another's"
            yield Finding(log_id, f"checkpoint {size}", reason)

    def log(self, log_id: str) -> Iterator[Finding]:
        """The damage of one log; raises ValueError if there is no such log."""
        extent = audit.extent(self._store, log_id)
        if extent is None:
            raise ValueError(f"there is no log {log_id}")
        walk = _Walk(self._store, f"{self._prefix}/{log_id}", self._keys, extent)
        for where, reason in walk.faults():
            yield Finding(log_id, where, reason)
        self.logs += 1
        self.events += walk.events
        self.checkpoints += walk.checkpoints


class _Walk:
    """One log, from its first event to its last; each fault is a place and a reason."""

    def __init__(
        self, store: Store, origin: str, public_keys: Sequence[bytes], extent: Extent
    ) -> None:
        self._store = store
        self._origin = origin
        self._keys = public_keys
        self._extent = extent
        self._log = extent.log
        self._tree = Tree()
        self._next = 0  # the index that must come
        self._whole = True  # until an event is missing
        self._sound = True  # the last event's row
        self._received_at = 0  # of the last event whose row is sound
        self.events = self.checkpoints = 0

    def faults(self) -> Iterator[Fault]:
        """Everything, in the order of the log."""
        log = self._log
        yield from _row_faults(self._extent)
        signed = audit.checkpoint_rows(self._store, log.log_id, self._extent.last_checkpoint)
        waiting = next(signed, None)
        for row in audit.event_rows(self._store, log.log_id, log.size):
            while waiting is not None and waiting.tree_size <= self._tree.size:
                yield from self._checkpoint(waiting)
                waiting = next(signed, None)
            yield from self._event(row)
        yield from self._missing(log.size)
        for checkpoint in () if waiting is None else chain((waiting,), signed):
            yield from self._checkpoint(checkpoint)
        edge, grown = split(log.edge), self._tree.edge
        if self._whole and len(edge) == len(grown) and edge != grown:
            yield "log", "the compact range is not that of its leaves"
        if self._whole and self._sound and self._received_at != log.last_received_at:
            yield "log", "last_received_at is not that of its last event"

    def _event(self, row: Any) -> Iterator[Fault]:
        yield from self._missing(row.idx)
        self._next, self.events = row.idx + 1, self.events + 1
        leaf, reasons = self._leaf(row)
        self._sound = not reasons
        if self._sound and row.received_at < self._received_at:
            reasons.append("received_at goes back")
        elif self._sound:
            self._received_at = row.received_at
        if reasons:
            yield f"event {row.idx}", "; ".join(reasons)
        if self._whole:
            for tile in self._tree.add(leaf):
                yield from self._tile(tile)

    def _missing(self, index: int) -> Iterator[Fault]:
        """What lacks if the next index is this one."""
        if index != self._next:
            self._whole = False
            where = (
                f"event {self._next}"
                if index == self._next + 1
                else f"events {self._next} to {index - 1}"
            )
            yield where, "missing: no root beyond it can be computed"

    def _leaf(self, row: Any) -> tuple[bytes, list[str]]:
        """The leaf hash that holds, and what is wrong with the event."""
        reasons = faults(self._log.log_id, row)
        computed, stored = leaf_hash(bytes(row.entry)), row.leaf_hash
        if computed == stored:
            return computed, reasons
        n, at = divmod(row.idx, WIDTH)
        data, _ = audit.tile(self._store, self._log.log_id, 0, n) or (b"", b"")
        in_tile = data[at * HASH_BYTES : (at + 1) * HASH_BYTES]
        trust_stored = in_tile == stored or (in_tile != computed and bool(reasons))
        reasons.append("the entry does not give the leaf hash")
        return (stored if trust_stored else computed), reasons

    def _tile(self, tile: Tile) -> Iterator[Fault]:
        where = f"tile {tile.level}/{tile.n}"
        found = audit.tile(self._store, self._log.log_id, tile.level, tile.n)
        if found is None:
            yield where, "missing"
            return
        data, root = found
        if data != tile.data:
            yield where, "its hashes are not those of the level below"
        if root != tile.root:
            yield where, "its root is not that of its hashes"

    def _checkpoint(self, row: CheckpointRow) -> Iterator[Fault]:
        where, root = f"checkpoint {row.tree_size}", row.root_hash
        self.checkpoints += 1
        if row.tree_size == self._tree.size:  # otherwise events are missing, which was said
            root = fold(self._tree.edge)
        if row.root_hash != root:
            yield where, "its root is not that of the events"
        text = f"{self._origin}\n{row.tree_size}\n{base64.b64encode(root).decode()}\n"
        if row.note.partition("\n\n")[0] + "\n" != text:
            yield where, "its note is about another origin, size or root"
        elif not signed_by(row.note, self._origin, text, self._keys):
            yield where, "its signature is not by a key of this database"


def _row_faults(extent: Extent) -> Iterator[Fault]:
    log = extent.log
    if len(log.edge) != HASH_BYTES * log.size.bit_count():
        yield "log", f"its compact range is not one of {log.size} events"
    if extent.last_event >= log.size:
        yield "log", f"events reach to {extent.last_event}, beyond its size {log.size}"
    if extent.tiles_beyond:
        yield "log", f"{extent.tiles_beyond} tiles lie beyond its size {log.size}"
    if extent.last_checkpoint > log.size:
        yield f"checkpoint {extent.last_checkpoint}", f"beyond the log's size {log.size}"
    if log.sealed_size != max(extent.last_checkpoint, 0):
        yield "log", f"sealed_size is {log.sealed_size}, not the size of its last checkpoint"
    entry = extent.entry
    if entry is None or (entry.log_no, entry.tenant_id) != (log.log_no, log.tenant_id):
        yield "log", "the directory does not say the same of it"
    elif entry.default_for not in {None, log.tenant_id}:
        yield "log", "the default log of one tenant belongs to another"
