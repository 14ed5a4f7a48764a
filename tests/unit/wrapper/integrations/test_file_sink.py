"""`FileSink`: events as JSON Lines, with no server."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trailseal import Client
from trailseal.cli._app import app
from trailseal.errors import (
    ClosedError,
    ConfigurationError,
    DeliveryError,
    EventValidationError,
    SpoolFullError,
)
from trailseal.integrations.sinks import FileSink
from trailseal_server.app import Running
from typer.testing import CliRunner


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.row("J-27")
def test_what_was_written_without_a_server_can_be_imported_later(
    server: Running, log_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ids, times and contents; a second import changes nothing."""
    path = tmp_path / "audit.jsonl"
    with FileSink(path) as sink:
        ids = [sink.log("invoice.deleted", actor="u1", data={"n": n}).event_id for n in range(5)]
    assert server.key
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    command = ["import", str(path), "--log-id", log_id]
    for counted in ("5 stored", "5 there already"):
        done = CliRunner().invoke(app, command)
        assert (done.exit_code, counted in done.output) == (0, True), done.output
    with Client(server.url, server.key) as client:
        stored = list(client.query(log_id=log_id, order="asc"))
    assert [event.id for event in stored] == ids
    written = read(path)
    assert [event.raw["occurred_at"] for event in stored] == [e["occurred_at"] for e in written]
    assert [event.data for event in stored] == [{"n": n} for n in range(5)]


@pytest.mark.parametrize("fsync", [False, True])
def test_a_file_may_be_rotated_at_any_time(tmp_path: Path, fsync: bool) -> None:
    """Renamed, removed or truncated: the next event is in the file at the path."""
    path = tmp_path / "audit.jsonl"
    with FileSink(path, fsync=fsync) as sink:
        sink.log("one")
        path.rename(tmp_path / "audit.jsonl.1")
        sink.log("two")
        path.unlink()
        sink.log("three")
        os.truncate(path, 0)
        sink.log("four")
    assert [event["action"] for event in read(tmp_path / "audit.jsonl.1")] == ["one"]
    assert [event["action"] for event in read(path)] == ["four"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def many(path: Path, sink: FileSink, name: int) -> None:
    for number in range(100):
        sink.log("a.b", id=f"{name}-{number}", message="x" * 5000)


def test_processes_and_forks_share_a_file_while_it_is_rotated(tmp_path: Path) -> None:
    """Every line is whole, and none is missing."""
    path = tmp_path / "audit.jsonl"
    sink = FileSink(path)
    sink.log("a.b", id="parent")
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=many, args=(path, sink, name)) for name in range(3)]
    for child in children:
        child.start()
    for number in range(20):
        path.rename(tmp_path / f"audit.jsonl.{number}")
        sink.log("a.b", id=f"parent-{number}")
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    events = [event for each in tmp_path.iterdir() for event in read(each)]
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids)) == 321


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    """A full disk is an error, and leaves whole lines; with room again it goes on."""
    path = tmp_path / "audit.jsonl"
    code = """
import resource, signal, sys
from trailseal.errors import DeliveryError
from trailseal.integrations.sinks import FileSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sink = FileSink(sys.argv[1])
sink.log("one")
resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
try:
    sink.log("two", message="x" * 5000)
except DeliveryError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sink.log("three")
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert [event["action"] for event in read(path)] == ["one", "three"]


def test_a_full_disk_has_its_own_error() -> None:
    """`/dev/full` is one."""
    sink = FileSink("/dev/full")
    with pytest.raises(SpoolFullError) as caught:
        sink.log("a.b")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_a_line_cut_by_a_crash_is_ended_before_the_next(tmp_path: Path) -> None:
    """The event after it is whole."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"action": "cut')
    with FileSink(path) as sink:
        sink.log("a.b")
    cut, whole = path.read_bytes().splitlines()
    assert cut == b'{"action": "cut'
    assert json.loads(whole)["action"] == "a.b"


def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    """As the clients say it."""
    path = tmp_path / "audit.jsonl"
    with FileSink(path) as sink:
        with pytest.raises(EventValidationError):
            sink.log("")
        with pytest.raises(ConfigurationError):
            sink.log("a.b", log_id="main")
        with pytest.raises(DeliveryError):
            FileSink(tmp_path / "missing" / "audit.jsonl").log("a.b")
    with pytest.raises(ClosedError):
        sink.log("a.b")
    assert not path.exists()
