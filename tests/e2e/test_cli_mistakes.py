"""What a user may do to a command: files that are none, Ctrl-C, readers that go away."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trailseal import Client
from trailseal.cli._app import app
from trailseal_server.app import Running
from typer.main import get_command
from typer.testing import CliRunner

SECONDS = 60  # far more than anything here takes
TAKES_A_FILE = (
    "log --event {}",
    "import {}",
    "import --from csv {}",
    "import --from cloudtrail {}",
    "verify {}",
    "verify good.jsonl --policy {}",
    "verify good.jsonl --manifest {}",
    "verify good.jsonl --proof {}",
    "watch --once --policy {}",
    "schemas register {}",
    "schemas validate --offline {}",
    "schemas push --offline {}",
    "keys fingerprint {}",
    "usage --api-key-file {}",
    "spool status --folder {}",
    "doctor --spool {}",
)
OTHERS = {
    "export nowhere/x.jsonl": (2, "nowhere: there is no such folder."),
    "query --tag x": (2, "--tag x: write KEY:VALUE."),
    "schemas register list.json": (3, "a schema is a JSON object."),
    "privacy erase user_1 --reason r": (2, "nobody to ask: say --yes."),
    "privacy redact nothing data --reason r": (3, "/paths/0"),
    "search '\udcff'": (2, "no Unicode"),
    "query --actor-id '\udcff'": (2, "no Unicode"),
    "privacy release hld_0": (1, "hold_not_found"),
}


@pytest.fixture
def odd(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of things that are not what they should be."""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "garbage").write_bytes(bytes(range(255, -1, -1)) * 20)
    (tmp_path / "garbage.gz").write_bytes(b"\x1f\x8b\x08" + b"x" * 99)
    (tmp_path / "utf-16").write_bytes('{"action": "a"}'.encode("utf-16"))
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "good.jsonl").write_text('{"action": "a.b"}\n')
    return tmp_path


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All that can be called, with the names to call it by."""
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")
    if not hasattr(command, "commands"):
        yield name, command


def test_help_reads_well() -> None:
    """One line in the list of commands, whole; options as they are written everywhere."""
    for name, command in commands(get_command(app)):
        assert not command.get_short_help_str(64).endswith("..."), name
        for parameter in command.params:
            assert all(option == option.lower() for option in parameter.opts), (name, parameter)
            assert parameter.help or parameter.name == "event_id" or "name" in parameter.name


@pytest.mark.parametrize("command", TAKES_A_FILE)
def test_a_file_that_is_none_is_no_traceback(command: str, odd: Path) -> None:
    """Missing, a folder, empty, binary, of another encoding, nested without end: a line, a code."""
    for name in ("missing", *(path.name for path in odd.iterdir())):
        done = CliRunner().invoke(app, shlex.split(command.format(name)))
        assert done.exception is None or isinstance(done.exception, SystemExit), (command, name)
        assert done.exit_code in {0, 1, 2, 3}, (command, name)
        assert "Traceback" not in done.output
        if done.exit_code:
            assert done.output.strip(), (command, name)


@pytest.mark.parametrize("command", OTHERS)
def test_a_mistake_is_a_line_that_says_what_to_do(command: str, odd: Path) -> None:
    """With the exit code of the table."""
    code, text = OTHERS[command]
    done = CliRunner().invoke(app, shlex.split(command))
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1), done.output
    assert text in done.stderr


def test_a_file_with_a_byte_order_mark_is_read(odd: Path, log_id: str) -> None:
    """As editors on Windows write it."""
    (odd / "bom.json").write_bytes(b'\xef\xbb\xbf{"action": "a.b"}')
    done = CliRunner().invoke(app, ["log", "--event", "bom.json", "--log-id", log_id])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", ["tail", "export x.jsonl", "import -", "watch", "doctor"])
def test_ctrl_c_ends_a_command_quietly(command: str, odd: Path) -> None:
    """Exit code 130, and no traceback; at a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        child = subprocess.Popen(
            [sys.executable, "-m", "trailseal", *command.split(), "--url", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if command == "import -":
            assert child.stdin is not None
            child.stdin.write('{"action": "a.b"}\n' * 2000)  # more than are sent at once
            child.stdin.flush()
        silent.settimeout(SECONDS)
        connection, _ = silent.accept()  # it has begun
        with connection:
            child.send_signal(signal.SIGINT)
            _, told = child.communicate(timeout=SECONDS)
    assert child.returncode == 130, told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", ["query --all", "query --all --json", "search a.b --all"])
def test_a_reader_that_has_seen_enough_is_no_error(
    command: str, server: Running, odd: Path, log_id: str
) -> None:
    """As `| head -1` is: nothing on standard error, exit code 141."""
    with Client(server.url, server.key) as client:
        events = ({"action": "a.b", "message": "x" * 1000} for _ in range(300))
        client.log_bulk(events, log_id=log_id).raise_for_failures()
    line = f"{sys.executable} -m trailseal {command} --log-id {log_id}"
    script = f"set -o pipefail; {line} | head -c 1 > /dev/null"
    done = subprocess.run(
        ["/bin/bash", "-c", script], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    told = [line for line in done.stderr.splitlines() if not line.startswith("search srh_")]
    assert (done.returncode, told) == (141, [])


def test_personal_data_is_taken_out_and_held(odd: Path, log_id: str) -> None:
    """redact, erase, hold and release, with what each prints."""

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments, "--log-id", log_id])
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else done.stderr

    event = {"id": "e1", "action": "a.b", "data": {"x": 1}, "subjects": ["user_1"]}
    (odd / "e.json").write_text(json.dumps(event))
    run("log", "--event", "e.json")
    reason = ("--reason", "ticket 88")
    assert run("privacy", "redact", "e1", "/data", *reason, "--table").startswith("e1: 1 field ")
    hold = json.loads(run("privacy", "hold", "--subject", "user_1", *reason))
    assert "legal_hold" in run("privacy", "erase", "user_1", *reason, "--yes", code=1)
    released = CliRunner().invoke(app, ["privacy", "release", hold["hold_id"]])
    assert json.loads(released.stdout)["released_at"]
    assert hold["hold_id"] in run("privacy", "holds", "--table")
    done = json.loads(run("privacy", "erase", "user_1", *reason, "--yes"))
    assert (done["events"], done["state"], done.get("subject")) == (1, "succeeded", None)
    assert [json.loads(run("privacy", "erasures"))["erasure_id"]] == [done["erasure_id"]]
    assert json.loads(run("get", "e1")).get("subjects") is None
    assert os.environ["TRAILSEAL_API_KEY"] not in run("privacy", "erasures", "--json")
