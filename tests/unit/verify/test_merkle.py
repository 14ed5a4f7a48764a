"""Trees: what the recursive definitions of RFC 6962 give is accepted, and nothing else."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal.verify import merkle
from trailseal.verify.errors import IntegrityError, ProofError

SIZES = st.integers(1, 70)


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(b"%d" % i).digest() for i in range(count)]


def changed(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """A proof with one hash replaced, removed or added."""
    at = data.draw(st.integers(0, len(proof)))
    junk = data.draw(st.sampled_from([bytes(32), b"", b"short", *leaves(3)]))
    return data.draw(
        st.sampled_from([[*proof[:at], junk, *proof[at:]], [*proof[:at], *proof[at + 1 :]]])
    )


@given(size=st.integers(0, 70))
def test_the_root_is_the_recursive_one(tools, size) -> None:
    """Also for the empty tree."""
    assert merkle.root(leaves(size)) == tools.tree_root(leaves(size))


@pytest.mark.row("P-63")
@given(data=st.data(), size=SIZES)
def test_an_inclusion_proof_holds_and_no_other_does(tools, data, size) -> None:
    """For any leaf of any tree; not with a changed proof, another index or another leaf."""
    index = data.draw(st.integers(0, size - 1))
    tree = leaves(size)
    proof, root = tools.inclusion(index, tree), tools.tree_root(tree)
    merkle.verify_inclusion(index, size, tree[index], proof, root)
    other = changed(proof, data)
    if other != proof:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(index, size, tree[index], other, root)
    wrong = data.draw(st.integers(-1, size + 1).filter(lambda i: i != index))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(wrong, size, tree[index], proof, root)


@given(data=st.data(), size=SIZES)
def test_a_consistency_proof_holds_and_no_other_does(tools, data, size) -> None:
    """Between any two sizes; not with a changed proof or another history."""
    old = data.draw(st.integers(1, size))
    tree = leaves(size)
    proof = tools.consistency(old, tree)
    old_root, new_root = tools.tree_root(tree[:old]), tools.tree_root(tree)
    merkle.verify_consistency(old, size, old_root, new_root, proof)
    other = changed(proof, data)
    if other != proof:
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(old, size, old_root, new_root, other)
    rewritten = tools.tree_root([bytes(32), *tree[1:old]])
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(old, size, rewritten, new_root, proof)


@given(data=st.data(), size=SIZES)
def test_a_root_comes_out_of_boundary_leaves_boundary(tools, data, size) -> None:
    """Any range of any tree, with the fewest subtrees on both sides."""
    first = data.draw(st.integers(0, size))
    end = data.draw(st.integers(first, size))
    tree = leaves(size)

    def nodes(begin: int, stop: int) -> list[tuple[int, int, bytes]]:
        found = [(*place, bytes.fromhex(h)) for *place, h in tools.cover(begin, stop, tree)]
        assert [node[:2] for node in found] == list(merkle.range_nodes(begin, stop))
        return found

    builder = merkle.RootBuilder()
    builder.append_range(nodes(0, first), first)
    for leaf in tree[first:end]:
        builder.append(leaf)
    builder.append_range(nodes(end, size), size)
    assert builder.root() == tools.tree_root(tree)


def test_huge_sizes_cost_no_more_than_their_levels() -> None:
    """Numbers of a hostile checkpoint are no loop bounds."""
    huge = merkle.MAX_TREE_SIZE
    with pytest.raises(ProofError):
        merkle.verify_inclusion(0, huge, bytes(32), [bytes(32)] * 100, bytes(32))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(0, huge + 1, bytes(32), [], bytes(32))
    assert len(list(merkle.range_nodes(1, huge))) < 128


def test_a_tree_is_as_large_as_a_signed_64_bit_integer_says() -> None:
    """The largest size is allowed itself."""
    most, root = merkle.MAX_TREE_SIZE, bytes(32)
    merkle.verify_consistency(most, most, root, root, [])
    with pytest.raises(ProofError):
        merkle.verify_consistency(most + 1, most + 1, root, root, [])
