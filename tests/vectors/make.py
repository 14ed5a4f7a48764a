"""Makes the conformance suite in spec/vectors from a log of the tests' own and today's verifier.

    python tests/vectors/make.py [--check]

Each case has `desc`, what to check, and `want_error`: null, or the kind of the error (for bundles:
exit code, completeness and each finding's index and kind). What must come out is written down here
by hand; the script fails where the verifier does not agree, so that neither can change alone.
entries.json, redacted.json and tree.json come from another program and are not made here.
"""

import base64
import gzip
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rfc8785
from trailseal.verify import Verifier, canonical, errors, merkle, open_checkpoint
from trailseal.verify.note import VerifierKey

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors"
_path = ROOT / "tests" / "unit" / "verify" / "conftest.py"
_spec = importlib.util.spec_from_file_location("independent_log", _path)
assert _spec is not None and _spec.loader is not None  # noqa: PT018
tools: Any = importlib.util.module_from_spec(_spec)
sys.modules["independent_log"] = tools
_spec.loader.exec_module(tools)

Case = dict[str, Any]
LIMIT = 2**53 - 1


def kind_of(check: Callable[[], object]) -> str | None:
    """The kind of error that the verifier raises, None where it raises none."""
    try:
        check()
    except errors.IntegrityError as error:
        return error.kind
    return None


def json_cases() -> Iterator[Case]:
    """Strict JSON: `json` is the text in base64; a good one has its JCS in `canonical`."""
    good = {
        "members are sorted by UTF-16 units": '{"\\ufb33":1,"😀":2,"a":3}',
        "numbers as ECMAScript writes them": "[1.0,1e2,1.5e-7,-0,0.1,1e15]",
        "escapes": '"\\u001f\\u0041\\/\\b\\u20ac"',
        "a pair of surrogates": '"\\ud83d\\ude00"',
        "the largest numbers": f"[{LIMIT},-{LIMIT}]",
        "64 levels": "[" * 64 + "]" * 64,
    }
    bad = {
        "a duplicate key": '{"a":1,"a":1}',
        "a duplicate key, escaped": '{"a":1,"\\u0061":1}',
        "2^53": "9007199254740992",
        "2^53 as a fraction": "9007199254740992.0",
        "2^53 with an exponent": "9.007199254740992e15",
        "an exponent too large": "[1e400]",
        "NaN": "NaN",
        "Infinity": "[-Infinity]",
        "a lone surrogate": '"\\ud800"',
        "surrogates the wrong way round": '"\\udc00\\ud800"',
        "65 levels": "[" * 65 + "]" * 65,
        "65 levels of objects": '{"a":' * 65 + "1" + "}" * 65,
        "a raw control character": '"\n"',
        "a byte order mark": "\ufeff{}",
        "a comma too many": "[1,]",
        "a leading zero": "[01]",
        "a single quote": "['a']",
        "two values": "1 2",
        "nothing": "",
    }
    for desc, text in {**good, **bad, "bytes that are not UTF-8": b'"\xff"'}.items():
        data = text if isinstance(text, bytes) else text.encode()
        written = (
            {} if desc not in good else {"canonical": rfc8785.dumps(json.loads(data)).decode()}
        )
        want = None if desc in good else "malformed"
        assert kind_of(lambda d=data: canonical.loads(d)) == want, desc  # type: ignore[misc]
        encoded = base64.b64encode(data).decode()
        yield {"desc": desc, "json": encoded, **written, "want_error": want}


