"""Bundles: a good one is verified and complete, and nothing else is."""

import base64
import gzip
import json
from pathlib import Path

import pytest
import rfc8785
from trailseal.verify import Verifier, _audit, content
from trailseal.verify import report as report_module
from trailseal.verify.errors import IntegrityError, TrailSealError, UnverifiableError
from trailseal.verify.report import BAD_INPUT, COULD_NOT_VERIFY, FAILED, VERIFIED, Report

UNPROVED = (None, "unverifiable")  # the root, where not all entries could be read
NAMES = ("audit.jsonl", "audit.manifest.json", "audit.manifest.note", "audit.checkpoint")


def verify(log, path: Path, **options) -> Report:
    return Verifier([log.verifier_key]).verify_bundle(path, **options)


def found(report: Report) -> list[tuple[int | None, str]]:
    return [(finding.index, finding.kind) for finding in report.findings]


def expect(report: Report, *wanted: tuple[int | None, str]) -> None:
    """These findings, and the exit status of a failure."""
    assert found(report) == list(wanted)
    assert report.exit_code == FAILED
    assert not report.complete
    with pytest.raises(IntegrityError) as caught:
        report.raise_for_findings()
    assert (caught.value.index, caught.value.kind) == wanted[0]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(("first", "last"), [(0, 9), (0, 4), (3, 7), (4, 4), (9, 9)])
def test_a_good_bundle_is_verified_and_complete(log, tmp_path, first, last, compress) -> None:
    """Every range of a log, plain and compressed, found by file or by directory."""
    path = log.export(tmp_path, first, last, compress=compress)
    for place in (path, tmp_path):
        report = verify(log, place, complete=True)
        assert report.findings == ()
        assert (report.exit_code, report.complete) == (VERIFIED, True)
        assert (report.first_index, report.last_index) == (first, last)
        assert report.events == last - first + 1
        report.raise_for_findings()


def test_an_export_of_an_empty_log_is_complete(tools, tmp_path) -> None:
    """Nothing is all of nothing."""
    log = tools.Log()
    assert verify(log, log.export(tmp_path), complete=True).complete


def test_an_empty_export_of_a_log_with_events_misses_them(log, tmp_path) -> None:
    """Without a time range there is no reason for an export to be empty."""
    expect(verify(log, log.export(tmp_path, 0, -1)), (0, "missing"))


@pytest.mark.parametrize("name", NAMES)
def test_no_changed_byte_of_any_file_is_verified(tools, tmp_path, name) -> None:
    """All positions of a small bundle, one bit each: never verified, and only our own errors."""
    log = tools.Log().grow(2)
    path = log.export(tmp_path)
    target = tmp_path / name
    good = target.read_bytes()
    verifier = Verifier([log.verifier_key])
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1 << position % 8
        target.write_bytes(changed)
        report = verifier.verify_bundle(path)
        assert report.exit_code in (FAILED, BAD_INPUT), position
        with pytest.raises(TrailSealError):
            report.raise_for_findings()


def test_no_changed_byte_is_verified_though_the_manifest_was_signed_over_it(
    tools, tmp_path
) -> None:
    """The digest being right again, commitments and tree alone find every change of one line."""
    log = tools.Log().grow(3)
    good = log.lines(0, 2)
    for position in range(len(good[1])):
        changed = bytearray(good[1])
        changed[position] ^= 1 << position % 8
        path = log.export(tmp_path, lines=[good[0], bytes(changed), good[2]])
        report = verify(log, path)
        assert report.exit_code == FAILED, position


def test_a_changed_event_is_named_and_the_log_still_proved(log, tmp_path) -> None:
    """One finding for the event; its entry keeps the root whole."""
    lines = log.lines(0, 9)
    lines[6] = lines[6].replace(b"user_6", b"user_7")
    report = verify(log, log.export(tmp_path, lines=lines))
    expect(report, (6, "event"))
    assert report.findings[0].line == 7


