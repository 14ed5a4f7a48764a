"""`trailseal watch` and the keys that sign, as a user runs them."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from trailseal import Client, Ed25519Signer, errors
from trailseal_server.app import Running

SECONDS = 60  # far more than any of these takes


def run(
    server: Running | None, *arguments: object, **environ: str
) -> subprocess.CompletedProcess[str]:
    given = {"TRAILSEAL_URL": server.url, "TRAILSEAL_API_KEY": server.key} if server else {}
    return subprocess.run(
        [sys.executable, "-m", "trailseal", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", **given, **environ},
    )


def verifier_key(client: Client, log_id: str) -> str:
    keys = client.verification_keys(log_id=log_id)
    return next(key.verifier_key for key in keys if key.verifier_key)


@pytest.mark.row("P-60", "P-61")
def test_a_log_that_grows_is_watched_and_one_that_was_rewritten_alarms(
    server: Running, log_id: str, tmp_path: Path
) -> None:
    """Exit 0 and a line for each new checkpoint; for a fork, a line, the command and exit 1."""
    state, told = tmp_path / "state.json", tmp_path / "told"
    with Client(server.url, server.key) as client:
        for number in range(2):
            client.log("a", id=f"w{number}", log_id=log_id)
            client.seal(log_id)
        key = verifier_key(client, log_id)
        options = ("--log-id", log_id, "--key", key, "--state", state, "--once", "--events")
        done = run(server, "watch", *options)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert (seen["event"], seen["tree_size"], seen["verified"]) == ("checkpoint", 2, 1)
        older = client.root(1, log_id=log_id).signed_note
        newer = client.root(2, log_id=log_id).signed_note
    notes = json.loads(state.read_text())["logs"]
    assert notes == {key.split("+")[0]: newer}
    # Another log's checkpoint of this size under this name stands for a rewritten one: here the
    # server forgot an event.
    lie = newer.replace("\n2\n", "\n3\n")
    for note, code, kind in ((older, 0, None), (lie, 1, "signature")):
        state.write_text(json.dumps({"v": 1, "logs": {key.split("+")[0]: note}}))
        command = f'echo "$TRAILSEAL_ALARM_KIND" > {told}'
        done = run(server, "watch", *options, "--exec", command)
        assert done.returncode == code, done.stderr
        if kind:
            assert json.loads(done.stdout)["kind"] == kind
            assert told.read_text().strip() == kind
        else:
            assert not told.exists()
    away = run(None, "watch", *options, TRAILSEAL_URL="http://127.0.0.1:9",
               TRAILSEAL_API_KEY=server.key)  # fmt: skip
    assert away.returncode == 5
    strange = run(server, "watch", *options[:2], "--state", state, "--once", "--key",
                  key.replace(key.split("+")[0], "x.example/y"))  # fmt: skip
    assert strange.returncode == 2


@pytest.mark.row("P-32", "P-33")
def test_a_key_is_made_shown_registered_and_used(
    server: Running, log_id: str, tmp_path: Path
) -> None:
    """Mode 0600, never over another file; the log then takes signatures of that name by no other
    key, and a signed export verifies with it."""
    path = tmp_path / "key.pem"
    secret = {"TRAILSEAL_SIGNING_KEY_PASSWORD": "pw"}
    made = run(None, "keys", "generate", path, "--key-id", "cli-1", "--encrypt", **secret)
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    assert run(None, "keys", "generate", path).returncode == 3
    shown = run(None, "keys", "fingerprint", path, "--key-id", "cli-1", **secret)
    assert shown.stdout == made.stdout
    assert json.loads(shown.stdout)["fingerprint"].startswith("SHA256:")
    assert run(None, "keys", "fingerprint", path).returncode == 2
    options = (path, "--key-id", "cli-1", "--owner", "cli", "--log-id", log_id)
    for _ in range(2):
        done = run(server, "keys", "register", *options, **secret)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["public_key"] == json.loads(made.stdout)["public_key"]
    signer = Ed25519Signer.from_file(path, password="pw", key_id="cli-1")
    with Client(server.url, server.key, signer=signer) as client:
        assert client.log("signed", log_id=log_id).index == 0
        with pytest.raises(errors.RequestError):
            client.register_key(Ed25519Signer.generate(key_id="cli-1"), log_id=log_id)
    stranger = Ed25519Signer.generate(key_id="cli-1", public_key_info={"owner": "me"})
    with (
        Client(server.url, server.key, signer=stranger) as client,
        pytest.raises(errors.SignatureInvalidError),
    ):
        client.log("forged", log_id=log_id)
    info = Ed25519Signer.generate(public_key_info={"owner": "me"})
    with Client(server.url, server.key, signer=info) as client:
        event = client.get(client.log("told", log_id=log_id).event_id, log_id=log_id)
        signature = event.raw["signature"]
        assert signature["public_key_info"] == {"owner": "me"}
        assert base64.b64decode(signature["public_key"]) == info.public_key
