"""V4, V5: several server processes on one database, under concurrent writers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

WRITERS = 16
REQUESTS = 6  # of each writer
TENANTS = ("a", "b", "c", "d")
WAIT_S = 30.0


@contextmanager
def served(url: str, folder: Path) -> Iterator[dict[str, str]]:
    """`trailseal serve` in a process of its own: what it announces."""
    files = {"SIGNING_KEY_FILE": folder / "key", "EXPORT_DIR": folder / "exports"}
    given = {f"TRAILSEAL_{name}": str(path) for name, path in files.items()}
    command = [sys.executable, "-m", "trailseal", "serve", "--database-url", url]
    with subprocess.Popen(
        [*command, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, **given},
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(WAIT_S)


def test_v4_two_processes_write_one_tree(make_database: Callable[[], str], tmp_path: Path) -> None:
    """Batches over the same logs, in any order, to either: no 5xx, no gap, one tree."""
    url = make_database()
    with ExitStack() as stack:
        first = stack.enter_context(served(url, tmp_path))
        second = stack.enter_context(served(url, tmp_path))
        auth = {"Authorization": f"Bearer {first['api_key']}"}
        clients = [
            stack.enter_context(httpx.Client(base_url=each["url"], headers=auth, timeout=WAIT_S))
            for each in (first, second)
        ]

        def write(writer: int) -> list[int]:
            statuses = []
            for number in range(REQUESTS):
                order = TENANTS if (writer + number) % 2 else TENANTS[::-1]
                events: list[dict[str, Any]] = [
                    {"id": f"e-{writer}-{number}", "action": "x.done", "tenant_id": tenant}
                    for tenant in order
                ]
                client = clients[(writer + number) % 2]
                answer = client.post("/v1/events/batch", json={"events": events})
                statuses.append(answer.status_code)
                assert answer.json()["created"] == len(TENANTS), answer.text
            return statuses

        with ThreadPoolExecutor(WRITERS) as pool:
            statuses = [status for each in pool.map(write, range(WRITERS)) for status in each]
        assert set(statuses) == {200}
        for tenant in TENANTS:
            roots = [client.post(f"/v1/logs/{tenant}/seal").json() for client in clients]
            assert roots[0] == roots[1]
            assert roots[0]["tree_size"] == WRITERS * REQUESTS
            query = {"log_id": tenant, "order": "asc", "limit": 1000}
            items = clients[0].get("/v1/events", params=query).json()["items"]
            assert [item["index"] for item in items] == list(range(WRITERS * REQUESTS))
            ids = {item["id"] for item in items}
            assert ids == {f"e-{w}-{n}" for w in range(WRITERS) for n in range(REQUESTS)}


def test_a_database_server_needs_its_files_named() -> None:
    """The message says which."""
    command = [sys.executable, "-m", "trailseal", "serve", "--database-url"]
    bare = {name: value for name, value in os.environ.items() if "TRAILSEAL" not in name}
    done = subprocess.run(
        [*command, "postgresql+psycopg://nobody@127.0.0.1:1/none"],
        capture_output=True, check=False, env=bare, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TRAILSEAL_SIGNING_KEY_FILE" in done.stderr
