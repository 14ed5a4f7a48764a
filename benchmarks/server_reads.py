"""Reads, proofs and exports of a log of 1,000,000 events, beside their targets: see `--help`.

Rules:
- The database is built once by million.py, in `--folder`, and used again from there.
- The server is one process on loopback; the requests come from another one, one at a time over a
  connection that is kept. A figure is what the client waits for: connect excluded, body included.
- CPU is the server's and PostgreSQL's, the median of a case: what a busy machine does not change.
- "first" is a case's first call, in CPU: what the server remembers of a selection (store/known.py)
  it does not know by then.
- Every answer's status is checked, and that a case finds what it should: something or nothing.
- Exports run beside the bare limit: the same rows read with the database's own driver and written
  as lines. The server's memory is sampled every 0.1 s (VmRSS; Linux).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import million
from server_exports import exports
from server_proofs import proofs

TARGET_MS = 10.0  # p50 of a first page
CALLS = 60  # of each case, or as many as go into CASE_S
CASE_S = 2.0

Found = bool | None  # a case finds events, finds none, or may do either


class List(NamedTuple):
    """A first page of listEvents."""

    params: Mapping[str, Any]
    found: Found = True


class Query(NamedTuple):
    """A first page of createSearch."""

    body: Mapping[str, Any]
    found: Found = True


LISTS = {
    "newest": List({}),
    "oldest first": List({"order": "asc"}),
    "action, 1 in 3": List({"action": "invoice.read"}),
    "action, 1 in 1,000": List({"action": "backup.restored"}),
    "action, 1 in 100,000": List({"action": "vault.opened"}),
    "action, absent": List({"action": "no.such"}, False),
    "action_contains, 5 in 9": List({"action_contains": "Invoice"}),
    "action_contains, 1 in 100,000": List({"action_contains": "ault.op"}),
    "action_contains, absent": List({"action_contains": "xyz"}, False),
    "action_prefix, 1 in 1,000": List({"action_prefix": "backup."}),
    "actor_id, 1 in 3,000": List({"actor_id": "user_77"}),
    "actor_id, absent": List({"actor_id": "nobody"}, False),
    "actor_name_contains, 1 name": List({"actor_name_contains": "example 2997"}),
    "actor_name_contains, 111 names": List({"actor_name_contains": "example 29"}),
    "actor_name_contains, 3,000 names": List({"actor_name_contains": "ALICE"}),
    "actor_type, all": List({"actor_type": "user"}),
    "actor_type, none": List({"actor_type": "agent"}, False),
    "action_type, 1 in 3": List({"action_type": "read"}),
    "outcome, 19 in 20": List({"outcome": "success"}),
    "outcome, 1 in 20": List({"outcome": "failure"}),
    "resource_type, all": List({"resource_type": "invoice"}),
    "resource_id, one event": List({"resource_id": "inv_123456"}),
    "resource_id, 1 in 100": List({"resource_id": "acct_42"}),
    "source, 2 in 5": List({"source": "billing"}),
    "source_ip, 1 in 1,000": List({"source_ip": "2001:db8::2a"}),
    "schema_id, absent": List({"schema_id": "payments"}, False),
    "tag, 1 in 5": List({"tag": "team:sales"}),
    "tag, old block of 10,000": List({"tag": "batch:b3"}),
    "two tags": List({"tag": ("team:sales", "batch:b50")}),
    "q, a word of 1 in 3": List({"q": "payment"}),
    "q, two words": List({"q": "contract expired"}),
    "q, a phrase": List({"q": '"card expired"'}),
    "q, absent word": List({"q": "zebra"}, False),
    "q, prefix": List({"q": "contr*"}),
    "last=30d": List({"last": "30d"}),
    "occurred_at, one day": List(
        {"time_field": "occurred_at", "start": "2026-10-01", "end": "2026-10-01"}
    ),
    "occurred_at, one day, 1 in 1,000": List(
        {
            "time_field": "occurred_at",
            "start": "2026-10-01",
            "end": "2026-10-01",
            "action": "backup.restored",
        }
    ),
    "occurred_at, one day, outcome": List(
        {
            "time_field": "occurred_at",
            "start": "2026-10-01",
            "end": "2026-10-01",
            "outcome": "success",
        }
    ),
    "actor and action": List({"actor_id": "user_77", "action": "user.login"}),
    "outcome, action, tag": List(
        {"outcome": "failure", "action": "user.login", "tag": "team:legal"}, None
    ),
    "two common, never together": List({"action": "invoice.read", "action_type": "update"}, False),
    "rare action, common tag": List({"action": "vault.opened", "outcome": "success"}),
}
SEARCHES = {
    "everything": Query({}),
    "field:value, 5 in 9": Query({"query": "action:invoice"}),
    "field:value, 1 in 100,000": Query({"query": "action:vault"}),
    "field:value, absent": Query({"query": "action:nothing"}, False),
    "actor:…": Query({"query": "actor:user_77"}),
    'id="…"': Query({"query": f'id="{million.base_event(500_000)["id"]}"'}),
    "a word": Query({"query": "payment"}),
    "a phrase": Query({"query": '"card expired address"'}, None),
    "a phrase and a field": Query({"query": '"card expired" outcome:failure'}),
    "OR": Query({"query": "action:vault OR action:backup"}),
    "NOT, rare left": Query({"query": "NOT outcome:success"}),
    "NOT, common left": Query({"query": "-action:invoice"}),
    "data.amount>…, 1 in 3": Query({"query": "data.amount>66666"}),
    "data.amount>…, 1 in 1,000": Query({"query": "data.amount>99900"}),
    "data.paid=true and a field": Query({"query": "data.paid=true action:login"}),
    "occurred_at range": Query({"query": "occurred_at:[2026-10-01 TO 2026-10-02]"}),
    "has:field": Query({"query": "has:data outcome:failure"}),
    "restrictions": Query({"query": "payment", "restrictions": {"actor.id": ["user_77"]}}),
    "by occurred_at": Query({"order_by": "occurred_at"}),
    "by occurred_at, a field": Query({"query": "action:login", "order_by": "occurred_at"}),
    "by action, everything": Query({"order_by": "action"}),
    "by action, 1 in 20": Query({"query": "outcome:failure", "order_by": "action"}),
    "by outcome, a word": Query({"query": "payment", "order_by": "outcome"}),
    "by source, everything": Query({"order_by": "source", "order": "asc"}),
    "by severity, a field": Query({"query": "action:login", "order_by": "severity"}),
    "by actor, 1 in 1,000": Query({"query": "action:backup", "order_by": "actor"}),
    "by message, 1 in 1,000": Query({"query": "action:backup", "order_by": "message"}),
    "by resource, 1 in 1,000": Query({"query": "action:backup", "order_by": "resource"}),
}
# Why these may be beyond the target.
WHY = {
    "data.amount>…, 1 in 1,000": "values in data are in no index: at first 10,000 are sifted",
}
PAGED: dict[str, Mapping[str, Any]] = {
    "everything": {},
    "action, 1 in 3": {"action": "invoice.read"},
    "occurred_at, one week": {
        "time_field": "occurred_at",
        "start": "2026-10-01",
        "end": "2026-10-08",
    },
}
SORTED_PAGES: dict[str, Mapping[str, Any]] = {
    "search by action": {"order_by": "action", "query": "outcome:failure"},
    "search by occurred_at": {"order_by": "occurred_at"},
}


def cpu(pids: Sequence[int]) -> float:
    """Milliseconds of CPU that the threads of these processes have used (Linux; 0 elsewhere)."""
    spent = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):
                spent += int(task.read_text().split()[0])
    return spent / 1e6


def backends(pid: int) -> list[int]:
    """The processes of a PostgreSQL that serve clients (Linux); none of autovacuum and the like."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    serving = []
    for each in found.read_text().split() if found.exists() else []:
        with suppress(OSError):
            if b"postgres: trailseal " in Path(f"/proc/{each}/cmdline").read_bytes():
                serving.append(int(each))
    return serving


