"""Checkpoints (c2sp.org/tlog-checkpoint): a log's size and root, in a signed note.

The text is the origin, the tree size in decimal, the root in base64, each on a line, then
extension lines. Our origins are `PREFIX/LOG_ID`, and the origin is the name of the log's key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._values import base64_bytes
from .errors import MalformedError, ProofError
from .merkle import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE, verify_inclusion
from .note import Note, VerifierKey

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")  # 19 digits hold 2^63-1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one size."""

    origin: str
    tree_size: int  # leaves
    root_hash: bytes  # 32 bytes
    extensions: tuple[str, ...] = ()

    @property
    def log_id(self) -> str:
        """The last part of the origin."""
        return self.origin.rpartition("/")[2]

    def verify_inclusion(
        self, index: int, log_id: str, leaf: bytes, hashes: Sequence[bytes]
    ) -> None:
        """Raise `ProofError` unless a leaf of log `log_id` is at `index` of this one."""
        if log_id != self.log_id:
            raise ProofError("the proof's checkpoint is of another log", kind="origin")
        verify_inclusion(index, self.tree_size, leaf, hashes, self.root_hash)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text, strictly; raises `MalformedError`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise MalformedError("a checkpoint must be origin, size and root, on a line each")
        origin, size, root, *extensions = lines[:-1]
        if not _SIZE.fullmatch(size) or int(size) > MAX_TREE_SIZE:
            raise MalformedError("the size of a checkpoint is not a decimal number in range")
        root_hash = base64_bytes(root, HASH_SIZE, "the root of a checkpoint")
        if size == "0" and root_hash != EMPTY_ROOT:
            raise MalformedError("the root of an empty log must be SHA-256 of nothing")
        return cls(origin, int(size), root_hash, tuple(extensions))


def open_checkpoint(signed_note: bytes | str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint in a note that the log's key signed; raises as `Note.verify` does."""
    note = Note.parse(signed_note)
    checkpoint = Checkpoint.parse(note.text)
    note.verify(keys, checkpoint.origin)
    return checkpoint
