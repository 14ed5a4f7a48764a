"""A log of its own for the tests: tree, commitments, signer and exports.

Written from the RFC's recursive definitions and the format's words, sharing no code with
`trailseal.verify`.
"""

import base64
import gzip
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import Phase, settings

Json = object

settings.register_profile("unhurried", deadline=None)  # two busy cores say nothing about the code
# `make mutants`: the same few examples each time, and no search for a smaller one.
few = {"max_examples": 20, "derandomize": True, "database": None}
settings.register_profile("mutants", deadline=None, phases=[Phase.explicit, Phase.generate], **few)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unhurried"))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tree_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    k = split(len(leaves))
    return sha256(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:]))


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion(index, leaves[:k]), tree_root(leaves[k:])]
    return [*inclusion(index - k, leaves[k:]), tree_root(leaves[:k])]


def consistency(size: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """PROOF and SUBPROOF of RFC 6962 §2.1.2."""
    if size == len(leaves):
        return [] if whole else [tree_root(leaves)]
    k = split(len(leaves))
    if size <= k:
        return [*consistency(size, leaves[:k], whole=whole), tree_root(leaves[k:])]
    return [*consistency(size - k, leaves[k:], whole=False), tree_root(leaves[:k])]


def cover(begin: int, end: int, leaves: list[bytes]) -> list[list]:
    """The largest aligned subtrees inside [begin, end), found by halving the whole line."""

    def below(level: int, index: int) -> list[list]:
        low, high = index << level, (index + 1) << level
        if high <= begin or low >= end:
            return []
        if begin <= low and high <= end:
            return [[level, index, tree_root(leaves[low:high]).hex()]]
        return below(level - 1, 2 * index) + below(level - 1, 2 * index + 1)

    return below(len(leaves).bit_length(), 0)


def flatten(value: Json, path: tuple = ()) -> list[tuple[list, Json]]:
    """Paths and values of an event's fields, in their order."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        inner = isinstance(item, dict | list) and item
        found += flatten(item, (*path, key)) if inner else [([*path, key], item)]
    return sorted(found, key=lambda pair: rfc8785.dumps(pair[0]))


def commit(event: dict, seed: str) -> tuple[list[str], list[str], str]:
    """Salts, field hashes and `fields_hash`."""
    pairs = flatten(event)
    raw = base64.urlsafe_b64decode(seed + "=")
    stream = hashlib.shake_128(b"trailseal/salts/v1\n" + raw).digest(18 * len(pairs))
    text = base64.urlsafe_b64encode(stream).decode()
    salts = [text[24 * i : 24 * i + 24] for i in range(len(pairs))]
    hashes = [sha256(rfc8785.dumps([s, *pair])) for s, pair in zip(salts, pairs, strict=True)]
    total = sha256(b"trailseal/fields/v1\n" + b"".join(hashes)).hex()
    return salts, [h.hex() for h in hashes], total


def private_key(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


@dataclass
class Log:
    """A log with a key of its own, and what it would export."""

    origin: str = "log.example.com/org_789"
    key: Ed25519PrivateKey = field(default_factory=lambda: private_key(bytes(range(32))))
    events: list[dict] = field(default_factory=list)
    seeds: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)

    @property
    def leaves(self) -> list[bytes]:
        return [sha256(b"\x00" + entry.encode()) for entry in self.entries]

    @property
    def log_id(self) -> str:
        return self.origin.rpartition("/")[2]

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    @property
    def verifier_key(self) -> str:
        data = b"\x01" + self.public_key
        digest = sha256(self.origin.encode() + b"\n" + data)[:4].hex()
        return f"{self.origin}+{digest}+{base64.b64encode(data).decode()}"

    def grow(self, count: int) -> "Log":
        """Append made-up events, a second apart."""
        for i in range(len(self.events), len(self.events) + count):
            self.add(
                {
                    "id": f"evt-{i}",
                    "action": "user.login",
                    "actor": {"id": f"user_{i}"},
                    "data": [i, {}],
                }
            )
        return self

    def add(self, event: dict, *, signer: Ed25519PrivateKey | None = None) -> None:
        i = len(self.events)
        seed = base64.urlsafe_b64encode(sha256(b"%d" % i)).decode().rstrip("=")
        total = commit(event, seed)[2]
        entry = {
            "v": 1,
            "log_id": self.log_id,
            "id": event["id"],
            "received_at": received_at(i),
            "ingested_by": "key_1",
            "fields_hash": total,
        }
        if signer is not None:
            text = f"trailseal/event/v1\n{event['id']}\n{total}\n".encode()
            value = base64.b64encode(signer.sign(text)).decode()
            entry["signature"] = {"algorithm": "ed25519", "key_id": "k1", "value": value}
        self.events.append(event)
        self.seeds.append(seed)
        self.entries.append(rfc8785.dumps(entry).decode())

    def note(self, text: str) -> str:
        name = self.origin
        key_hash = bytes.fromhex(self.verifier_key.split("+")[1])
        signature = base64.b64encode(key_hash + self.key.sign(text.encode())).decode()
        return f"{text}\n— {name} {signature}\n"

    def checkpoint(self, size: int | None = None) -> str:
        size = len(self.entries) if size is None else size
        root = base64.b64encode(tree_root(self.leaves[:size])).decode()
        return self.note(f"{self.origin}\n{size}\n{root}\n")

    def proof(self, index: int) -> dict:
        return {
            "tree_size": len(self.entries),
            "index": index,
            "hashes": [h.hex() for h in inclusion(index, self.leaves)],
            "signed_note": self.checkpoint(),
        }

    def record(self, index: int) -> dict:
        """An `EventRecord` with `include=proof`."""
        return {
            **self.events[index],
            "log_id": self.log_id,
            "index": index,
            "received_at": received_at(index),
            "ingested_by": "key_1",
            "state": "sealed",
            "leaf_hash": self.leaves[index].hex(),
            "entry": self.entries[index],
            "seed": self.seeds[index],
            "proof": self.proof(index),
        }

    def line(self, index: int, *, proof: bool = False) -> dict:
        line = {
            "index": index,
            "event": self.events[index],
            "seed": self.seeds[index],
            "entry": self.entries[index],
        }
        return line | ({"proof": self.proof(index)["hashes"]} if proof else {})

    def neighbour(self, index: int) -> dict | None:
        if not 0 <= index < len(self.entries):
            return None
        return {"index": index, "entry": self.entries[index], "hashes": self.proof(index)["hashes"]}

    def lines(self, first: int, last: int) -> list[bytes]:
        return [rfc8785.dumps(self.line(i)) for i in range(first, last + 1)]

    def export(
        self,
        folder: Path,
        first: int = 0,
        last: int | None = None,
        *,
        lines: list[bytes] | None = None,
        content: bytes | None = None,
        compress: bool = False,
        signed: bool = True,
        **manifest: Json,
    ) -> Path:
        """Write a bundle; `lines`, `content` and members of the manifest can be replaced."""
        last = len(self.entries) - 1 if last is None else last
        lines = self.lines(first, last) if lines is None else lines
        if content is None:
            content = b"".join(line + b"\n" for line in lines)
            content = gzip.compress(content, mtime=0) if compress else content
        empty = last < first
        stated = {
            "v": 1,
            "export_id": "exp_1",
            "log_id": self.log_id,
            "origin": self.origin,
            "format": "jsonl",
            "compression": "gzip" if compress else "none",
            "created_at": "2026-11-21T00:00:00.000000Z",
            "filter": None,
            "query": None,
            "order": "asc",
            "first_index": None if empty else first,
            "last_index": None if empty else last,
            "count": last - first + 1,
            "bytes": len(content),
            "sha256": sha256(content).hex(),
            "checkpoint": self.checkpoint(),
            "boundary": {
                "left": cover(0, first, self.leaves),
                "right": cover(last + 1, len(self.leaves), self.leaves),
            },
        } | manifest
        data = rfc8785.dumps({name: value for name, value in stated.items() if value is not ...})
        text = f"trailseal/manifest/v1\n{stated['origin']}\n{sha256(data).hex()}\n"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ("audit.jsonl.gz" if compress else "audit.jsonl")
        path.write_bytes(content)
        (folder / "audit.manifest.json").write_bytes(data)
        (folder / "audit.manifest.note").write_text(self.note(text) if signed else text)
        (folder / "audit.checkpoint").write_text(str(stated["checkpoint"]))
        return path


def received_at(index: int) -> str:
    return f"2026-11-20T10:{index // 60:02}:{index % 60:02}.000000Z"


def redact(line: dict, paths: list[list]) -> dict:
    """What an export line says after a redaction of object members at `paths`."""
    event = json.loads(json.dumps(line["event"]))
    salts, hashes, _ = commit(event, line["seed"])
    kept, hidden = [], []
    for (path, _value), salt, digest in zip(flatten(event), salts, hashes, strict=True):
        if any(path[: len(taken)] == taken for taken in paths):
            hidden.append({"path": path, "hash": digest, "policy": "erasure", "reason": "asked"})
        else:
            kept.append([path, salt])
    for *parents, name in paths:
        container = event
        for part in parents:
            container = container[part]
        del container[name]
    return {
        "index": line["index"],
        "event": event,
        "entry": line["entry"],
        "salts": kept,
        "redactions": hidden,
    }


@pytest.fixture
def log() -> Log:
    """A log of ten events."""
    return Log().grow(10)


@pytest.fixture(scope="session")
def tools() -> object:
    """The independent definitions above, by name."""
    return type("Tools", (), {k: staticmethod(v) for k, v in globals().items() if callable(v)})
