"""Verification beside others' and beside the bare hashing limit, in one run.

    python benchmarks/verify.py [--events 1000000]

Rules:
- The bundle is what the server exports: events of 22 fields, plain JSON lines, a seed each; the log
  behind it is made here, and its making is not measured.
- Figures are CPU time of one process, so that another user of the machine does not count; only the
  line with all cores is wall time. Each small figure is the best of five rounds.
- "Limit" is SHA-256 alone over as many inputs of the same lengths.
- pangea-sdk's own check of one event: hash of the canonical envelope, Ed25519 signature, membership
  proof at depth 20. pymerkle and sigstore check an inclusion proof at depth 20. Each is left out
  where it is not installed.
"""

import argparse
import base64
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from load import event  # the other benchmark's typical event
from trailseal.verify import Verifier, canonical, commitments, merkle
from trailseal.verify.bundle import Content
from trailseal.verify.entry import Entry
from trailseal.verify.merkle import leaf_hash

ROUNDS = 5
SAMPLE = 2_000
DEPTH = 20
ORIGIN = "log.example.com/bench"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()

Row = tuple[str, float, str]


def seed_of(number: int) -> str:
    """A seed for each event."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"%d" % number).digest())[:-1].decode()


def made(number: int, *, signed: bool) -> tuple[bytes, bytes]:
    """A line of the export, and its leaf hash."""
    body, seed = event(number), seed_of(number)
    committed = commitments.fields_hash(body, seed)
    entry: dict[str, Any] = {
        "v": 1,
        "log_id": "bench",
        "id": body["id"],
        "received_at": f"2026-11-20T10:15:{number // 1_000_000:02}.{number % 1_000_000:06}Z",
        "ingested_by": "key_1",
        "fields_hash": committed.hex(),
    }
    if signed:
        value = KEY.sign(commitments.signing_input(body["id"], committed))
        text = base64.b64encode(value).decode()
        entry["signature"] = {"algorithm": "ed25519", "key_id": "k1", "value": text}
    written = dumps(entry)
    line = {"index": number, "event": body, "seed": seed, "entry": written.decode()}
    return dumps(line, sort=False), leaf_hash(written)


def dumps(value: object, *, sort: bool = True) -> bytes:
    """Compact JSON; all of it is ASCII."""
    return json.dumps(value, separators=(",", ":"), sort_keys=sort).encode()


def note(text: str) -> str:
    """A signed note."""
    key_hash = bytes.fromhex(verifier_key().split("+")[1])
    return f"{text}\n— {ORIGIN} {base64.b64encode(key_hash + KEY.sign(text.encode())).decode()}\n"


def verifier_key() -> str:
    """The log's."""
    data = b"\x01" + PUBLIC
    digest = hashlib.sha256(ORIGIN.encode() + b"\n" + data).hexdigest()[:8]
    return f"{ORIGIN}+{digest}+{base64.b64encode(data).decode()}"


