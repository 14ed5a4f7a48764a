"""The application around the contract: start, stop, log, unforeseen errors."""

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from trailseal_server.app import create_app, running
from trailseal_server.edge import Edge
from trailseal_server.settings import Settings

SECRET = "a-payload-nobody-may-log"


def test_create_app_opens_nothing(tmp_path: Path) -> None:
    """No file, no thread, no socket before the lifespan begins."""
    create_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))
    assert list(tmp_path.iterdir()) == []


def test_the_first_key_is_shown_once(tmp_path: Path) -> None:
    """A second start finds the key's hash only; what was logged is still there."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}", port=0)
    with running(settings) as first:
        assert first.key is not None
        headers = {"Authorization": f"Bearer {first.key}"}
        answer = httpx.post(
            f"{first.url}/v1/events", json={"id": "e", "action": "x"}, headers=headers
        )
        assert answer.status_code == 201
    with running(settings) as second:
        assert second.key is None
        answer = httpx.get(f"{second.url}/v1/events/e", headers=headers)
        assert answer.json()["id"] == "e"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert first.key.encode() not in file.read_bytes(), file.name


def test_logs_have_no_payload_and_no_key(
    make_server: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, for an accepted, a refused and a malformed request."""
    caplog.set_level(logging.DEBUG)
    server = make_server()
    headers = {"Authorization": f"Bearer {server.key}"}
    url = f"{server.url}/v1/events?q={SECRET}"
    for body in ({"action": "x", "message": SECRET}, {"action": "x", SECRET: 1}):
        httpx.post(f"{server.url}/v1/events", json=body, headers=headers)
    httpx.get(url, headers=headers)
    httpx.post(f"{server.url}/v1/events", content=f'{{"a": "{SECRET}'.encode(), headers=headers)
    ours = [each for each in caplog.records if each.name.startswith("trailseal")]
    assert any(" 201 " in each.getMessage() for each in ours)
    text = "\n".join(each.getMessage() for each in ours)
    assert SECRET not in text
    assert server.key not in text
    assert "createEvent key_" in text


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answer has the request id, and the log the traceback."""

    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("inner details")

    transport = httpx.ASGITransport(Edge(broken))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "inner details" not in answer.text
    assert answer.json()["request_id"] in caplog.text


def test_serve_announces_and_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    """It says where it listens once it does, and ends with the events it acknowledged on disk."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    code = (
        "from trailseal_server.app import serve; from trailseal_server.settings import Settings; "
        f"serve(Settings(database_url={url!r}, port=0), lambda each: print(*each, flush=True))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base, key = process.stdout.readline().split()
        headers = {"Authorization": f"Bearer {key}"}
        httpx.post(f"{base}/v1/events", json={"id": "e", "action": "x"}, headers=headers)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    with running(Settings(database_url=url, port=0)) as again:
        assert httpx.get(f"{again.url}/v1/events/e", headers=headers).status_code == 200


def test_a_server_takes_a_free_port(make_server: Callable[..., Any]) -> None:
    """Port 0 takes a free one; the URL names it."""
    server = make_server()
    assert httpx.get(f"{server.url}/healthz").json()["status"] == "ok"
    assert httpx.get(f"{server.url}/readyz").status_code == 200
