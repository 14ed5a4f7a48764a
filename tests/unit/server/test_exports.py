"""Export jobs, end to end on a real database with a real signing key."""

import csv
import gzip
import hashlib
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from trailseal_server import log as tree
from trailseal_server.commitments import leaf_hash
from trailseal_server.exports import Exports, iter_export
from trailseal_server.operations import Operations
from trailseal_server.problems import Problem
from trailseal_server.store import jobs, micros
from trailseal_server.store.search import Filters
from trailseal_server.store.searches import Searches

COUNT = 2500  # three chunks
DEADLINE_S = 20.0


@pytest.fixture
def exports(trail: Any, tmp_path: Path) -> Iterator[Exports]:
    """A log of a tenant, and its exports; the worker is not started."""
    trail.log("main", tenant_id="acme")
    actions = ["a.one", "a.two", "b.one"]
    trail.append("main", [{"action": actions[i % 3], "message": "x" * 50} for i in range(COUNT)])
    exports = Exports(trail.reader, trail.signer, tmp_path / "exports")
    (tmp_path / "exports").mkdir()
    yield exports
    exports.stop()


def run(trail: Any, exports: Exports, request: dict[str, Any]) -> tuple[bytes, dict[str, Any], str]:
    """Make an export; its bytes, its manifest (its note checked) and its id."""
    created = exports.create(trail.caller("acme"), "main", request)
    assert exports.worker.work()
    export_id = created["operation_id"]
    operation = Operations(trail.store).get(trail.caller("acme"), export_id)
    assert operation["state"] == "succeeded", operation
    data = exports.content(trail.caller("acme"), export_id).path.read_bytes()
    papers = exports.manifest(trail.caller("acme"), export_id)
    digest = hashlib.sha256(papers["manifest"].encode()).hexdigest()
    origin = trail.signer.origin("main")
    assert trail.verify_note(papers["note"]) == f"trailseal/manifest/v1\n{origin}\n{digest}\n"
    manifest = orjson.loads(papers["manifest"])
    assert manifest["checkpoint"] == papers["checkpoint"]
    assert (manifest["bytes"], manifest["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    return data, manifest, export_id


def root_of(boundary: dict[str, Any], leaves: list[bytes], low: int) -> bytes:
    """The root that a range of leaves and its boundary give, by plain recursion over the tree."""
    nodes = {(level, n): bytes.fromhex(h) for side in boundary.values() for level, n, h in side}
    nodes |= {(0, low + n): leaf for n, leaf in enumerate(leaves)}
    size = max((n + 1) << level for level, n in nodes)

    def hash_of(start: int, end: int) -> bytes:
        width = end - start
        level = width.bit_length() - 1
        if width == 1 << level and (level, start >> level) in nodes:
            return nodes[level, start >> level]
        middle = start + (1 << ((width - 1).bit_length() - 1))
        return tree.node_hash(hash_of(start, middle), hash_of(middle, end))

    return hash_of(0, size)


def root(trail: Any) -> bytes:
    with trail.store.read() as connection:
        return tree.fold(tree.split(jobs.selections.find_log(connection, "main").edge))


def leaves_of(lines: list[dict[str, Any]]) -> list[bytes]:
    return [leaf_hash(line["entry"].encode()) for line in lines]


@pytest.mark.row("P-52", "L-13")
def test_a_whole_export_gives_the_root_of_its_checkpoint(trail: Any, exports: Exports) -> None:
    """Every event once, in order, with what opens it; the leaves alone give the root."""
    data, manifest, _ = run(trail, exports, {})
    lines = [orjson.loads(line) for line in data.splitlines()]
    assert [line["index"] for line in lines] == list(range(COUNT))
    assert all(set(line) == {"index", "event", "seed", "entry"} for line in lines)
    assert (manifest["filter"], manifest["query"], manifest["count"]) == (None, None, COUNT)
    assert manifest["boundary"] == {"left": [], "right": []}
    assert root_of(manifest["boundary"], leaves_of(lines), 0) == root(trail)


@pytest.mark.row("P-52", "P-43")
def test_a_time_range_is_complete_with_its_boundary(trail: Any, exports: Exports) -> None:
    """Leaves and boundary give the root; the entries just outside are named."""
    start = micros.parse("2026-01-01T00:16:40+00:00")
    request = {"start": micros.text(start), "end": micros.text(start + 99_500_000)}
    data, manifest, _ = run(trail, exports, request)
    lines = [orjson.loads(line) for line in data.splitlines()]
    assert [manifest[name] for name in ("first_index", "last_index", "count")] == [1000, 1099, 100]
    assert root_of(manifest["boundary"], leaves_of(lines), 1000) == root(trail)
    assert (manifest["before"]["index"], manifest["after"]["index"]) == (999, 1100)
    assert (manifest["start"], manifest["end"]) == (request["start"], request["end"])
    _, until_now, _ = run(trail, exports, {"start": request["start"], "end": "now"})
    assert until_now["after"] is None


@pytest.mark.row("P-52", "L-14")
def test_a_filtered_export_proves_each_line(trail: Any, exports: Exports) -> None:
    """Each line's inclusion proof leads to the checkpoint's root; nothing claims completeness."""
    data, manifest, _ = run(trail, exports, {"filter": {"action_prefix": "a."}, "query": "x*"})
    lines = [orjson.loads(line) for line in data.splitlines()]
    assert [line["index"] for line in lines] == [i for i in range(COUNT) if i % 3 < 2]
    assert manifest["filter"] == {"action_prefix": "a."}
    assert "boundary" not in manifest
    for line in lines[::400]:
        top, low, high = leaf_hash(line["entry"].encode()), line["index"], line["index"] + 1
        ranges = tree.inclusion_ranges(line["index"], COUNT)
        for (first, last), each in zip(ranges, map(bytes.fromhex, line["proof"]), strict=True):
            top = tree.node_hash(each, top) if last == low else tree.node_hash(top, each)
            low, high = min(low, first), max(high, last)
        assert top == root(trail)


@pytest.mark.row("L-13", "P-53")
def test_formats_and_gzip_hold_the_same_events(trail: Any, exports: Exports) -> None:
    """JSON is an array of the jsonl objects; gzip is deterministic; csv has one row an event."""
    plain, _, _ = run(trail, exports, {"order": "desc"})
    packed, manifest, _ = run(trail, exports, {"order": "desc", "compression": "gzip"})
    assert gzip.decompress(packed) == plain
    assert packed[4:8] == bytes(4)
    assert manifest["compression"] == "gzip"
    array, _, _ = run(trail, exports, {"order": "desc", "format": "json"})
    assert orjson.loads(array) == [orjson.loads(line) for line in plain.splitlines()]
    table, _, _ = run(trail, exports, {"format": "csv", "filter": {"action": "a.one"}})
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(0, COUNT, 3))
    empty, manifest, _ = run(trail, exports, {"format": "json", "query": "nothing"})
    assert (orjson.loads(empty), manifest["first_index"]) == ([], None)


def test_v15_csv_never_holds_a_formula(trail: Any) -> None:
    """Cells that a spreadsheet would evaluate begin with a quote."""
    trail.log("main")
    bad = ["=1+1", "+1", "-1", "@x", "\tx", "\r=1"]
    trail.append("main", [{"action": "a", "message": text, "data": {"k": text}} for text in bad])
    table = b"".join(iter_export(trail.store, "main", Filters(), form="csv")).decode()
    rows = list(csv.DictReader(table.splitlines(keepends=True)))
    assert [row["message"].replace("\n", "") for row in rows] == ["'" + text for text in bad]


@pytest.mark.row("P-53")
def test_an_export_of_a_search_is_the_searchs_snapshot(trail: Any, exports: Exports) -> None:
    """Events logged since the search are not in it; `max_results` holds."""
    caller = trail.caller("acme")
    request = {"query": "action:b", "max_results": 5, "order": "desc"}
    search_id = Searches(trail.reader).create(caller, "main", request).search_id
    trail.append("main", [{"action": "b.one"}])
    data, _, _ = run(trail, exports, {"search_id": search_id})
    expected = [i for i in range(COUNT) if i % 3 == 2][::-1][:5]
    assert [orjson.loads(line)["index"] for line in data.splitlines()] == expected


def test_a_job_of_a_killed_worker_is_taken_up_by_another(
    trail: Any, exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease runs out, the next worker begins anew; the dead one changes nothing, and what it
    wrote is removed."""
    caller = trail.caller("acme")
    export_id = exports.create(caller, "main", {})["operation_id"]
    monkeypatch.setattr(jobs, "LEASE", -1)
    dead = jobs.claim(trail.store, "export", "dead")
    monkeypatch.undo()
    assert dead is not None
    assert dead.operation_id == export_id
    (tmp_path / "exports" / f"{export_id}.dead.part").write_bytes(b"half of it")
    other = Exports(trail.reader, trail.signer, tmp_path / "exports")
    assert other.worker.work()
    assert exports.get(caller, export_id)["events"] == COUNT
    assert not jobs.finish(trail.store, dead, "dead", "failed")
    assert not other.worker.work()
    assert [path.suffix for path in (tmp_path / "exports").iterdir()] == [".data"]


def test_a_job_that_keeps_killing_its_workers_fails(
    trail: Any, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last attempt it is failed, with a problem, instead of being claimed for ever."""
    caller = trail.caller("acme")
    export_id = exports.create(caller, "main", {})["operation_id"]
    monkeypatch.setattr(jobs, "LEASE", -1)
    for _ in range(jobs.MAX_ATTEMPTS):
        assert jobs.claim(trail.store, "export", "dead") is not None
    assert jobs.claim(trail.store, "export", "dead") is None
    operation = Operations(trail.store).get(caller, export_id)
    assert (operation["state"], operation["error"]["code"]) == ("failed", "operation_failed")


def test_the_thread_makes_exports_and_stops(trail: Any, exports: Exports) -> None:
    """`start` finds the queued job by itself; `stop` returns; a second start works."""
    caller = trail.caller("acme")
    for _ in range(2):
        export_id = exports.create(caller, "main", {})["operation_id"]
        exports.start()
        _wait(lambda: exports.get(caller, export_id)["state"] == "succeeded")  # noqa: B023 - called here
        exports.stop()


def _wait(done: Any) -> None:

    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # the worker is a real thread


@pytest.mark.row("P-52")
def test_exports_are_listed_cancelled_deleted_and_expire(
    trail: Any, exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole life of an export, and 404 for another tenant at each step."""
    caller, evil = trail.caller("acme"), trail.caller("evil")
    operations = Operations(trail.store)
    _, _, done = run(trail, exports, {})
    waiting = exports.create(caller, "main", {})["operation_id"]
    page = exports.list_exports("main", limit=1)
    rest = exports.list_exports("main", limit=1, cursor=page["next_cursor"])
    assert [page["items"][0]["export_id"], rest["items"][0]["export_id"]] == [waiting, done]
    assert rest["next_cursor"] is None
    for call in (exports.get, operations.get, operations.cancel, exports.delete):
        with pytest.raises(Problem) as caught:
            call(evil, done)
        assert caught.value.status == 404
    assert operations.cancel(caller, waiting)["state"] == "cancelled"
    assert not exports.worker.work()
    with pytest.raises(Problem, match="cancelled"):
        exports.content(caller, waiting)
    monkeypatch.setattr(micros, "now", lambda _now=micros.now: _now() + jobs.LIFETIME)
    assert exports.get(caller, done)["state"] == "expired"
    with pytest.raises(Problem) as caught:
        exports.content(caller, done)
    assert caught.value.code == "export_expired"
    exports.worker.sweep()
    assert list(tmp_path.rglob(f"{done}*")) == []
    exports.delete(caller, done)
    with pytest.raises(Problem):
        exports.get(caller, done)


def test_a_request_that_cannot_be_done_is_refused_at_once(trail: Any, exports: Exports) -> None:
    """Bad queries, orders and combinations are errors of the request, not failed jobs."""
    for request, code in [
        ({"query": "("}, "query_invalid"),
        ({"query": "occurred_at>soon"}, "query_invalid"),
        ({"order_by": "actor"}, "request_invalid"),
        ({"start": "never"}, "request_invalid"),
        ({"search_id": "srh_x", "query": "a"}, "request_invalid"),
        ({"search_id": "srh_x"}, "search_not_found"),
    ]:
        with pytest.raises(Problem) as caught:
            exports.create(trail.caller("acme"), "main", request)
        assert caught.value.code == code


def test_streaming_takes_constant_memory(trail: Any) -> None:
    """Four times the events take no more memory than one chunk's worth."""
    trail.log("main")
    peaks = []
    for _ in range(2):
        trail.append("main", [{"action": "a", "message": "x" * 2000}] * 3000)
        tracemalloc.start()
        size = sum(map(len, iter_export(trail.store, "main", Filters())))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 12_000_000
    assert peaks[1] < 1.3 * peaks[0]