def write_bundle(folder: Path, events: int, *, signed: bool) -> Path:
    """An export of a whole log."""
    tree, digest = merkle.RootBuilder(), hashlib.sha256()
    path = folder / ("signed.jsonl" if signed else "plain.jsonl")
    with path.open("wb") as file:
        for number in range(events):
            line, leaf = made(number, signed=signed)
            tree.append(leaf)
            digest.update(line + b"\n")
            file.write(line + b"\n")
    checkpoint = note(f"{ORIGIN}\n{events}\n{base64.b64encode(tree.root()).decode()}\n")
    stated: dict[str, Any] = {"v": 1, "format": "jsonl", "compression": "none", "order": "asc"}
    stated |= {"log_id": "bench", "origin": ORIGIN, "filter": None, "query": None}
    stated |= {"first_index": 0, "last_index": events - 1, "count": events}
    stated |= {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
    stated |= {"checkpoint": checkpoint, "boundary": {"left": [], "right": []}}
    manifest = rfc8785.dumps(stated)
    path.with_suffix(".manifest.json").write_bytes(manifest)
    said = f"trailseal/manifest/v1\n{ORIGIN}\n{hashlib.sha256(manifest).hexdigest()}\n"
    path.with_suffix(".manifest.note").write_text(note(said))
    path.with_suffix(".checkpoint").write_text(checkpoint)
    return path


def cpu(work: Callable[[], object], count: int) -> float:
    """Seconds of CPU for each of `count`."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / count


def best(work: Callable[[], object], count: int) -> float:
    """The least of some rounds."""
    return min(cpu(work, count) for _ in range(ROUNDS))


def bundle_rows(folder: Path, events: int) -> Iterator[Row]:
    """Whole bundles."""
    plain = write_bundle(folder, events, signed=False)
    name = f"bundle of {events}"
    yield f"{name}, one process", cpu(partial(check, plain, 1), events), "events/s"
    with Without():
        yield f"{name}, without orjson", cpu(partial(check, plain, 1), events), "events/s"
    yield (
        f"{name}, {os.cpu_count()} cores (wall)",
        wall(partial(check, plain, None), events),
        "events/s",
    )
    yield "  limit: SHA-256 of the same inputs", best(hash_alone, SAMPLE), "events/s"
    yield "  limit: reading and splitting the file", cpu(partial(read, plain), events), "lines/s"
    count = max(events // 10, 10_000)
    signed = write_bundle(folder, count, signed=True)
    name = f"bundle of {count}, a signature each"
    yield f"{name}, one process", cpu(partial(check, signed, 1), count), "events/s"
    yield (
        f"{name}, {os.cpu_count()} cores (wall)",
        wall(partial(check, signed, None), count),
        "events/s",
    )
    yield "  limit: Ed25519 alone", best(signature_alone, SAMPLE), "events/s"


def wall(work: Callable[[], object], count: int) -> float:
    """Seconds of wall time for each of `count`."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / count


def signature_alone() -> None:
    """What checking a client's signature costs any Python program."""
    key, message = KEY.public_key(), b"m" * 120
    signature = KEY.sign(message)
    for _ in range(SAMPLE):
        key.verify(signature, message)


class Without:
    """Without orjson, as where it is not installed."""

    def __enter__(self) -> None:
        self._kept, canonical.orjson = canonical.orjson, None  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        canonical.orjson = self._kept  # type: ignore[assignment]


def check(path: Path, processes: int | None) -> None:
    """Verify, completely."""
    keys = {"k1": base64.b64encode(PUBLIC).decode()}
    verifier = Verifier([verifier_key()], signing_keys=keys)
    report = verifier.verify_bundle(path, complete=True, processes=processes)
    assert report.exit_code == 0, report.summary()
    assert report.complete


def read(path: Path) -> None:
    """What any program must do with the file."""
    with path.open("rb") as file:
        for _ in Content(file, compressed=False).lines():
            pass


def hash_alone() -> None:
    """22 fields of 60 bytes, their combination, an entry, a node and the line, for each event."""
    field, combined, entry, line = b"f" * 60, b"c" * 724, b"e" * 220, b"l" * 870
    sha256 = hashlib.sha256
    for _ in range(SAMPLE):
        for _ in range(22):
            sha256(field).digest()
        for one in (combined, entry, combined[:65], line):
            sha256(one).digest()


def commitment_rows() -> Iterator[Row]:
    """One event's commitment."""
    made_up = [(event(n), seed_of(n)) for n in range(SAMPLE)]

    def commit() -> None:
        for body, seed in made_up:
            commitments.fields_hash(body, seed)

    yield "commitment of 22 fields", best(commit, SAMPLE), "µs"
    with Without():
        yield "commitment of 22 fields, without orjson", best(commit, SAMPLE), "µs"


def proof_rows() -> Iterator[Row]:
    """Inclusion proofs at depth 20."""
    size = 1 << DEPTH
    proof = [hashlib.sha256(b"%d" % level).digest() for level in range(DEPTH)]
    index, leaf = 0x5A5A5, leaf_hash(b"entry")
    root = leaf
    for level, sibling in enumerate(proof):
        pair = (sibling, root) if index >> level & 1 else (root, sibling)
        root = merkle.node_hash(*pair)

    def ours() -> None:
        for _ in range(SAMPLE):
            merkle.verify_inclusion(index, size, leaf, proof, root)

    def bare() -> None:
        sha256, node = hashlib.sha256, b"n" * 65
        for _ in range(SAMPLE * DEPTH):
            sha256(node).digest()

    yield f"inclusion proof at depth {DEPTH}", best(ours, SAMPLE), "proofs/s"
    yield "  limit: its hashes alone", best(bare, SAMPLE), "proofs/s"
    yield from others_proofs(index, size, leaf, proof, root)


def others_proofs(
    index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes
) -> Iterator[Row]:
    """The same proof in other libraries."""
    try:
        from pymerkle import InmemoryTree, verify_inclusion
    except ImportError:
        yield "  pymerkle: not installed", 0.0, ""
    else:
        tree = InmemoryTree(algorithm="sha256")
        for number in range(1 << 10):
            tree.append_entry(b"%d" % number)
        theirs = tree.prove_inclusion(345)
        base, state = tree.get_leaf(345), tree.get_state()

        def pymerkle() -> None:
            for _ in range(SAMPLE):
                verify_inclusion(base, state, theirs)

        yield "  pymerkle, at depth 10", best(pymerkle, SAMPLE), "proofs/s"
    try:
        from sigstore._internal import merkle as theirs_too
    except ImportError:
        yield "  sigstore: not installed", 0.0, ""
    else:
        inner, _border = theirs_too._decomp_inclusion_proof(index, size)  # noqa: SLF001

        def sigstore() -> None:
            for _ in range(SAMPLE):
                got = theirs_too._chain_inner(leaf, proof[:inner], index)  # noqa: SLF001
                assert theirs_too._chain_border_right(got, proof[inner:]) == root  # noqa: SLF001

        yield "  sigstore's Merkle code", best(sigstore, SAMPLE), "proofs/s"


def event_rows() -> Iterator[Row]:
    """Hash, signature and proof of one event, ours and pangea-sdk's."""
    line, _ = made(7, signed=True)
    raw = json.loads(line)
    entry_text, body = raw["entry"], raw["event"]
    proof = [hashlib.sha256(b"%d" % level).digest() for level in range(DEPTH)]
    leaf = root = leaf_hash(entry_text.encode())
    for sibling in proof:
        root = merkle.node_hash(root, sibling)
    keys = {"k1": base64.b64encode(PUBLIC).decode()}

    def ours() -> None:
        for _ in range(SAMPLE):
            entry = Entry.parse(entry_text)
            entry.check_event(body, raw)
            entry.check_signature(keys)
            merkle.verify_inclusion(0, 1 << DEPTH, entry.leaf_hash, proof, root)

    yield "event: hash, signature, proof", best(ours, SAMPLE), "events/s"
    try:
        from pangea.services.audit import signing, util
    except ImportError:
        yield "  pangea-sdk: not installed", 0.0, ""
        return
    said = util.canonicalize_event(body) if hasattr(util, "canonicalize_event") else dumps(body)
    signature = base64.b64encode(KEY.sign(said)).decode()
    key = base64.b64encode(PUBLIC).decode()
    steps = ",".join(f"r:{sibling.hex()}" for sibling in proof)
    top = root_of(leaf, proof)

    def pangea() -> None:
        verifier = signing.Verifier()
        for _ in range(SAMPLE):
            util.hash_dict({"event": body})
            assert verifier.verify_signature(signature, said, key)
            decoded = util.decode_membership_proof(steps)
            assert util.verify_membership_proof(leaf, top, decoded)

    yield "  pangea-sdk", best(pangea, SAMPLE), "events/s"


def root_of(leaf: bytes, proof: list[bytes]) -> bytes:
    """As pangea-sdk hashes nodes: without a prefix."""
    for sibling in proof:
        leaf = hashlib.sha256(leaf + sibling).digest()
    return leaf


def main() -> None:
    """Print a line for each figure as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--events", type=int, default=100_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        for rows in (
            commitment_rows(),
            proof_rows(),
            event_rows(),
            bundle_rows(Path(folder), events),
        ):
            for name, seconds, unit in rows:
                figure = seconds * 1e6 if unit == "µs" else 1 / seconds if seconds else 0
                print(f"{name:52} {figure:12,.1f} {unit}" if unit else name, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{'peak memory of this process':52} {peak:12,} MiB")


if __name__ == "__main__":
    sys.exit(main())
