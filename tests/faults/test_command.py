"""The operator's command, as processes on a real database: keys, migration, check, `run`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from trailseal.verify import ProofError, VerifierKey
from trailseal.verify.note import Note
from trailseal_server.store import Store

WAIT_S = 90.0  # a start takes 2 s; of a busy machine it may take ten times as long
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(make_database: Callable[[], str], tmp_path: Path) -> dict[str, str]:
    """A new database, and where its files are."""
    given = {
        "DATABASE_URL": make_database(),
        "LOG_KEY_FILE": str(tmp_path / "signing.key"),
        "EXPORT_DIR": str(tmp_path / "exports"),
    }
    return {**os.environ, **{f"TRAILSEAL_{name}": value for name, value in given.items()}}


@pytest.fixture
def command(environment: dict[str, str]) -> Command:
    """Runs `trailseal-server` with these arguments."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = [sys.executable, "-m", "trailseal_server", *arguments]
        return subprocess.run(
            given, env=environment, capture_output=True, check=False, text=True, timeout=WAIT_S
        )

    return run


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """`run`, stopped by SIGTERM with the block: its URL, and then what it said behind it."""
    given = [sys.executable, "-m", "trailseal_server", "run", "--port", "0"]
    said: list[str] = []
    with subprocess.Popen(given, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(line for line in process.stderr if "listens on" in line).split()[-1], said
        finally:
            process.send_signal(signal.SIGTERM)
            said.append(process.stderr.read())
            assert process.wait(WAIT_S) == 0, said  # after all was written


def speaking(url: str, key: str) -> httpx.Client:
    """A client with this key."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=WAIT_S)


def test_from_an_empty_database_to_a_checked_one(
    command: Command, environment: dict[str, str]
) -> None:
    """Migrate, make a key, run, log, stop, check: clean; then one byte changed: named, exit 1."""
    assert command("check").returncode == 2, "there is no signing key yet"
    assert command("migrate").returncode == 0
    assert "already" in command("migrate").stdout
    made = command("keys", "create", "--name", "app", "--scope", "admin", "--default-log", "main")
    key = made.stdout.strip()
    assert key not in made.stderr
    with serving(environment) as (url, rest), speaking(url, key) as client:
        events = [{"id": f"e-{n}", "action": "x.done"} for n in range(300)]
        sent = client.post("/v1/events/batch", json={"events": events})
        assert sent.json()["created"] == 300
        client.post("/v1/logs/main/seal").raise_for_status()
    assert key not in rest[0]
    clean = command("check", "--json")
    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout) == {"logs": 1, "events": 300, "checkpoints": 1, "damages": 0}
    store = Store.attach(environment["TRAILSEAL_DATABASE_URL"])
    with store.write() as connection:
        connection.execute(text("UPDATE events SET body = leaf_hash WHERE idx = 17"))
    store.close()
    found = command("check", "--log", "main")
    assert found.returncode == 1
    assert found.stdout.startswith("main: event 17: ")
    assert found.stdout.endswith("1 logs, 300 events, 1 checkpoints: 1 damaged\n")


def test_the_signing_key_is_changed_in_two_steps_and_no_reader_is_left_out(
    command: Command, environment: dict[str, str]
) -> None:
    """Old key, both, the new one alone: who trusts the old one reads until it is retired, who
    trusts the new one from `rotate` on, and `check` accepts what each of them signed."""
    assert command("migrate").returncode == 0
    made = command("keys", "create", "--name", "app", "--scope", "admin", "--default-log", "main")

    def signers(event_id: str) -> list[str]:
        """Log an event and seal it: the keys that signed, one for each line of the note."""
        with serving(environment) as (url, _), speaking(url, made.stdout.strip()) as client:
            client.post("/v1/events", json={"id": event_id, "action": "a"}).raise_for_status()
            client.post("/v1/logs/main/seal").raise_for_status()
            note = client.get("/tlog/main/checkpoint").raise_for_status().content
            known = client.get("/v1/keys").raise_for_status().json()["items"]
        keys = [VerifierKey.parse(key["verifier_key"]) for key in known]
        by = [str(key.key_hash) for key in keys if accepted(note, key)]
        assert len(by) == note.count(b"\n\xe2\x80\x94 ")
        return by

    (old,) = signers("before")
    assert command("signing-key", "rotate").returncode == 0
    again = command("signing-key", "rotate")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1), "two keys are one change"
    both = signers("between")
    assert len(both) == 2
    assert old in both
    assert command("check").returncode == 0
    assert command("signing-key", "retire").returncode == 0
    assert signers("after") == [key for key in both if key != old]
    done = command("check", "--json")
    assert (done.returncode, json.loads(done.stdout)["checkpoints"]) == (0, 3)
    assert command("signing-key", "retire").returncode == 1, "the last key stays"


def accepted(note: bytes, key: VerifierKey) -> bool:
    """Whether a reader who trusts this key alone accepts the note."""
    try:
        Note.parse(note).verify([key], key.name)
    except ProofError:
        return False
    return True


def test_keys_are_listed_and_revoked(command: Command) -> None:
    """A revoked key stays listed; the secret is in no list; a wrong scope or id is named."""
    options = ("--scope", "events:write", "--scope", "exports", "--tenant", "acme")
    secret = command("keys", "create", "--name", "a b", *options, "--expires-in", "90d").stdout
    key_id, state, tenant, scopes, name = command("keys", "list").stdout.strip().split("\t")
    assert state.startswith("until 2")
    assert (tenant, scopes, name) == ("acme", "events:write,exports", "a b")
    assert secret.strip().split("_")[1] == key_id.removeprefix("key_")
    assert command("keys", "revoke", key_id).returncode == 0
    assert command("keys", "list").stdout.split("\t")[1] == "revoked"
    again = command("keys", "revoke", key_id)
    assert (again.returncode, key_id in again.stderr) == (1, True)
    wrong = command("keys", "create", "--name", "c", "--scope", "everything")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "--scope everything is none of events:write" in wrong.stderr


def test_run_fails_in_its_log_where_it_cannot_start(
    command: Command, environment: dict[str, str]
) -> None:
    """Not 0, so that a supervisor sees it, in one line, and nothing on standard output."""
    Path(environment["TRAILSEAL_LOG_KEY_FILE"]).write_text("no key")
    done = command("run", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not hold a key" in done.stderr
    assert done.stderr.count("\n") == 1
    wrong = command("run", "--port", "70000")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "port" in wrong.stderr


def test_what_cannot_be_checked_is_no_damage(command: Command) -> None:
    """Exit 2, one line, no traceback: no key file; no such log; no database."""
    assert command("migrate").returncode == 0
    for arguments in ((), ("--log", "none"), ("--database-url", "sqlite:////nowhere/at/all.db")):
        done = command("check", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("trailseal-server: ")
        assert done.stderr.count("\n") == 1
