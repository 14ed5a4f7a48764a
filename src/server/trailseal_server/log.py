"""The tree of a log (RFC 6962, section 2): its compact range, roots and proofs, as pure functions.

Rules:
- Node (level, index) is the root of the perfect subtree over the 2**level leaves
  from index * 2**level on; such a node never changes. `Read` fetches one.
- Every hash of a proof covers a range of leaves [low, high). First the ranges are named, then each
  is cut into perfect subtrees that are read and folded.
- The compact range [0, size) is the list of its perfect subtrees' hashes, left to right, one for
  each bit set in size: all that is needed to append, and to know the root.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

Read = Callable[[int, int], bytes]
Range = tuple[int, int]


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 interior node."""
    return sha256(b"\x01" + left + right).digest()


def extend(edge: Sequence[bytes], size: int, leaves: Iterable[bytes]) -> list[bytes]:
    """The compact range after `leaves` (hashes) were appended to a tree of `size`."""
    stack = list(edge)
    for index, leaf in enumerate(leaves, size):
        top, bits = leaf, index
        while bits & 1:
            top = node_hash(stack.pop(), top)
            bits >>= 1
        stack.append(top)
    return stack


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over adjacent perfect subtrees, left to right, each smaller than the one before."""
    if not hashes:
        return EMPTY_ROOT
    top = hashes[-1]
    for left in reversed(hashes[:-1]):
        top = node_hash(left, top)
    return top


def split(edge: bytes) -> list[bytes]:
    """A compact range as it is stored, in its hashes."""
    return [edge[at : at + HASH_BYTES] for at in range(0, len(edge), HASH_BYTES)]


def perfect(low: int, high: int) -> list[tuple[int, int]]:
    """The nodes (level, index) that tile [low, high), left to right; `low` is a multiple of every
    size that fits."""
    nodes = []
    while low < high:
        level = (high - low).bit_length() - 1
        nodes.append((level, low >> level))
        low += 1 << level
    return nodes


def range_hash(low: int, high: int, read: Read) -> bytes:
    """The hash over a range of leaves that a proof or a root names."""
    return fold([read(level, index) for level, index in perfect(low, high)])


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """What the inclusion proof of a leaf holds, leaf to root; ValueError beyond the tree."""
    if not 0 <= index < size:
        raise ValueError("the index must lie below the tree size")
    low, high, ranges = 0, size, []
    while high - low > 1:
        middle = low + _left(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """What the consistency proof of two sizes holds. ValueError unless 0 <= old <= new."""
    if not 0 <= old <= new:
        raise ValueError("the old size must not be beyond the new one")
    if old == 0:
        return []
    low, high, ranges = 0, new, []
    while old != high:
        middle = low + _left(high - low)
        if old <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    if low:  # otherwise the old root itself, which the verifier has
        ranges.append((low, high))
    return ranges[::-1]


def proof(ranges: Iterable[Range], read: Read) -> list[bytes]:
    """The hashes of a proof."""
    return [range_hash(low, high, read) for low, high in ranges]


def _left(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)
