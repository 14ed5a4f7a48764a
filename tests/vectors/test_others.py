"""Other people's verifiers accept what our server publishes, and refuse what was changed.

tlog-scales (Python, by F. Larysch), metamorphic-log (Rust) and Go's own sumdb packages read one
log of 700 events: two checkpoints, tiles, entry bundles, inclusion and consistency proofs.
"""

import base64
import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trailseal
from trailseal.verify import open_checkpoint
from trailseal.verify.note import VerifierKey
from trailseal_api.api.logs import create_log
from trailseal_api.models import LogInput
from trailseal_server.app import Running

OLDER, EVENTS = 300, 700  # both beyond a tile of 256, neither a multiple of it
PROVED = (0, 255, 256, 299, 511, 512, 699)  # the edges of tiles and of the tree
SECONDS = 300  # Go compiles its standard library the first time
_numbers = itertools.count()


@dataclass
class Published:
    """What a log says of itself, as it was served."""

    vkey: str
    older: str
    checkpoint: str
    consistency: list[bytes]
    inclusion: dict[int, list[bytes]]
    leaves: dict[int, bytes]
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def root(self) -> bytes:
        return open_checkpoint(self.checkpoint, [VerifierKey.parse(self.vkey)]).root_hash

    def save(self, folder: Path) -> None:
        texts = {"vkey": self.vkey, "older": self.older, "checkpoint": self.checkpoint}
        texts["consistency"] = "\n".join(digest.hex() for digest in self.consistency)
        for name, data in self.files.items() | {(k, v.encode()) for k, v in texts.items()}:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@pytest.fixture(scope="module")
def published(server: Running) -> Published:
    name = f"others-{next(_numbers)}"
    with trailseal.Client(server.url, server.key) as client:
        create_log.sync(client=client.api, body=LogInput(log_id=name))
        events = [{"id": f"event-{n}", "action": "page.read"} for n in range(EVENTS)]
        client.log_bulk(events[:OLDER], log_id=name).raise_for_failures()
        older = client.seal(name)
        client.log_bulk(events[OLDER:], log_id=name).raise_for_failures()
        newer = client.seal(name)
        assert (older.tree_size, newer.tree_size) == (OLDER, EVENTS)
        proof = client.consistency_proof(OLDER, EVENTS, log_id=name)
        key = client.verification_keys(log_id=name)[0].verifier_key
        assert key is not None
        inclusion, leaves = {}, {}
        for index in PROVED:
            raw = client.get(f"event-{index}", log_id=name, include_proof=True).raw
            inclusion[index] = [bytes.fromhex(h) for h in raw["proof"]["hashes"]]
            leaves[index] = bytes.fromhex(raw["leaf_hash"])
    headers = {"Authorization": f"Bearer {server.key}"}
    paths = ["0/000", "0/001", "0/002.p/188", "1/000.p/2"]
    paths += ["entries/000", "entries/001", "entries/002.p/188"]
    files = {}
    with httpx.Client(base_url=f"{server.url}/tlog/{name}/", headers=headers) as http:
        for path in paths:
            answer = http.get(f"tile/{path}")
            assert answer.status_code == 200, path
            files[f"tile/{path}"] = answer.content
        assert http.get("checkpoint").text == newer.signed_note
    hashes = [bytes.fromhex(h) for h in proof.hashes]
    return Published(key, older.signed_note, newer.signed_note, hashes, inclusion, leaves, files)


