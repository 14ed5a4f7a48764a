"""Exports: waited for, downloaded whole or not at all."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from trailseal import _downloads, _exports, _targets, config, errors
from trailseal._flow import Response, Sink
from trailseal.errors import AcceptedRequestError, DownloadError, from_transport

from .conftest import Script, Side, answer, make_key

KEY = "trailseal.local/main+d32ca939+AesWaczS+PuV3n7d41AUF9qV7oqihQZDGfM+SJKCE32i"
CONTENT = random.Random(1).randbytes(50_000)  # noqa: S311  # bytes to compare, no secret
SHA = hashlib.sha256(CONTENT).hexdigest()
MANIFEST = {"export_id": "op_1", "manifest": '{"v":1}', "note": "note\n", "checkpoint": "point\n"}


def operation(state: str, **more: Any) -> dict[str, Any]:
    return {
        "operation_id": "op_1",
        "kind": "export",
        "state": state,
        "created_at": "2026-01-01T00:00:00Z",
        **more,
    }


def export(state: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "export_id": "op_1",
        "log_id": "main",
        "state": state,
        "format": "jsonl",
        "compression": "none",
        "bytes": len(CONTENT),
        "sha256": SHA,
        "events": 3,
        **more,
    }


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends with a broken connection."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        raise httpx.ReadError("cut")

    async def __aiter__(self) -> Any:
        yield self.content
        raise httpx.ReadError("cut")


def ranged(cut_at: int | None = None, etag: str = '"1"') -> Any:
    """A server of CONTENT that knows Range and If-Range, and may cut."""

    def respond(request: httpx.Request) -> httpx.Response:
        start = 0
        if "range" in request.headers and request.headers.get("if-range") == etag:
            start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        headers = {"etag": etag}
        if start:
            headers["content-range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        body = CONTENT[start:] if cut_at is None else CONTENT[start:cut_at]
        stream = Cut(body) if cut_at is not None else httpx.ByteStream(body)
        return httpx.Response(206 if start else 200, headers=headers, stream=stream)

    return respond


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once: how long they wait is tested in test_retry."""
    monkeypatch.setattr(_downloads.random, "random", lambda: 0.0)


@pytest.mark.row("P-10", "P-09")
def test_poll_result_is_one_look(side: Side, script: Script) -> None:
    """The result, or AcceptedRequestError, which can be given back."""
    script.steps = [
        answer(202, operation("running"), retry_after="7"),
        answer(200, operation("succeeded", export=export())),
    ]
    with pytest.raises(AcceptedRequestError) as caught:
        side("poll_result", "op_1")
    assert (caught.value.operation_id, caught.value.retry_after) == ("op_1", 7)
    assert side("poll_result", caught.value).sha256 == SHA
    assert [request.url.path for request in script.requests] == ["/v1/operations/op_1"] * 2


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("failed", errors.OperationFailedError),
        ("cancelled", errors.OperationFailedError),
        ("expired", errors.ResultExpiredError),
    ],
)
def test_an_operation_without_result_raises(
    side: Side, script: Script, state: str, kind: type
) -> None:
    """E6: every end has its error, with the server's reason as its cause."""
    script.steps = [answer(200, operation(state, error={"code": "storage_full", "detail": "D"}))]
    with pytest.raises(kind) as caught:
        side("wait", "op_1")
    if state == "failed":
        assert isinstance(caught.value.__cause__, errors.StorageFullError)


def test_wait_reports_progress_until_the_end(side: Side, script: Script) -> None:
    """The server holds the answers; nothing is polled in a tight loop."""
    script.steps = [
        answer(202, operation("pending")),
        answer(202, operation("running", progress={"done": 1, "total": 3}), retry_after="0"),
        answer(200, operation("succeeded", export=export())),
    ]
    states: list[str] = []
    side("wait", "op_1", on_progress=lambda op: states.append(op.state))
    assert states == ["pending", "running", "succeeded"]
    assert all(request.url.params["wait"] == "1" for request in script.requests)


def test_wait_ends_with_its_deadline_and_the_operation_goes_on() -> None:
    """The flow is told that time is up, and says which operation to wait for again."""
    flow = _exports.wait(config.load("http://x", make_key(), environ={}), "op_1", None)
    next(flow)
    with pytest.raises(errors.OperationTimeoutError) as caught:
        flow.send(from_transport("deadline", "x"))
    assert caught.value.operation_id == "op_1"


def test_a_pause_that_the_server_asks_for_is_kept_within_bounds() -> None:
    """Retry-After is the pause before the next look, at most ten seconds."""
    flow = _exports.wait(config.load("http://x", make_key(), environ={}), "op_1", None)
    next(flow)
    body = b'{"operation_id": "op_1", "state": "running"}'
    assert flow.send(Response(202, {"retry-after": "3"}, body)).after == 3.0
    assert flow.send(Response(202, {"retry-after": "900"}, body)).after == _exports.MAX_PAUSE


@pytest.mark.row("P-52")
def test_an_export_takes_the_filters_of_a_query(side: Side, script: Script) -> None:
    """Times stand beside the filter; a key makes the call safe to repeat."""
    script.steps = [answer(202, operation("pending"))]
    made = side("export", "csv", actor_id="u", start="-7d", order="asc", compression="gzip")
    assert made.id == "op_1"
    assert script.bodies()[0] == {
        "format": "csv",
        "compression": "gzip",
        "filter": {"actor_id": "u"},
        "order": "asc",
        "start": "-7d",
    }
    assert script.requests[0].headers["idempotency-key"]


