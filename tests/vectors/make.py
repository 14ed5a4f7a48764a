"""Makes the conformance suite in spec/vectors from a log of the tests' own and today's verifier.

    python tests/vectors/make.py [--check]

Each case has `desc`, what to check, and `want_error`: null, or the kind of the error (for bundles:
exit code, completeness and each finding's index and kind). What must come out is written down here
by hand; the script fails where the verifier does not agree, so that neither can change alone.
entries.json, redacted.json and tree.json come from another program and are not made here.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import rfc8785
from trailseal.verify import canonical, errors, merkle, open_checkpoint
from trailseal.verify.note import VerifierKey

sys.path.insert(0, str(Path(__file__).parent))  # also where pytest imports this by its path

from make_bundles import ROOT, Case, bundle_cases, tools  # type: ignore[import-not-found]

FOLDER = ROOT / "spec" / "vectors"
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

    def inclusion(
        desc: str,
        index: int,
        size: int,
        leaf: bytes,
        proof: list[bytes],
        root: bytes,
        want: str | None,
    ) -> Case:
        got = kind_of(lambda: merkle.verify_inclusion(index, size, leaf, proof, root))
        assert got == want, (desc, got)
        hexes = {"leaf_hash": leaf.hex(), "proof": [h.hex() for h in proof], "root": root.hex()}
        place = {"index": index, "tree_size": size}
        return {"desc": desc, "check": "inclusion", **place, **hexes, "want_error": want}

    def consistency(
        desc: str,
        old: int,
        new: int,
        roots: tuple[bytes, bytes],
        proof: list[bytes],
        want: str | None,
    ) -> Case:
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
