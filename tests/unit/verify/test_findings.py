"""What a report on a bundle says: each finding in its words, and why completeness is not proved."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from trailseal.verify import MalformedError, Report, Verifier, _audit
from trailseal.verify import bundle as bundles
from trailseal.verify._workers import check_lines
from trailseal.verify.errors import IntegrityError


def verified(log: Any, tmp_path: Path, **options: Any) -> Report:
    return Verifier([log.verifier_key]).verify_bundle(log.export(tmp_path, **options))


def test_a_report_says_why_completeness_is_not_proved(log: Any, tmp_path: Path) -> None:
    """Each reason in a sentence, though all that is there was verified."""
    rows = [rfc8785.dumps(log.line(i, proof=True)) for i in range(10)]
    told = "a filtered export shows that its events are in the log, not that it has them all"
    for reason, options in (
        (told, {"filter": {"actor_id": "x"}, "lines": rows}),
        (told, {"query": "x", "lines": rows}),
        ("it is proved for ascending order only", {"order": "desc", "lines": rows[::-1]}),
        ("the manifest has no 'boundary'", {"boundary": None, "lines": rows}),
        ("the manifest has no 'boundary'", {"boundary": {"right": []}, "lines": rows}),
        (None, {}),
    ):
        report = verified(log, tmp_path, **options)
        assert (report.findings, report.incomplete_reason) == ((), reason)
        assert report.complete is (reason is None)
    path = log.export(tmp_path, boundary=None, lines=rows)
    report = Verifier([log.verifier_key]).verify_bundle(path, complete=True)
    assert [finding.reason for finding in report.findings] == [
        "not proved complete: the manifest has no 'boundary'"
    ]
    nothing = Verifier().verify_bundle(tmp_path / "none.jsonl", complete=True)
    assert nothing.incomplete_reason == "not everything could be verified"
    assert len(nothing.findings) == 1


def test_without_a_key_another_checkpoint_file_is_wrong_enough(log: Any, tmp_path: Path) -> None:
    """What cannot be verified may still contradict itself."""
    path = log.export(tmp_path)
    path.with_name("audit.checkpoint").write_text(log.checkpoint(3))
    report = Verifier().verify_bundle(path)
    assert (report.exit_code, report.counts["checkpoint"]) == (1, 1)
    assert "the checkpoint file is not the manifest's" in {f.reason for f in report.findings}


def test_a_checkpoint_file_that_the_log_did_not_sign_is_named(
    log: Any, tools: Any, tmp_path: Path
) -> None:
    """Not as a fork, of which the log itself would have to be the author."""
    path = log.export(tmp_path)
    forger = tools.Log(key=tools.private_key(bytes(32))).grow(10)
    path.with_name("audit.checkpoint").write_text(forger.checkpoint())
    report = Verifier([log.verifier_key]).verify_bundle(path)
    assert [finding.kind for finding in report.findings] == ["signature"]


def told(report: Report) -> list[tuple[int | None, str, str]]:
    return [(finding.index, finding.kind, finding.reason) for finding in report.findings]


ROOT = "the entries do not give the checkpoint's root: one or more is not the log's"
UNPROVED = "not all entries could be read, so the checkpoint's root proves none of them"
BACK = "'received_at' goes back within the log"


def test_lines_beyond_the_count_are_read_up_to_a_limit(
    log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is one too many is named once, and no more is read."""
    monkeypatch.setattr(_audit, "MAX_SURPLUS_LINES", 3)
    for surplus, wanted in ((3, []), (4, ["many more lines than announced"])):
        report = verified(log, tmp_path, lines=[*log.lines(0, 9), *[b"{}"] * surplus])
        assert report.events == 13
        assert [f.reason for f in report.findings if f.kind == "content"] == wanted
        assert [f.line for f in report.findings if f.kind == "malformed"] == [11, 12, 13]


def test_events_of_one_instant_are_in_order(log: Any, tools: Any, tmp_path: Path) -> None:
    """In either order; going back is named in either order."""
    for index, wanted in ((5, []), (4, [(6, "time", BACK)])):
        changed = log.entries[6].replace(tools.received_at(6), tools.received_at(index))
        log.entries[6] = changed
        assert told(verified(log, tmp_path)) == wanted
        rows = [rfc8785.dumps(log.line(i, proof=True)) for i in range(9, -1, -1)]
        report = verified(log, tmp_path, order="desc", lines=rows)
        assert told(report) == [(5, kind, text) for _, kind, text in wanted]
        log.entries[6] = changed.replace(tools.received_at(index), tools.received_at(6))


def test_signatures_with_keys_given_are_counted(log: Any, tmp_path: Path) -> None:
    """All of them, beside events that nobody signed."""
    for n in range(3):
        log.add({"id": f"signed-{n}", "action": "a"}, signer=log.key)
    mine = base64.b64encode(log.public_key).decode()
    verifier = Verifier([log.verifier_key], signing_keys={"k1": mine})
    report = verifier.verify_bundle(log.export(tmp_path))
    assert (report.signed, report.signatures_checked, report.signatures_trusted) == (3, 3, 3)
    assert report.summary()[-1] == "client signatures: 3 of 3 checked"


