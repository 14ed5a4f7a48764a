"""`trailseal verify` in all its forms, as a user runs it: a policy, standard input, redactions."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rfc8785

SECONDS = 60  # far more than any of these takes


@pytest.fixture(scope="module")
def tools() -> Any:
    """The independent log of the verifier's unit tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "vectors"))
    try:
        import make_bundles  # type: ignore[import-not-found]  # noqa: PLC0415
    finally:
        sys.path.pop(0)
    return make_bundles.tools


def run(*arguments: object, given: bytes = b"") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "trailseal", "verify", *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.row("P-66", "P-68")
def test_good_tampered_truncated_redacted_and_signed_exit_0_1_1_0_0(
    tools: Any, tmp_path: Path
) -> None:
    """The five bundles of the promise, each checked with a policy."""
    log = tools.Log().grow(6)
    log.add({"id": "evt-6", "action": "signed"}, signer=log.key)
    lines = log.lines(0, 6)
    trust = tmp_path / "trust.toml"
    trust.write_text(f'[logs]\n"{log.origin}" = ["{log.verifier_key}"]\n')
    redacted = rfc8785.dumps(tools.redact(log.line(2), [["actor"]]))
    bundles: list[tuple[list[bytes], int]] = [
        (lines[:6], 0),
        ([lines[0].replace(b"user_0", b"user_1"), *lines[1:6]], 1),
        (lines[:4], 1),
        ([*lines[:2], redacted, *lines[3:6]], 0),
        (lines, 0),
    ]
    for number, (content, code) in enumerate(bundles):
        last = 6 if content is lines else 5
        path = log.export(tmp_path / str(number), 0, last, lines=content)
        assert run(path, "--policy", trust, "--complete")[0] == code, number
        assert run(path.parent, "--policy", trust)[0] == code, number


@pytest.mark.row("P-66")
def test_standard_input_is_verified_with_its_manifest_or_as_records(
    tools: Any, tmp_path: Path
) -> None:
    """`zcat … | trailseal verify - --manifest …`, and records with proofs, one a line."""
    log = tools.Log().grow(5)
    path = log.export(tmp_path)
    manifest = ("--manifest", tmp_path / "audit.manifest.json", "--key", log.verifier_key)
    assert run("-", *manifest, "--complete", given=path.read_bytes())[0] == 0
    assert run("-", *manifest, given=path.read_bytes()[:-9])[0] == 1
    records = [json.dumps(log.record(index)) for index in range(3)]
    given = "\n".join(records).encode()
    code, said = run("-", "--key", log.verifier_key, given=given)
    assert (code, "3 events read" in said) == (0, True), said
    code, said = run("-", "--key", log.verifier_key, given=given.replace(b"user_1", b"user_2"))
    assert (code, "index 1" in said) == (1, True), said
    assert run("-", "--complete", given=given)[0] == 2
    assert run("-", given=b"")[0] == 3


def test_a_filtered_export_is_verified_and_said_not_to_be_complete(
    tools: Any, tmp_path: Path
) -> None:
    """What it proves and what not stands in the output; asked for completeness, it exits 2."""
    log = tools.Log().grow(5)
    lines = [rfc8785.dumps(log.line(3, proof=True))]
    options = {"filter": {"actor_id": "x"}, "boundary": ..., "count": 1}
    path = log.export(tmp_path, 3, 3, lines=lines, **options)
    code, said = run(path, "--key", log.verifier_key)
    assert code == 0
    assert "not proved complete: a filtered export" in said
    assert run(path, "--key", log.verifier_key, "--complete")[0] == 2


def test_a_policy_that_is_missing_or_wrong_exits_2_or_3(tools: Any, tmp_path: Path) -> None:
    """Nothing is verified with less than was asked for."""
    path = tools.Log().grow(1).export(tmp_path)
    assert run(path, "--policy", tmp_path / "none.toml")[0] == 2
    (tmp_path / "bad.toml").write_text("[log]")
    assert run(path, "--policy", tmp_path / "bad.toml")[0] == 3
