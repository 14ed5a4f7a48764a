"""TrailSeal's own vectors, from spec/vectors: written by an independent program."""

import json
from pathlib import Path

import pytest
from trailseal.verify import Verifier, VerifierKey, commitments, merkle, open_checkpoint
from trailseal.verify.entry import Entry
from trailseal.verify.errors import CheckpointForkError, IntegrityError, ProofError

FOLDER = Path(__file__).parents[2] / "spec" / "vectors"


def load(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


ENTRIES, REDACTED, TREE = load("entries"), load("redacted"), load("tree")
LEAVES = [bytes.fromhex(item) for item in TREE["leaf_hashes"]]
ROOTS = [bytes.fromhex(item) for item in TREE["roots"]]


def by_description(cases: list[dict]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case["desc"] for case in cases])


@by_description(ENTRIES["cases"])
def test_an_event_becomes_the_fields_salts_hashes_and_leaf_of_its_vector(case: dict) -> None:
    """Each step from event to leaf has the vector's bytes."""
    found = list(commitments.fields(case["event"]).items())
    salts = commitments.salts(case["seed"], len(found))
    assert [json.loads(path) for path, _ in found] == [item["path"] for item in case["fields"]]
    assert [salt.decode() for salt in salts] == [item["salt"] for item in case["fields"]]
    hashes = [commitments.field_hash(s, *f).hex() for s, f in zip(salts, found, strict=True)]
    assert hashes == [item["hash"] for item in case["fields"]]
    assert commitments.fields_hash(case["event"], case["seed"]).hex() == case["fields_hash"]
    entry = Entry.parse(case["entry"])
    assert entry.leaf_hash.hex() == case["leaf_hash"]
    entry.check_event(case["event"], case)


@by_description([case for case in ENTRIES["cases"] if "signature" in case])
def test_a_clients_signature_verifies_and_another_one_does_not(case: dict) -> None:
    """The vector's signature holds over its event, and over no other."""
    committed = bytes.fromhex(case["fields_hash"])
    assert (
        commitments.signing_input(case["event"]["id"], committed).decode() == case["signing_input"]
    )
    key = ENTRIES["public_key"]
    commitments.verify_signature(case["signature"], case["event"]["id"], committed, key)
    with pytest.raises(ProofError):
        commitments.verify_signature(case["signature"], "another", committed, key)


@by_description(REDACTED["cases"])
def test_a_redacted_event_is_judged_as_its_vector_says(case: dict) -> None:
    """The same entry and leaf after a redaction; whatever else was changed is refused."""
    entry = Entry.parse(case["entry"])
    assert entry.leaf_hash.hex() == case["leaf_hash"]
    if case.get("want_error"):
        with pytest.raises(IntegrityError):
            entry.check_event(case["event"], case)
    else:
        entry.check_event(case["event"], case)


def test_roots_of_all_sizes() -> None:
    """The tree of the first n leaves has the vector's root."""
    assert [merkle.root(LEAVES[:size]) for size in range(len(LEAVES) + 1)] == ROOTS


def test_every_inclusion_proof_holds_for_its_own_leaf_only() -> None:
    """45 proofs pass; with another leaf or the next index each fails."""
    for case in TREE["inclusion"]:
        proof = [bytes.fromhex(item) for item in case["proof"]]
        index, size = case["index"], case["tree_size"]
        merkle.verify_inclusion(index, size, LEAVES[index], proof, ROOTS[size])
        for bad in ((index, LEAVES[index - 1]), (index + 1, LEAVES[index])):
            if size > 1:
                with pytest.raises(ProofError):
                    merkle.verify_inclusion(bad[0], size, bad[1], proof, ROOTS[size])


def test_every_consistency_proof_holds_between_its_own_roots_only() -> None:
    """45 proofs pass; with another old or new root each is a fork."""
    for case in TREE["consistency"]:
        proof = [bytes.fromhex(item) for item in case["proof"]]
        old, new = case["from"], case["to"]
        merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
        for roots in ((ROOTS[old - 1], ROOTS[new]), (ROOTS[old], ROOTS[new - 1])):
            with pytest.raises(CheckpointForkError):
                merkle.verify_consistency(old, new, *roots, proof)


def test_the_signed_checkpoint_verifies_and_no_changed_byte_of_it_does() -> None:
    """Every byte of the note, changed in one bit, is refused with our own error."""
    note, key = TREE["checkpoint"].encode(), TREE["verifier_key"]
    checkpoint = open_checkpoint(note, [VerifierKey.parse(key)])
    assert (checkpoint.tree_size, checkpoint.root_hash) == (9, ROOTS[9])
    verifier = Verifier([key])
    verifier.verify_checkpoint(note)
    for position in range(len(note)):
        changed = bytearray(note)
        changed[position] ^= 1
        with pytest.raises(IntegrityError):
            verifier.verify_checkpoint(bytes(changed))