def test_a_line_that_cannot_be_read_stands_for_one_index(log: Any, tmp_path: Path) -> None:
    """Of an export that has all; in a filtered one for any."""
    rows = [rfc8785.dumps(log.line(i, proof=True)) for i in (1, 2)]
    options = {"filter": {"actor_id": "x"}, "count": 3, "lines": [rows[0], b"{", rows[1]]}
    report = verified(log, tmp_path, **options)
    assert [(f.index, f.line, f.kind) for f in report.findings] == [(2, 2, "malformed")]
    lines = [b"{", *log.lines(1, 9)]
    report = verified(log, tmp_path, lines=lines)
    assert [(f.index, f.kind) for f in report.findings] == [
        (0, "malformed"),
        (None, "unverifiable"),
    ]
    assert report.findings[1].reason == UNPROVED


def test_an_empty_export_names_all_that_it_misses(log: Any, tmp_path: Path) -> None:
    """From the first event to the last, whatever the order."""
    for order in ("asc", "desc"):
        path = log.export(tmp_path, 0, -1, order=order)
        report = Verifier([log.verifier_key]).verify_bundle(path)
        assert told(report) == [(0, "missing", "the events 0 to 9 are missing")]
        assert (report.first_index, report.last_index) == (None, None)
        assert report.incomplete_reason == "not everything could be verified"


def test_a_forged_entry_is_told_by_the_root(log: Any, tmp_path: Path) -> None:
    """Nothing else is wrong with it."""
    path = log.export(tmp_path)
    log.entries[4] = log.entries[4].replace("key_1", "key_2")
    good = path.with_name("audit.checkpoint").read_text()
    assert told(verified(log, tmp_path, checkpoint=good)) == [
        (None, "root", ROOT),
    ]


def test_what_lies_beside_a_time_range_must_lie_outside_it(
    log: Any, tools: Any, tmp_path: Path
) -> None:
    """Where one end of the log is the end of the range, nothing needs to lie beside it."""

    def export(first: int, last: int, **options: Any) -> list[tuple[int | None, str, str]]:
        report = Verifier([log.verifier_key]).verify_bundle(
            log.export(tmp_path, first, last, **options)
        )
        assert report.complete is not bool(report.findings)
        return told(report)

    at, beside = tools.received_at, {"before": log.neighbour(2), "after": log.neighbour(8)}
    assert export(0, 9, start=at(0), end=at(9)) == []
    assert export(0, 9, start=at(0)) == []
    assert export(0, 9, end=at(9)) == []
    assert export(3, 7, **beside) == []  # no time range: what is named beside it proves nothing
    belongs = "the entry {} the time range belongs to it"
    assert export(3, 7, start=at(2), end=at(7), **beside) == [
        (None, "range", belongs.format("before"))
    ]
    assert export(3, 7, start=at(3), end=at(8), **beside) == [
        (None, "range", belongs.format("after"))
    ]
    other = tools.Log(origin="log.example.com/org_1").grow(10)
    found = export(3, 7, start=at(3), end=at(7), **(beside | {"before": other.neighbour(2)}))
    assert found == [(None, "origin", "the proof's checkpoint is of another log")]


def test_a_filtered_time_range_needs_nothing_beside_it(
    log: Any, tools: Any, tmp_path: Path
) -> None:
    """It is not complete anyhow."""
    rows = [rfc8785.dumps(log.line(i, proof=True)) for i in (4, 5)]
    options = {"first_index": 4, "last_index": 5, "count": 2, "query": "x", "lines": rows}
    report = verified(log, tmp_path, start=tools.received_at(3), **options)
    assert (report.findings, report.complete) == ((), False)


def test_content_that_cannot_be_opened_is_bad_input(log: Any, tmp_path: Path) -> None:
    """Though its manifest was found."""
    path = log.export(tmp_path)
    report = Verifier([log.verifier_key]).verify_bundle(
        tmp_path / "gone.jsonl", manifest=path.with_name("audit.manifest.json")
    )
    assert told(report) == [(None, "input", "cannot read gone.jsonl: No such file or directory")]
    assert report.exit_code == 3


def test_of_files_one_export_is_chosen(log: Any, tmp_path: Path) -> None:
    """Alone in its folder, plain or compressed, or by its own name; nothing else is an export."""
    path = log.export(tmp_path)
    assert bundles.Files.locate(str(tmp_path)) == bundles.Files.locate(path)
    found = bundles.Files.locate(path)
    names = (found.manifest.name, found.manifest_note.name, found.checkpoint.name)
    assert names == ("audit.manifest.json", "audit.manifest.note", "audit.checkpoint")
    (tmp_path / "b.jsonl.gz").touch()
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "audit.csv").touch()
    for place, text in (
        (tmp_path, "the directory holds 3 exports (*.jsonl, *.jsonl.gz), not one"),
        (tmp_path / "folder.jsonl", "the directory holds 0 exports (*.jsonl, *.jsonl.gz), not one"),
        (tmp_path / "audit.csv", "not a file NAME.jsonl or NAME.jsonl.gz"),
        (tmp_path / "audit.manifest.json", "not a file NAME.jsonl or NAME.jsonl.gz"),
    ):
        with pytest.raises(MalformedError) as caught:
            bundles.Files.locate(place)
        assert (caught.value.args[0], caught.value.kind) == (text, "input")


