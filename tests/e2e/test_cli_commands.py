"""The commands against a real server: what they print, and how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trailseal
from trailseal.cli import _output
from trailseal.cli._app import app
from trailseal_server.app import Running
from typer.testing import CliRunner, Result

Cli = Callable[..., Result]
SECONDS = 60  # far more than anything here takes


@pytest.fixture
def cli(server: Running, log_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs a command with the environment of a user, in an empty folder."""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, list(map(str, arguments)), input=stdin)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def wrong(key: str) -> str:
    """A key of the right form, with another secret."""
    body = "_".join((*key.split("_")[:2], "0" * 40))
    return f"{body}_{zlib.crc32(body.encode()):08x}"


# ----------------------------------------------------------- one after another


def test_an_event_is_logged_shown_listed_found_and_counted(cli: Cli, log_id: str) -> None:
    """log, get, query and search, with JSON that a program can read."""
    receipt = lines(
        cli(
            *("log", "invoice.deleted", "--actor-id", "user_1", "--resource-type", "invoice"),
            *("--resource-id", "inv_1", "--tag", "region:eu", "--data", '{"amount": 12}'),
            *("--outcome", "success", "-m", "gone", "--log-id", log_id),
        )
    )[0]
    found = lines(cli("get", receipt["event_id"], "--log-id", log_id, "--proof"))[0]
    assert (found["action"], found["data"], found["tags"]) == (
        "invoice.deleted",
        {"amount": 12},
        {"region": "eu"},
    )
    assert "entry" in found
    listed = lines(cli("query", "--actor-id", "user_1", "--tag", "region:eu", "--log-id", log_id))
    assert [each["id"] for each in listed] == [receipt["event_id"]]
    searched = cli("search", "data.amount>10", "--json", "--log-id", log_id)
    assert [each["id"] for each in json.loads(searched.stdout)] == [receipt["event_id"]]
    assert json.loads(cli("query", "--total", "--log-id", log_id, "--json").stdout)["total"] == 1
    assert lines(cli("query", "--action", "other", "--log-id", log_id)) == []
    assert json.loads(cli("query", "--action", "other", "--json", "--log-id", log_id).stdout) == []


def test_people_get_tables(cli: Cli, log_id: str) -> None:
    """--table: a header and a line for each event; one event as names and values."""
    cli("log", "door.opened", "--id", "e1", "--actor-id", "ann", "--log-id", log_id)
    header, row = cli("query", "--table", "--log-id", log_id).stdout.splitlines()
    assert header.split() == ["RECEIVED", "ACTION", "ACTOR", "RESOURCE", "OUTCOME", "ID"]
    assert row.split()[1:] == ["door.opened", "ann", "-", "-", "e1"]
    shown = cli("get", "e1", "--table", "--log-id", log_id).stdout
    assert "\nactor.id " in shown
    again = cli(
        "log", "door.opened", "--id", "e1", "--actor-id", "ann", "--log-id", log_id, "--table"
    )
    assert again.stdout == f"e1 is event 0 of {log_id}, as before\n"


def test_nothing_in_an_event_reaches_the_terminal_as_a_control_character(
    cli: Cli, log_id: str
) -> None:
    """An escape sequence in a name is shown as a replacement character."""
    event = json.dumps({"action": "x", "id": "e1", "actor": {"id": "\x1b[2Jevil\u202e"}})
    cli("log", "--event", "-", "--log-id", log_id, stdin=event)
    for command in (("query",), ("get", "e1"), ("tail", "-n", "1", "--max", "1")):
        shown = cli(*command, "--table", "--log-id", log_id).stdout
        assert "evil" in shown
        assert all(c.isprintable() or c == "\n" for c in shown)


def test_what_is_not_shown_is_said(cli: Cli, log_id: str) -> None:
    """query stops at --limit and says so on standard error; --all does not stop."""
    with trailseal.Client.from_env() as client:
        client.log_bulk(({"action": "x"} for _ in range(30)), log_id=log_id).raise_for_failures()
    cut = cli("query", "-n", "3", "--log-id", log_id)
    assert len(lines(cut)) == 3
    assert "more events match" in cut.stderr
    whole = cli("query", "--all", "--log-id", log_id)
    assert len(lines(whole)) == 30
    assert whole.stderr == ""