@pytest.mark.row("P-50")
def test_each_bad_line_is_named_and_reading_goes_on(log, tmp_path) -> None:
    """Faults of several kinds, each at its own index."""
    lines = log.lines(0, 9)
    lines[1] = lines[1].replace(b"user_1", b"mallory")
    lines[4] = b"{not json"
    lines[8] = lines[8].replace(b"evt-8", b"evt-9", 1)
    report = verify(log, log.export(tmp_path, lines=lines))
    assert [(f.index, f.line, f.kind) for f in report.findings] == [
        (1, 2, "event"),
        (4, 5, "malformed"),
        (8, 9, "event"),
        (None, None, "unverifiable"),
    ]
    assert report.exit_code == FAILED


@pytest.mark.row("P-68")
@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        (slice(3, 10), (0, "missing")),
        (slice(0, 7), (7, "missing")),
        ([0, 1, 2, 6, 7, 8, 9], (3, "missing")),
    ],
    ids=["head", "tail", "middle"],
)
def test_cut_lines_are_missed_where_they_were(log, tmp_path, keep, wanted) -> None:
    """Though digest and count were signed again, the cut is found."""
    lines = log.lines(0, 9)
    lines = lines[keep] if isinstance(keep, slice) else [lines[i] for i in keep]
    expect(verify(log, log.export(tmp_path, lines=lines)), wanted, UNPROVED)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ([0, 1, 2, 4, 3, 5, 6, 7, 8, 9], [(3, "missing"), (3, "order"), UNPROVED]),
        ([0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9], [(2, "order")]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0], [(0, "order")]),
    ],
    ids=["swapped", "twice", "again at the end"],
)
def test_lines_out_of_order_are_named(log, tmp_path, order, wanted) -> None:
    """Swapped and repeated lines are found at their index."""
    lines = [log.lines(0, 9)[i] for i in order]
    expect(verify(log, log.export(tmp_path, lines=lines)), *wanted)


@pytest.mark.parametrize("how", ["whole", "with proofs"])
def test_an_event_that_is_not_the_logs_is_found(log, tools, tmp_path, how) -> None:
    """A consistent line of a forger: the root says so, and a proof in the line names it."""
    forger = tools.Log().grow(10)
    forger.events[5] = {**forger.events[5], "action": "nothing.happened"}
    event, seed = forger.events[5], forger.seeds[5]
    entry = json.loads(forger.entries[5]) | {"fields_hash": tools.commit(event, seed)[2]}
    forged = log.line(5, proof=True) | {"event": event, "entry": rfc8785.dumps(entry).decode()}
    proofs = how == "with proofs"
    rows = [log.line(i, proof=proofs) for i in range(10)]
    rows[5] = forged if proofs else {k: v for k, v in forged.items() if k != "proof"}
    report = verify(log, log.export(tmp_path, lines=[rfc8785.dumps(row) for row in rows]))
    expect(report, *([(5, "proof")] if proofs else []), (None, "root"))


def test_an_entry_of_another_log_is_named(log, tools, tmp_path) -> None:
    """A true line of another log does not pass."""
    other = tools.Log(origin="log.example.com/org_1").grow(10)
    lines = log.lines(0, 9)
    lines[2] = other.lines(2, 2)[0]
    expect(verify(log, log.export(tmp_path, lines=lines)), (2, "entry"), (None, "root"))


def test_redacted_events_verify_and_are_counted(log, tools, tmp_path) -> None:
    """A redaction leaves entry, leaf and root as they were."""
    rows = [log.line(i) for i in range(10)]
    rows[3] = tools.redact(rows[3], [["actor"]])
    rows[4] = tools.redact(rows[4], [["data"], ["actor", "id"]])
    report = verify(log, log.export(tmp_path, lines=[rfc8785.dumps(r) for r in rows]))
    assert (report.exit_code, report.complete, report.redacted) == (VERIFIED, True, 2)