class Http:
    """One kept connection to the server; `spent` is the time of the last exchange, in ms."""

    def __init__(self, url: str, key: str, pid: int, database: int | None = None) -> None:
        self._pid, self._database = pid, database
        host, port = url.removeprefix("http://").split(":")
        self._connection = HTTPConnection(host, int(port), timeout=60.0)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.spent = 0.0

    def cpu(self) -> float:
        """Milliseconds of CPU that the server and its database have used."""
        engine = [] if self._database is None else backends(self._database)
        return cpu([self._pid, *engine])

    def get(self, path: str, params: Mapping[str, Any]) -> Any:
        """GET; the answer's JSON."""
        return self._send("GET", f"{path}?{urlencode(params, doseq=True)}", None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST; the answer's JSON."""
        return self._send("POST", path, json.dumps(body))

    def _send(self, method: str, path: str, body: str | None) -> Any:
        began = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        self.spent = (time.perf_counter() - began) * 1000
        if response.status >= 300:
            raise RuntimeError(f"{response.status} {content[:300]!r}")
        return json.loads(content)


class Report:
    """Prints cases, and remembers those beyond the target."""

    def __init__(self) -> None:
        self.slow: list[str] = []

    def show(self, name: str, spent: list[float], note: str = "") -> None:
        """One line: p50 and p99."""
        p50 = statistics.median(spent)
        p99 = max(spent) if len(spent) < 10 else statistics.quantiles(spent, n=100)[98]
        if p50 > TARGET_MS:
            self.slow.append(name)
        mark = "" if p50 <= TARGET_MS else f"  > target {WHY.get(name, '')}".rstrip()
        print(f"  {name:52} p50 {p50:8.1f} ms  p99 {p99:8.1f} ms  {note}{mark}", flush=True)

    def refused(self, name: str, error: RuntimeError) -> None:
        """A case that the server refuses."""
        self.slow.append(name)
        print(f"  {name:52} {str(error)[:110]}", flush=True)


def repeat(report: Report, name: str, http: Http, ask: Any, found: Found) -> None:
    """Measure one case."""
    spent: list[float] = []
    used: list[float] = []
    end = time.perf_counter() + CASE_S
    page: Any = None
    try:
        while len(spent) < CALLS and (len(spent) < 3 or time.perf_counter() < end):
            before = http.cpu()
            page = ask()
            spent.append(http.spent)
            used.append(http.cpu() - before)
    except RuntimeError as error:
        report.refused(name, error)
        return
    if found is not None:
        assert bool(page["items"]) is found or page["has_more"], name
    count = f"{len(page['items'])} events" if "count" not in page else f"{page['count']} found"
    took = f"CPU {statistics.median(used):7.1f} ms, first {used[0]:7.1f} ms"
    report.show(name, spent, f"{took}  {count}")


def first_pages(report: Report, http: Http, only: str) -> None:
    """Every case of LISTS and SEARCHES."""
    for limit in (20, 100):
        print(f"listEvents, first page of {limit}")
        for name, case in LISTS.items():
            if only in name:
                params = {**case.params, "limit": limit}
                repeat(report, name, http, lambda p=params: http.get("/v1/events", p), case.found)
    print("createSearch, first page of 20")
    for name, query in SEARCHES.items():
        if only in name:
            body = query.body
            repeat(report, name, http, lambda b=body: http.post("/v1/searches", b), query.found)


def further_pages(report: Report, http: Http) -> None:
    """The second and the 100th page, of 20 events each."""
    print("further pages of 20")
    for name, params in PAGED.items():
        second, hundredth = [], []
        for _ in range(3):
            pages = _pages(lambda c, p=params: http.get("/v1/events", p | c))
            spent = [http.spent for _ in pages]
            second.append(spent[1])
            hundredth.append(spent[-1])
        report.show(f"{name}, 2nd", second)
        report.show(f"{name}, 100th", hundredth)
        offset = {"offset": 99 * 20, **params}
        repeat(report, f"{name}, offset", http, lambda p=offset: http.get("/v1/events", p), True)
    for name, body in SORTED_PAGES.items():
        path = f"/v1/searches/{http.post('/v1/searches', body)['search_id']}/results"
        pages = _pages(lambda c, p=path: http.post(p, c))
        spent = [http.spent for _ in pages]
        report.show(f"{name}, 2nd", spent[1:2])
        report.show(f"{name}, 100th", spent[-1:])


def _pages(ask: Any) -> Iterator[Any]:
    page = ask({})
    yield page
    for _ in range(99):
        page = ask({"cursor": page["next_cursor"]})
        yield page


@contextmanager
def database(kind: str, folder: Path, events: int) -> Iterator[str]:
    """The URL of the database, built if it is not there."""
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        if kind == "postgresql":
            url = stack.enter_context(million.postgresql(folder))
        else:
            url = f"sqlite:///{folder}/trailseal.db"
        built = million.build(url, events)
        print(f"{events:,} events in {folder} ({built:,.0f} events/s)", flush=True)
        yield url


@contextmanager
def served(url: str, folder: Path) -> Iterator[tuple[str, str, int]]:
    """The server in a process of its own: its URL, its key and its process id."""
    command = [sys.executable, __file__, "serve", url, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        address, key = process.stdout.readline().split()
        yield address, key, process.pid
    finally:
        process.terminate()
        process.wait()


def serve(url: str, folder: str) -> None:
    """The server on this database; prints its URL and a new key."""
    from trailseal_server.app import serve as run
    from trailseal_server.settings import Settings

    place = Path(folder)
    settings = Settings(
        database_url=url, port=0, log_key_file=place / "key", export_dir=place / "exports"
    )
    run(settings, lambda running: print(running.url, running.key, flush=True), new_key=True)


def main() -> int:
    """Run what was asked for; 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the database is kept; else it is not")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="first pages whose name contains this")
    parser.add_argument("--skip", nargs="*", default=(), choices=("pages", "exports", "proofs"))
    given = parser.parse_args()
    report = Report()
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database(given.database, folder.resolve(), given.events))
        here = stack.enter_context(served(url, folder.resolve()))
        postmaster = folder.resolve() / "data" / "postmaster.pid"
        engine = int(postmaster.read_text().split()[0]) if postmaster.exists() else None
        http = Http(*here, engine)
        if "pages" not in given.skip:
            first_pages(report, http, given.only)
            if not given.only:
                further_pages(report, http)
        if "proofs" not in given.skip:
            used = Http(here[0], here[1], os.getpid(), engine).cpu
            report.slow += proofs(url, http, given.events, used)
        if "exports" not in given.skip:
            report.slow += exports(url, here, http.cpu)
    print("beyond their targets: " + (", ".join(report.slow) or "none"))
    return 1 if report.slow else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        raise SystemExit(main())