@pytest.mark.row("P-53", "P-54")
def test_a_download_lies_whole_beside_its_proofs(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """The file, its manifest, note and checkpoint; nothing else is left."""
    script.steps = [answer(200, export()), answer(200, MANIFEST), ranged()]
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "audit.jsonl"
    done = side("download_results", path, export_id="op_1", on_progress=lambda *at: seen.append(at))
    assert path.read_bytes() == CONTENT
    assert (done.bytes, done.sha256) == (len(CONTENT), SHA)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    names = {"audit.jsonl", "audit.manifest.json", "audit.manifest.note", "audit.checkpoint"}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert (tmp_path / "audit.manifest.json").read_text() == '{"v":1}'


@pytest.mark.row("P-53")
def test_a_search_is_exported_first(side: Side, script: Script, tmp_path: Path) -> None:
    """One call from a search to a file."""
    script.steps = [
        answer(202, operation("pending")),
        answer(200, operation("succeeded", export=export())),
        answer(200, export(format="csv")),
        ranged(),
    ]
    side("download_results", tmp_path / "x.csv", search_id="srh_1", format="csv")
    assert json.loads(script.requests[0].content) == {"format": "csv", "search_id": "srh_1"}


@pytest.mark.parametrize("given", [{}, {"export_id": "op_1", "search_id": "srh_1"}])
def test_neither_or_both_ids_are_refused(
    side: Side, script: Script, tmp_path: Path, given: dict[str, str]
) -> None:
    """It must be clear what to download."""
    with pytest.raises(errors.ConfigurationError, match="either"):
        side("download_results", tmp_path / "x.jsonl", **given)
    assert script.requests == []


def test_cuts_are_resumed_where_they_happened(side: Side, script: Script, tmp_path: Path) -> None:
    """E1: Range and If-Range; more cuts than retries are fine while there is progress."""
    cuts = [7, 500, 501, 20_000, 30_000, 49_999]
    script.steps = [answer(200, export(format="csv")), *map(ranged, cuts), ranged()]
    side("download_results", tmp_path / "x.csv", export_id="op_1")
    assert (tmp_path / "x.csv").read_bytes() == CONTENT
    assert [r.headers.get("range") for r in script.requests[1:]] == [
        None,
        *(f"bytes={c}-" for c in cuts),
    ]


def test_changed_content_and_ignored_ranges_start_again(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """E2, E3: two versions are never spliced."""
    script.steps = [
        answer(200, export(format="csv")),
        ranged(1000, etag='"old"'),
        ranged(2000, etag='"new"'),
        ranged(etag='"new"'),
    ]
    side("download_results", tmp_path / "x.csv", export_id="op_1")
    assert (tmp_path / "x.csv").read_bytes() == CONTENT


def test_no_progress_ends_in_an_error_and_leaves_nothing(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """max_retries counts the tries that brought not one byte."""
    script.steps = [answer(200, export(format="csv")), *([httpx.ReadError("x")] * 4)]
    with pytest.raises(DownloadError):
        side("download_results", tmp_path / "x.csv", export_id="op_1")
    assert (len(script.requests), list(tmp_path.iterdir())) == (5, [])


@pytest.mark.parametrize(
    "wrong", [{"sha256": "0" * 64}, {"bytes": len(CONTENT) + 1}, {"bytes": 10}]
)
def test_content_that_is_not_the_announced_one_gets_no_name(
    side: Side, script: Script, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    """Too short, too long or changed: the final path is not touched."""
    script.steps = [answer(200, export(format="csv", **wrong)), ranged()]
    with pytest.raises(DownloadError):
        side("download_results", tmp_path / "x.csv", export_id="op_1")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_on_demand(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """Refused before any request; replaced at once when asked for."""
    path = tmp_path / "x.csv"
    path.write_text("mine")
    with pytest.raises(DownloadError, match="overwrite=True"):
        side("download_results", path, export_id="op_1")
    assert (script.requests, path.read_text()) == ([], "mine")
    script.steps = [answer(200, export(format="csv")), ranged()]
    side("download_results", path, export_id="op_1", overwrite=True)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["", "missing/x.csv"])
def test_a_path_that_cannot_be_written_is_refused_before_any_io(
    side: Side, script: Script, tmp_path: Path, name: str
) -> None:
    """Not after the whole download."""
    with pytest.raises(errors.ConfigurationError, match="folder"):
        side("download_results", tmp_path / name, export_id="op_1", overwrite=True)
    assert script.requests == []


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("running", AcceptedRequestError),
        ("failed", errors.OperationFailedError),
        ("expired", errors.ResultExpiredError),
    ],
)
def test_an_export_that_is_not_there_is_said_so(
    side: Side, script: Script, tmp_path: Path, state: str, kind: type
) -> None:
    """Each state has its error, and the path stays free."""
    script.steps = [answer(200, export(state))]
    with pytest.raises(kind):
        side("download_results", tmp_path / "x.jsonl", export_id="op_1")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_verification_cannot_read_is_refused(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """Offline checks find manifest and compression by the file's name."""
    script.steps = [answer(200, export(compression="gzip"))]
    with pytest.raises(errors.ConfigurationError, match=r"\.jsonl\.gz"):
        side("download_results", tmp_path / "audit.jsonl", export_id="op_1")


def test_a_target_is_a_sink() -> None:
    """By type: what a driver streams into."""
    sink: Sink = _targets.Target(None, None)
    assert sink is not None


def test_what_cannot_be_verified_is_refused_by_its_type(side: Side, script: Script) -> None:
    """A number is no evidence, with keys of one's own or without."""
    for keys in ([], [KEY]):
        with pytest.raises(errors.ConfigurationError, match="int"):
            side.settle(side.make(trusted_keys=keys).verify(3))
    assert script.requests == []