@pytest.mark.row("P-66")
def test_without_a_key_nothing_is_called_verified(log, tmp_path) -> None:
    """A good bundle could not be verified; a bad one is still seen to be bad."""
    path = log.export(tmp_path)
    report = Verifier().verify_bundle(path)
    assert (report.exit_code, report.complete) == (COULD_NOT_VERIFY, False)
    assert {finding.kind for finding in report.findings} == {"unverifiable"}
    with pytest.raises(UnverifiableError):
        report.raise_for_findings()
    path.write_bytes(path.read_bytes().replace(b"user_3", b"user_4"))
    assert Verifier().verify_bundle(path).exit_code == FAILED


def test_a_key_of_another_log_says_nothing(log, tools, tmp_path) -> None:
    """A bundle of a log without a key given could not be verified, whoever signed it."""
    other = tools.Log(origin="log.example.com/org_1")
    report = Verifier([other.verifier_key]).verify_bundle(log.export(tmp_path))
    assert report.exit_code == COULD_NOT_VERIFY


def test_a_report_is_json_and_says_each_missing_thing_once(log, tmp_path) -> None:
    """For machines: verdict, exit code and hashes in hex; one missing key is one finding."""
    told = json.loads(json.dumps(Verifier().verify_bundle(log.export(tmp_path)).to_dict()))
    assert (told["verdict"], told["exit_code"]) == ("could not verify", COULD_NOT_VERIFY)
    assert len(bytes.fromhex(told["checkpoint"]["root_hash"])) == 32
    assert [finding["kind"] for finding in told["findings"]] == ["unverifiable"]
    assert json.loads(json.dumps(Verifier().verify_bundle(tmp_path / "no").to_dict()))


def test_a_summary_says_what_is_wrong_and_nothing_beside_it(log, tmp_path) -> None:
    """A missing file is said to be missing; what follows from a finding is not repeated."""
    missing = verify(log, tmp_path / "none.jsonl")
    assert missing.summary() == ["bad input", "input: there is no none.jsonl"]
    path = log.export(tmp_path)
    assert verify(log, path).summary()[-1] == "complete: no event of the range is left out"
    assert Verifier().verify_bundle(path).summary()[2:] == [
        f"unverifiable: no verifier key for '{log.origin}' was given"
    ]


def test_another_key_for_the_same_log_is_refused(log, tools, tmp_path) -> None:
    """What was not signed by the key that is trusted for the origin fails."""
    report = verify(tools.Log(key=tools.private_key(bytes(32))), log.export(tmp_path))
    expect(report, (None, "signature"), (None, "signature"))


def test_unsigned_notes_are_refused(log, tmp_path) -> None:
    """Text without a signature line is no signed note."""
    expect(verify(log, log.export(tmp_path, signed=False)), (None, "malformed"))
    bare = log.checkpoint().split("\n\n")[0] + "\n"
    report = verify(log, log.export(tmp_path, checkpoint=bare))
    assert (None, "malformed") in found(report)
    assert report.exit_code == FAILED


def test_a_manifest_of_another_origin_is_refused(log, tools, tmp_path) -> None:
    """Origin, checkpoint and log must be one."""
    origin = "evil.example.com/org_789"
    report = verify(log, log.export(tmp_path, origin=origin))
    assert (None, "origin") in found(report)
    assert report.exit_code == FAILED
    other = tools.Log(origin="log.example.com/org_1").grow(10)
    report = verify(log, log.export(tmp_path, checkpoint=other.checkpoint()))
    assert (None, "origin") in found(report)
    assert report.exit_code == FAILED