def test_tlog_scales_accepts_our_checkpoints_tiles_and_proofs(
    published: Published, tmp_path: Path
) -> None:
    """It reads the tiles, comes to our root, and checks our proofs and its own."""
    reading = pytest.importorskip("tlog_scales.reader", reason="tlog-scales is not installed")
    from tlog_scales import tlog  # noqa: PLC0415
    from tlog_scales.backend import LocalBackend  # noqa: PLC0415
    from tlog_scales.signing import Vkey  # noqa: PLC0415

    published.save(tmp_path)
    reader = reading.TilesReader(LocalBackend(tmp_path))
    checkpoint = reader.get_checkpoint()
    vkey = Vkey.from_string(published.vkey)
    checkpoint.verify(vkey)
    older = tlog.Checkpoint.from_text(published.older)
    older.verify(vkey)
    assert reader.calculate_root_hash() == checkpoint.root_hash
    for index, hashes in published.inclusion.items():
        theirs = reader.get_inclusion_proof(index, EVENTS)
        assert theirs.node_hashes == hashes
        tlog.InclusionProof(index, EVENTS, hashes).check(
            published.leaves[index], checkpoint.root_hash
        )
    proof = tlog.ConsistencyProof(OLDER, EVENTS, published.consistency)
    assert reader.get_consistency_proof(OLDER, EVENTS) == proof
    proof.check(older.root_hash, checkpoint.root_hash)
    with pytest.raises(tlog.ConsistencyProofInvalid):
        proof.check(checkpoint.root_hash, older.root_hash)


def test_metamorphic_log_accepts_our_checkpoints_and_proofs(published: Published) -> None:
    """Notes, inclusion and consistency, in Rust; a changed note and another leaf are refused."""
    theirs: Any = pytest.importorskip("metamorphic_log", reason="metamorphic-log is not installed")
    keys = [published.vkey]
    head = theirs.checkpoint_verify(published.checkpoint, keys)
    assert (head.size, bytes(head.root)) == (EVENTS, published.root)
    for index, hashes in published.inclusion.items():
        leaf = published.leaves[index]
        theirs.checkpoint_verify_inclusion(published.checkpoint, keys, index, leaf, hashes)
        with pytest.raises(theirs.VerifyError):
            theirs.checkpoint_verify_inclusion(
                published.checkpoint, keys, index, leaf[::-1], hashes
            )
    theirs.checkpoint_verify_consistency(
        published.older, published.checkpoint, keys, published.consistency
    )
    with pytest.raises(theirs.VerifyError):
        theirs.checkpoint_verify(published.checkpoint.replace(f"\n{EVENTS}\n", "\n701\n"), keys)


GO = os.environ.get("GO") or shutil.which("go")


@pytest.mark.skipif(not GO, reason="GO names no Go toolchain; make vectors-go brings one")
def test_gos_sumdb_packages_accept_our_checkpoints_tiles_and_proofs(
    published: Published, tmp_path: Path
) -> None:
    """What checks Go's modules opens our notes, authenticates our tiles, proves every entry."""
    served, module = tmp_path / "served", tmp_path / "module"
    published.save(served)
    root = subprocess.run([GO or "", "env", "GOROOT"], capture_output=True, text=True, check=True)
    mod = Path(root.stdout.strip()) / "src/cmd/vendor/golang.org/x/mod"
    shutil.copytree(Path(__file__).parent / "go", module)
    shutil.copytree(mod, module / "mod")
    (module / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.22\n")
    (module / "go.mod").write_text(
        "module check\n\ngo 1.22\n\nrequire golang.org/x/mod v0.0.0\n\n"
        "replace golang.org/x/mod => ./mod\n"
    )
    offline = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GONOSUMDB": "*"}

    def check() -> subprocess.CompletedProcess[str]:
        command = [GO or "", "run", ".", str(served)]
        return subprocess.run(
            command, cwd=module, env=offline, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip

    done = check()
    assert (done.returncode, done.stdout) == (0, f"{EVENTS} entries, {OLDER} to {EVENTS}\n"), done
    tile = served / "tile" / "0" / "001"
    changed = bytearray(tile.read_bytes())
    changed[77] ^= 1
    tile.write_bytes(changed)
    assert check().returncode == 1


def test_a_verifier_key_is_written_as_others_read_it(published: Published) -> None:
    """NAME+HASH+BASE64, read back by ours and, by hand, after the specification."""
    name, _, encoded = published.vkey.split("+", 2)
    assert base64.b64decode(encoded)[0] == 1
    assert VerifierKey.parse(published.vkey).name == name
