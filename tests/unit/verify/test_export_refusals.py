"""What is said of an export whose manifest, or a line of it, is wrong, though its log signed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from trailseal.verify import Verifier
from trailseal.verify.line import Checked, Expected, check_line

HEX = "must be a SHA-256 in lower-case hexadecimal"
EXPORTS: list[tuple[str, str, dict[str, Any]]] = [
    ("input", "the manifest: 'order' must be asc or desc", {"order": "up"}),
    ("input", "the manifest: 'compression' must be none or gzip", {"compression": "zip"}),
    ("input", "the manifest: 'origin' must be a string", {"origin": 1}),
    ("input", "the manifest: 'log_id' must be a string", {"log_id": 1}),
    ("input", "the manifest: 'bytes' must be an integer", {"bytes": "1"}),
    ("input", "the manifest: 'count' must be an integer", {"count": "1"}),
    ("input", f"the manifest: 'sha256' {HEX}", {"sha256": 1}),
    ("input", "the manifest: 'checkpoint' must be a string", {"checkpoint": 1}),
    ("input", "the manifest: 'start' must be a string", {"start": 1}),
    ("input", "the manifest: 'start' must be an RFC 3339 time with an offset", {"start": "now"}),
    ("input", "the manifest: 'end' must be an RFC 3339 time with an offset",
     {"end": "2026-11-20T10:00:00"}),
    ("input", "the manifest: 'end' must be an RFC 3339 time with an offset",
     {"end": "0001-01-01T00:00:00+23:00"}),
    ("input", "the manifest: 'boundary' must be an object", {"boundary": 1}),
    ("input", "the manifest: 'left' must be an array", {"boundary": {"left": 1}}),
    ("input", "the manifest: a node of 'boundary' must be [level, index, hash]",
     {"boundary": {"right": [[0, 1]]}}),
    ("input", f"the manifest: a hash of 'boundary' {HEX}", {"boundary": {"left": [[0, 1, "x"]]}}),
    ("input", "the manifest: 'before' must be an object", {"before": 1}),
    ("input", "the manifest: 'entry' must be a string", {"after": {"index": 1}}),
    ("input", "the manifest: 'index' must be an integer", {"after": {"index": "1"}}),
    *(("input", "the manifest: 'first_index', 'last_index' and 'count' contradict each other", each)
      for each in ({"first_index": None}, {"last_index": None}, {"count": 9}, {"count": 0},
                   {"first_index": -1, "last_index": 8}, {"first_index": 10},
                   {"first_index": 10, "last_index": 9, "count": 0},
                   {"filter": {"a": 1}, "count": 11}, {"query": "a", "count": 0},
                   {"first_index": None, "last_index": None})),
    ("manifest", "the manifest is not the one that was signed", {"origin": "a/b"}),
    ("origin", "the checkpoint is of another log than the manifest", {"log_id": "b"}),
    ("unverifiable", "the log had no checkpoint when it was exported", {"checkpoint": None}),
    ("content", "the content is not the one that the manifest names", {"bytes": 1}),
    ("content", "the content is not the one that the manifest names", {"sha256": "0" * 64}),
    ("order", "the index is outside the manifest's range", {"last_index": 8, "count": 9}),
    ("order", "the line comes twice or out of order", {"order": "desc"}),
    ("missing", "the event is missing", {"lines": slice(9)}),
    ("missing", "the events 8 to 9 are missing", {"lines": slice(8)}),
    ("missing", "the events 0 to 1 are missing", {"lines": slice(2, None)}),
    ("missing", "9 lines are announced, 10 were read", {"filter": {"a": 1}, "count": 9}),
    ("unverifiable", "nothing shows that the entry is in the log", {"boundary": None}),
    ("time", "'received_at' is outside the export's time range", {"end": "2026-11-20T09:00:00Z"}),
    ("range", "the entries named beside the time range are not",
     {"start": "2026-11-20T10:00:00Z", "first_index": 3, "count": 7}),
    ("proof", "not the compact range from leaf 0 to 1", {"first_index": 1, "count": 9}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "changes"), EXPORTS, ids=range(len(EXPORTS)))
def test_a_finding_says_what_is_wrong(
    kind: str, text: str, changes: dict[str, Any], log: Any, tmp_path: Path
) -> None:
    """Of an export that its log signed, however wrong it is."""
    kept = {"lines": log.lines(0, 9)[changes["lines"]]} if "lines" in changes else {}
    path = log.export(tmp_path, **(changes | kept))
    if changes.get("origin") == "a/b":  # signed as the log's own all the same
        path.with_name("audit.manifest.note").write_text(log.note("trailseal/manifest/v1\n"))
    report = Verifier([log.verifier_key]).verify_bundle(path)
    assert (kind, text) in {(finding.kind, finding.reason) for finding in report.findings}
    assert report.exit_code == {"input": 3}.get(kind, report.exit_code) != 0


WHOLE = Expected("org_789", 10, None, in_tree=True, start=None, end=None, signing_keys={})


def line_faults(log: Any, change: dict[str, Any] | bytes | None) -> Checked:
    """What is found in the line at index 1."""
    raw = rfc8785.dumps({**log.line(1), **change}) if isinstance(change, dict) else change
    return check_line(raw, WHOLE)


@pytest.mark.parametrize(
    ("text", "at", "change"),
    [
        ("the line is longer than 33554432 bytes", None, None),
        ("a line must be an object with the members of an export line", None, b"[]"),
        ("a line must be an object with the members of an export line", None, {"more": 1}),
        ("'index' must be an integer", None, {"index": "1"}),
        ("'event' must be an object", None, {"event": 1}),
        ("'entry' must be a string", None, {"entry": 1}),
        ("'proof' must be an array of hashes", None, {"proof": 1}),
        (f"a hash of 'proof' {HEX}", None, {"proof": [1]}),
        ("an entry must be an object", 1, {"entry": "[]"}),
    ],
    ids=range(9),
)
def test_a_line_that_cannot_be_read_is_one_fault(
    text: str, at: int | None, change: dict[str, Any] | bytes | None, log: Any
) -> None:
    """With its index, where that could be read."""
    checked = line_faults(log, change)
    assert [fault.args[0] for fault in checked.faults] == [text]
    assert (checked.at, checked.leaf_hash) == (at, None)


def test_a_line_may_have_all_its_members_and_an_event_as_deep_as_any(log: Any) -> None:
    """64 levels of the event in one of the line; not one more."""
    assert line_faults(log, {}).faults == ()
    all_members = line_faults(log, {"proof": [], "salts": None, "redactions": None})
    assert all_members.faults == ()
    for depth, kinds in ((63, []), (64, ["malformed"])):
        data = json.loads("[" * depth + "1" + "]" * depth)
        log.add({"id": f"deep {depth}", "action": "a", "data": data})
        checked = check_line(rfc8785.dumps(log.line(len(log.events) - 1)), WHOLE)
        assert [fault.kind for fault in checked.faults] == kinds