def test_two_signed_roots_for_one_size_are_a_fork(log, tools, tmp_path) -> None:
    """The same key signed two histories."""
    path = log.export(tmp_path)
    twin = tools.Log().grow(9)
    twin.add({"id": "evt-9", "action": "another.history"})
    (tmp_path / "audit.checkpoint").write_text(twin.checkpoint())
    expect(verify(log, path), (None, "fork"))
    (tmp_path / "audit.checkpoint").write_text(log.checkpoint(4))
    expect(verify(log, path), (None, "checkpoint"))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_boundary_that_is_not_the_compact_range_is_refused(log, tools, tmp_path, side) -> None:
    """A missing node, another level, another hash: the range is not complete."""
    left, right = tools.cover(0, 3, log.leaves), tools.cover(8, 10, log.leaves)
    good = {"left": left, "right": right}
    assert verify(log, log.export(tmp_path, 3, 7, boundary=good)).complete
    nodes = good[side]
    for bad, kind in (
        (nodes[1:], "proof"),
        ([[nodes[0][0] + 1, *nodes[0][1:]], *nodes[1:]], "proof"),
        ([[*nodes[0][:2], "0" * 64], *nodes[1:]], "root"),
    ):
        report = verify(log, log.export(tmp_path, 3, 7, boundary=good | {side: bad}))
        expect(report, (None, kind), *([UNPROVED] if (side, kind) == ("left", "proof") else []))


def test_a_time_range_is_complete_with_the_entries_beside_it(log, tools, tmp_path) -> None:
    """The neighbours are in the log, next to the range, and outside its time."""
    times = {"start": "2026-11-20T11:00:03+01:00", "end": tools.received_at(7)}
    beside = {"before": log.neighbour(2), "after": log.neighbour(8)}
    good = times | beside
    assert verify(log, log.export(tmp_path, 3, 7, **good), complete=True).exit_code == VERIFIED
    for bad, kind in (
        ({"before": None}, "range"),
        ({"after": None}, "range"),
        ({"before": log.neighbour(1)}, "range"),
        ({"after": {**log.neighbour(8), "hashes": []}}, "proof"),
        ({"start": tools.received_at(2)}, "range"),
        ({"end": tools.received_at(8)}, "range"),
        ({"start": None}, "range"),
        ({"end": None}, "range"),
    ):
        expect(verify(log, log.export(tmp_path, 3, 7, **(good | bad))), (None, kind))
    late = good | {"start": tools.received_at(4)}
    expect(verify(log, log.export(tmp_path, 3, 7, **late)), (3, "time"))


def test_a_time_range_may_be_open_at_either_end(log, tools, tmp_path) -> None:
    """Only a bound that is given needs an entry beyond it."""
    since = {"start": tools.received_at(3), "end": None, "before": log.neighbour(2), "after": None}
    until = {"end": tools.received_at(7), "start": None, "after": log.neighbour(8), "before": None}
    for first, last, options in ((3, 9, since), (3, 8, since), (0, 7, until)):
        report = verify(log, log.export(tmp_path, first, last, **options), complete=True)
        assert (report.findings, report.exit_code) == ((), VERIFIED)
    expect(verify(log, log.export(tmp_path, 4, 9, **since)), (None, "range"))
    expect(verify(log, log.export(tmp_path, 0, 6, **until)), (None, "range"))


def test_an_export_without_a_checkpoint_could_not_be_verified(tools, tmp_path) -> None:
    """A new log has none yet."""
    log = tools.Log()
    report = verify(log, log.export(tmp_path, checkpoint=None))
    assert (report.exit_code, report.complete) == (COULD_NOT_VERIFY, False)


