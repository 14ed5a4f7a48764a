"""Attacks on exports: by someone without the log's key, and by the log itself.

The first changes files, and everything is refused. The second signs whatever it likes over
content that is not its log's: commitments, order and tree must name the kind and the place.
"""

import base64
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from trailseal.verify import Verifier
from trailseal.verify.report import BAD_INPUT, FAILED, Report

EVENTS = 7 if int(os.environ.get("ATTACK_ROUNDS", "1")) == 1 else 12
NAMES = ("audit.jsonl", "audit.manifest.json", "audit.manifest.note", "audit.checkpoint")
REFUSED = (FAILED, BAD_INPUT)


@pytest.fixture(scope="module")
def log(tools: Any) -> Any:
    return tools.Log().grow(EVENTS)


def verify(log: Any, path: Path, **options: Any) -> Report:
    return Verifier([log.verifier_key]).verify_bundle(path, **options)


def found(report: Report) -> set[tuple[int | None, str]]:
    return {(finding.index, finding.kind) for finding in report.findings}


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_every_truncation_of_the_content_is_refused(
    log: Any, tmp_path: Path, rounds: int, compress: bool
) -> None:
    """Cut at any byte from the end, or from the start: never verified."""
    path = log.export(tmp_path, compress=compress)
    good = path.read_bytes()
    for cut in range(0, len(good), max(1, 97 // rounds)):
        for left in (good[:cut], good[cut + 1 :]):
            path.write_bytes(left)
            assert verify(log, path).exit_code in REFUSED, cut


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_inserted_or_removed_byte_is_refused(
    log: Any, tmp_path: Path, rounds: int, name: str
) -> None:
    """At places all over each file, by another byte, one more and one less."""
    path = log.export(tmp_path)
    target, rng = tmp_path / name, random.Random(name)  # noqa: S311  # the same attacks each time
    good = target.read_bytes()
    for _ in range(60 * rounds):
        at, byte = rng.randrange(len(good)), bytes([rng.randrange(256)])
        for bad in (good[:at] + byte + good[at + 1 :], good[:at] + byte + good[at:],
                    good[:at] + good[at + 1 :]):  # fmt: skip
            if bad != good:
                target.write_bytes(bad)
                assert verify(log, path).exit_code in REFUSED, (at, byte)


def test_every_cut_of_lines_is_named_where_it_was(log: Any, tmp_path: Path) -> None:
    """Head, middle and tail of every length, signed again by the log."""
    good = log.lines(0, EVENTS - 1)
    for first in range(EVENTS):
        for behind in range(first + 1, EVENTS + 1):
            lines = good[:first] + good[behind:]
            report = verify(log, log.export(tmp_path, lines=lines))
            assert report.exit_code == FAILED
            assert (first, "missing") in found(report)


def test_every_exchange_and_repetition_of_lines_is_named(log: Any, tmp_path: Path) -> None:
    """Any two lines exchanged, any line once more anywhere."""
    good = log.lines(0, EVENTS - 1)
    for a in range(EVENTS):
        for b in range(EVENTS):
            lines = list(good)
            if a < b:
                lines[a], lines[b] = lines[b], lines[a]
                wanted = (a, "missing")
            else:
                lines.insert(a, good[b])
                wanted = (b, "order")
            report = verify(log, log.export(tmp_path, lines=lines))
            assert report.exit_code == FAILED
            assert {wanted[1], "order"} & {kind for _, kind in found(report)}, (a, b)
            assert wanted in found(report), (a, b)


def test_every_substitution_is_named(log: Any, tools: Any, tmp_path: Path) -> None:
    """A line under another's index, an event under another's entry, a forged event and entry."""
    for index in range(EVENTS):
        other = (index + 1) % EVENTS
        mine, theirs = log.line(index), log.line(other)
        forged = tools.Log().grow(EVENTS)
        forged.events[index] |= {"action": "nothing.happened"}
        event, seed = forged.events[index], forged.seeds[index]
        entry = json.loads(log.entries[index]) | {"fields_hash": tools.commit(event, seed)[2]}
        for line, wanted in (
            (theirs | {"index": index}, (None, "root")),
            (mine | {"event": theirs["event"]}, (index, "event")),
            (mine | {"seed": theirs["seed"]}, (index, "event")),
            (mine | {"event": event, "entry": rfc8785.dumps(entry).decode()}, (None, "root")),
            (mine | {"seed": None}, (index, "unverifiable")),
            (mine | {"extra": 1}, (index, "malformed")),
        ):
            lines = log.lines(0, EVENTS - 1)
            lines[index] = rfc8785.dumps(line)
            report = verify(log, log.export(tmp_path, lines=lines))
            assert wanted in found(report), (index, wanted)
            assert not report.complete


def test_a_proof_of_another_index_size_or_log_is_named(
    log: Any, tools: Any, tmp_path: Path
) -> None:
    """Each line of a filtered export with each other proof."""
    other = tools.Log(origin="log.example.com/org_1").grow(EVENTS)
    options = {"filter": {"actor_id": "x"}, "boundary": ..., "count": 1}
    for index in range(EVENTS):
        right = log.proof(index)["hashes"]
        wrong = [log.proof(i)["hashes"] for i in range(EVENTS) if i != index]
        wrong += [right[:-1], [*right, right[0]], right[::-1], other.proof(index)["hashes"]]
        for proof in wrong:
            line = rfc8785.dumps(log.line(index) | {"proof": proof})
            report = verify(log, log.export(tmp_path, index, index, lines=[line], **options))
            assert found(report) == {(index, "proof")}


def test_forks_older_checkpoints_and_other_keys_are_told_apart(
    log: Any, tools: Any, tmp_path: Path
) -> None:
    """Two histories, an earlier state, another origin, another key, none, two signatures by one."""
    twin = tools.Log().grow(EVENTS - 1)
    twin.add({"id": "evt-x", "action": "another.history"})
    stranger = tools.Log(key=tools.private_key(bytes(32))).grow(EVENTS)
    elsewhere = tools.Log(origin="log.example.com/org_1").grow(EVENTS)
    good = log.checkpoint()
    text, line = good.split("\n\n")
    for note, kind in (
        (twin.checkpoint(), "fork"),
        (log.checkpoint(3), "checkpoint"),
        (elsewhere.checkpoint(), "checkpoint"),
        (stranger.checkpoint(), "signature"),
        (text + "\n", "malformed"),
        (good + line, "malformed"),
        (good * 2, "malformed"),
        ("", "malformed"),
        ("x" * 70_000, "malformed"),
    ):
        path = log.export(tmp_path)
        (tmp_path / "audit.checkpoint").write_text(note)
        assert found(verify(log, path)) == {(None, kind)}, note[:80]
        forged = log.export(tmp_path, checkpoint=note)
        assert verify(log, forged).exit_code in REFUSED, note[:80]


def test_a_line_that_is_anything_else_is_one_finding(log: Any, tmp_path: Path) -> None:
    """JSON of other shapes, too deep, too wide, of the wrong types: named, and read on behind."""
    good = log.line(5)
    changes: list[Any] = [
        None, [], 1, "x", {}, good | {"index": True}, good | {"index": 5.0}, good | {"index": -1},
        good | {"index": 2**53}, good | {"event": []}, good | {"entry": {}}, good | {"entry": "{}"},
        good | {"entry": "x" * 70_000}, good | {"salts": {}}, good | {"proof": "00"},
        good | {"seed": 7}, good | {"seed": "A" * 44}, good | {"redactions": [{}]},
    ]  # fmt: skip
    texts = [json.dumps(change).encode() for change in changes]
    texts += [b"[" * 100_000, b'{"a":' * 1000, b"\xff\xfe", b"", b" ", b"\x00" * 100, b'"\\ud800"']
    texts += [json.dumps(good)[:-1].encode() + b',"index":5}']
    for text in texts:
        lines = log.lines(0, EVENTS - 1)
        lines[5] = text
        report = verify(log, log.export(tmp_path, lines=lines))
        assert report.exit_code == FAILED, text[:60]
        assert report.events == EVENTS
        assert {finding.index for finding in report.findings} <= {5, -1, 2**53, None}, text[:60]


MANIFEST: list[tuple[str, Any]] = [
    ("count", EVENTS + 1), ("count", -1), ("count", 10**15), ("first_index", 1),
    ("last_index", 3), ("first_index", None), ("order", "desc"), ("order", "random"),
    ("format", "csv"), ("compression", "gzip"), ("compression", "zstd"), ("v", 2),
    ("log_id", "org_1"), ("origin", "evil.example/org_789"), ("bytes", 1), ("sha256", "0" * 64),
    ("sha256", ""), ("checkpoint", 1), ("boundary", None), ("boundary", {"left": [[0, 0, "x"]]}),
    ("boundary", {"left": [[0, 0, "0" * 64]], "right": []}), ("start", "tomorrow"),
    ("start", "2026-11-20T10:00:00"), ("before", {}), ("after", {"index": 0}), ("boundary", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), MANIFEST, ids=[f"{n}={v}"[:40] for n, v in MANIFEST])
def test_a_manifest_that_the_log_signed_wrongly_is_never_complete(
    log: Any, tmp_path: Path, name: str, value: Any
) -> None:
    """Whatever a hostile log signs, nothing is proved complete that is not, and nothing crashes."""
    path = log.export(tmp_path, **{name: value})
    report = verify(log, path, complete=True)
    assert report.exit_code != 0
    assert not report.complete


def test_a_hostile_log_cannot_claim_a_shorter_time_range(
    log: Any, tools: Any, tmp_path: Path
) -> None:
    """Every range of indexes with every pair of neighbours: complete only with the right ones."""
    size = EVENTS - 2
    small = tools.Log().grow(size)
    neighbours = {i: small.neighbour(i) for i in range(-1, size + 1)}
    right = 0
    for first in range(size):
        for last in range(first, size):
            for below in range(-1, first + 1):
                for above in range(last, size + 1):
                    options = {"start": tools.received_at(2), "end": tools.received_at(3)}
                    options |= {"before": neighbours[below], "after": neighbours[above]}
                    report = verify(small, small.export(tmp_path, first, last, **options))
                    if report.complete:
                        assert (first, last, below, above) == (2, 3, 1, 4)
                        right += 1
    assert right == 1


def test_workers_find_what_one_process_finds(
    log: Any, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings, order and counts are the same with several processes, and so when they die."""
    big = tools.Log().grow(700)
    lines = big.lines(0, 699)
    lines[3] = lines[3].replace(b"user_3", b"user_4")
    lines[300] = b"{"
    lines[512], lines[513] = lines[513], lines[512]
    path = big.export(tmp_path, lines=lines)
    alone = verify(big, path, processes=1)
    assert len(alone.findings) == 5
    assert verify(big, path, processes=3) == alone
    from trailseal.verify import _workers  # noqa: PLC0415

    monkeypatch.setattr(_workers, "_MAIN", "import sys; sys.stdin.buffer.read(100); sys.exit(1)")
    assert verify(big, path, processes=2) == alone
    monkeypatch.setattr(_workers.sys, "executable", "/nowhere")
    assert verify(big, path, processes=2) == alone


def test_workers_run_no_code_from_the_working_directory(
    log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that holds a bundle and a trailseal.py of somebody else's is harmless."""
    mark = tmp_path / "ran"
    for name in ("trailseal.py", "pickle.py", "orjson.py", "hashlib.py"):
        (tmp_path / name).write_text(f"open({str(mark)!r}, 'w')\n")
    path = log.export(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    assert verify(log, path, processes=2).exit_code == 0
    monkeypatch.setattr("sys.path", ["", *sys.path])  # as at a prompt
    assert verify(log, path, processes=2).exit_code == 0
    assert not mark.exists()


def test_a_client_signature_by_another_key_or_over_another_event_is_named(
    tools: Any, tmp_path: Path
) -> None:
    """Also where the signature encloses a key of its own: the given key counts."""
    client, other = tools.private_key(bytes([1]) * 32), tools.private_key(bytes([2]) * 32)
    trusted = base64.b64encode(client.public_key().public_bytes_raw()).decode()
    enclosed = base64.b64encode(other.public_key().public_bytes_raw()).decode()
    log = tools.Log().grow(2)
    log.add({"id": "evt-2", "action": "signed"}, signer=other)
    entry = json.loads(log.entries[2])

    def report(change: Callable[[dict[str, Any]], object], keys: dict[str, str]) -> Report:
        changed = json.loads(json.dumps(entry))
        change(changed["signature"])
        log.entries[2] = rfc8785.dumps(changed).decode()
        path = log.export(tmp_path)
        return Verifier([log.verifier_key], signing_keys=keys).verify_bundle(path)

    plain = report(lambda s: s.update(public_key=enclosed), {})
    assert (plain.exit_code, plain.signatures_checked, plain.signatures_trusted) == (0, 1, 0)
    assert "nobody vouches" in "".join(plain.summary())
    mismatch = report(lambda s: s.update(public_key=enclosed), {"k1": trusted})
    assert found(mismatch) == {(2, "signature")}
    for change in (
        lambda s: s.update(algorithm="none"),
        lambda s: s.update(value=s["value"][:-4]),
        lambda s: s.update(value=7),
        lambda s: s.pop("key_id"),
    ):
        bad = report(change, {"k1": enclosed})
        assert found(bad) == {(2, "malformed")}
