"""`trailseal spool` on a folder that a killed process has left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trailseal import Audit
from trailseal_server.app import Running

from .children import Place


@pytest.fixture
def place(server: Running, log_id: str, tmp_path: Path) -> Place:
    return Place(server, log_id, tmp_path / "spool")


def spool(place: Place, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Run a command; its lines of JSON."""
    given = {"TRAILSEAL_URL": place.server.url, "TRAILSEAL_API_KEY": place.server.key or ""}
    done = subprocess.run(
        [sys.executable, "-m", "trailseal", "spool", *arguments, "--jsonl"],
        env={**os.environ, **given, "TRAILSEAL_SPOOL_DIR": str(place.folder)},
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.row("A-13")
def test_what_a_killed_process_left_is_shown_sent_requeued_and_exported(place: Place) -> None:
    """Status, export and drain after kill -9; then an event that the server refused."""
    with place.client() as client:
        client.log("a.b", id="taken-7", log_id=place.log_id)
    program = """
for n in range(20):
    accept(n)
os.kill(os.getpid(), signal.SIGKILL)
"""
    place.finish(place.start(program, "taken"))
    [shown] = spool(place, "status")
    assert shown["state"] == "left"
    exported = spool(place, "export")
    assert len(exported) == shown["pending"] + shown["parked"]
    [sent] = spool(place, "drain")
    assert sent["pending"] == 0
    [shown] = spool(place, "status")
    assert (shown["pending"], shown["parked"]) == (0, 1)
    [parked] = spool(place, "export")
    assert (parked["state"], parked["id"]) == ("parked", "taken-7")
    assert parked["code"] == "event_id_conflict"
    assert parked["event"]["data"] == {"n": 7}
    assert spool(place, "requeue", "--id", "another", code=1) == [{"requeued": 0}]
    assert spool(place, "requeue", "--id", "taken-7") == [{"requeued": 1}]
    [again] = spool(place, "drain")
    assert (again["adopted"], again["parked"]) == (1, 1)
    place.check(drained=False)


def test_what_is_requeued_while_its_process_runs_is_sent_by_it(place: Place) -> None:
    """And events that come meanwhile keep their places."""
    with place.client() as client:
        client.log("a.b", id="taken", log_id=place.log_id)
        with Audit(client, spool=place.folder) as audit:
            audit.log("a.other", id="taken", log_id=place.log_id)
            assert audit.flush(30)
            assert audit.stats().parked == 1
            [shown] = spool(place, "status")
            assert (shown["state"], shown["parked"]) == ("in use", 1)
            assert spool(place, "requeue") == [{"requeued": 1}]
            for number in range(3):
                audit.log("a.b", id=f"e{number}", log_id=place.log_id)
            assert audit.drain(30)  # looks at once
            stats = audit.stats()
            assert (stats.accepted, stats.adopted, stats.delivered, stats.parked) == (4, 1, 3, 2)
    place.accepted = ["e0", "e1", "e2"]
    place.check(drained=False)
