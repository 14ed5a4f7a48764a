"""`trailseal import`: what becomes of other systems' files, and of bad ones."""

import csv
import gzip
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trailseal
from trailseal.cli._app import app
from trailseal_server.app import Running, running
from trailseal_server.settings import Settings
from typer.testing import CliRunner, Result

WAIT_S = 30.0
Import = Callable[..., Result]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cloudtrail.jsonl"
RECORD = {
    "eventVersion": "1.05",
    "eventTime": "2020-09-14T00:44:23Z",
    "eventSource": "ec2.amazonaws.com",
    "eventName": "DescribeInstances",
    "awsRegion": "us-east-1",
    "sourceIPAddress": "192.0.2.1",
    "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::1:user/pedro", "userName": "pedro"},
    "eventID": "a3d34faf-076e-44ff-b2f7-605d76705a81",
}
PANGEA = {
    "envelope": {
        "event": {
            "message": "deleted",
            "actor": "ann",
            "action": "delete",
            "target": "inv_1",
            "status": "success",
            "source": "billing",
            "old": '{"paid": true}',
            "new": None,
            "timestamp": "2024-03-29T17:26:50.193Z",
        },
        "received_at": "2024-03-29T17:26:51.000Z",
    },
    "hash": "ab" * 32,
    "leaf_index": 4,
    "membership_proof": "l:00,r:11",
    "published": True,
}


