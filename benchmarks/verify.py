"""Verification beside others' and beside the bare hashing limit, in one run: `make bench-verify`.

    python benchmarks/verify.py [--events 1000000] [--signed 100000]

Rules:
- The bundle is what the server exports: events of 22 fields, plain JSON lines, a seed each; the log
  behind it is made here, and its making is not measured.
- A bundle is checked in a fresh process, whose peak memory is told. "On all cores" is the default;
  its rate is told twice, by the clock and for each second of CPU of all processes together.
- All else is CPU time of one process, so that another user of the machine does not count. Each
  small figure is the best of five rounds.
- "Limit" is SHA-256 alone over as many inputs of the same lengths, or Ed25519 alone.
- Peers run in an environment of their own (`verify-peers.txt`), through their own code
  (`verify_peers.py`): pangea-sdk's check of an event's hash, signature and membership proof; the
  inclusion proof of pymerkle and of sigstore, the very one that we check.
"""

import argparse
import base64
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from load import event  # the other benchmark's typical event
from trailseal.verify import Verifier, canonical, commitments, ed25519, merkle
from trailseal.verify.content import Content
from trailseal.verify.entry import Entry
from trailseal.verify.merkle import leaf_hash

ROUNDS = 5
SAMPLE = 2_000
DEPTH = 20
INDEX, SIZE = 0x5A5A5, 1 << DEPTH
PEERS = Path(os.environ.get("PEERS_PYTHON", ".venv/verify-peers/bin/python"))
HERE = Path(__file__).resolve()
ORIGIN = "log.example.com/bench"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()

Row = tuple[str, float, str]  # a name, seconds (or what the unit says), the unit
SHOWN: dict[str, Callable[[float], float]] = {  # others are rates
    "µs": lambda seconds: seconds * 1e6,
    "MiB": lambda size: size,
    "×": lambda ratio: ratio,
}


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


def bundle_rows(folder: Path, events: int, signed: int) -> Iterator[Row]:
    """Whole bundles."""
    plain = write_bundle(folder, events, signed=False)
    yield from checks(plain, f"bundle of {events:,}", events, "orjson")
    yield "  limit: SHA-256 of the same inputs", best(hash_alone, SAMPLE), "events/s"
    yield "  limit: reading and splitting the file", cpu(partial(read, plain), events), "lines/s"
    plain.unlink()
    path = write_bundle(folder, signed, signed=True)
    yield from checks(path, f"bundle of {signed:,}, a signature each", signed, "PyNaCl")
    yield "  limit: Ed25519 alone, by cryptography", best(signatures, SAMPLE), "events/s"


def checks(path: Path, name: str, events: int, without: str) -> Iterator[Row]:
    """One bundle in one process, without a library, and on all cores."""
    alone, bare, all_cores = (
        json.loads(subprocess.check_output([sys.executable, HERE, "--check", path, *options]))
        for options in (["--cores", "1"], ["--cores", "1", "--without", without], [])
    )
    yield f"{name}, one process", alone["cpu"] / events, "events/s"
    yield "  its peak memory", alone["memory"], "MiB"
    yield f"  without {without}", bare["cpu"] / events, "events/s"
    yield f"  on all {os.cpu_count()} cores, by the clock", all_cores["wall"] / events, "events/s"
    yield "  for each second of their CPU", all_cores["cpu"] / events, "events/s"
    yield "  peak memory of the main process", all_cores["memory"], "MiB"
    yield "  and of the largest other", all_cores["others"], "MiB"


def measured(path: Path, cores: int | None) -> dict[str, float]:
    """What checking a bundle costs this process and those that it starts."""
    began, clock = time.process_time(), time.perf_counter()
    check(path, cores)
    wall, used = time.perf_counter() - clock, time.process_time() - began
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss is also the parent's
    memory = int(status.split("VmHWM:")[1].split()[0])
    return {
        "cpu": used + others.ru_utime + others.ru_stime,
        "wall": wall,
        "memory": memory / 1024,
        "others": others.ru_maxrss / 1024,
    }


def signatures() -> None:
    """What checking a client's signature costs any Python program."""
    key, message = KEY.public_key(), b"m" * 120
    signature = KEY.sign(message)
    for _ in range(SAMPLE):
        key.verify(signature, message)


class Without:
    """Without a library, as where it is not installed."""

    def __init__(self, name: str) -> None:
        own: dict[str, tuple[Any, str, object]] = {
            "orjson": (canonical, "orjson", None),
            "PyNaCl": (ed25519, "_USE_LIBSODIUM", False),
        }
        self._module, self._name, self._value = own[name]

    def __enter__(self) -> None:
        self._kept = getattr(self._module, self._name)
        setattr(self._module, self._name, self._value)

    def __exit__(self, *_: object) -> None:
        setattr(self._module, self._name, self._kept)


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
    with Without("orjson"):
        yield "commitment of 22 fields, without orjson", best(commit, SAMPLE), "µs"


