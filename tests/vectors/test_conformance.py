"""The conformance suite in spec/vectors, judged by both verifiers."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from trailseal.verify import Verifier, VerifierKey, canonical, merkle, open_checkpoint
from trailseal.verify.errors import IntegrityError, MalformedError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "spec" / "vectors"
JS = ROOT / "verifiers" / "js"
NODE = shutil.which("node")
SECONDS = 60  # far more than node needs

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def cases(name: str) -> Any:
    found = json.loads((FOLDER / f"{name}.json").read_text())["cases"]
    return pytest.mark.parametrize("case", found, ids=[case["desc"] for case in found])


def judged(check: Any, case: dict[str, Any]) -> None:
    if case["want_error"] is None:
        check()
        return
    with pytest.raises(IntegrityError) as caught:
        check()
    assert caught.value.kind == case["want_error"]


@cases("json")
def test_json_is_read_as_strictly_as_its_vector_says(case: dict[str, Any]) -> None:
    """One reading for all readers, or a refusal; a good text has the vector's canonical bytes."""

    def check() -> None:
        value = canonical.loads(base64.b64decode(case["json"]))
        assert canonical.canonical(value).decode() == case["canonical"]

    judged(check, case)


@cases("checkpoints")
def test_a_checkpoint_opens_or_is_refused_as_its_vector_says(case: dict[str, Any]) -> None:
    """Signed notes, good, unsigned, doubly signed, of another key or origin, malformed."""
    keys = [VerifierKey.parse(key) for key in case["keys"]]
    judged(lambda: open_checkpoint(case["note"], keys), case)


@cases("proofs")
def test_a_proof_is_judged_as_its_vector_says(case: dict[str, Any]) -> None:
    """Inclusion and consistency, with hashes too many, too few and of others."""
    proof = [bytes.fromhex(item) for item in case["proof"]]
    if case["check"] == "inclusion":
        hashes = bytes.fromhex(case["leaf_hash"]), proof, bytes.fromhex(case["root"])
        judged(lambda: merkle.verify_inclusion(case["index"], case["tree_size"], *hashes), case)
    else:
        roots = bytes.fromhex(case["old_root"]), bytes.fromhex(case["new_root"])
        sizes = case["old_size"], case["new_size"]
        judged(lambda: merkle.verify_consistency(*sizes, *roots, proof), case)


@cases("bundles")
def test_a_bundle_is_judged_as_its_vector_says(case: dict[str, Any], tmp_path: Path) -> None:
    """Exit code, completeness, and each finding's index and kind."""
    for name, data in case["files"].items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
    verifier = Verifier(case["keys"], signing_keys=case["signers"])
    report = verifier.verify_bundle(tmp_path, complete=case["complete"])
    assert {
        "exit_code": report.exit_code,
        "complete": report.complete,
        "findings": [[finding.index, finding.kind] for finding in report.findings],
    } == case["want"]


def test_the_suite_is_what_its_script_makes() -> None:
    """Nobody has edited spec/vectors by hand, and the log of the tests has not changed."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "vectors" / "make.py", "--check"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_node
def test_the_second_verifier_judges_the_whole_suite_alike() -> None:
    """JavaScript, sharing no code: every case of spec/vectors comes out as it says."""
    command = [NODE or "", JS / "vectors.mjs", FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cases are right" in done.stdout


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    """The log of the verifier's unit tests."""
    sys.path.insert(0, str(ROOT / "tests" / "vectors"))
    try:
        import make  # type: ignore[import-not-found]  # noqa: PLC0415
    finally:
        sys.path.pop(0)
    return make.tools


@needs_node
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_the_second_verifier_reads_files_and_exits_as_ours_does(
    tools: Any, tmp_path: Path, compress: bool
) -> None:
    """0 for a good export of 300 events, 1 and the index for a changed one, 2 without a key."""
    log = tools.Log().grow(300)
    path = log.export(tmp_path, compress=compress)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [NODE or "", JS / "cli.mjs", path, "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return done.returncode, json.loads(done.stdout)

    code, report = run("--key", log.verifier_key, "--complete")
    assert (code, report["complete"], report["events"]) == (0, True, 300)
    assert run()[0] == 2
    lines = log.lines(0, 299)
    lines[277] = lines[277].replace(b"user_277", b"user_278")
    log.export(tmp_path, lines=lines, compress=compress)
    code, report = run("--key", log.verifier_key)
    assert code == 1
    assert [(f["index"], f["kind"]) for f in report["findings"]] == [(277, "event")]


JCS = os.environ.get("JCS_VECTORS")


@pytest.mark.row("P-64")
@pytest.mark.skipif(not JCS, reason="JCS_VECTORS names no folder; make vectors downloads them")
def test_the_vectors_of_rfc_8785_come_out() -> None:
    """Input and output pairs by the author of RFC 8785, where our limits on numbers let them in."""
    folder = Path(JCS or "")
    names = sorted(path.name for path in (folder / "input").glob("*.json"))
    assert names
    refused = []
    for name in names:
        try:
            value = canonical.loads((folder / "input" / name).read_bytes())
        except MalformedError:
            refused.append(name)
            continue
        assert canonical.canonical(value) == (folder / "output" / name).read_bytes().strip()
    assert refused == ["values.json"]  # it holds 333333333.33333329 … and 1e30