def note_cases() -> Iterator[Case]:
    """Signed checkpoints: `note` opens with `keys`, or is refused."""
    log, other = tools.Log().grow(5), tools.Log(key=tools.private_key(bytes(32))).grow(5)
    witness = tools.Log(origin="witness.example", key=tools.private_key(bytes([7]) * 32))
    good = log.checkpoint()
    text, line = good.split("\n\n")
    root = base64.b64encode(merkle.root(log.leaves)).decode()
    ours = [log.verifier_key]
    cosigned = good + witness.note(text + "\n").split("\n\n")[1]
    key_hash = line.split()[2]
    cases: list[tuple[str, str, list[str], str | None]] = [
        ("a checkpoint", good, ours, None),
        ("a witness signed too", cosigned, ours, None),
        ("an extension line", log.note(f"{log.origin}\n5\n{root}\nextension\n"), ours, None),
        ("the empty log", tools.Log().checkpoint(), ours, None),
        ("the key was rotated, both are trusted", good, [other.verifier_key, *ours], None),
        ("no key", good, [], "unverifiable"),
        ("a key of another log", good, [witness.verifier_key], "unverifiable"),
        ("another key for this log", good, [other.verifier_key], "signature"),
        ("another log signed it", other.checkpoint(), ours, "signature"),
        ("one byte of the root is another", good.replace(root[:4], "AAAA"), ours, "signature"),
        ("another size", good.replace("\n5\n", "\n6\n"), ours, "signature"),
        ("another origin", good.replace("org_789", "org_78"), ours, "unverifiable"),
        ("no signature", text + "\n", ours, "malformed"),
        ("no signature line", text + "\n\n", ours, "malformed"),
        ("signed twice by one key", good + line, ours, "malformed"),
        ("a signature line without its dash", good.replace("— ", ""), ours, "malformed"),
        ("a short signature", good.replace(key_hash, key_hash[:4]), ours, "malformed"),
        ("base64 with spare bits", good[:-3] + chr(ord(good[-3]) + 1) + "=\n", ours, "malformed"),
        ("no last line feed", good[:-1], ours, "malformed"),
        ("a carriage return", good.replace("\n5\n", "\r\n5\n"), ours, "malformed"),
        ("the size has a leading zero", log.note(f"{log.origin}\n05\n{root}\n"), ours, "malformed"),
        ("the size is negative", log.note(f"{log.origin}\n-5\n{root}\n"), ours, "malformed"),
        ("a root of 31 bytes", log.note(f"{log.origin}\n5\n{root[4:]}\n"), ours, "malformed"),
        ("no root", log.note(f"{log.origin}\n5\n"), ours, "malformed"),
        (
            "the empty log with another root",
            log.note(f"{log.origin}\n0\n{root}\n"),
            ours,
            "malformed",
        ),
        ("101 signatures", good + line * 100, ours, "malformed"),
        ("longer than 64 KiB", "x" * 65_536 + good, ours, "malformed"),
    ]
    for desc, note, keys, want in cases:
        parsed = [VerifierKey.parse(key) for key in keys]
        got = kind_of(lambda n=note, k=parsed: open_checkpoint(n, k))  # type: ignore[misc]
        assert got == want, (desc, got)
        yield {"desc": desc, "note": note, "keys": keys, "want_error": want}


def proof_cases() -> Iterator[Case]:
    """Inclusion and consistency proofs in trees of up to 9 leaves."""
    leaves = tools.Log().grow(9).leaves

    def inclusion(desc: str, index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes,
                  want: str | None) -> Case:  # fmt: skip
        got = kind_of(lambda: merkle.verify_inclusion(index, size, leaf, proof, root))
        assert got == want, (desc, got)
        hexes = {"leaf_hash": leaf.hex(), "proof": [h.hex() for h in proof], "root": root.hex()}
        place = {"index": index, "tree_size": size}
        return {"desc": desc, "check": "inclusion", **place, **hexes, "want_error": want}

    def consistency(desc: str, old: int, new: int, roots: tuple[bytes, bytes], proof: list[bytes],
                    want: str | None) -> Case:  # fmt: skip
        got = kind_of(lambda: merkle.verify_consistency(old, new, *roots, proof))
        assert got == want, (desc, got)
        hexes = {"old_root": roots[0].hex(), "new_root": roots[1].hex()}
        told = {"old_size": old, "new_size": new, "proof": [h.hex() for h in proof]}
        return {"desc": desc, "check": "consistency", **told, **hexes, "want_error": want}

    for index, size in ((0, 1), (0, 2), (3, 5), (4, 5), (6, 7), (8, 9), (0, 8)):
        root, proof = tools.tree_root(leaves[:size]), tools.inclusion(index, leaves[:size])
        leaf, name = leaves[index], f"leaf {index} of {size}"
        yield inclusion(name, index, size, leaf, proof, root, None)
        yield inclusion(
            f"{name}, a hash too many", index, size, leaf, [*proof, root], root, "proof"
        )
        yield inclusion(f"{name}, another root", index, size, leaf, proof, leaves[8][::-1], "proof")
        yield inclusion(f"{name}, outside the tree", size, size, leaf, proof, root, "proof")
        if proof:
            cut, turned = proof[:-1], [h[::-1] for h in proof]
            yield inclusion(f"{name}, a hash too few", index, size, leaf, cut, root, "proof")
            yield inclusion(f"{name}, other hashes", index, size, leaf, turned, root, "proof")
            yield inclusion(f"{name}, of another leaf", index ^ 1, size, leaf, proof, root, "proof")
    for old, new in ((1, 2), (3, 7), (4, 8), (6, 9), (8, 9)):
        roots = tools.tree_root(leaves[:old]), tools.tree_root(leaves[:new])
        proof, name = tools.consistency(old, leaves[:new]), f"{old} to {new}"
        yield consistency(name, old, new, roots, proof, None)
        yield consistency(f"{name}, a fork", old, new, (roots[1], roots[0]), proof, "fork")
        yield consistency(f"{name}, shrunk", new, old, roots, proof, "proof")
        yield consistency(f"{name}, from nothing", 0, new, roots, proof, "proof")
        yield consistency(f"{name}, a hash too many", old, new, roots, [*proof, roots[0]], "proof")
    same = (tools.tree_root(leaves), tools.tree_root(leaves))
    yield consistency("a tree and itself", 9, 9, same, [], None)
    yield consistency("a tree and itself, with a proof", 9, 9, same, [leaves[0]], "proof")
    yield consistency("a tree and itself, two roots", 9, 9, (same[0], leaves[0]), [], "fork")