@pytest.fixture
def run(server: Running, log_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Import:
    """Imports into the test's log, from an empty folder."""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.chdir(tmp_path)

    def imported(*arguments: object, code: int = 0, stdin: Any = None) -> Result:
        given = ["import", *map(str, arguments), "--log-id", log_id, "--json"]
        result = CliRunner().invoke(app, given, input=stdin)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return imported


def counts(result: Result) -> tuple[int, int, int, int]:
    told = json.loads(result.stdout)
    return told["read"], told["created"], told["duplicate"], told["failed"]


def events(log_id: str) -> list[trailseal.Event]:
    with trailseal.Client.from_env() as client:
        return list(client.query(order="asc", log_id=log_id))


def write(name: str, *records: Any) -> str:
    Path(name).write_text("".join(json.dumps(each) + "\n" for each in records))
    return name


def test_events_come_in_once_however_often_the_file_does(run: Import, log_id: str) -> None:
    """With ids, without ids but with a time, and with neither: a second import finds all there."""
    file = write(
        "events.jsonl",
        {"id": "e1", "action": "a"},
        {"action": "b", "occurred_at": "2026-01-31T12:00:00Z"},
        {"action": "same"},
        {"action": "same"},
    )
    assert counts(run(file)) == (4, 4, 0, 0)
    assert counts(run(file)) == (4, 0, 4, 0)
    Path(file).write_text(Path(file).read_text() + '{"action": "later"}\n')
    assert counts(run("-", stdin=Path(file).read_bytes())) == (5, 1, 4, 0)
    assert [event.action for event in events(log_id)] == ["a", "b", "same", "same", "later"]


def test_a_bad_line_is_named_and_the_others_are_stored(run: Import, log_id: str) -> None:
    """No JSON, no object, a wrong field, an id with other content; each with its number."""
    Path("events.jsonl").write_text(
        '{"id": "e1", "action": "a"}\n'
        '{"action": \n'
        "\n"
        "[]\n"
        '{"action": "a", "action": "b"}\n'
        '{"action": "x", "actor": {"id": "a", "type": "person"}}\n'
        '{"id": "e1", "action": "other"}\n'
        "7\n"
        '{"id": "e9", "action": "z"}\n'
    )
    done = run("events.jsonl", "--report", "failed.jsonl", code=1)
    assert counts(done) == (7, 2, 0, 5)
    failed = [json.loads(line) for line in Path("failed.jsonl").read_text().splitlines()]
    assert sorted(each["line"] for each in failed) == [2, 5, 6, 7, 8]
    by_line = {each["line"]: each["message"] for each in failed}
    assert "not JSON" in by_line[2]
    assert "actor/type" in by_line[6]
    assert "e1" in by_line[7]
    assert "line 6: " in done.stderr
    assert [event.id for event in events(log_id)] == ["e1", "e9"]


def test_a_dry_run_checks_everything_and_sends_nothing(
    run: Import, log_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same faults are found, without a server."""
    file = write("events.jsonl", {"action": "a"}, {"action": ""}, {"action": "b", "colour": 1})
    monkeypatch.setenv("TRAILSEAL_URL", "http://127.0.0.1:1")
    done = run(file, "--dry-run", code=1)
    assert counts(done) == (3, 0, 0, 2)
    assert "line 2: action" in done.stderr
    assert "line 3: colour" in done.stderr


def test_an_import_that_was_stopped_says_where_to_go_on(
    run: Import, log_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server ends behind the first batch of a file that is still being written; another one,
    on the same database, gets the rest, and every line is there once."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}", port=0)
    lines = [json.dumps({"id": f"e{n}", "action": "a"}) + "\n" for n in range(1200)]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("w") as writer:
            writer.writelines(lines[:1100])
            writer.flush()
            deadline = time.monotonic() + WAIT_S
            while len(events(log_id)) < 1000 and time.monotonic() < deadline:
                time.sleep(0.05)
            first.close()
            writer.writelines(lines[1100:])

    with ExitStack() as first, ThreadPoolExecutor(1) as pool:
        server = first.enter_context(running(settings))
        monkeypatch.setenv("TRAILSEAL_URL", server.url)
        monkeypatch.setenv("TRAILSEAL_API_KEY", server.key or "")
        with httpx.Client(headers={"Authorization": f"Bearer {server.key}"}) as client:
            client.post(f"{server.url}/v1/logs", json={"log_id": log_id}).raise_for_status()
        writing = pool.submit(write)
        stopped = run(pipe, code=5)
        writing.result(WAIT_S)
    assert "--from-line 1001" in stopped.stderr
    with running(settings) as second:
        monkeypatch.setenv("TRAILSEAL_URL", second.url)
        whole = tmp_path / "whole"
        whole.write_text("".join(lines))
        assert counts(run(whole, "--from-line", 1001)) == (200, 200, 0, 0)
        assert [each.id for each in events(log_id)] == [f"e{n}" for n in range(1200)]


@pytest.mark.row("C-04", "C-06")
@pytest.mark.parametrize("form", ["lines", "document", "pretty", "gzip", "put_audit_events"])
def test_cloudtrail_comes_as_files_and_streams_have_it(form: str, run: Import, log_id: str) -> None:
    """One record a line, AWS's own `{"Records": […]}`, gzip, and entries of PutAuditEvents."""
    other = {**RECORD, "eventID": "other", "eventName": "RunInstances"}
    records = [RECORD, other, RECORD]  # AWS delivers at least once
    path = Path("trail.json")
    if form == "lines":
        write("trail.json", *records)
    elif form == "put_audit_events":
        entries = [{"id": r["eventID"], "eventData": json.dumps(_lake(r))} for r in records]
        path.write_text(json.dumps({"auditEvents": entries}))
    else:
        text = json.dumps({"Records": records}, indent=1 if form == "pretty" else None)
        path.write_bytes(gzip.compress(text.encode()) if form == "gzip" else text.encode())
    assert counts(run(path, "--from", "cloudtrail")) == (3, 2, 1, 0)
    assert counts(run(path, "--from", "cloudtrail")) == (3, 0, 3, 0)
    first = events(log_id)[0]
    assert (first.action, first.id) == ("ec2.DescribeInstances", f"cloudtrail:{RECORD['eventID']}")
    assert first.actor is not None
    assert counts(run(path, "--from", "cloudtrail", "--dry-run")) == (3, 0, 1, 0)


def _lake(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "version": "1", "UID": record["eventID"]}


@pytest.mark.skipif(not SHARED.exists(), reason="real CloudTrail records are not here")
def test_real_cloudtrail_records_are_imported(run: Import, log_id: str) -> None:
    """103 records of a real exercise."""
    assert counts(run(SHARED, "--from", "cloudtrail")) == (103, 103, 0, 0)
    assert counts(run(SHARED, "--from", "cloudtrail")) == (103, 0, 103, 0)


@pytest.mark.row("P-49", "P-46", "P-21")
@pytest.mark.parametrize("form", ["dump", "search", "pretty", "envelope"])
def test_pangea_dumps_keep_their_proof_and_are_found(form: str, run: Import, log_id: str) -> None:
    """dump_audit's lines, a search response, and bare envelopes; the record is whole in `data`."""
    record: Any = PANGEA["envelope"] if form == "envelope" else PANGEA
    if form in {"dump", "envelope"}:
        write("dump.jsonl", record)
    else:
        response = {"status": "Success", "result": {"count": 1, "events": [record]}}
        text = json.dumps(response, indent=2 if form == "pretty" else None)
        Path("dump.jsonl").write_text(text)
    assert counts(run("dump.jsonl", "--from", "pangea")) == (1, 1, 0, 0)
    assert counts(run("dump.jsonl", "--from", "pangea")) == (1, 0, 1, 0)
    (event,) = events(log_id)
    assert event.data == record
    assert (event.action, event.outcome, event.message) == ("delete", "success", "deleted")
    assert event.raw["actor"] == {"id": "ann"}
    assert event.raw["resources"] == [{"id": "inv_1"}]
    assert event.raw["occurred_at"] == "2024-03-29T17:26:50.193Z"
    assert (event.before, event.tags) == ('{"paid": true}', {"imported_from": "pangea"})


@pytest.mark.row("A-15", "A-16", "A-17", "A-18", "A-19", "A-20", "A-21", "A-22", "A-23")
def test_apptrail_events_come_in(run: Import, log_id: str) -> None:
    """The event of Apptrail's README."""
    told = {
        "tenantId": "cust_1",
        "eventName": "CreateRepository",
        "eventTime": "2022-01-26T06:01:00Z",
        "actor": {"id": "acct_1", "details": {"type": "account", "name": "API Access"}},
        "resources": [{"id": "repo_1", "details": {"repositoryType": "V2"}}],
        "context": {"sourceIpAddress": "103.6.179.245", "userAgent": "Apache-HttpClient/4.5.3"},
        "tags": {"severity": "LOW"},
        "eventDetails": {"request": {"repositoryName": "my-repository"}},
    }
    assert counts(run(write("a.jsonl", told), "--from", "apptrail")) == (1, 1, 0, 0)
    (event,) = events(log_id)
    assert (event.action, event.tenant_id) == ("CreateRepository", "cust_1")
    assert event.raw["actor"]["attributes"]["name"] == "API Access"
    assert event.raw["resources"][0]["id"] == "repo_1"
    assert event.context == {
        "source_ip": "103.6.179.245",
        "user_agent": "Apache-HttpClient/4.5.3",
    }
    assert event.tags == {"severity": "LOW", "imported_from": "apptrail"}
    assert event.data["eventDetails"]["request"]["repositoryName"] == "my-repository"
    wrong = run("a.jsonl", code=1)
    assert "--from apptrail" in wrong.stderr


@pytest.mark.row("L-05", "L-13")
def test_auditledge_exports_come_in(run: Import, log_id: str) -> None:
    """A list of events, as its JSON export has them."""
    told = {
        "id": "evt_1",
        "actor": {"id": "u1", "name": "Ann", "email": "ann@example.com"},
        "action": "invoice.deleted",
        "resource": {"type": "invoice", "id": "inv_1", "name": "One"},
        "organization_id": "org_1",
        "metadata": {"ip": "192.0.2.1"},
        "timestamp": "2026-01-31T12:00:00Z",
    }
    Path("export.json").write_text(json.dumps([told, {**told, "id": "evt_2"}]))
    assert counts(run("export.json", "--from", "auditledge")) == (2, 2, 0, 0)
    event = events(log_id)[0]
    assert (event.id, event.tenant_id) == ("auditledge:evt_1", "org_1")
    assert event.raw["resources"] == [{"type": "invoice", "id": "inv_1", "name": "One"}]


def test_a_table_comes_in_with_its_columns_named(run: Import, log_id: str) -> None:
    """Usual names and paths by themselves, others by --map, the rest under `data`."""
    with Path("people.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ["when", "what", "actor_id", "resource.type", "resource_id", "tags.x", "Room"]
        )
        table.writerow(["2026-01-31 12:00:00", "door.opened", "ann", "door", "d1", "y", "1, left"])
        table.writerow(["2026-01-31 12:00:01", "door.opened", "bob", "door", "d1", "", "é\n2"])
        table.writerow(["yesterday", "door.opened", "bob", "door", "d1", "", ""])
        table.writerow(["short", "row"])
    named = ("--map", "when=occurred_at", "--map", "what=action")
    done = run("people.csv", *named, code=1)
    assert counts(done) == (4, 2, 0, 2)
    assert "line 5: occurred_at" in done.stderr
    assert "line 6: has 2 cells" in done.stderr
    first, second = events(log_id)
    assert first.raw["occurred_at"] == "2026-01-31T12:00:00.000000Z"
    assert first.raw["resources"] == [{"type": "door", "id": "d1"}]
    assert (first.tags, first.data) == ({"x": "y", "imported_from": "csv"}, {"Room": "1, left"})
    assert second.data == {"Room": "é\n2"}


@pytest.mark.row("L-13")
def test_our_own_exports_come_back_as_they_went(
    run: Import, log_id: str, client: Any, tmp_path: Path
) -> None:
    """jsonl and csv, formula guard and all, into another log: the same events."""
    event = {
        "id": "e1",
        "action": "x",
        "occurred_at": "2026-01-31T12:00:00Z",
        "actor": {"id": "=1+1", "name": "Ann", "attributes": {"n": 1}},
        "resources": [{"id": "a", "type": "t"}, {"id": "b"}],
        "source": {"name": "app"},
        "data": {"amount": 12.5},
        "tags": {"k": "v"},
        "message": "-5 'quoted'",
    }
    run(write("event.jsonl", event))
    with trailseal.Client.from_env() as sdk:
        for form in ("jsonl", "csv"):
            operation = sdk.export(form, log_id=log_id)
            sdk.wait(operation)
            sdk.download_results(tmp_path / f"out.{form}", export_id=operation.id)
            target = f"{log_id}-{form}"
            client.post("/v1/logs", json={"log_id": target}).raise_for_status()
            given = ["import", f"out.{form}", "--log-id", target, "--json"]
            result = CliRunner().invoke(app, given)
            assert counts(result) == (1, 1, 0, 0), result.output
            back = sdk.get("e1", log_id=target).raw
            assert {name: back.get(name) for name in event} == event


def test_a_channel_marks_imports_for_ever(run: Import, log_id: str, client: Any) -> None:
    """What goes through the channel carries its key in the sealed entry."""
    body = {"name": "imports", "log_id": log_id, "external_id": "import-2026"}
    channel = client.post("/v1/channels", json=body).json()["channel_key"]
    file = write("events.jsonl", {"id": "e1", "action": "a"})
    run(file, "--channel", channel, code=4)
    done = run(file, "--channel", channel, "--external-id", "import-2026")
    assert counts(done) == (1, 1, 0, 0)
    write("trail.jsonl", RECORD)
    through = ("--channel", channel, "--external-id", "import-2026")
    assert counts(run("trail.jsonl", "--from", "cloudtrail", *through)) == (1, 1, 0, 0)
    assert [event.raw["channel_id"] for event in events(log_id)] == [channel, channel]


def test_damaged_files_are_one_line_and_bad_input(run: Import) -> None:
    """Half a gzip, a document without records, a table without or with double columns."""
    packed = gzip.compress(b'{"action": "a"}\n' * 50_000)
    Path("half.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    Path("none.json").write_text('{\n "rows": []\n}')
    Path("empty.csv").write_text("")
    Path("double.csv").write_text("action,action\na,b\n")
    for name, word in (
        ("half.jsonl.gz", "damaged"),
        ("none.json", "events"),
        ("empty.csv", "columns"),
        ("double.csv", "twice"),
    ):
        done = run(name, "--dry-run", code=3)
        assert word in done.stderr
        assert run("double.csv", "--map", "nothing", code=2).exit_code == 2
