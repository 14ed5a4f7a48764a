"""What mutation testing found that no other test would notice."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
import rfc8785
from trailseal.verify import (
    Checkpoint,
    ProofError,
    Verifier,
    canonical,
    commitments,
    ed25519,
    merkle,
)
from trailseal.verify.entry import MAX_ENTRY_BYTES, Entry
from trailseal.verify.errors import EventCorruptionError, IntegrityError


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


def test_the_last_leaf_of_the_largest_tree_has_a_proof() -> None:
    """2^63-1 leaves: 62 hashes, all of them on the left."""
    most = merkle.MAX_TREE_SIZE
    leaf = root = bytes(32)
    proof = [bytes([n]) * 32 for n in range(62)]
    for left in proof:
        root = hashlib.sha256(b"\x01" + left + root).digest()
    merkle.verify_inclusion(most - 1, most, leaf, proof, root)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(most, most + 1, leaf, proof, root)


def test_only_a_hash_is_a_leaf() -> None:
    """Something shorter is not in a tree, though it is the root itself."""
    with pytest.raises(ProofError, match="does not lead to the checkpoint's root"):
        merkle.verify_inclusion(0, 1, b"short", [], b"short")


def test_nothing_is_proved_about_an_empty_tree() -> None:
    """Whoever asks has to know that every log continues it."""
    for new in (0, 5):
        with pytest.raises(ProofError, match=f"no consistency proof leads from 0 to {new} leaves"):
            merkle.verify_consistency(0, new, bytes(32), bytes(32), [])


def test_what_orjson_writes_is_read_by_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strict reader, five times as slow, is for all else."""
    pytest.importorskip("orjson")
    monkeypatch.setattr(canonical, "_loads_strict", None)
    for text in (b'{"a":[1,2.5,"x",null,true,{}],"b":"\xc3\xa9"}', b"1.5e-7", b"[]"):
        assert canonical.loads(text) == json.loads(text)
    with pytest.raises(TypeError):
        canonical.loads(b'{ "a": 1}')


def test_a_checkpoint_is_of_the_last_part_of_its_origin() -> None:
    """Prefixes have slashes too; the largest size is a size."""
    root = base64.b64encode(bytes(32)).decode()
    checkpoint = Checkpoint.parse(f"example.com/logs/org_1\n{merkle.MAX_TREE_SIZE}\n{root}\n")
    assert (checkpoint.log_id, checkpoint.tree_size) == ("org_1", merkle.MAX_TREE_SIZE)
    assert checkpoint.extensions == ()


def test_an_entry_may_hold_all_its_members_and_be_as_long_as_a_bundle_of_tiles_takes(
    log: Any,
) -> None:
    """65,535 bytes, with channel, mark of imported events, and a signature."""
    more = {"channel_id": "ch_1", "imported": True, "signature": {"key_id": "k"}}
    text = rfc8785.dumps(json.loads(log.entries[1]) | more).decode()
    entry = Entry.parse(text.replace("ch_1", "c" * (MAX_ENTRY_BYTES - len(text) + 4)))
    assert len(entry.text) == MAX_ENTRY_BYTES
    assert set(entry.channel_id or "") == {"c"}
    assert (entry.imported, entry.signature) == (True, {"key_id": "k"})
    assert (entry.ingested_by, entry.received_at[-8:]) == ("key_1", ".000000Z")


def test_a_signature_with_an_enclosed_key_is_told_from_one_with_a_key_given(signed: Any) -> None:
    """Whoever holds an enclosed key signed; an empty key given is a key, and a wrong one."""
    mine = base64.b64encode(signed.public_key).decode()
    raw = json.loads(signed.entries[10])
    raw["signature"]["public_key"] = mine
    entry = Entry.parse(json.dumps(raw))
    assert entry.check_signature({}) is False
    assert entry.check_signature({"k1": mine}) is True
    assert entry.check_signature({"k2": mine}) is False
    for wrong in ("", other_key()):
        with pytest.raises(IntegrityError):
            entry.check_signature({"k1": wrong})


def test_an_event_is_as_deep_as_its_paths() -> None:
    """64 levels, and a path of 64 parts after a redaction."""
    event = {"id": "e", "a": json.loads("[" * 63 + "1" + "]" * 63)}
    path = ["a", *[0] * 63]
    assert len(commitments.fields(event)) == 2
    salts = [[["id"], "A" * 24], [path, "B" * 24]]
    assert len(commitments.redacted_fields_hash(event, salts, [])) == 32


def test_libsodium_is_not_asked_about_what_is_no_key_or_no_signature(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would raise errors of its own."""
    signature = log.key.sign(b"text")
    if ed25519.nacl is not None:
        assert ed25519._libsodium_is_as_strict()
        assert ed25519._libsodium_accepts(log.public_key, signature, b"text")
    assert not ed25519._libsodium_accepts(log.public_key[1:], signature, b"text")
    assert not ed25519._libsodium_accepts(log.public_key, signature[1:], b"text")
    monkeypatch.setattr(ed25519, "nacl", None)
    assert not ed25519._libsodium_accepts(log.public_key, signature, b"text")
    assert not ed25519._libsodium_is_as_strict()
