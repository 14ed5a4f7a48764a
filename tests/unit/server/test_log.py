"""The tree against RFC 6962's recursive definitions, and against the shared vectors."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server import log

VECTORS = Path(__file__).parents[4] / "shared/vectors/trailseal/tree.json"
MAX_SIZE = 70


def leaves(size: int) -> list[bytes]:
    """Distinct leaf hashes."""
    return [sha256(b"\x00%d" % index).digest() for index in range(size)]


def split(n: int) -> int:
    """The largest power of two below n, written plainly."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(d) <= 1:
        return d[0] if d else sha256(b"").digest()
    k = split(len(d))
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def reader(d: list[bytes]) -> log.Read:
    """Nodes by their definition."""
    return lambda level, index: mth(d[index << level : (index + 1) << level])


@given(st.integers(0, MAX_SIZE), st.integers(0, MAX_SIZE))
def test_a_compact_range_that_grows_folds_to_the_root(first: int, more: int) -> None:
    """Appending in two steps gives the root and the hashes of the definition."""
    d = leaves(first + more)
    edge = log.extend(log.extend([], 0, d[:first]), first, d[first:])
    assert log.fold(edge) == mth(d)
    assert log.split(b"".join(edge)) == edge
    assert len(edge) == len(d).bit_count()


@given(st.data())
def test_inclusion_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    """PATH(m, D[n]) for random m and n."""
    size = data.draw(st.integers(1, MAX_SIZE))
    index = data.draw(st.integers(0, size - 1))
    d = leaves(size)
    assert log.proof(log.inclusion_ranges(index, size), reader(d)) == path(index, d)


@given(st.data())
def test_consistency_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    """PROOF(m, D[n]) for random m and n."""
    new = data.draw(st.integers(1, MAX_SIZE))
    old = data.draw(st.integers(1, new))
    d = leaves(new)
    assert log.proof(log.consistency_ranges(old, new), reader(d)) == subproof(old, d, True)


def test_sizes_out_of_order_are_refused() -> None:
    """No proof exists for them."""
    for index, size in ((0, 0), (1, 1), (-1, 3)):
        with pytest.raises(ValueError, match="index"):
            log.inclusion_ranges(index, size)
    with pytest.raises(ValueError, match="size"):
        log.consistency_ranges(2, 1)


@pytest.mark.skipif(not VECTORS.exists(), reason="the shared vectors are not beside the project")
def test_roots_and_proofs_are_those_of_the_vectors() -> None:
    """An independent program made them."""
    vectors = json.loads(VECTORS.read_text())
    d = [bytes.fromhex(each) for each in vectors["leaf_hashes"]]
    for size, root in enumerate(vectors["roots"]):
        assert log.fold(log.extend([], 0, d[:size])).hex() == root
    for each in vectors["inclusion"]:
        ranges = log.inclusion_ranges(each["index"], each["tree_size"])
        found = log.proof(ranges, reader(d[: each["tree_size"]]))
        assert [hash_.hex() for hash_ in found] == each["proof"]
    for each in vectors["consistency"]:
        ranges = log.consistency_ranges(each["from"], each["to"])
        found = log.proof(ranges, reader(d[: each["to"]]))
        assert [hash_.hex() for hash_ in found] == each["proof"]
