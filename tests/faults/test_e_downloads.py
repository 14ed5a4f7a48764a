"""E1 to E7: downloads over lines that break, in processes that are killed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from trailseal import AsyncClient, Client, errors
from trailseal._models import Export
from trailseal_server.app import Running

from .conftest import Count
from .lines import Line, after, answering, cut_at_random
from .servers import DEADLINE_S, rounds

CUTS = 4  # of one download
WAITERS = rounds(1, 20)  # that are killed
STARVED_S = 120.0  # seconds that a process may need on a busy machine; none of them is measured
EVENTS = 3000  # about two megabytes of export
PATIENT = {"max_retries": 20}
CHILD = """
import sys
from trailseal import Client
url, key, path, export_id = sys.argv[1:]
Client(url, key).download_results(path, export_id=export_id)
"""
WAITER = """
import sys
from trailseal import Client
url, key, log_id = sys.argv[1:]
client = Client(url, key)
operation = client.export(log_id=log_id)
print(operation.id, flush=True)
client.wait(operation, timeout=60)
print("ended", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def exported(server: Running) -> Export:
    """An export of a real server."""
    text = "x" * 200
    events = ({"action": "a.b", "id": f"e{i}", "data": {"n": i, "t": text}} for i in range(EVENTS))
    with Client(server.url, server.key) as client:
        logged = client.bind(tenant_id="faults-downloads").log_bulk(events)
        logged.raise_for_failures()
        first = logged.receipts[0]
        assert first is not None
        log_id = first.log_id
        client.seal(log_id)
        export = client.wait(client.export(log_id=log_id), timeout=DEADLINE_S)
    assert isinstance(export, Export)
    assert export.bytes is not None
    assert export.bytes > 1_000_000
    return export


def port(server: Running) -> int:
    return int(server.url.rpartition(":")[2])


def whole(path: Path, export: Export) -> bool:
    """Whether the file is the export, and nothing else of the download is left."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest == export.sha256 and not list(path.parent.glob("*.part*"))


def grown(part: Path, before: int) -> None:
    """Wait until some of what has passed the line is in the file."""
    end = time.monotonic() + STARVED_S
    while not part.exists() or part.stat().st_size <= before:
        assert time.monotonic() < end
        time.sleep(0.002)


async def fetched(url: str, key: str | None, path: Path, export: Export) -> None:
    """The same with the other client."""
    async with AsyncClient(url, key, **PATIENT) as client:
        await client.download_results(path, export_id=export.id)


@pytest.mark.row("P-53", "P-54")
def test_e1_a_download_survives_cuts_at_random_bytes(
    server: Running, exported: Export, tmp_path: Path, trials: Count
) -> None:
    """In the head or the body, by FIN or RST: Range and If-Range go on, and the digest matches."""
    size = exported.bytes or 0
    cuts = 0
    for number in range(rounds(4, 200)):
        path = tmp_path / f"{number}" / "x.jsonl"
        path.parent.mkdir()
        with Line(port(server), cut_at_random(CUTS, size // 5)) as line:
            if number % 2:
                asyncio.run(fetched(line.url, server.key, path, exported))
            else:
                with Client(line.url, server.key, **PATIENT) as client:
                    client.download_results(path, export_id=exported.id)
                    client.verify(path)
            cuts += line.cuts
            asked = [head for head in line.heads if b"/content" in head]
            resumed = [head for head in asked[1:] if b"if-range: " in head.lower()]
            assert len(resumed) >= len(asked) - 2  # a cut in the head leaves nothing to go on from
        assert whole(path, exported)
    assert cuts == CUTS * rounds(4, 200)
    trials(rounds(4, 200))


class Versions:
    """A store whose content changes, and that may ignore Range."""

    def __init__(self, *, ignore_range: bool = False, ignore_condition: bool = False) -> None:
        self.contents = [random.Random(i).randbytes(300_000) for i in range(2)]  # noqa: S311 - no secret
        self.now = 0
        self.cut: int | None = None
        self._ignore_range, self._ignore_condition = ignore_range, ignore_condition

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        """Send one version, or a part of it; cut off where that is asked for, and change then."""
        content, etag = self.contents[self.now], f'"{self.now}"'
        start = 0
        fits = self._ignore_condition or request.headers.get("If-Range") == etag
        if "Range" in request.headers and fits and not self._ignore_range:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        request.send_response(206 if start else 200)
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(content) - start))
        request.send_header("Content-Disposition", 'attachment; filename="../../evil"')
        if start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", place)
        request.end_headers()
        end = len(content) if self.cut is None else min(len(content), start + self.cut)
        with suppress(OSError):
            request.wfile.write(content[start:end])
        if self.cut is not None:
            self.cut, request.close_connection = None, True
            self.now = (self.now + 1) % len(self.contents)


@pytest.mark.parametrize("wrong", ["changed", "range ignored", "condition ignored"])
def test_e2_e3_two_versions_are_never_spliced(
    server: Running, tmp_path: Path, wrong: str, trials: Count
) -> None:
    """Content that changed, a server without Range, a server without If-Range: from the start."""
    kinds = {"ignore_range": wrong == "range ignored", "ignore_condition": wrong[:3] == "con"}
    store = Versions(**kinds)
    with answering(store) as place, Client(server.url, server.key, **PATIENT) as client:
        for number in range(rounds(8, 200)):
            store.cut = random.randrange(1, 300_000)  # noqa: S311 - no secret
            path = tmp_path / f"{number}.bin"
            client.download_file(f"{place.url}/x?signed=1", path)
            assert path.read_bytes() == store.contents[store.now]
    names = {file.name for file in tmp_path.rglob("*")}
    assert names == {f"{number}.bin" for number in range(rounds(8, 200))}
    trials(rounds(8, 200))


@pytest.mark.row("P-53")
def test_e4_a_killed_download_goes_on_in_the_next_process(
    server: Running, exported: Export, tmp_path: Path, trials: Count
) -> None:
    """SIGKILL while bytes arrive: no file has the name; the next one asks for what is missing."""
    path = tmp_path / "x.jsonl"
    part = tmp_path / "x.jsonl.part"
    size = exported.bytes or 0
    kills = rounds(3, 200)
    resumed = 0
    for number in range(kills):
        room = size - (part.stat().st_size if part.exists() else 0)
        if room < 200_000:  # nearly done: finish it, and begin another
            with Client(server.url, server.key) as client:
                client.download_results(path, export_id=exported.id)
            assert whole(path, exported)
            path.unlink()
            room = size
        wanted = random.randrange(50_000, room // 2)  # noqa: S311 - no secret
        before = part.stat().st_size if part.exists() else 0
        with Line(port(server), after(wanted), hold=True) as line:
            given = (line.url, server.key or "", str(path), exported.id)
            command = [sys.executable, "-c", CHILD, *given]
            with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
                try:
                    assert line.holding.wait(STARVED_S), number
                    grown(part, before)
                finally:
                    child.kill()
            head = next(head for head in line.heads if b"/content" in head).lower()
            assert (f"range: bytes={before}-".encode() in head) == bool(before)
            resumed += bool(before)
        assert not path.exists()
    with Client(server.url, server.key) as client:
        client.download_results(path, export_id=exported.id)
    assert whole(path, exported)
    assert resumed >= kills // 2
    trials(kills)


def test_e6_an_operation_outlives_the_process_that_waits_for_it(
    server: Running, exported: Export, tmp_path: Path, trials: Count
) -> None:
    """Its id is all that the next process needs."""
    command = [sys.executable, "-c", WAITER, server.url, server.key or "", exported.log_id]
    for number in range(WAITERS):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            operation_id = child.stdout.readline().strip()
            child.send_signal(signal.SIGKILL)
            child.wait(DEADLINE_S)
        path = tmp_path / f"{number}.jsonl"
        with Client(server.url, server.key) as client:
            export = client.wait(operation_id, timeout=STARVED_S)
            client.download_results(path, export_id=export.id)
            client.verify(path)
    trials(WAITERS)


def test_e6_a_server_that_hangs_ends_the_wait_not_the_operation(
    server: Running, exported: Export, trials: Count
) -> None:
    """A typed error with the id, in time; the same id goes on once there are answers."""
    begun = time.monotonic()
    line = Line(port(server), after(0, b"/operations/"), hold=True)
    with line, Client(line.url, server.key) as client:
        operation = client.export(log_id=exported.log_id)
        with pytest.raises(errors.OperationTimeoutError) as caught:
            client.wait(operation, timeout=0.5)
    assert time.monotonic() - begun < DEADLINE_S / 2
    assert caught.value.operation_id == operation.id
    with Client(server.url, server.key) as client:
        assert client.wait(caught.value, timeout=DEADLINE_S).state == "succeeded"
    trials(1)


@pytest.mark.row("P-54")
def test_e7_a_key_never_crosses_origins_and_the_caller_names_the_path(
    server: Running, tmp_path: Path, trials: Count
) -> None:
    """Over real sockets: redirected from our server's place to another one's."""
    store = Versions()
    with answering(store) as other:

        def redirect(request: BaseHTTPRequestHandler) -> None:
            request.send_response(307)
            request.send_header("Location", f"{other.url}/x")
            request.send_header("Content-Length", "0")
            request.end_headers()

        with answering(redirect) as own, Client(own.url, server.key) as client:
            client.download_file(f"{own.url}/v1/exports/x/content", tmp_path / "mine.bin")
    assert "authorization" in own.seen[0]
    assert [name for name in other.seen[0] if "auth" in name or "cookie" in name] == []
    assert (tmp_path / "mine.bin").read_bytes() == store.contents[0]
    assert [file.name for file in tmp_path.rglob("*")] == ["mine.bin"]
    trials(1)