@pytest.mark.row("P-45")
def test_a_restriction_narrows_whatever_the_query_says(cli: Cli, log_id: str) -> None:
    """search --restrict is ANDed by the server."""
    for actor in ("ann", "bob"):
        cli("log", "x", "--actor-id", actor, "--log-id", log_id)
    found = cli("search", "action:x OR actor:bob", "--restrict", "actor.id=ann", "--log-id", log_id)
    assert [each["actor"]["id"] for each in lines(found)] == ["ann"]


def test_tail_goes_on_from_what_it_showed(cli: Cli, server: Running, log_id: str) -> None:
    """Earlier events in order, then those that arrive, each once; Ctrl-C ends it with 130."""
    for number in range(3):
        cli("log", f"old.{number}", "--log-id", log_id)
    command = [sys.executable, "-m", "trailseal", "tail", "-n", "2", "--log-id", log_id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        seen = [json.loads(process.stdout.readline())["action"] for _ in range(2)]
        with trailseal.Client.from_env() as client:
            for number in range(3):
                client.log(f"new.{number}", log_id=log_id)
        seen += [json.loads(process.stdout.readline())["action"] for _ in range(3)]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert seen == ["old.1", "old.2", "new.0", "new.1", "new.2"]
    assert (process.returncode, out, errors) == (130, "", "")


def test_a_reader_that_goes_away_ends_the_command_quietly(cli: Cli, log_id: str) -> None:
    """141, as shells say for SIGPIPE, and nothing on standard error."""
    cli("log", "x", "--log-id", log_id)
    command = [sys.executable, "-m", "trailseal", "query", "--log-id", log_id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(SECONDS), errors) == (141, b"")


# --------------------------------------------------------------------- exports


@pytest.mark.row("P-67", "P-52")
def test_an_export_is_made_downloaded_and_verified(cli: Cli, log_id: str, tmp_path: Path) -> None:
    """One command; the key that the operator names decides; the file is not replaced unasked."""
    for number in range(5):
        cli("log", f"x.{number}", "--log-id", log_id)
    keys = lines(cli("keys", "verification", "--log-id", log_id))
    key = keys[0]["verifier_key"]
    done = cli("export", "trail.jsonl", "--log-id", log_id, "--verify", "--key", key)
    assert lines(done)[0]["events"] == 5
    assert "verified: 5 events read" in done.stderr
    assert "complete" in done.stderr
    assert "--force" in cli("export", "trail.jsonl", "--log-id", log_id, code=2).stderr
    cli("export", "trail.jsonl", "--log-id", log_id, "--force", "--verify")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "trail.checkpoint",
        "trail.jsonl",
        "trail.manifest.json",
        "trail.manifest.note",
    ]
    cli("verify", "trail.jsonl", "--key", key)
    mistyped = cli("export", "t.jsonl", "--log-id", log_id, "--key", key[:-3] + "abc", code=3)
    assert "verifier key" in mistyped.stderr
    assert not Path("t.jsonl").exists()


def test_an_export_that_was_begun_is_taken_up_by_its_id(cli: Cli, log_id: str) -> None:
    """--no-wait prints the id, and --export-id goes on, in another process too."""
    cli("log", "x", "--log-id", log_id)
    begun = lines(cli("export", "x.csv.gz", "--no-wait", "--log-id", log_id))[0]["export_id"]
    assert not Path("x.csv.gz").exists()
    assert lines(cli("export", "x.csv.gz", "--export-id", begun))[0]["export_id"] == begun
    assert Path("x.csv.gz").read_bytes()[:2] == b"\x1f\x8b"
    again = cli("export", "y.csv", "--export-id", begun, "--action", "x", code=2)
    assert "--export-id" in again.stderr


# ------------------------------------------------------------ keys and schemas