def proof() -> tuple[bytes, list[bytes], bytes]:
    """A leaf, an inclusion proof for it at depth 20, and the root."""
    hashes = [hashlib.sha256(b"%d" % level).digest() for level in range(DEPTH)]
    leaf = root = leaf_hash(b"entry")
    for level, sibling in enumerate(hashes):
        pair = (sibling, root) if INDEX >> level & 1 else (root, sibling)
        root = merkle.node_hash(*pair)
    return leaf, hashes, root


def peers() -> dict[str, dict[str, Any]]:
    """What others need for a check, by their names; says who is missing."""
    if not PEERS.exists():
        print("peers are not installed: make bench-verify")
        return {}
    leaf, hashes, root = proof()
    given = {"event": event(7), "private_key": KEY.private_bytes_raw().hex(), "body": "entry"}
    given |= {"index": INDEX, "size": SIZE, "leaf": leaf.hex(), "root": root.hex()}
    given["hashes"] = [digest.hex() for digest in hashes]
    run = [PEERS, HERE.with_name("verify_peers.py")]
    told = subprocess.run(run, input=json.dumps(given), stdout=-1, check=True, text=True).stdout
    return {each["name"]: each for each in map(json.loads, told.splitlines())}


def beside(ours: float, theirs: dict[str, dict[str, Any]], unit: str, *names: str) -> Iterator[Row]:
    """Others' figures, and how many times as fast we are."""
    for name in names:
        found = theirs.get(name, {})
        if "seconds" not in found:
            yield f"  {name}: {found.get('missing', 'not installed')}", 0.0, ""
        else:
            yield f"  {name} {found['version']}", found["seconds"], unit
            yield "    ours beside it", found["seconds"] / ours, "×"


def proof_rows(theirs: dict[str, dict[str, Any]]) -> Iterator[Row]:
    """Inclusion proofs at depth 20."""
    leaf, hashes, root = proof()

    def ours() -> None:
        for _ in range(SAMPLE):
            merkle.verify_inclusion(INDEX, SIZE, leaf, hashes, root)

    def bare() -> None:
        sha256, node = hashlib.sha256, b"n" * 65
        for _ in range(SAMPLE * DEPTH):
            sha256(node).digest()

    took = best(ours, SAMPLE)
    yield f"inclusion proof at depth {DEPTH}", took, "proofs/s"
    yield "  limit: its hashes alone", best(bare, SAMPLE), "proofs/s"
    yield from beside(took, theirs, "proofs/s", "pymerkle", "sigstore")


def event_rows(theirs: dict[str, dict[str, Any]]) -> Iterator[Row]:
    """Hash, signature and proof of one event, parsed from its line."""
    line, leaf = made(7, signed=True)
    raw = json.loads(line)
    _, hashes, _ = proof()
    root = leaf
    for sibling in hashes:
        root = merkle.node_hash(root, sibling)
    keys = {"k1": base64.b64encode(PUBLIC).decode()}

    def ours() -> None:
        for _ in range(SAMPLE):
            entry = Entry.parse(raw["entry"])
            entry.check_event(raw["event"], raw)
            entry.check_signature(keys)
            merkle.verify_inclusion(0, SIZE, entry.leaf_hash, hashes, root)

    took = best(ours, SAMPLE)
    yield "event: hash, signature, proof", took, "events/s"
    yield from beside(took, theirs, "events/s", "pangea-sdk")
    with Without("PyNaCl"):
        took = best(ours, SAMPLE)
        yield "event, without PyNaCl", took, "events/s"
    yield from beside(took, theirs, "events/s", "pangea-sdk")


def main() -> None:
    """Print a line for each figure as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--events", type=int, default=100_000, help="of the bundle")
    parser.add_argument("--signed", type=int, help="of the signed one; a tenth, if left out")
    for name, kind in (("--check", Path), ("--cores", int), ("--without", str)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)  # a fresh process of ours
    args = parser.parse_args()
    if args.check:
        with Without(args.without) if args.without else nullcontext():
            print(json.dumps(measured(args.check, args.cores)))
        return
    theirs = peers()
    with tempfile.TemporaryDirectory() as folder:
        signed = args.signed or max(args.events // 10, 10_000)
        for rows in (
            commitment_rows(),
            proof_rows(theirs),
            event_rows(theirs),
            bundle_rows(Path(folder), args.events, signed),
        ):
            for name, figure, unit in rows:
                shown = SHOWN.get(unit, lambda seconds: 1 / seconds)(figure) if unit else 0
                print(f"{name:52} {shown:12,.1f} {unit}" if unit else name, flush=True)


if __name__ == "__main__":
    sys.exit(main())
