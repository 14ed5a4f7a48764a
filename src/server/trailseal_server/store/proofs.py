"""Proofs for what is read: inclusion hashes and compact ranges against one checkpoint.

Rules:
- A `Prover` belongs to one checkpoint and one transaction. It remembers the nodes it has folded:
  neighbours share most of their paths. Callers with many rows make a new one for each chunk, so
  that memory stays bounded.
"""

from functools import cache
from typing import Any

from sqlalchemy import Connection

from .. import log as tree
from . import checkpoints
from .checkpoints import CheckpointRow
from .logs import LogRow
from .tiles import Kept, NodeReader


class Prover:
    """Proves a log's events against a checkpoint, the latest one unless it is given."""

    def __init__(
        self, connection: Connection, log: LogRow, checkpoint: CheckpointRow | None = None
    ) -> None:
        found = checkpoint or checkpoints.at(connection, log.log_id, log.sealed_size)
        self.checkpoint = found
        self.size = 0 if found is None else found.tree_size
        self._read = cache(NodeReader(connection, log.log_id, self.size, Kept.of(connection)))

    def proof(self, index: int) -> dict[str, Any]:
        """The contract's `EventProof`; empty while no checkpoint covers the event."""
        if self.checkpoint is None or index >= self.size:
            return {}
        note = self.checkpoint.note
        hashes = self.hashes(index)
        return {"tree_size": self.size, "index": index, "hashes": hashes, "signed_note": note}

    def hashes(self, index: int) -> list[str]:
        """The inclusion proof of a leaf below the checkpoint's size, leaf to root, in hex."""
        ranges = tree.inclusion_ranges(index, self.size)
        return [each.hex() for each in tree.proof(ranges, self._read)]

    def compact_range(self, low: int, high: int) -> list[list[Any]]:
        """The perfect subtrees of leaves [low, high), left to right: `[level, index, hex]`."""
        nodes = []
        while low < high:
            level = (high - low).bit_length() - 1
            if low:
                level = min(level, (low & -low).bit_length() - 1)
            nodes.append([level, low >> level, self._read(level, low >> level).hex()])
            low += 1 << level
        return nodes
