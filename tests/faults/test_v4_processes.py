"""V4, V5: several server processes on one database, under concurrent writers."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy import make_url

from .servers import Fleet, call, rounds

PROCESSES = {"sqlite": 2, "postgresql": 4}
WRITERS = 32
REQUESTS = rounds(3, 100)  # of each writer, each of one batch and one single event
TENANTS = ("a", "b", "c", "d")
WAIT_S = 30.0


def test_v4_v5_processes_that_start_at_once_write_one_tree(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """Over the same logs, in any order, to any process: no 5xx, no gap, one tree, and one first
    key. Four processes on PostgreSQL; two on one SQLite file, which is never "locked"."""
    url = make_database()
    fleet = Fleet(url, tmp_path, PROCESSES[make_url(url).get_backend_name()])
    assert len(fleet.keys) == 1
    key, members = fleet.keys[0], fleet.members

    def write(writer: int) -> Counter[object]:
        seen: Counter[object] = Counter()
        with ExitStack() as stack:
            connections = [stack.enter_context(closing(each.connect())) for each in members]
            for number in range(REQUESTS):
                connection = connections[(writer + number) % len(connections)]
                order = TENANTS if (writer + number) % 2 else TENANTS[::-1]
                name = f"e-{writer}-{number}"
                batch = [{"id": name, "action": "x.done", "tenant_id": each} for each in order]
                status, body = call(connection, key, "POST", "/v1/events/batch", {"events": batch})
                seen[status, body.get("created", body.get("code"))] += 1
                single = {"id": f"s-{name}", "action": "x.done", "tenant_id": order[0]}
                status, body = call(connection, key, "POST", "/v1/events", single)
                seen[status, body.get("code")] += 1
        return seen

    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            seen = sum(pool.map(write, range(WRITERS)), Counter[object]())
        count = WRITERS * REQUESTS
        assert seen == {(200, len(TENANTS)): count, (201, None): count}
        for tenant in TENANTS:
            roots = [each.call(key, "POST", f"/v1/logs/{tenant}/seal") for each in members]
            assert [each == roots[0] for each in roots] == [True] * len(members)
            size = roots[0][1]["tree_size"]
            found: list[tuple[int, str]] = []
            query = f"/v1/events?log_id={tenant}&order=asc&limit=1000"
            more = ""
            while len(found) < size:
                status, page = members[0].call(key, "GET", query + more)
                assert status == 200
                found += [(item["index"], item["id"]) for item in page["items"]]
                more = f"&cursor={page['next_cursor']}"
            assert [index for index, _ in found] == list(range(size))
            ids = {name for _, name in found}
            assert len(ids) == size
            assert ids >= {f"e-{w}-{n}" for w in range(WRITERS) for n in range(REQUESTS)}
    finally:
        fleet.stop()


def test_a_database_server_needs_its_files_named() -> None:
    """The message says which."""
    command = [sys.executable, "-m", "trailseal", "serve", "--database-url"]
    bare = {name: value for name, value in os.environ.items() if "TRAILSEAL" not in name}
    done = subprocess.run(
        [*command, "postgresql+psycopg://nobody@127.0.0.1:1/none"],
        capture_output=True, check=False, env=bare, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TRAILSEAL_LOG_KEY_FILE" in done.stderr