def test_a_manifest_may_be_as_long_as_its_limit(tmp_path: Path) -> None:
    """One byte more is refused before it is read."""
    file = tmp_path / "a.manifest.json"
    file.write_bytes(b" " * bundles.MAX_SIDECAR_BYTES)
    assert len(bundles.read_sidecar(file)) == bundles.MAX_SIDECAR_BYTES
    file.write_bytes(b" " * (bundles.MAX_SIDECAR_BYTES + 1))
    with pytest.raises(MalformedError, match=r"a.manifest.json is longer than 1048576 bytes"):
        bundles.read_sidecar(file)


def test_a_report_is_said_in_a_few_lines(log: Any, tools: Any, tmp_path: Path) -> None:
    """One event is one event; what was taken out, and who signed, is said."""
    log = tools.Log().grow(1)
    assert verified(log, tmp_path).summary() == [
        "verified: 1 event read, indexes 0 to 0",
        "checkpoint: log.example.com/org_789 at 1 event",
        "complete: no event of the range is left out",
    ]
    log.add({"id": "signed", "action": "a"}, signer=log.key)
    rows = [tools.redact(log.line(0), [["actor"]]), log.line(1)]
    report = verified(log, tmp_path, lines=[rfc8785.dumps(row) for row in rows], filter={"a": 1})
    assert report.summary()[:3] == [
        "could not verify: 2 events read, indexes 0 to 1",
        "checkpoint: log.example.com/org_789 at 2 events",
        "redacted: 1 event; what stands in place of what was taken is the server's word",
    ]
    good = verified(
        log, tmp_path, boundary=None, lines=[rfc8785.dumps(log.line(i, proof=True)) for i in (0, 1)]
    )
    assert good.summary()[2] == "not proved complete: the manifest has no 'boundary'"
    assert good.summary()[3] == "client signatures: 0 of 1 checked"


def test_a_report_raises_for_its_first_finding(log: Any, tmp_path: Path) -> None:
    """As the error of its verdict, which says how many there are."""
    lines = log.lines(0, 9)
    lines[3] = lines[3].replace(b"user_3", b"user_4")
    lines[5] = lines[5].replace(b"user_5", b"user_4")
    with pytest.raises(IntegrityError) as failed:
        verified(log, tmp_path, lines=lines).raise_for_findings()
    reason = "its content is not what was logged (fields_hash differs)"
    assert failed.value.args == (f"{reason} (2 findings)",)
    assert type(failed.value) is IntegrityError
    assert (failed.value.index, failed.value.kind) == (3, "event")
    with pytest.raises(MalformedError) as none:
        Verifier().verify_bundle(tmp_path / "none.jsonl").raise_for_findings()
    assert (none.value.args, none.value.kind) == (("there is no none.jsonl (1 finding)",), "input")
    assert str(verified(log, tmp_path, lines=lines).findings[0]) == (
        f"event: index 3, line 4: {reason}"
    )


def test_enclosed_keys_are_said_to_prove_little(log: Any, tmp_path: Path) -> None:
    """Beside those that were given."""
    mine = base64.b64encode(log.public_key).decode()
    for key_id in ("k1", "k2", "k3"):
        log.add({"id": key_id, "action": "a"}, signer=log.key)
        entry = json.loads(log.entries[-1])
        entry["signature"] |= {"key_id": key_id, "public_key": mine}
        log.entries[-1] = rfc8785.dumps(entry).decode()
    verifier = Verifier([log.verifier_key], signing_keys={"k1": mine})
    report = verifier.verify_bundle(log.export(tmp_path))
    assert (report.signatures_checked, report.signatures_trusted) == (3, 1)
    assert report.summary()[-1] == (
        "client signatures: 3 of 3 checked, 2 with the key that they enclose, "
        "which nobody vouches for"
    )


def test_as_many_processes_check_as_are_asked_for(
    log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else as many as the content is worth."""
    asked: list[int] = []

    def check(lines: Any, expected: Any, processes: int) -> Any:
        asked.append(processes)
        return check_lines(lines, expected, 1)

    monkeypatch.setattr(_audit, "check_lines", check)
    path = log.export(tmp_path)
    for processes in (3, None):
        Verifier([log.verifier_key]).verify_bundle(path, processes=processes)
    monkeypatch.setattr(_audit, "sensible_processes", lambda size: size)
    Verifier([log.verifier_key]).verify_bundle(path)
    assert asked == [3, 1, path.stat().st_size]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(log: Any, tmp_path: Path) -> None:
    """An unpacked archive may hold some."""
    path = log.export(tmp_path)
    for name in ("audit.manifest.note", "audit.checkpoint", "audit.manifest.json"):
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
    report = Verifier([log.verifier_key]).verify_bundle(path)
    assert told(report) == [
        (None, "unverifiable", "cannot read audit.manifest.json: it is no file")
    ]