def bundle_cases() -> Iterator[Case]:
    """Whole exports: their files, what to trust, and what comes out."""
    log = tools.Log().grow(6)
    log.add({"id": "evt-6", "action": "signed"}, signer=log.key)
    signer = base64.b64encode(log.public_key).decode()
    good, event_lines = log.lines(0, 6), [log.line(i) for i in range(7)]
    whole: Case = {"keys": [log.verifier_key], "signers": {"k1": signer}, "complete": True}

    def case(desc: str, want: tuple[int, bool, list[list[Any]]], *, first: int = 0, last: int = 6,
             change: Callable[[dict[str, bytes]], object] | None = None,
             trust: Case | None = None, **export: Any) -> Case:  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            log.export(Path(folder), first, last, **export)
            files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
            if change is not None:
                change(files)
            for path in Path(folder).iterdir():
                path.unlink()
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            options = whole | (trust or {})
            verifier = Verifier(options["keys"], signing_keys=options["signers"])
            report = verifier.verify_bundle(folder, complete=options["complete"])
        found = [[finding.index, finding.kind] for finding in report.findings]
        assert (report.exit_code, report.complete, found) == want, (desc, report)
        texts = {name: base64.b64encode(data).decode() for name, data in files.items()}
        result = {"exit_code": want[0], "complete": want[1], "findings": want[2]}
        return {"desc": desc, "files": texts, **options, "want_error": found[0][1] if found else None,
                "want": result}  # fmt: skip

    def replace(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], object]:
        return lambda files: files.update({name: files[name].replace(old, new, 1)})

    def failed(*found: tuple[int | None, str]) -> tuple[int, bool, list[list[Any]]]:
        return 1, False, [list(one) for one in found]

    fine, unproved = (0, True, []), (None, "unverifiable")
    dumps = rfc8785.dumps
    redacted = [dumps(tools.redact(event_lines[2], [["actor"], ["data"]]))]
    hidden_id = [dumps(tools.redact(event_lines[2], [["id"]]))]
    extra = tools.redact(event_lines[2], [["actor"]])
    extra["event"]["data"].append("added")
    other = tools.Log(origin="log.example.com/org_1").grow(7)
    twin = tools.Log().grow(7)
    forged = log.line(3) | {"event": log.events[3] | {"action": "nothing"}}
    entry = json.loads(log.entries[3])
    entry["fields_hash"] = tools.commit(forged["event"], forged["seed"])[2]
    forged["entry"] = dumps(entry).decode()
    proofs = [dumps(log.line(i, proof=True)) for i in (1, 4)]
    filtered: Case = {
        "filter": {"actor_id": "x"},
        "boundary": ...,
        "count": 2,
        "first": 1,
        "last": 4,
    }
    timed: Case = {
        "first": 2,
        "last": 4,
        "start": tools.received_at(2),
        "end": tools.received_at(4),
    }
    beside = {"before": log.neighbour(1), "after": log.neighbour(5)}

    yield case("a whole log", fine)
    yield case("a middle part", fine, first=2, last=4)
    yield case("gzip", fine, compress=True)
    yield case("an event of which fields were redacted", fine,
               lines=[*good[:2], *redacted, *good[3:]])  # fmt: skip
    yield case("no key", (2, False, [list(unproved)]), trust={"keys": []})
    yield case("another key", failed((None, "signature"), (None, "signature")),
               trust={"keys": [tools.Log(key=tools.private_key(bytes(32))).verifier_key]})  # fmt: skip
    yield case("another client's key", failed((6, "signature")),
               trust={"signers": {"k1": base64.b64encode(twin.public_key[::-1]).decode()}})  # fmt: skip
    yield case("a client's key that is not known", fine, trust={"signers": {}})
    yield case("one changed value, digest not renewed", failed((3, "event"), (None, "content")),
               change=replace("audit.jsonl", b"user_3", b"user_4"))  # fmt: skip
    yield case("one changed value, digest signed again", failed((3, "event")),
               lines=[*good[:3], good[3].replace(b"user_3", b"user_4"), *good[4:]])  # fmt: skip
    yield case("the head is missing", failed((0, "missing"), unproved), lines=good[2:])
    yield case("the tail is missing", failed((5, "missing"), unproved), lines=good[:5])
    yield case("the middle is missing", failed((2, "missing"), unproved), lines=good[:2] + good[5:])
    yield case("two lines swapped", failed((2, "missing"), (2, "order"), unproved),
               lines=[*good[:2], good[3], good[2], *good[4:]])  # fmt: skip
    yield case("a line twice", failed((2, "order")), lines=[*good[:3], *good[2:]])
    yield case("a line that is no JSON", failed((4, "malformed"), unproved),
               lines=[*good[:4], b"{", *good[5:]])  # fmt: skip
    yield case("an event of another log", failed((2, "entry"), (None, "root")),
               lines=[*good[:2], other.lines(2, 2)[0], *good[3:]])  # fmt: skip
    yield case("a forged event with a fitting entry", failed((None, "root")),
               lines=[*good[:3], dumps(forged), *good[4:]])  # fmt: skip
    yield case("a redacted event with an added value", failed((2, "event")),
               lines=[*good[:2], dumps(extra), *good[3:]])  # fmt: skip
    yield case("a redacted id", failed((2, "event")), lines=[*good[:2], *hidden_id, *good[3:]])
    yield case("the boundary lacks a node", failed((None, "proof"), unproved), first=3, last=5,
               boundary={"left": [], "right": tools.cover(6, 7, log.leaves)})  # fmt: skip
    yield case("a changed manifest", failed((None, "manifest")),
               change=replace("audit.manifest.json", b"exp_1", b"exp_2"))  # fmt: skip
    yield case("an unsigned manifest", failed((None, "malformed")), signed=False)
    yield case("a manifest of another version", (3, False, [[None, "input"]]), v=2)
    yield case("no manifest note", (2, False, [list(unproved)]),
               change=lambda files: files.pop("audit.manifest.note"))  # fmt: skip
    yield case("another origin", failed((None, "unverifiable"), (None, "origin"), unproved),
               origin="evil.example/org_789")  # fmt: skip
    yield case("an older checkpoint beside", failed((None, "checkpoint")),
               change=lambda files: files.update({"audit.checkpoint": log.checkpoint(3).encode()}))  # fmt: skip
    yield case("a forked checkpoint beside", failed((None, "fork")),
               change=lambda files: files.update({"audit.checkpoint": twin.checkpoint().encode()}))  # fmt: skip
    yield case("gzip, cut", failed((None, "content")), compress=True,
               content=gzip.compress(b"\n".join([*good, b""]), mtime=0)[:-4])  # fmt: skip
    yield case(
        "a filtered export", (0, False, []), lines=proofs, trust={"complete": False}, **filtered
    )
    yield case(
        "a filtered export is not complete", (2, False, [list(unproved)]), lines=proofs, **filtered
    )
    yield case("a filtered export, a proof of another index", failed((4, "proof")), **filtered,
               lines=[proofs[0], dumps(log.line(4) | {"proof": log.line(1, proof=True)["proof"]})])  # fmt: skip
    yield case("a time range", fine, **timed, **beside)
    yield case("a time range without the entry before", failed((None, "range")), **timed,
               before=None, after=log.neighbour(5))  # fmt: skip
    yield case("a time range that leaves an event out", failed((None, "range")), **timed,
               before=log.neighbour(1), after=log.neighbour(6))  # fmt: skip
    yield case("a time range that does not fit", failed((4, "time")), **beside,
               **(timed | {"end": tools.received_at(3)}))  # fmt: skip


def suites() -> dict[str, list[Case]]:
    """Each file's name and its cases."""
    return {
        "json": list(json_cases()),
        "checkpoints": list(note_cases()),
        "proofs": list(proof_cases()),
        "bundles": list(bundle_cases()),
    }


def written(cases: list[Case]) -> str:
    """A file's text."""
    return json.dumps({"cases": cases}, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check name those that would change."""
    stale = []
    for name, cases in suites().items():
        path = FOLDER / f"{name}.json"
        if not path.exists() or path.read_text() != written(cases):
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(written(cases))
    sys.stdout.write(f"{'stale' if '--check' in arguments else 'written'}: {stale}\n")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
