"""Receipts of what a client sent: this event, first or replayed, with its seed and signature."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from trailseal.verify import Verifier
from trailseal.verify.errors import (
    EventCorruptionError,
    IntegrityError,
    MalformedError,
    ProofError,
    UnverifiableError,
)

OTHER_SEED = "AG2aM1fHCNEs7gqzHtbE_LIKglDsKHIz0sFfCjBCDbw"


def receipt(log: Any, at: int, **changes: Any) -> dict[str, Any]:
    """What a server answers when it has sealed an event; `...` takes a member out."""
    record = log.record(at)
    names = ("log_id", "index", "received_at", "leaf_hash", "entry", "proof", "seed")
    told = {name: record[name] for name in names} | {"event_id": log.events[at]["id"]}
    return {k: v for k, v in (told | changes).items() if v is not ...}


@pytest.fixture
def verifier(log: Any) -> Verifier:
    """It knows the log's key."""
    return Verifier([log.verifier_key])


@pytest.mark.row("P-27")
def test_a_receipt_is_for_the_event_that_was_sent(log: Any, verifier: Verifier) -> None:
    """With the client's seed or the server's, as parsed or as received."""
    event, seed = log.events[3], log.seeds[3]
    verifier.verify_sent(receipt(log, 3), event, {})
    verifier.verify_sent(receipt(log, 3, seed=...), event, {"seed": seed})
    verifier.verify_sent(json.dumps(receipt(log, 3)), event, {"seed": seed})


@pytest.mark.parametrize(
    ("error", "text", "changes", "sent"),
    [
        (EventCorruptionError, "'event_id' is not the one in its entry", {"event_id": "x"}, {}),
        (EventCorruptionError, "'event_id' is not the one in its entry", {"event_id": ...}, {}),
        (EventCorruptionError, "'received_at' is not the one in its entry",
         {"received_at": "2026-11-20T10:00:04.000000Z"}, {}),
        (ProofError, "the proof's checkpoint is of another log", {"log_id": "x"}, {}),
        (ProofError, "the inclusion proof does not lead to the checkpoint's root",
         {"leaf_hash": "0" * 64}, {}),
        (UnverifiableError, "it has no 'entry'; fetch it with include=proof", {"entry": ...}, {}),
        (UnverifiableError, "it has no 'proof' yet; fetch it with include=proof",
         {"proof": ...}, {}),
        (UnverifiableError, "it comes with neither 'seed' nor 'salts'", {"seed": ...}, {}),
        (MalformedError, "'entry' must be a string", {"entry": 1}, {}),
        (EventCorruptionError, "its content is not what was logged (fields_hash differs)",
         {}, {"seed": OTHER_SEED}),
        (EventCorruptionError, "its content is not what was logged (fields_hash differs)",
         {"replayed": False}, {"seed": OTHER_SEED}),
        (EventCorruptionError, "its signature is not the one that was sent",
         {}, {"signature": {"key_id": "k1"}}),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_receipt_for_anything_else_is_refused(
    error: type[IntegrityError],
    text: str,
    changes: dict[str, Any],
    sent: dict[str, Any],
    log: Any,
    verifier: Verifier,
) -> None:
    """With the index that it names."""
    with pytest.raises(error) as caught:
        verifier.verify_sent(receipt(log, 3, **changes), log.events[3], sent)
    assert (caught.value.args[0], caught.value.index) == (text, 3)


def test_a_true_entry_of_another_event_is_no_receipt(log: Any, verifier: Verifier) -> None:
    """The leaf is in the log, and the entry beside it is not that leaf's."""
    with pytest.raises(EventCorruptionError, match="'leaf_hash' is not the one in its entry"):
        verifier.verify_sent(
            receipt(log, 3, leaf_hash=log.leaves[4].hex(), proof=log.proof(4), index=4),
            log.events[3],
            {},
        )
    with pytest.raises(EventCorruptionError, match="its id is not the one in its entry"):
        verifier.verify_sent(receipt(log, 3), log.events[4], {})
    with pytest.raises(EventCorruptionError, match="its content is not what was logged"):
        verifier.verify_sent(receipt(log, 3), log.events[3] | {"action": "x"}, {})


def test_of_a_replayed_event_the_first_seed_and_signature_count(log: Any) -> None:
    """What the second call sent is not in the log; only the content is the same."""
    log.add({"id": "signed", "action": "a"}, signer=log.key)
    signature = json.loads(log.entries[10])["signature"]
    mine = base64.b64encode(log.public_key).decode()
    verifier = Verifier([log.verifier_key], signing_keys={"k1": mine})
    event, again = log.events[10], {"seed": OTHER_SEED, "signature": None}
    verifier.verify_sent(receipt(log, 10), event, {"signature": signature})
    verifier.verify_sent(receipt(log, 10, replayed=True), event, again)
    verifier.verify_sent(receipt(log, 10, replayed=True), event, {})
    with pytest.raises(EventCorruptionError, match="its signature is not the one that was sent"):
        verifier.verify_sent(receipt(log, 10), event, {})
    other = base64.b64encode(bytes(31) + b"\x01").decode()
    with pytest.raises(ProofError, match="the signature of 'k1' is wrong"):
        Verifier([log.verifier_key], signing_keys={"k1": other}).verify_sent(
            receipt(log, 10), event, {"signature": signature}
        )


def test_a_checkpoint_that_was_right_is_checked_once(log: Any, verifier: Verifier) -> None:
    """As text or as bytes; another one is checked anew, and a wrong one is not kept."""
    note = log.checkpoint()
    first = verifier.open_checkpoint(note)
    assert verifier.open_checkpoint(note.encode()) is first
    assert verifier.open_checkpoint(log.checkpoint(3)).tree_size == 3
    for bad in (note.replace("\n10\n", "\n11\n"), b"\xff"):
        for _ in range(2):
            with pytest.raises(IntegrityError):
                verifier.open_checkpoint(bad)
    assert verifier.open_checkpoint(log.checkpoint(3)).tree_size == 3