def test_a_key_lives_from_create_to_revoke(cli: Cli, log_id: str, monkeypatch: Any) -> None:
    """Made with few rights, rotated, revoked; each secret works while it should."""
    made = lines(cli("keys", "create", "tail", "--scope", "events:read", "--expires-in", "2d"))[0]
    key_id = made["api_key"]["key_id"]
    Path("secret").write_text(made["secret"] + "\n")
    asked = lines(cli("whoami", "--api-key-file", "secret"))[0]
    assert (asked["key_id"], asked["scopes"]) == (key_id, ["events:read"])
    refused = cli("log", "x", "--log-id", log_id, "--api-key-file", "secret", code=4)
    assert "trailseal whoami" in refused.stderr
    other = lines(cli("keys", "rotate", key_id, "--grace", "60"))[0]["api_key"]["key_id"]
    assert "--yes" in cli("keys", "revoke", other, code=2).stderr
    cli("keys", "revoke", other, "--yes")
    table = cli("keys", "list", "--table").stdout
    row = next(line for line in table.splitlines() if line.startswith(other))
    assert "revoked" in row
    assert made["secret"] not in table
    shown = cli("keys", "create", "shown", "--scope", "events:read", "--table")
    assert shown.stdout.startswith("ts_")
    assert shown.stdout.count("\n") == 1


@pytest.mark.row("J-25", "J-07")
def test_a_schema_is_checked_registered_and_read(cli: Cli) -> None:
    """validate: 0 valid, 1 not valid, 2 no JSON or YAML, 3 no file; register twice is once."""
    document = {"$id": "urn:cli:door", "version": "1", "type": "object"}
    Path("good.json").write_text(json.dumps(document))
    Path("bad.json").write_text(json.dumps({**document, "type": "strin"}))
    Path("broken.json").write_text("{")
    Path("good.yaml").write_text("$id: urn:cli:door\nversion: '2'\ntype: object\n")
    assert "valid" in cli("schemas", "validate", "good.json", "--table").stdout
    bad = cli("schemas", "validate", "bad.json", code=1)
    assert lines(bad)[0]["errors"][0]["pointer"]
    Path("broken.yaml").write_text("a: [\n")
    for mode in ([], ["--offline"]):
        cli("schemas", "validate", "good.yaml", *mode)
        cli("schemas", "validate", json.dumps(document), *mode)
        cli("schemas", "validate", "bad.json", *mode, code=1)
        for name in ("broken.json", "broken.yaml"):
            assert name in cli("schemas", "validate", name, *mode, code=2).stderr
        assert "missing.json" in cli("schemas", "validate", "missing.json", *mode, code=3).stderr
    first = lines(cli("schemas", "register", "good.json"))[0]
    assert lines(cli("schemas", "register", "good.json"))[0]["schema_key"] == first["schema_key"]
    cli("schemas", "register", "good.yaml", "--backward")
    latest = lines(cli("schemas", "list", "--id", "urn:cli:door", "--latest"))
    assert [each["version"] for each in latest] == ["2"]
    got = cli("schemas", "get", "urn:cli:door", "--version", "1", "--table")
    assert json.loads(got.stdout) == document
    cli("schemas", "get", "urn:cli:none", code=1)


@pytest.mark.row("L-15")
def test_usage_says_what_is_used_and_left(cli: Cli) -> None:
    """Plan, events, limit, retention."""
    assert lines(cli("usage"))[0].keys() >= {"plan", "events_this_month", "events_limit"}
    assert "events_this_month" in cli("usage", "--table").stdout


# --------------------------------------------------------------------- mistakes


