"""What mutation testing found that no other test would notice."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from trailseal.verify import MalformedError, ProofError, Verifier, canonical, merkle
from trailseal.verify.errors import EventCorruptionError, IntegrityError, UnverifiableError


@pytest.fixture
def signed(log: Any) -> Any:
    """A log whose last event, at index 10, a client signed."""
    log.add({"id": "signed", "action": "a"}, signer=log.key)
    return log


def other_key() -> str:
    return base64.b64encode(bytes(31) + b"\x01").decode()


@pytest.mark.row("P-35", "P-65")
def test_a_records_client_signature_is_checked_and_told(signed: Any) -> None:
    """With the key of its id: a wrong one is an error that names the place; the right one is told
    from none."""
    public = base64.b64encode(signed.public_key).decode()
    good = Verifier([signed.verifier_key], signing_keys={"k1": public})
    assert good.check_record(signed.record(10)) is True
    assert good.check_record(signed.record(0)) is None
    assert Verifier([signed.verifier_key]).check_record(signed.record(10)) is None
    bad = Verifier([signed.verifier_key], signing_keys={"k1": other_key()})
    with pytest.raises(ProofError, match="signature of 'k1' is wrong") as caught:
        bad.verify_record(signed.record(10))
    assert (caught.value.index, caught.value.kind) == (10, "signature")


def test_a_record_may_lack_its_leaf_hash_and_may_not_have_another(log: Any) -> None:
    """The entry is what counts."""
    record = log.record(3)
    verifier = Verifier([log.verifier_key])
    verifier.verify_record({k: v for k, v in record.items() if k != "leaf_hash"})
    with pytest.raises(EventCorruptionError, match="'leaf_hash' is not the one in its entry"):
        verifier.verify_record({**record, "leaf_hash": "0" * 64})


def test_records_are_counted_redacted_and_signed_ones_apart(signed: Any, tools: Any) -> None:
    """And line ends of either kind are no part of a text."""
    line = tools.redact(signed.line(2), [["actor"]])
    record = {**signed.record(2), **line["event"], "salts": line["salts"]}
    record |= {"redactions": line["redactions"], "seed": None}
    del record["actor"]
    signature = json.loads(signed.entries[10])["signature"]
    records = [signed.record(0), record, record, {**signed.record(10), "signature": signature}]
    texts = [json.dumps(each).encode() + b"\r\n" for each in records]
    report = Verifier([signed.verifier_key]).verify_records([*texts, texts[-1]])
    assert (report.exit_code, report.events, report.redacted, report.signed) == (0, 5, 2, 2)
    assert (report.signatures_checked, report.signatures_trusted) == (0, 0)


def test_a_path_may_be_as_deep_as_an_event(log: Any) -> None:
    """64 parts, and no more."""
    event: Any = "deep"
    for _ in range(63):
        event = {"a": event}
    log.add({"id": "deep", "action": "a", "data": event["a"]})
    verifier = Verifier([log.verifier_key])
    verifier.verify_record(log.record(10))


Raise = Callable[[Any, Verifier], object]
SAID: list[tuple[type[IntegrityError], str, Raise]] = [
    (UnverifiableError, "it has no 'entry'; fetch it with include=proof",
     lambda log, v: v.verify_record({"index": 1})),
    (UnverifiableError, "it has no 'proof' yet; fetch it with include=proof",
     lambda log, v: v.verify_record({**log.record(1), "proof": None})),
    (MalformedError, "'leaf_hash' must be a SHA-256 in lower-case hexadecimal",
     lambda log, v: v.verify_receipt({**log.record(1), "leaf_hash": "x"})),
    (MalformedError, "a hash of the consistency proof must be a SHA-256 in lower-case hexadecimal",
     lambda log, v: v.verify_consistency(log.checkpoint(3), log.checkpoint(5), ["x"])),
    (MalformedError, "a hash of the proof's 'hashes' must be a SHA-256 in lower-case hexadecimal",
     lambda log, v: v.verify_record(
         {**log.record(1), "proof": {**log.proof(1), "hashes": ["x"]}})),
    (ProofError, "the proof is for another index or another checkpoint",
     lambda log, v: v.verify_record({**log.record(1), "proof": log.proof(2)})),
    (MalformedError, "a record or a receipt must be a JSON object",
     lambda log, v: v.verify_record("[]")),
    (MalformedError, "a JSON object has a duplicate key",
     lambda log, v: canonical.loads('{"a":1,"a":2}')),
    (MalformedError, "a number is beyond ±(2^53-1); send it as a string",
     lambda log, v: canonical.loads("9007199254740993")),
    (MalformedError, "the value is no JSON, or holds a number or text out of range",
     lambda log, v: canonical.canonical(object())),
    (ProofError, "the proof has more hashes than the tree has levels",
     lambda log, v: merkle.verify_inclusion(0, 1, bytes(32), [bytes(32)], bytes(32))),
    (ProofError, "a hash of the proof is not of 32 bytes",
     lambda log, v: merkle.verify_inclusion(0, 2, bytes(32), [b""], bytes(32))),
    (ProofError, "index 2 is not in a tree of 2 leaves",
     lambda log, v: merkle.verify_inclusion(2, 2, bytes(32), [], bytes(32))),
    (ProofError, "the inclusion proof does not lead to the checkpoint's root",
     lambda log, v: merkle.verify_inclusion(0, 2, bytes(32), [bytes(32)], bytes(32))),
    (ProofError, "a consistency proof between equal sizes must be empty",
     lambda log, v: merkle.verify_consistency(1, 1, bytes(32), bytes(32), [bytes(32)])),
    (ProofError, "the consistency proof is empty",
     lambda log, v: merkle.verify_consistency(3, 5, bytes(32), bytes(32), [])),
    (ProofError, "no consistency proof leads from 5 to 3 leaves",
     lambda log, v: merkle.verify_consistency(5, 3, bytes(32), bytes(32), [])),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "call"), SAID, ids=range(len(SAID)))
def test_a_refusal_says_what_is_wrong(
    kind: type[IntegrityError], text: str, call: Raise, log: Any
) -> None:
    """Word for word: people search for it."""
    with pytest.raises(kind) as caught:
        call(log, Verifier([log.verifier_key]))
    assert caught.value.args[0] == text
