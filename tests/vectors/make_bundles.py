"""Whole exports for the conformance suite: good ones, and every way to tamper with one."""

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
from trailseal.verify import Verifier

ROOT = Path(__file__).resolve().parents[2]
_path = ROOT / "tests" / "unit" / "verify" / "conftest.py"
_spec = importlib.util.spec_from_file_location("independent_log", _path)
assert _spec is not None and _spec.loader is not None  # noqa: PT018
tools: Any = importlib.util.module_from_spec(_spec)
sys.modules["independent_log"] = tools
_spec.loader.exec_module(tools)

Case = dict[str, Any]


def bundle_cases() -> Iterator[Case]:  # noqa: PLR0915  # a list, one case after the other
    """Whole exports: their files, what to trust, and what comes out."""
    log = tools.Log().grow(6)
    log.add({"id": "evt-6", "action": "signed"}, signer=log.key)
    signer = base64.b64encode(log.public_key).decode()
    good, event_lines = log.lines(0, 6), [log.line(i) for i in range(7)]
    whole: Case = {"keys": [log.verifier_key], "signers": {"k1": signer}, "complete": True}

    def case(
        desc: str,
        want: tuple[int, bool, list[list[Any]]],
        *,
        first: int = 0,
        last: int = 6,
        change: Callable[[dict[str, bytes]], object] | None = None,
        trust: Case | None = None,
        **export: Any,
    ) -> Case:
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
        return {
            "desc": desc,
            "files": texts,
            **options,
            "want_error": found[0][1] if found else None,
            "want": result,
        }

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
    yield case(
        "an event of which fields were redacted", fine, lines=[*good[:2], *redacted, *good[3:]]
    )
    yield case("no key", (2, False, [list(unproved)]), trust={"keys": []})
    yield case(
        "another key",
        failed((None, "signature"), (None, "signature")),
        trust={"keys": [tools.Log(key=tools.private_key(bytes(32))).verifier_key]},
    )
    yield case(
        "another client's key",
        failed((6, "signature")),
        trust={"signers": {"k1": base64.b64encode(twin.public_key[::-1]).decode()}},
    )
    yield case("a client's key that is not known", fine, trust={"signers": {}})
    yield case(
        "one changed value, digest not renewed",
        failed((3, "event"), (None, "content")),
        change=replace("audit.jsonl", b"user_3", b"user_4"),
    )
    yield case(
        "one changed value, digest signed again",
        failed((3, "event")),
        lines=[*good[:3], good[3].replace(b"user_3", b"user_4"), *good[4:]],
    )
    yield case("the head is missing", failed((0, "missing"), unproved), lines=good[2:])
    yield case("the tail is missing", failed((5, "missing"), unproved), lines=good[:5])
    yield case("the middle is missing", failed((2, "missing"), unproved), lines=good[:2] + good[5:])
    yield case(
        "two lines swapped",
        failed((2, "missing"), (2, "order"), unproved),
        lines=[*good[:2], good[3], good[2], *good[4:]],
    )
    yield case("a line twice", failed((2, "order")), lines=[*good[:3], *good[2:]])
    yield case(
        "a line that is no JSON",
        failed((4, "malformed"), unproved),
        lines=[*good[:4], b"{", *good[5:]],
    )
    yield case(
        "an event of another log",
        failed((2, "entry"), (None, "root")),
        lines=[*good[:2], other.lines(2, 2)[0], *good[3:]],
    )
    yield case(
        "a forged event with a fitting entry",
        failed((None, "root")),
        lines=[*good[:3], dumps(forged), *good[4:]],
    )
    yield case(
        "a redacted event with an added value",
        failed((2, "event")),
        lines=[*good[:2], dumps(extra), *good[3:]],
    )
    yield case("a redacted id", failed((2, "event")), lines=[*good[:2], *hidden_id, *good[3:]])
    yield case(
        "the boundary lacks a node",
        failed((None, "proof"), unproved),
        first=3,
        last=5,
        boundary={"left": [], "right": tools.cover(6, 7, log.leaves)},
    )
    yield case(
        "a changed manifest",
        failed((None, "manifest")),
        change=replace("audit.manifest.json", b"exp_1", b"exp_2"),
    )
    yield case("an unsigned manifest", failed((None, "malformed")), signed=False)
    yield case("a manifest of another version", (3, False, [[None, "input"]]), v=2)
    yield case(
        "no manifest note",
        (2, False, [list(unproved)]),
        change=lambda files: files.pop("audit.manifest.note"),
    )
    yield case(
        "another origin",
        failed((None, "unverifiable"), (None, "origin"), unproved),
        origin="evil.example/org_789",
    )
    yield case(
        "an older checkpoint beside",
        failed((None, "checkpoint")),
        change=lambda files: files.update({"audit.checkpoint": log.checkpoint(3).encode()}),
    )
    yield case(
        "a forked checkpoint beside",
        failed((None, "fork")),
        change=lambda files: files.update({"audit.checkpoint": twin.checkpoint().encode()}),
    )
    yield case(
        "gzip, cut",
        failed((None, "content")),
        compress=True,
        content=gzip.compress(b"\n".join([*good, b""]), mtime=0)[:-4],
    )
    yield case(
        "a filtered export", (0, False, []), lines=proofs, trust={"complete": False}, **filtered
    )
    yield case(
        "a filtered export is not complete", (2, False, [list(unproved)]), lines=proofs, **filtered
    )
    yield case(
        "a filtered export, a proof of another index",
        failed((4, "proof")),
        **filtered,
        lines=[proofs[0], dumps(log.line(4) | {"proof": log.line(1, proof=True)["proof"]})],
    )
    yield case("a time range", fine, **timed, **beside)
    yield case(
        "a time range without the entry before",
        failed((None, "range")),
        **timed,
        before=None,
        after=log.neighbour(5),
    )
    yield case(
        "a time range that leaves an event out",
        failed((None, "range")),
        **timed,
        before=log.neighbour(1),
        after=log.neighbour(6),
    )
    yield case(
        "a time range that does not fit",
        failed((4, "time")),
        **beside,
        **(timed | {"end": tools.received_at(3)}),
    )