def test_every_mistake_is_one_line_and_has_its_code(
    cli: Cli, nowhere: str, server: Running, log_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong flag, wrong key, no server, bad file, bad query, nothing there."""
    assert "--limit" in cli("query", "--limt", "3", code=2).stderr
    cases: list[tuple[int, str, list[str]]] = [
        (2, "--json", ["query", "--json", "--jsonl"]),
        (2, "KEY:VALUE", ["log", "x", "--tag", "nothing"]),
        (2, "ACTION", ["log"]),
        (2, "--jsonl", ["tail", "--json"]),
        (2, ".jsonl", ["export", "trail.xml"]),
        (2, "90", ["keys", "create", "x", "--scope", "admin", "--expires-in", "soon"]),
        (2, "--from", ["import", "x", "--from", "xml"]),
        (3, "missing", ["import", "missing.jsonl"]),
        (3, "missing", ["log", "--event", "missing.json"]),
        (3, "--data", ["log", "x", "--data", "{"]),
        (3, "/actor/type", ["log", "x", "--actor-id", "a", "--actor-type", "person"]),
        (3, "query", ["search", "a AND (", "--log-id", log_id]),
        (3, "missing", ["whoami", "--api-key-file", "missing"]),
        (1, "event_not_found", ["get", "nothing", "--log-id", log_id]),
        (5, "trailseal doctor", ["whoami", "--url", nowhere]),
        (2, "http", ["whoami", "--url", "ftp://x"]),
    ]
    for code, word, arguments in cases:
        done = cli(*arguments, code=code)
        assert done.stderr.startswith("trailseal: "), arguments
        assert word in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stdout == ""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_API_KEY", wrong(server.key))
    done = cli("usage", code=4)
    assert "TRAILSEAL_API_KEY" in done.stderr
    assert "0" * 40 not in done.output
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key[:-1])
    assert "checksum" in cli("usage", code=2).stderr
    monkeypatch.delenv("TRAILSEAL_API_KEY")
    assert "--api-key-file" in cli("usage", code=2).stderr
    monkeypatch.delenv("TRAILSEAL_URL")
    assert "TRAILSEAL_URL" in cli("usage", code=2).stderr


def test_every_command_explains_itself(cli: Cli) -> None:
    """Help for all, exit codes in the first one; an option is never in capitals."""
    top = cli("--help").stdout
    assert "Exit codes:" in top
    commands = [["keys", each] for each in ("list", "create", "rotate", "revoke", "verification")]
    commands += [["schemas", each] for each in ("list", "get", "register", "validate", "push")]
    names = "log get query search tail export import verify usage whoami serve doctor keys schemas"
    for command in [*([each] for each in names.split()), *commands]:
        text = cli(*command, "--help").stdout
        assert "Usage: " in text
        assert command[0] in top
        options = [word for line in text.splitlines() for word in line.split()[:2]]
        assert [each for each in options if each.startswith("--") and each != each.lower()] == []


def test_the_shell_completes_commands() -> None:
    """What the completion script asks for is answered."""
    asked = {
        "_TRAILSEAL_COMPLETE": "complete_bash",
        "COMP_WORDS": "trailseal ex",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "trailseal"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout.split() == ["export"], done.stderr


def test_help_loads_no_http_no_tables_and_no_server() -> None:
    """What takes long to import is imported by the command that needs it."""
    code = (
        "import sys; sys.argv = ['trailseal', '--help']\n"
        "from trailseal.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'httpx', 'rich', 'trailseal_api', 'trailseal_server', 'cryptography', 'attrs'}\n"
        "print(*sorted(slow & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.stderr.strip() == ""


def test_without_the_extra_the_command_says_what_to_install() -> None:
    """No traceback where typer is missing."""
    code = "import sys; sys.modules['typer'] = None\nfrom trailseal.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 1
    assert "pip install 'trailseal[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


# ----------------------------------------------------------------------- doctor


def test_doctor_finds_nothing_wrong_with_a_right_key(cli: Cli) -> None:
    """All is ok; exit 0; the same as JSON."""
    text = cli("doctor").stdout
    assert {line.split()[0] for line in text.splitlines()} == {"ok"}
    report = json.loads(cli("doctor", "--json").stdout)
    assert report["ok"] is True
    names = [each["check"] for each in report["checks"]]
    assert names == ["address", "key", "tls", "server", "clock", "ready", "version", "accepted"]


def test_doctor_says_that_a_stopped_server_is_stopped(cli: Cli, nowhere: str) -> None:
    """Exit 5, the reason, and what to do; nothing is asked behind it."""
    text = cli("doctor", "--url", nowhere, code=5).stdout
    last = text.splitlines()[-1]
    assert last.startswith("FAIL  server")
    assert "refused" in last
    assert "trailseal serve" in last


def test_doctor_says_that_a_wrong_key_is_wrong(
    cli: Cli, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strange secret is exit 4, a mistyped key exit 2; the server is still looked at."""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_API_KEY", wrong(server.key))
    text = cli("doctor", code=4).stdout
    assert "ok    server" in text
    assert text.splitlines()[-1].startswith("FAIL  accepted")
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key[:-1] + "x")
    text = cli("doctor", code=2).stdout
    assert "FAIL  key" in text
    assert "ok    server" in text
    monkeypatch.delenv("TRAILSEAL_URL")
    assert "FAIL  address" in cli("doctor", code=2).stdout


def test_a_terminal_gets_tables_a_pipe_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form without a choice."""
    none = {"as_json": False, "as_jsonl": False, "as_table": False}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert _output.choose(**none) == _output.TABLE
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert _output.choose(**none) == _output.JSONL
