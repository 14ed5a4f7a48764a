"""What a refusal says: word for word, because people search for it, and kind by kind."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trailseal.verify import (
    Checkpoint,
    Note,
    TrustPolicy,
    Verifier,
    VerifierKey,
    canonical,
    commitments,
    ed25519,
    merkle,
)
from trailseal.verify.bundle import Files, Manifest, read_sidecar
from trailseal.verify.entry import Entry
from trailseal.verify.errors import (
    CheckpointForkError,
    EventCorruptionError,
    IntegrityError,
    MalformedError,
    ProofError,
    UnverifiableError,
)
from trailseal.verify.tlogproof import TlogProof

SEED = "AG2aM1fHCNEs7gqzHtbE_LIKglDsKHIz0sFfCjBCDbw"
ROOT = "HpFdRzmrga8ILW+TmetZoTy8bKQvLEJBk/akkscZY34="
SALT = "A" * 24


def entry(log: Any, **changes: Any) -> Entry:
    """The log's second entry, changed; `...` takes a member out."""
    raw = json.loads(log.entries[1]) | changes
    return Entry.parse(json.dumps({k: v for k, v in raw.items() if v is not ...}))


def redacted(salts: list[Any], redactions: list[Any], **event: Any) -> bytes:
    """The commitment to a redacted event."""
    return commitments.redacted_fields_hash({"id": "e", **event}, salts, redactions)


def signature(**changes: Any) -> None:
    """Check a client's signature with one member changed."""
    given = {"algorithm": "ed25519", "key_id": "k", "value": base64.b64encode(bytes(64)).decode()}
    key = changes.pop("key", ROOT)
    commitments.verify_signature(given | changes, "e", bytes(32), key)


def checkpoint(size: str, root: str = ROOT) -> Checkpoint:
    return Checkpoint.parse(f"a/b\n{size}\n{root}\n")


def tlog_proof(log: Any, old: bytes, new: bytes) -> TlogProof:
    good = b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + log.checkpoint(1).encode()
    return TlogProof.parse(good.replace(old, new))


def key(log: Any, old: str, new: str) -> VerifierKey:
    return VerifierKey.parse(log.verifier_key.replace(old, new))


def manifest(log: Any, tmp: Path, **changes: Any) -> Manifest:
    log.export(tmp, **changes)
    return Manifest.parse((tmp / "audit.manifest.json").read_bytes())


