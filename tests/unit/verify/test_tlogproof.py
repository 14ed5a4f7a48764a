"""C2SP tlog-proofs: read strictly, and held against one event."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trailseal.verify import IntegrityError, MalformedError, ProofError, Verifier
from trailseal.verify.errors import EventCorruptionError
from trailseal.verify.tlogproof import MAX_TLOG_PROOF_BYTES, TlogProof


def written(log: Any, index: int, *, extra: str = "") -> bytes:
    """The proof as the format has it."""
    proof = log.proof(index)
    hashes = [base64.b64encode(bytes.fromhex(each)).decode() for each in proof["hashes"]]
    lines = ["c2sp.org/tlog-proof@v1", *([f"extra {extra}"] if extra else []), f"index {index}"]
    return "\n".join([*lines, *hashes, "", proof["signed_note"]]).encode()


@pytest.mark.row("P-63")
def test_an_event_verifies_with_its_proof(log: Any) -> None:
    """As a record without a proof of its own, and as a line of an export."""
    verifier = Verifier([log.verifier_key])
    for index in (0, 4, 9):
        record = {k: v for k, v in log.record(index).items() if k != "proof"}
        for given_ in (record, log.line(index)):
            verifier.verify_tlog_proof(written(log, index), given_)
            verifier.verify_tlog_proof(written(log, index, extra="aGk="), json.dumps(given_))
            report = verifier.verify_records(
                [json.dumps(given_).encode()], proof=written(log, index)
            )
            assert report.exit_code == 0


def test_another_event_index_proof_or_key_is_refused(log: Any, tools: Any) -> None:
    """With the kind and the place."""
    verifier = Verifier([log.verifier_key])
    with pytest.raises(ProofError) as caught:
        verifier.verify_tlog_proof(written(log, 3), log.line(4))
    assert caught.value.index == 3
    for changed in (log.line(4), log.record(4)):
        bare = {k: v for k, v in changed.items() if k != "index"}
        with pytest.raises(IntegrityError):
            verifier.verify_tlog_proof(written(log, 3), bare)
    line = log.line(4)
    line["event"] = {**line["event"], "action": "changed"}
    with pytest.raises(EventCorruptionError):
        verifier.verify_tlog_proof(written(log, 4), line)
    other = tools.Log(key=tools.private_key(b"o" * 32)).grow(10)
    with pytest.raises(ProofError):
        verifier.verify_tlog_proof(written(other, 4), log.line(4))
    elsewhere = tools.Log("log.example.com/other").grow(10)
    both = Verifier([log.verifier_key, elsewhere.verifier_key])
    with pytest.raises(IntegrityError):
        both.verify_tlog_proof(written(elsewhere, 4), log.line(4))
    report = verifier.verify_records([json.dumps(line).encode()], proof=written(log, 4))
    assert (report.exit_code, report.findings[0].kind) == (1, "event")


@pytest.mark.parametrize(
    ("error", "text", "change"),
    [
        (ProofError, "the tlog-proof is for another index", {"index": 5}),
        (MalformedError, "'index' must be an integer", {"index": []}),
        (MalformedError, "'event' must be an object", {"event": 1}),
        (MalformedError, "it is neither a record nor a line of an export", {"action": "another"}),
    ],
    ids=range(4),
)
def test_what_is_shown_beside_a_proof_is_what_is_proved(
    log: Any, error: type[IntegrityError], text: str, change: dict[str, Any]
) -> None:
    """A line has a line's members only: nothing can stand beside its event unseen."""
    verifier = Verifier([log.verifier_key])
    line = {"salts": None, "redactions": None, "proof": None, **log.line(4)}
    verifier.verify_tlog_proof(written(log, 4), line)
    with pytest.raises(error) as caught:
        verifier.verify_tlog_proof(written(log, 4), line | change)
    assert (caught.value.args[0], caught.value.index) == (text, 4)


def test_a_proof_may_have_as_many_hashes_and_bytes_as_its_limits(log: Any) -> None:
    """63 levels, 128 KiB."""
    given = written(log, 4)
    more = 63 - len(TlogProof.parse(given).hashes)
    most = given.replace(b"index 4\n", b"index 4\n" + (b"A" * 43 + b"=\n") * more)
    hashes = TlogProof.parse(most).hashes
    assert len(hashes) == 63
    room = MAX_TLOG_PROOF_BYTES - len(most) - len("extra \n")
    extra = b"A" * (room // 4 * 4)
    noted = most.replace(b"\nindex", b"\nextra " + extra + b"\nindex")
    noted += b"\n" * (MAX_TLOG_PROOF_BYTES - len(noted))
    assert TlogProof.parse(noted).hashes == hashes
    with pytest.raises(MalformedError, match="longer than 131072 bytes"):
        TlogProof.parse(noted + b"\n")


def test_a_clients_signature_is_checked_too(log: Any) -> None:
    """With the key given."""
    log.add({"id": "signed", "action": "a"}, signer=log.key)
    mine = base64.b64encode(log.public_key).decode()
    verifier = Verifier([log.verifier_key], signing_keys={"k1": mine})
    verifier.verify_tlog_proof(written(log, 10), log.line(10))
    other = base64.b64encode(bytes(31) + b"\x01").decode()
    with pytest.raises(ProofError, match="the signature of 'k1' is wrong"):
        Verifier([log.verifier_key], signing_keys={"k1": other}).verify_tlog_proof(
            written(log, 10), log.line(10)
        )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 4", b"index 04"),
        (b"index 4", b"index -4"),
        (b"index 4\n", b""),
        (b"index 4", b"Index 4"),
        (b"index 4", b"extra !!\nindex 4"),
        (b"index 4", b"index 4\nAAAA"),
        (b"index 4", b"index 4\n" + b"\n".join([base64.b64encode(bytes(32))] * 64)),
        (b"\n\n", b"\n"),
        (b"index", b"\xff"),
    ],
)
def test_what_is_no_proof_is_malformed(log: Any, old: bytes, new: bytes) -> None:
    """One spelling for each value, and all limits."""
    with pytest.raises(MalformedError):
        Verifier([log.verifier_key]).verify_tlog_proof(
            written(log, 4).replace(old, new), log.line(4)
        )


@given(
    st.binary()
    | st.text().map(lambda text: b"c2sp.org/tlog-proof@v1\n" + text.encode(errors="ignore"))
)
@example(b"c2sp.org/tlog-proof@v1\n\n")
@example(b"\n" * (MAX_TLOG_PROOF_BYTES + 1))
def test_any_input_gives_a_proof_or_our_error(data: bytes) -> None:
    """Nothing else comes out of the parser."""
    with contextlib.suppress(MalformedError):
        TlogProof.parse(data)


def test_the_command_takes_an_event_with_its_proof(log: Any, tmp_path: Path) -> None:
    """`trailseal verify EVENT --proof FILE`: 0, 1 for another event, 2 without a key."""
    from trailseal.cli._verify import check  # noqa: PLC0415  # loads typer

    event, proof = tmp_path / "event.json", tmp_path / "event.tlog-proof"
    event.write_text(json.dumps(log.line(4)))
    proof.write_bytes(written(log, 4))
    options: dict[str, Any] = {"complete": False, "show": lambda *_, **__: None, "proof": proof}
    assert check(event, [log.verifier_key], **options) == 0
    assert check(event, [], **options) == 2
    proof.write_bytes(written(log, 5))
    assert check(event, [log.verifier_key], **options) == 1