def test_an_empty_time_range_is_complete_between_two_neighbours(log, tools, tmp_path) -> None:
    """Nothing happened between two entries that lie next to each other."""
    between = {"start": "2026-11-20T10:00:04.5Z", "end": "2026-11-20T10:00:04.9Z"}
    beside = {"before": log.neighbour(4), "after": log.neighbour(5)}
    options = between | {"boundary": {"left": [], "right": []}}
    good = log.export(tmp_path, 0, -1, **options, **beside)
    assert verify(log, good, complete=True).exit_code == VERIFIED
    gap = log.export(tmp_path, 0, -1, **options, **(beside | {"after": log.neighbour(6)}))
    expect(verify(log, gap), (None, "range"))


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_filtered_export_is_proved_line_by_line_and_never_complete(log, tmp_path, order) -> None:
    """Each line has its proof; completeness cannot be verified, a wrong proof is named."""
    which = [1, 4, 8] if order == "asc" else [8, 4, 1]
    rows = [log.line(i, proof=True) for i in which]
    options = {"filter": {"actor_id": "x"}, "count": 3, "boundary": ..., "order": order}

    def export(rows: list[dict]) -> Path:
        return log.export(tmp_path, 1, 8, lines=[rfc8785.dumps(r) for r in rows], **options)

    report = verify(log, export(rows))
    assert (report.exit_code, report.complete) == (VERIFIED, False)
    assert "filtered" in (report.incomplete_reason or "")
    assert verify(log, export(rows), complete=True).exit_code == COULD_NOT_VERIFY
    rows[1] = rows[1] | {"proof": rows[0]["proof"]}
    expect(verify(log, export(rows)), (4, "proof"))
    del rows[1]["proof"]
    assert verify(log, export(rows)).exit_code == COULD_NOT_VERIFY
    expect(verify(log, export(rows[:1])), (None, "missing"))


def test_a_descending_export_is_proved_but_not_complete(log, tmp_path) -> None:
    """With proofs in its lines every event is shown, and a gap is found."""
    lines = [rfc8785.dumps(log.line(i, proof=True)) for i in range(9, -1, -1)]
    report = verify(log, log.export(tmp_path, lines=lines, order="desc"))
    assert (report.exit_code, report.complete) == (VERIFIED, False)
    report = verify(log, log.export(tmp_path, lines=lines[:4] + lines[6:], order="desc"))
    expect(report, (4, "missing"))


def test_times_that_go_back_are_named(log, tmp_path, tools) -> None:
    """A log whose `received_at` goes back cannot promise time ranges."""
    log.entries[6] = log.entries[6].replace(tools.received_at(6), tools.received_at(4))
    expect(verify(log, log.export(tmp_path)), (6, "time"))


def test_client_signatures_are_checked_with_the_key_given(tools, tmp_path) -> None:
    """A right one is counted, a wrong one is named, one without a key is said to be unchecked."""
    log = tools.Log().grow(2)
    log.add({"id": "evt-2", "action": "signed"}, signer=log.key)
    path = log.export(tmp_path)
    mine = base64.b64encode(log.public_key).decode()
    good = Verifier([log.verifier_key], signing_keys={"k1": mine}).verify_bundle(path)
    assert (good.exit_code, good.signed, good.signatures_checked) == (VERIFIED, 1, 1)
    unknown = verify(log, path)
    assert (unknown.exit_code, unknown.signed, unknown.signatures_checked) == (VERIFIED, 1, 0)
    assert "client signatures: 0 of 1 checked" in unknown.summary()
    other = base64.b64encode(bytes(31) + b"\x01").decode()
    bad = Verifier([log.verifier_key], signing_keys={"k1": other}).verify_bundle(path)
    expect(bad, (2, "signature"))


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_missing_file_is_said_to_be_missing(log, tmp_path, name) -> None:
    """It could not be verified, and the report says what to bring."""
    path = log.export(tmp_path)
    (tmp_path / name).unlink()
    report = verify(log, path)
    assert report.exit_code == COULD_NOT_VERIFY
    assert name in report.findings[0].reason


def test_what_is_no_bundle_is_bad_input(log, tmp_path) -> None:
    """No such path, an empty directory, two bundles, another format, a manifest of tomorrow."""
    assert verify(log, tmp_path / "none.jsonl").exit_code == BAD_INPUT
    assert verify(log, tmp_path).exit_code == BAD_INPUT
    assert verify(log, log.export(tmp_path, v=2)).exit_code == BAD_INPUT
    assert verify(log, log.export(tmp_path, count=3)).exit_code == BAD_INPUT
    (tmp_path / "other.jsonl").touch()
    assert verify(log, tmp_path).exit_code == BAD_INPUT