HEX = "must be a SHA-256 in lower-case hexadecimal"
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
    (MalformedError, "'v' must be an integer", lambda log, v: entry(log, v=True)),
    (MalformedError, "'id' must be a string", lambda log, v: entry(log, id=1)),
    (MalformedError, "'imported' must be bool", lambda log, v: entry(log, imported="yes")),
    (MalformedError, "'channel_id' must be a string", lambda log, v: entry(log, channel_id=1)),
    (MalformedError, "'signature' must be an object", lambda log, v: entry(log, signature=[])),
    (MalformedError, "'log_id' must be a string", lambda log, v: entry(log, log_id=None)),
    (MalformedError, "'ingested_by' must be a string", lambda log, v: entry(log, ingested_by=1)),
    (MalformedError, f"'fields_hash' {HEX}", lambda log, v: entry(log, fields_hash="A" * 64)),
    (MalformedError, "an entry is not of version 1", lambda log, v: entry(log, v=2)),
    (MalformedError, "an entry has a member too many or too few",
     lambda log, v: entry(log, more=1)),
    (MalformedError, "an entry has a member too many or too few",
     lambda log, v: entry(log, ingested_by=...)),
    (MalformedError, "an entry must be an object", lambda log, v: Entry.parse("[]")),
    (MalformedError, "an entry is longer than 65535 bytes",
     lambda log, v: Entry.parse(" " * 65_536)),
    (MalformedError, "an entry is longer than 65535 bytes",
     lambda log, v: Entry.parse(f'"{"é" * 33_000}"')),
    (MalformedError, "JSON text is not valid Unicode",
     lambda log, v: Entry.parse('"\ud800"')),
    (MalformedError, "'received_at' must have six decimals and end with Z",
     lambda log, v: entry(log, received_at="2026-11-20T10:00:00Z")),
    (EventCorruptionError, "its id is not the one in its entry",
     lambda log, v: entry(log, id="other").check_event(log.events[1], {"seed": log.seeds[1]})),
    (UnverifiableError, "it comes with neither 'seed' nor 'salts'",
     lambda log, v: entry(log).check_event(log.events[1], {})),
    (MalformedError, "it has a 'seed' beside 'salts' or 'redactions'",
     lambda log, v: entry(log).check_event(log.events[1], {"seed": SEED, "salts": []})),
    (EventCorruptionError, "its content is not what was logged (fields_hash differs)",
     lambda log, v: entry(log).check_event(log.events[1], {"seed": SEED})),
    (MalformedError, "JSON text is not valid Unicode", lambda log, v: canonical.loads(b'"\xff"')),
    (MalformedError, "JSON text is not valid Unicode",
     lambda log, v: canonical.loads('"\\udc00"')),
    (MalformedError, "JSON is nested deeper than 64",
     lambda log, v: canonical.loads("[" * 65 + "]" * 65)),
    (MalformedError, "JSON is nested deeper than 64",
     lambda log, v: canonical.loads("[" * 100_000)),
    (MalformedError, "not JSON: Expecting value at character 1",
     lambda log, v: canonical.loads("[")),
    (MalformedError, "not JSON: Invalid control character at character 1",
     lambda log, v: canonical.loads('"\n"')),
    (MalformedError, "a number is beyond ±(2^53-1); send it as a string",
     lambda log, v: canonical.loads("1" * 5000)),
    (MalformedError, "a number is beyond ±(2^53-1); send it as a string",
     lambda log, v: canonical.scalar(2**53)),
    (MalformedError, "NaN is not JSON", lambda log, v: canonical.loads("NaN")),
    (MalformedError, "set is not a JSON value", lambda log, v: canonical.scalar({1})),
    (MalformedError, "'seed' must be 32 bytes in base64url without padding",
     lambda log, v: commitments.salts("x", 1)),
    (MalformedError, "'seed' must be 32 bytes in base64url without padding",
     lambda log, v: commitments.salts("\ud800", 1)),
    (MalformedError, "a key of a JSON object must be a string",
     lambda log, v: commitments.fields({"id": {1: 2}})),
    (MalformedError, "the event has a string that is not valid Unicode",
     lambda log, v: commitments.fields_hash({"id": "\ud800"}, SEED)),
    (MalformedError, "the event is nested deeper than 64",
     lambda log, v: commitments.fields({"a": json.loads("[" * 64 + "1" + "]" * 64)})),
    (MalformedError, "each of 'salts' must be [path, salt of 24 characters]",
     lambda log, v: redacted([[["id"], "short"]], [])),
    (MalformedError, "each of 'redactions' must be an object", lambda log, v: redacted([], [1])),
    (MalformedError, f"the 'hash' of a redaction {HEX}",
     lambda log, v: redacted([], [{"path": ["a"]}])),
    (MalformedError, "a path must be an array of 1 to 64 names and indexes",
     lambda log, v: redacted([[[], SALT]], [])),
    (MalformedError, "a path holds member names and array indexes only",
     lambda log, v: redacted([[[1.5], SALT]], [])),
    (EventCorruptionError, "a path occurs twice in 'salts' and 'redactions'",
     lambda log, v: redacted([[["id"], SALT]] * 2, [])),
    (EventCorruptionError, "'id' and 'action' are never redacted",
     lambda log, v: redacted([], [{"path": ["action"], "hash": "0" * 64}])),
    (EventCorruptionError, 'the value at ["id"] has no salt: it was not logged',
     lambda log, v: redacted([], [])),
    (EventCorruptionError, 'the value at ["a"] is missing',
     lambda log, v: redacted([[["id"], SALT], [["b"], SALT], [["a"], SALT]], [])),
    (MalformedError, "the 'algorithm' of a client's signature must be 'ed25519'",
     lambda log, v: signature(algorithm="rsa")),
    (MalformedError, "a client's public key must be base64 of 32 bytes",
     lambda log, v: signature(key="AA==")),
    (MalformedError, "a client's signature must be base64 of 64 bytes",
     lambda log, v: signature(value="AA==")),
    (MalformedError, "'key_id' must be a string", lambda log, v: signature(key_id=1)),
    (ProofError, "the signature of 'k' is wrong", lambda log, v: signature()),
    (ProofError, "the signature of 'x' is wrong",
     lambda log, v: ed25519.verify_ed25519(b"", b"", b"", "x")),
    (MalformedError, "a checkpoint must be origin, size and root, on a line each",
     lambda log, v: Checkpoint.parse("a/b\n1\n")),
    (MalformedError, "the size of a checkpoint is not a decimal number in range",
     lambda log, v: checkpoint("01")),
    (MalformedError, "the size of a checkpoint is not a decimal number in range",
     lambda log, v: checkpoint("9223372036854775808")),
    (MalformedError, "the root of a checkpoint must be base64 of 32 bytes",
     lambda log, v: checkpoint("1", "AA==")),
    (MalformedError, "the root of an empty log must be SHA-256 of nothing",
     lambda log, v: checkpoint("0")),
    (ProofError, "the proof's checkpoint is of another log",
     lambda log, v: checkpoint("1").verify_inclusion(0, "c", bytes(32), [])),
    (MalformedError, "a verifier key must read NAME+HASH+BASE64",
     lambda log, v: key(log, "+", "-")),
    (MalformedError, "a verifier key must be base64", lambda log, v: key(log, "+A", "+AA")),
    (MalformedError, "the verifier key of log.example.com/org_789 is not an Ed25519 key",
     lambda log, v: key(log, "+A", "+B")),
    (MalformedError, "the verifier key of log.example.com/org_790 does not match its own hash",
     lambda log, v: key(log, "789", "790")),
    (MalformedError, "a signed note is longer than 65536 bytes",
     lambda log, v: Note.parse("x" * 65_537)),
    (MalformedError, "a signed note is not UTF-8", lambda log, v: Note.parse(b"\xff")),
    (MalformedError, "a signed note is not UTF-8", lambda log, v: Note.parse("\ud800")),
    (MalformedError, "a signed note must be text, an empty line and signature lines",
     lambda log, v: Note.parse("text")),
    (MalformedError, "a signed note has more than 100 signatures",
     lambda log, v: Note.parse("text\n\n" + "x\n" * 101)),
    (MalformedError, "a signature line of a signed note is malformed",
     lambda log, v: Note.parse("text\n\nx\n")),
    (MalformedError, "a signature of a signed note must be base64",
     lambda log, v: Note.parse("text\n\n— a AAAAA\n")),
    (MalformedError, "a signature of a signed note is too short",
     lambda log, v: Note.parse("text\n\n— a AAAAAA==\n")),
    (MalformedError, "a signed note has two signatures by one key",
     lambda log, v: Note.parse("text\n\n" + "— a AAAAAAA=\n" * 2)),
    (ProofError, "not signed by the key given for 'log.example.com/org_789'",
     lambda log, v: v.verify_checkpoint("log.example.com/org_789\n1\n" + ROOT
                                        + "\n\n— a AAAAAAA=\n")),
    (UnverifiableError, "no verifier key for 'log.example.com/org_789' was given",
     lambda log, v: Verifier().verify_checkpoint(log.checkpoint())),
    (MalformedError, "a trust policy is longer than 1048576 bytes",
     lambda log, v: TrustPolicy.parse(b"#" * ((1 << 20) + 1))),
    (MalformedError, "a trust policy holds [logs] and [signers] and nothing else",
     lambda log, v: TrustPolicy.parse(b"[log]")),
    (MalformedError, "the key of signer 'k' must be base64 of 32 bytes",
     lambda log, v: TrustPolicy.parse(b"[signers]\nk = 'AA=='")),
    (MalformedError, "'signers' must be an object",
     lambda log, v: TrustPolicy.parse(b"signers = 1")),
    (MalformedError, "'logs' must be an object", lambda log, v: TrustPolicy.parse(b"logs = 1")),
    (MalformedError, "'a/b' must be an array", lambda log, v: TrustPolicy.parse(b"logs.'a/b' = 1")),
    (MalformedError, "a key of log 'a/b' must be a string that begins with its name",
     lambda log, v: TrustPolicy.parse(b"logs.'a/b' = [1]")),
    (UnverifiableError, "cannot read the trust policy: No such file or directory",
     lambda log, v: TrustPolicy.load("/none/trust.toml")),
    (MalformedError, "a tlog-proof is longer than 131072 bytes",
     lambda log, v: TlogProof.parse(b" " * 131_073)),
    (MalformedError, "a tlog-proof is not UTF-8", lambda log, v: TlogProof.parse(b"\xff")),
    (MalformedError, "a tlog-proof must begin with c2sp.org/tlog-proof@v1 and end with a note",
     lambda log, v: tlog_proof(log, b"@v1", b"@v2")),
    (MalformedError, "a tlog-proof must begin with c2sp.org/tlog-proof@v1 and end with a note",
     lambda log, v: tlog_proof(log, b"\n\n", b"\n")),
    (MalformedError, "the 'extra' of a tlog-proof must be base64",
     lambda log, v: tlog_proof(log, b"index", b"extra !\nindex")),
    (MalformedError, "a tlog-proof must name its index",
     lambda log, v: tlog_proof(log, b"index 0", b"index x")),
    (MalformedError, "a tlog-proof must name its index",
     lambda log, v: tlog_proof(log, b"\nindex 0", b"")),
    (MalformedError, "a tlog-proof has more than 63 hashes",
     lambda log, v: tlog_proof(log, b"index 0", b"index 0" + b"\nAA==" * 64)),
    (MalformedError, "a hash of a tlog-proof must be base64 of 32 bytes",
     lambda log, v: tlog_proof(log, b"index 0", b"index 0\nAA==")),
    (UnverifiableError, "the manifest is missing: say where NAME.manifest.json is",
     lambda log, v: Files.locate(io.BytesIO())),
    (MalformedError, "the manifest must be a file NAME.manifest.json",
     lambda log, v: Files.locate("a.jsonl", "b.json")),
    (MalformedError, "there is no none.jsonl", lambda log, v: Files.locate("/none.jsonl")),
    (UnverifiableError, "cannot read none: No such file or directory",
     lambda log, v: read_sidecar(Path("/none"))),
    (MalformedError, "the manifest: it must be an object", lambda log, v: Manifest.parse(b"[]")),
    (MalformedError, "the manifest: it must be of version 1 and of the format jsonl",
     lambda log, v: Manifest.parse(b'{"v":1,"format":"csv"}')),
    (EventCorruptionError, "'ingested_by' is not the one in its entry",
     lambda log, v: v.verify_record(log.record(1) | {"ingested_by": "key_2"})),
    (ProofError, "the checkpoints are of two logs",
     lambda log, v: Verifier([log.verifier_key, type(log)("a/b").verifier_key])
     .verify_consistency(log.checkpoint(), type(log)("a/b").checkpoint(), [])),
    (CheckpointForkError, "the log shrank from 10 to 3 events",
     lambda log, v: v.verify_consistency(log.checkpoint(), log.checkpoint(3), [])),
    (CheckpointForkError, "two different roots for 1 leaves",
     lambda log, v: merkle.verify_consistency(1, 1, bytes(32), b"x" * 32, [])),
    (CheckpointForkError, "the proof does not show that 2 leaves continue the first 1",
     lambda log, v: merkle.verify_consistency(1, 2, bytes(32), bytes(32), [bytes(32)])),
    (ProofError, "not the compact range from leaf 0 to 2",
     lambda log, v: merkle.RootBuilder().append_range([], 2)),
    (MalformedError, "the proof's 'hashes' must be an array of hashes", lambda log, v:
     v.verify_record(log.record(1) | {"proof": log.proof(1) | {"hashes": None}})),
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
    """Whatever is handed to a check or a parser."""
    with pytest.raises(kind) as caught:
        call(log, Verifier([log.verifier_key]))
    assert caught.value.args[0] == text
