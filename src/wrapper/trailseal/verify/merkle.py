"""Merkle trees of RFC 6962 with SHA-256, as a verifier needs them (algorithms: RFC 9162 §2.1).

1. Leaf hash = SHA-256(0x00 ‖ data), node = SHA-256(0x01 ‖ left ‖ right); the root of no leaves
   is SHA-256 of nothing.
2. Hashes are 32 bytes, proofs run from the leaf to the root, and a proof has no hash too many.
3. A node is named (level, index): it covers the leaves [index·2^level, (index+1)·2^level).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from .errors import CheckpointForkError, ProofError

HASH_SIZE = 32
MAX_TREE_SIZE = 2**63 - 1  # what other implementations hold in a signed 64-bit integer
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root of a tree with these leaf hashes."""
    tree = RootBuilder()
    for leaf in leaf_hashes:
        tree.append(leaf)
    return tree.root()


def verify_inclusion(
    index: int, tree_size: int, leaf: bytes, proof: Sequence[bytes], expected_root: bytes
) -> None:
    """Raise `ProofError` unless leaf hash `leaf` is at `index` in the tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < tree_size <= MAX_TREE_SIZE:
        raise ProofError(f"index {index} is not in a tree of {tree_size} leaves")
    node, last, computed = index, tree_size - 1, leaf
    for sibling in proof:
        _check_step(sibling, last)
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _skip_missing_siblings(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last or len(leaf) != HASH_SIZE or computed != expected_root:
        raise ProofError("the inclusion proof does not lead to the checkpoint's root")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise unless the first `old_size` leaves of the new tree are the old one (RFC 9162 §2.1.4.2).

    `old_size` is at least 1: nothing has to be shown about an empty tree. Raises
    `CheckpointForkError` where the roots do not fit, `ProofError` where the proof cannot be one.
    """
    if not 0 < old_size <= new_size <= MAX_TREE_SIZE:
        raise ProofError(f"no consistency proof leads from {old_size} to {new_size} leaves")
    if old_size == new_size:
        if proof:
            raise ProofError("a consistency proof between equal sizes must be empty")
        if old_root != new_root:
            raise CheckpointForkError(f"two different roots for {new_size} leaves")
        return
    hashes = [*([old_root] if old_size & (old_size - 1) == 0 else []), *proof]
    if not hashes:
        raise ProofError("the consistency proof is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_computed = new_computed = hashes[0]
    for sibling in hashes[1:]:
        _check_step(sibling, last)
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            node, last = _skip_missing_siblings(node, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last or old_computed != old_root or new_computed != new_root:
        raise CheckpointForkError(
            f"the proof does not show that {new_size} leaves continue the first {old_size}"
        )


def range_nodes(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest whole subtrees that cover the leaves [begin, end), from left to right."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


class RootBuilder:
    """Computes a root from whole subtrees given left to right, in O(log n) memory."""

    def __init__(self) -> None:
        self.size = 0  # leaves covered so far
        self._hashes: list[bytes] = []  # one for each bit set in `size`, the largest first

    def append(self, digest: bytes, level: int = 0) -> None:
        """Add the subtree of 2^level leaves at `size`, which must be a multiple of that."""
        carry = self.size >> level
        while carry & 1:
            digest = node_hash(self._hashes.pop(), digest)
            carry >>= 1
        self._hashes.append(digest)
        self.size += 1 << level

    def append_range(self, nodes: Sequence[tuple[int, int, bytes]], end: int) -> None:
        """Add the leaves from `size` to `end` as (level, index, hash) of `range_nodes`."""
        if [node[:2] for node in nodes] != list(range_nodes(self.size, end)):
            raise ProofError(f"not the compact range from leaf {self.size} to {end}")
        for level, _, digest in nodes:
            self.append(digest, level)

    def root(self) -> bytes:
        """The root of what was appended; the builder can go on afterwards."""
        if not self._hashes:
            return EMPTY_ROOT
        *rest, digest = self._hashes
        for left in reversed(rest):
            digest = node_hash(left, digest)
        return digest


def _check_step(sibling: bytes, last: int) -> None:
    if not last:
        raise ProofError("the proof has more hashes than the tree has levels")
    if len(sibling) != HASH_SIZE:
        raise ProofError(f"a hash of the proof is not of {HASH_SIZE} bytes")


def _skip_missing_siblings(node: int, last: int) -> tuple[int, int]:
    """Climb the levels at which the right edge of the tree has no sibling."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last
