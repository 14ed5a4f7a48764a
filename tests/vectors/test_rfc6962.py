"""The public vectors of RFC 6962 proofs, good and bad."""

import base64
import json
from pathlib import Path

import pytest
from trailseal.verify import merkle
from trailseal.verify.errors import IntegrityError

FOLDER = Path(__file__).parents[3] / "shared" / "vectors" / "rfc6962"
CASES = 98  # of each kind

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the public vectors are not here")


def decoded(value: str | None) -> bytes:
    return base64.b64decode(value or "")


def cases(kind: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((FOLDER / kind).rglob("*.json"))]


def check(verify, case: dict) -> None:
    if case["wantErr"]:
        with pytest.raises(IntegrityError):
            verify()
    else:
        verify()


def test_every_inclusion_vector_is_judged_as_it_says() -> None:
    """Good proofs pass, bad ones raise our error."""
    found = cases("inclusion")
    assert len(found) == CASES
    assert {case["wantErr"] for case in found} == {True, False}
    for case in found:
        proof = [decoded(item) for item in case["proof"] or []]
        leaf, root = decoded(case["leafHash"]), decoded(case["root"])
        check(
            lambda c=case, p=proof, f=leaf, r=root: merkle.verify_inclusion(
                c["leafIdx"], c["treeSize"], f, p, r
            ),
            case,
        )


def test_every_consistency_vector_is_judged_as_it_says() -> None:
    """Good proofs pass, bad ones raise our error."""
    found = cases("consistency")
    assert len(found) == CASES
    assert {case["wantErr"] for case in found} == {True, False}
    for case in found:
        proof = [decoded(item) for item in case["proof"] or []]
        roots = decoded(case["root1"]), decoded(case["root2"])
        check(
            lambda c=case, p=proof, r=roots: merkle.verify_consistency(
                c["size1"], c["size2"], *r, p
            ),
            case,
        )
