"""V17: what a server writes at DEBUG holds no key, no token and nothing of a payload.

Every operation of the contract is called with the contract's own example, each text in it replaced
by a canary where the contract leaves it free; then with mistakes in every place; then against a
database that fails. Everything that the process wrote is searched.
"""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from ..spec import DOCUMENT

CANARY = "canary7f3a"
# Says what it found on standard error at DEBUG, as an operator who looks for a fault has it.
SERVE = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s %(args)s")
from trailseal_server.app import serve
from trailseal_server.settings import Settings
files = {"log_key_file": Path(sys.argv[2], "key"), "export_dir": Path(sys.argv[2], "exports")}
settings = Settings(database_url=sys.argv[1], port=0, **files)
logging.getLogger("settings").debug("%r", settings)
serve(settings, lambda running: print(running.url, running.key, flush=True))
"""
# Names and other words of the contract: the canary would be refused there before it got far.
FIXED = re.compile(
    r"_?id$|format|compression|algorithm|method|scopes|compatibility|sha256|key$|at$"
)


def _marked(node: Any, name: str = "") -> Any:
    """A value with the canary in every text, and as a further member where any are free."""
    if isinstance(node, dict):
        return {key: _marked(value, key) for key, value in node.items()}
    if isinstance(node, list):
        return [_marked(each, name) for each in node]
    return f"{node} {CANARY}" if isinstance(node, str) and not FIXED.search(name) else node


def _wrong(node: Any) -> list[Any]:
    """The value with mistakes: canaries for numbers, for objects, as names, and as the whole."""
    found: list[Any] = [CANARY, [CANARY], {CANARY: CANARY}]
    if isinstance(node, dict):
        found += [{name: {CANARY: CANARY} for name in node}, {**node, CANARY: CANARY}]
        found += [{**node, name: f"\0{CANARY}"} for name in node]
    return found


LOG = "#/components/parameters/LogIdQuery"
EVENT = {
    "action": CANARY,
    "actor": {"id": CANARY, "name": CANARY, "email": CANARY, "attributes": {CANARY: CANARY}},
    "resources": [{"id": CANARY, "type": CANARY, "name": CANARY}],
    "source": {"name": CANARY, "version": CANARY},
    "context": {"user_agent": CANARY, "request_id": CANARY, "session_id": CANARY},
    "reason": {"code": CANARY, "message": CANARY},
    "before": {CANARY: CANARY},
    "after": [CANARY],
    "data": {CANARY: [CANARY, {"x": CANARY}]},
    "message": CANARY,
    "tags": {CANARY: CANARY},
    "subjects": [CANARY],
}


class Sent:
    """Calls with the key; what they answer is of no matter, but that there is an answer."""

    def __init__(self, url: str, key: str) -> None:
        self.headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(base_url=url, timeout=40)

    def __call__(self, method: str, url: str, **options: Any) -> httpx.Response:
        given = {**self.headers, **options.pop("headers", {})}
        return self.client.request(method, url, headers=given, **options)


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for path, item in DOCUMENT["paths"].items():
        for method, spec in item.items():
            url = re.sub(r"\{source\}", "generic", path)
            found.append((method.upper(), re.sub(r"\{[^}]+\}", "op_01jd3kq9x2", url), spec))
    return found


def _call_everything(send: Sent, key: str) -> list[str]:
    """Every operation, right and wrong; the secrets that were given out."""
    secrets = [key]
    send("POST", "/v1/logs", json={"log_id": "main", "description": CANARY})
    stored = send("POST", "/v1/events?log_id=main", json=EVENT)
    assert stored.status_code == 201, stored.text
    conflict = {**EVENT, "id": stored.json()["event_id"], "message": f"other {CANARY}"}
    assert send("POST", "/v1/events?log_id=main", json=conflict).status_code == 409
    for method, url, spec in _operations():
        query = {"log_id": "main", "q": CANARY, "actor_id": CANARY, "tag": f"{CANARY}:{CANARY}"}
        names = [each.get("$ref", "") for each in spec.get("parameters", [])]
        known = "#/components/parameters/FilterActorId" in names
        content = spec.get("requestBody", {}).get("content", {}).get("application/json")
        bodies = [None] if content is None else [_marked(content["example"])]
        bodies += [] if content is None else [content["example"], *_wrong(content["example"])]
        for params in (query if known else {}, {"x": CANARY}):
            send(method, url, params=params, json=bodies[0])
        for body in bodies:
            send(method, url, params={"log_id": "main"} if LOG in names else {}, json=body)
        if content is not None:
            send(
                method,
                url,
                content=b'{"x":"%b' % CANARY.encode(),
                headers={"Content-Type": "application/json"},
            )
    issued = send("POST", "/v1/api-keys", json={"name": CANARY, "scopes": ["admin"]}).json()
    secrets.append(issued["secret"])
    send("GET", "/v1/me", headers={"Authorization": f"Bearer {issued['secret']}"})
    send("GET", "/v1/me", headers={"Authorization": f"Bearer {issued['secret']}0"})
    send("GET", "/v1/me", headers={"Authorization": f"Basic {CANARY}"})
    upload = send("POST", "/v1/uploads?log_id=main", json={}).json()
    secrets.append(upload["token"])
    octets = {"Content-Type": "application/octet-stream"}
    line = json.dumps(EVENT).encode() + b"\n{" + CANARY.encode()
    sent = send("PUT", upload["content_url"], content=line, headers=octets).json()
    path = f"/v1/uploads/{upload['upload_id']}/complete"
    job = send("POST", path, json={"sha256": sent["sha256"]}).json()
    send("GET", f"/v1/operations/{job['operation_id']}", params={"wait": 20})
    for form in ("jsonl", "csv"):
        job = send("POST", "/v1/exports?log_id=main", json={"format": form, "query": CANARY}).json()
        send("GET", f"/v1/operations/{job['operation_id']}", params={"wait": 20})
    later = {"events": [EVENT, {"action": 3, "data": CANARY}]}
    job = send("POST", "/v1/events/batch/async?log_id=main", json=later).json()
    send("GET", f"/v1/operations/{job['operation_id']}", params={"wait": 20})
    return secrets


def _break(database: str) -> None:
    """Take the tables away beneath the server."""
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
        for table in ("events", "searches", "operations", "channels", "event_schemas", "tenants"):
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")


def test_v17_nothing_that_a_server_writes_holds_a_secret_or_a_payload(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """At DEBUG, with every operation, every kind of mistake, and a database that fails."""
    database, output = make_database(), tmp_path / "output"
    command = [sys.executable, "-c", SERVE, database, str(tmp_path)]
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            url, _, key = process.stdout.readline().strip().partition(" ")
            send = Sent(url, key)
            with send.client:
                secrets = _call_everything(send, key)
                if database.startswith("sqlite"):
                    _break(database)
                    failed = [
                        send("POST", "/v1/events?log_id=main", json=EVENT),
                        send("POST", "/v1/channels", json={"name": CANARY}),
                        send("POST", "/v1/searches?log_id=main", json={"query": CANARY}),
                        send("GET", "/v1/events", params={"log_id": "main", "q": CANARY}),
                    ]
                    assert [each.status_code for each in failed] == [500] * len(failed)
                    assert not [each.text for each in failed if CANARY in each.text]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()
    written = output.read_text(encoding="utf-8", errors="replace")
    assert "POST /v1/events" in written  # it did write
    assert not [line for line in written.splitlines() if CANARY in line]
    parts = {part for secret in secrets for part in secret.split("_") if len(part) > 20}
    assert len(parts) >= len(secrets) - 1
    assert not [line for line in written.splitlines() if any(part in line for part in parts)]
    signing = Path(tmp_path, "key").read_text(encoding="ascii").strip()
    assert signing
    assert signing not in written