def test_damaged_compressed_data_is_refused(log, tmp_path) -> None:
    """Cut, garbled and trailing bytes, though the manifest was signed over them."""
    good = log.export(tmp_path, compress=True).read_bytes()
    for bad in (good[:-5], good[:50] + b"\xff" * 20 + good[70:], good + b"garbage", b""):
        report = verify(log, log.export(tmp_path, compress=True, content=bad))
        assert report.exit_code == FAILED
        assert {"content", "missing"} & {finding.kind for finding in report.findings}


def test_compressed_data_that_expands_too_far_is_refused(log, tmp_path, monkeypatch) -> None:
    """A gzip bomb ends at the limit."""
    monkeypatch.setattr(content, "FREE_EXPANSION_BYTES", 1 << 20)
    bomb = gzip.compress(b"x" * (3 << 20))
    report = verify(log, log.export(tmp_path, compress=True, content=bomb))
    assert any("expands" in finding.reason for finding in report.findings)
    assert report.exit_code == FAILED


def test_lines_without_end_are_not_read_to_the_end(log, tmp_path) -> None:
    """A file of line feeds costs no more than its announced count."""
    report = verify(log, log.export(tmp_path, content=b"\n" * 100_000))
    assert report.events == 10 + _audit.MAX_SURPLUS_LINES
    assert report.exit_code == FAILED


def test_a_line_too_long_is_one_bad_line(log, tmp_path, monkeypatch) -> None:
    """Reading goes on behind it."""
    monkeypatch.setattr(content, "MAX_LINE_BYTES", 2000)
    lines = log.lines(0, 9)
    lines[2] = b"x" * 9000
    expect(verify(log, log.export(tmp_path, lines=lines)), (2, "malformed"), UNPROVED)


def test_findings_are_bounded_and_counted(tools, tmp_path, monkeypatch) -> None:
    """A report stays small, and its verdict counts what it does not list."""
    monkeypatch.setattr(report_module, "MAX_FINDINGS", 2)
    log = tools.Log().grow(5)
    report = verify(log, log.export(tmp_path, lines=[b"{}"] * 5))
    assert (len(report.findings), report.counts) == (2, {"malformed": 5, "unverifiable": 1})
    assert report.summary()[-1] == "… and 4 more findings"


def test_progress_is_told_at_the_end_and_on_the_way(log, tmp_path, monkeypatch) -> None:
    """Lines so far and the manifest's count."""
    monkeypatch.setattr(_audit, "PROGRESS_EVERY", 4)
    told = []
    verify(log, log.export(tmp_path), on_progress=lambda p: told.append((p.lines, p.total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_a_reason_stays_short(log, tmp_path) -> None:
    """Member names of a hostile event do not fill the report."""
    line = log.line(0) | {"salts": [], "redactions": []}
    line["event"] = {"id": "evt-0", "x" * 100_000: 1}
    del line["seed"]
    report = verify(log, log.export(tmp_path, 0, 0, lines=[rfc8785.dumps(line)]))
    expect(report, (0, "event"))
    assert len(report.findings[0].reason) <= 500


def test_a_report_never_holds_what_an_event_says(log, tmp_path) -> None:
    """Values of a changed event are in no finding and no summary."""
    lines = log.lines(0, 9)
    lines[6] = lines[6].replace(b"user_6", b"s3cret")
    lines[7] = lines[7][:-9] + b"s3cret"
    report = verify(log, log.export(tmp_path, lines=lines))
    assert "s3cret" not in repr(report) + "".join(report.summary())
    assert report.summary()[0].startswith("FAILED: 10 events read")
