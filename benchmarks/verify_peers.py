"""Others' verification of what `verify.py` verifies, in the peers' own environment.

    verify_peers.py < {"event", "private_key", "index", "size", "leaf", "hashes", "root", "body"}

Prints, as JSON, seconds of CPU for one check by each peer, or why there is none. Each takes the way
through its own public code; a check that does not pass is an error.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

ROUNDS = 5
SAMPLE = 1_000


def pangea(given: dict[str, Any]) -> Callable[[], object]:
    """A page of search results, already parsed: hash, signature and membership of each event."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from pangea.config import PangeaConfig
    from pangea.services import Audit
    from pangea.services.audit import models, util

    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(given["private_key"]))
    pem = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        audit = Audit("no token", config=PangeaConfig(), private_key_file=file.name)
        logged = audit._process_log(given["event"], sign_local=True)  # noqa: SLF001
    audit.allow_server_roots = True  # no request to another log of roots
    envelope = models.EventEnvelope(
        event=logged.event, signature=logged.signature, public_key=logged.public_key
    )
    digest = util.hash_dict(util.normalize_log(envelope.model_dump(exclude_none=True)))
    root = node = bytes.fromhex(digest)
    for sibling in given["hashes"]:
        root = util.hash_pair(root, bytes.fromhex(sibling))
    one = models.SearchEvent(
        envelope=envelope,
        hash=node.hex(),
        membership_proof=",".join(f"r:{sibling}" for sibling in given["hashes"]),
        published=True,
    )
    tree = models.Root(tree_name="t", size=given["size"], root_hash=root.hex())
    found = models.SearchResultOutput(count=SAMPLE, events=[one] * SAMPLE, root=tree)

    def check() -> None:
        audit.process_search_results(SimpleNamespace(result=found), verify_consistency=True)
        passed = (one.signature_verification, one.membership_verification)
        assert passed == (models.EventVerification.PASS,) * 2

    return check


def pymerkle(given: dict[str, Any]) -> Callable[[], object]:
    """An inclusion proof, already parsed."""
    from pymerkle import verify_inclusion
    from pymerkle.core import _inclusion_path_layout
    from pymerkle.proof import InclusionProof

    place, size = given["index"] + 1, given["size"]  # it counts leaves from one
    rule, _ = _inclusion_path_layout(place, size)
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    path = [leaf, *map(bytes.fromhex, given["hashes"])]
    proof = InclusionProof("sha256", True, size, place, rule, path)

    def check() -> None:
        for _ in range(SAMPLE):
            verify_inclusion(leaf, root, proof, index=place, size=size)

    return check


def sigstore(given: dict[str, Any]) -> Callable[[], object]:
    """An inclusion proof, already parsed, and the leaf's hash."""
    from sigstore._internal.merkle import verify_merkle_inclusion

    proof = SimpleNamespace(
        log_index=given["index"],
        tree_size=given["size"],
        hashes=[bytes.fromhex(digest) for digest in given["hashes"]],
        root_hash=bytes.fromhex(given["root"]),
    )
    inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=given["body"].encode())
    entry: Any = SimpleNamespace(_inner=inner)

    def check() -> None:
        for _ in range(SAMPLE):
            verify_merkle_inclusion(entry)

    return check


def seconds(check: Callable[[], object]) -> float:
    """Of CPU, for one of the sample; the least of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        check()
        rounds.append((time.process_time() - began) / SAMPLE)
    return min(rounds)


def main() -> None:
    """Measure each peer that is installed."""
    given = json.load(sys.stdin)
    for name, make in (("pangea-sdk", pangea), ("pymerkle", pymerkle), ("sigstore", sigstore)):
        try:
            check = make(given)
        except ImportError as error:
            told: dict[str, Any] = {"missing": str(error)}
        else:
            told = {"seconds": seconds(check), "version": version(name)}
        print(json.dumps({"name": name, **told}), flush=True)


if __name__ == "__main__":
    main()
