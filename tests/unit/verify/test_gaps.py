"""What mutation testing found that no other test would notice."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from trailseal.verify import ProofError, Verifier
from trailseal.verify.errors import EventCorruptionError


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
