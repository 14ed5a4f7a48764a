"""Records, receipts and checkpoints: verified in silence, or refused with kind and index."""

import json

import pytest
from trailseal.verify import Verifier
from trailseal.verify.errors import (
    CheckpointForkError,
    EventCorruptionError,
    IntegrityError,
    MalformedError,
    ProofError,
    UnverifiableError,
)


@pytest.fixture
def verifier(log) -> Verifier:
    """It knows the log's key."""
    return Verifier([log.verifier_key])


@pytest.mark.row("P-65")
def test_a_record_with_its_proof_is_verified(log, verifier) -> None:
    """Parsed, or as the bytes received."""
    for index in range(10):
        record = log.record(index)
        verifier.verify_record(record)
        verifier.verify_record(json.dumps(record).encode())


@pytest.mark.row("P-28")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"action": "user.logout"}, EventCorruptionError),
        ({"extra": None}, EventCorruptionError),
        ({"id": "evt-4"}, EventCorruptionError),
        ({"log_id": "org_1"}, EventCorruptionError),
        ({"received_at": "2026-11-20T10:00:04.000000Z"}, EventCorruptionError),
        ({"ingested_by": "key_2"}, EventCorruptionError),
        ({"channel_id": "ch_1"}, EventCorruptionError),
        ({"imported": True}, EventCorruptionError),
        ({"leaf_hash": "0" * 64}, EventCorruptionError),
        ({"seed": "AG2aM1fHCNEs7gqzHtbE_LIKglDsKHIz0sFfCjBCDbw"}, EventCorruptionError),
        ({"index": 4}, ProofError),
        ({"seed": None}, UnverifiableError),
        ({"entry": None}, UnverifiableError),
        ({"proof": None}, UnverifiableError),
        ({"salts": []}, MalformedError),
        ({"redactions": [{}]}, MalformedError),
        ({"entry": "{}"}, MalformedError),
        ({"index": "3"}, MalformedError),
    ],
    ids=str,
)
def test_a_changed_record_is_refused(log, verifier, change, error) -> None:
    """Every member that an entry or a proof speaks of is held against it."""
    with pytest.raises(error) as caught:
        verifier.verify_record(log.record(3) | change)
    if isinstance(change.get("index", 0), int):
        assert caught.value.index == change.get("index", 3)


@pytest.mark.parametrize(
    "change",
    [{"index": 4}, {"tree_size": 9}, {"hashes": []}, {"hashes": ["0" * 64] * 4}],
    ids=str,
)
def test_a_changed_proof_is_refused(log, verifier, change) -> None:
    """Index, size and hashes are those of the signed checkpoint."""
    record = log.record(3)
    record["proof"] |= change
    with pytest.raises(ProofError):
        verifier.verify_record(record)


def test_a_record_under_the_checkpoint_of_another_log_is_refused(log, tools) -> None:
    """Though both keys are trusted."""
    other = tools.Log(origin="log.example.com/org_1")
    other.entries = log.entries
    record = log.record(3)
    record["proof"]["signed_note"] = other.checkpoint()
    with pytest.raises(ProofError) as caught:
        Verifier([log.verifier_key, other.verifier_key]).verify_record(record)
    assert (caught.value.kind, caught.value.index) == ("origin", 3)


def test_a_redacted_record_is_verified(log, tools, verifier) -> None:
    """`salts` and `redactions` take the place of the seed."""
    line = tools.redact(log.line(3), [["actor", "id"]])
    record = {k: v for k, v in log.record(3).items() if k not in ("actor", "seed")}
    record |= {**line["event"], "salts": line["salts"], "redactions": line["redactions"]}
    verifier.verify_record(record)
    with pytest.raises(EventCorruptionError):
        verifier.verify_record(record | {"actor": {"id": "user_3"}})


@pytest.mark.row("P-27")
def test_a_receipt_with_its_proof_is_verified_and_a_changed_one_is_not(log, verifier) -> None:
    """The leaf that was promised is in the log at that index."""
    record = log.record(3)
    receipt = {name: record[name] for name in ("log_id", "index", "leaf_hash", "proof")}
    verifier.verify_receipt(receipt)
    for bad in ({"index": 2}, {"leaf_hash": "0" * 64}, {"log_id": "org_1"}):
        with pytest.raises(ProofError):
            verifier.verify_receipt(receipt | bad)
    del receipt["proof"]
    with pytest.raises(UnverifiableError):
        verifier.verify_receipt(receipt)


def test_a_log_that_grew_is_consistent(log, tools, verifier) -> None:
    """Between any two of its checkpoints, the empty one too."""
    for new in range(1, 11):
        for old in range(new + 1):
            proof = tools.consistency(old, log.leaves[:new]) if old else []
            hashes = [digest.hex() for digest in proof]
            verifier.verify_consistency(log.checkpoint(old), log.checkpoint(new), hashes)


def test_a_log_that_forked_or_shrank_is_refused(log, tools, verifier) -> None:
    """Both checkpoints are signed, and do not belong to one history."""
    twin = tools.Log().grow(3)
    twin.add({"id": "evt-3", "action": "another.history"})
    proof = [digest.hex() for digest in tools.consistency(4, log.leaves)]
    for old, new, hashes in (
        (twin.checkpoint(), log.checkpoint(), proof),
        (twin.checkpoint(), log.checkpoint(4), []),
        (log.checkpoint(), log.checkpoint(4), proof),
    ):
        with pytest.raises(CheckpointForkError):
            verifier.verify_consistency(old, new, hashes)


def test_a_consistency_proof_that_is_none_is_refused(log, tools) -> None:
    """Empty, with hashes to spare, of another log."""
    other = tools.Log(origin="log.example.com/org_1").grow(4)
    verifier = Verifier([log.verifier_key, other.verifier_key])
    for old, hashes in ((log.checkpoint(4), []), (log.checkpoint(4), ["0" * 64] * 9)):
        with pytest.raises(IntegrityError):
            verifier.verify_consistency(old, log.checkpoint(), hashes)
    with pytest.raises(ProofError) as caught:
        verifier.verify_consistency(other.checkpoint(), log.checkpoint(), [])
    assert caught.value.kind == "origin"


def test_without_a_key_a_checkpoint_is_not_verified(log) -> None:
    """It is neither good nor bad."""
    with pytest.raises(UnverifiableError):
        Verifier().verify_checkpoint(log.checkpoint())
