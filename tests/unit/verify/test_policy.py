"""Trust policies, records one by one, and content from standard input."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from trailseal.verify import TrustPolicy, Verifier
from trailseal.verify.errors import MalformedError, UnverifiableError
from trailseal.verify.policy import MAX_POLICY_BYTES
from trailseal.verify.report import BAD_INPUT, COULD_NOT_VERIFY, FAILED, VERIFIED


def policy(log: Any, **signers: str) -> str:
    lines = [f"{name} = {json.dumps(key)}" for name, key in signers.items()]
    listed = f'[logs]\n"{log.origin}" = ["{log.verifier_key}"]\n'
    return "\n".join([listed, "[signers]", *lines])


def test_a_policy_names_the_logs_and_signers_to_trust(log: Any, tools: Any, tmp_path: Path) -> None:
    """The same as keys given one by one; what it does not name is not trusted."""
    log.add({"id": "evt-10", "action": "signed"}, signer=log.key)
    signer = base64.b64encode(log.public_key).decode()
    file = tmp_path / "trust.toml"
    file.write_text(policy(log, k1=signer))
    loaded = TrustPolicy.load(file)
    assert [key.name for key in loaded.keys] == [log.origin]
    assert loaded.signing_keys == {"k1": signer}
    report = Verifier.from_policy(file).verify_bundle(log.export(tmp_path / "a"), complete=True)
    assert (report.exit_code, report.signatures_trusted) == (VERIFIED, 1)
    assert Verifier.from_policy(loaded).verify_bundle(tmp_path / "a").exit_code == VERIFIED
    other = tools.Log(origin="log.example.com/org_1").grow(2).export(tmp_path / "b")
    assert Verifier.from_policy(file).verify_bundle(other).exit_code == COULD_NOT_VERIFY


def test_an_empty_policy_trusts_nobody() -> None:
    """Both tables may be missing."""
    assert TrustPolicy.parse(b"") == TrustPolicy((), {})


@pytest.mark.parametrize(
    "text",
    [
        "[log]\n",
        "logs = 1",
        "signers = []",
        "[logs]\n'a/b' = 'a/b+00000000+AQ=='",
        "[logs]\n'a/b' = [1]",
        "[logs]\n'a/b' = ['nonsense']",
        "[signers]\nk = 1",
        "[signers]\nk = 'AAAA'",
        "[logs",
        "x = " + "[" * 10_000,
        "#" * (MAX_POLICY_BYTES + 1),
        b"\xff",
    ],
)
def test_a_policy_that_is_not_understood_is_refused(text: str | bytes) -> None:
    """A misspelled member would trust other keys than were meant."""
    with pytest.raises(MalformedError):
        TrustPolicy.parse(text if isinstance(text, bytes) else text.encode())


def test_a_key_stands_under_its_own_log(log: Any) -> None:
    """A key of another name is a mistake, not a key of this log."""
    text = policy(log).replace(f'"{log.origin}" =', '"log.example.com/org_1" =')
    with pytest.raises(MalformedError):
        TrustPolicy.parse(text.encode())


def test_a_missing_policy_could_not_be_read(tmp_path: Path) -> None:
    """Nothing is verified with half of what was asked for."""
    with pytest.raises(UnverifiableError):
        TrustPolicy.load(tmp_path / "none.toml")


def test_content_may_come_from_standard_input(log: Any, tmp_path: Path) -> None:
    """Any stream that can only be read on, with the manifest named; plain and compressed."""
    verifier = Verifier([log.verifier_key])
    for compress in (False, True):
        path = log.export(tmp_path / str(compress), compress=compress)
        manifest = path.with_name("audit.manifest.json")

        class Stream(io.BytesIO):
            def seek(self, *_: object) -> int:
                raise io.UnsupportedOperation

        report = verifier.verify_bundle(Stream(path.read_bytes()), manifest=manifest, complete=True)
        assert (report.exit_code, report.events) == (VERIFIED, 10)
        bad = Stream(path.read_bytes()[:-40])
        assert verifier.verify_bundle(bad, manifest=manifest).exit_code == FAILED
    assert verifier.verify_bundle(io.BytesIO()).exit_code == COULD_NOT_VERIFY
    assert verifier.verify_bundle(io.BytesIO(), manifest=path).exit_code == BAD_INPUT
    elsewhere = path.rename(tmp_path / "elsewhere.gz")
    assert verifier.verify_bundle(elsewhere, manifest=manifest).exit_code == VERIFIED


def test_records_and_receipts_are_checked_one_by_one(log: Any) -> None:
    """Each bad one is named by its line and its index, the good ones are counted."""
    verifier = Verifier([log.verifier_key])
    records = [log.record(index) for index in range(4)]
    receipt = {name: records[3][name] for name in ("log_id", "index", "leaf_hash", "proof")}
    texts = [json.dumps(record).encode() + b"\n" for record in [*records, receipt]]
    good = verifier.verify_records(texts)
    assert (good.exit_code, good.events, good.complete) == (VERIFIED, 5, False)
    assert "each event was checked by itself" in "\n".join(good.summary())
    texts[1] = texts[1].replace(b"user_1", b"user_2")
    texts[2] = b"[]"
    texts[4] = json.dumps(receipt | {"index": 2}).encode()
    report = verifier.verify_records(texts)
    found = [(finding.line, finding.index, finding.kind) for finding in report.findings]
    assert found == [(2, 1, "event"), (3, None, "malformed"), (5, 2, "proof")]
    assert (report.exit_code, report.events) == (FAILED, 5)
    nothing = verifier.verify_records([])
    assert nothing.exit_code == BAD_INPUT
    assert nothing.findings[0].reason == "there is nothing to verify"
    assert nothing.incomplete_reason == "each event was checked by itself"
    assert Verifier().verify_records(texts[:1]).exit_code == COULD_NOT_VERIFY
