"""The client beside its peers and beside bare httpx, in one run: `make bench-client`.

CPU time of the client's process for one call or event: the least of some rounds, in which all
subjects take turns, each in a fresh process. They talk to one null server on loopback, in another
process, that answers canned bytes; the raw socket shows that it could serve many more. Peers run
in an environment of their own (`client-peers.txt`); one that is not there is named with its reason.

All log the same events, given as dicts, but auditledge, whose events have four fields. `NOTES` says
in the output what else differs: how many go with a request, and what is checked before.
"""

import asyncio
import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CALLS = 600
IN_FLIGHT = 100
BATCH = 1000
BATCHES = 24
BOTO3_MOST = 100  # events of one of its requests
PAGES = 8
DOWNLOAD = 256 << 20  # bytes
IMPORTS = 7
PEERS = Path(os.environ.get("PEERS_PYTHON", ".venv-peers/bin/python"))
HERE = Path(__file__).resolve()
BODY = "ts_abcd1234_" + "S" * 32
KEY = f"{BODY}_{zlib.crc32(BODY.encode()):08x}"
EVENT: dict[str, Any] = {
    "id": "0192f0c1-2b7e-7c3a-9a55-0f8d6b7c1e21",
    "occurred_at": "2026-11-20T10:15:30.123456Z",
    "action": "invoice.deleted",
    "action_type": "delete",
    "outcome": "success",
    "actor": {"id": "user_123", "type": "user", "name": "Alice", "email": "alice@example.com"},
    "resources": [
        {"id": "inv_456", "type": "invoice", "name": "Invoice #1042"},
        {"id": "acct_9", "type": "account"},
    ],
    "context": {"source_ip": "2001:db8::1", "user_agent": "Mozilla/5.0", "request_id": "r-1"},
    "tags": {"team": "billing"},
    "data": {"amount": 12.5, "count": 3, "paid": False, "note": None},
}
MOMENT = "2026-11-20T10:15:30.200000Z"
RECEIPT: dict[str, Any] = {
    "event_id": EVENT["id"],
    "log_id": "main",
    "index": 7,
    "received_at": MOMENT,
    "leaf_hash": "0" * 64,
    "state": "pending",
    "replayed": False,
}
RECORD = {**EVENT, **RECEIPT, "sent_at": MOMENT, "skew_ms": 3, "ingested_by": "key_abcd1234"}
LEDGE = {
    "actor": {"id": "user_123", "name": "Alice"},
    "action": "invoice.deleted",
    "resource": {"type": "invoice", "id": "inv_456"},
    "organization_id": "o",
}

SERVER = """
import json, socket, sys, threading
answers = {path: body.encode() for path, body in json.load(sys.stdin).items()}
size = int(sys.argv[1])
line = b"\\r\\n"
def head(length):
    return line.join([b"HTTP/1.1 200 OK", b"content-length: %d" % length, b"", b""])
whole = {path.encode(): head(len(body)) + body for path, body in answers.items()}
zeros = bytes(1 << 20)
def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = b""
    while True:
        while b"\\r\\n\\r\\n" not in buffer:
            piece = connection.recv(1 << 20)
            if not piece: return
            buffer += piece
        top, _, rest = buffer.partition(b"\\r\\n\\r\\n")
        length = int(top.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0] or 0)
        pieces, have = [rest], len(rest)
        if have < length and b"100-continue" in top.lower():
            connection.sendall(b"HTTP/1.1 100 Continue" + line + line)
        while have < length:
            piece = connection.recv(1 << 20)
            pieces.append(piece); have += len(piece)
        buffer = b"".join(pieces)[length:]
        path = top.split(b" ", 2)[1].partition(b"?")[0]
        if path == b"/file":
            connection.sendall(head(size))
            for _ in range(size >> 20): connection.sendall(zeros)
        else:
            connection.sendall(whole[path])
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

Subject = Callable[[str], tuple[int, Callable[[], object]]]
"""Given the server's URL: how many calls or events one run is, and the run."""


def answers() -> dict[str, str]:
    envelope = {"request_id": "r", "request_time": MOMENT, "response_time": MOMENT}
    pangea = {**envelope, "status": "Success", "summary": "", "result": {"hash": "0" * 64}}
    items = [
        {"position": i, "id": f"e{i}", "status": "created", "receipt": {**RECEIPT, "index": i}}
        for i in range(BATCH)
    ]
    results = {"results": items, "created": BATCH, "duplicate": 0, "failed": 0}
    page = {"items": [{**RECORD, "index": i} for i in range(BATCH)], "has_more": False}
    many = {**pangea, "result": {"results": [{"hash": "0" * 64}] * BATCH}}
    taken = [{"eventID": f"e{i}", "id": f"e{i}"} for i in range(BOTO3_MOST)]
    return {
        "/v1/events": json.dumps(RECEIPT),
        "/v1/events/batch": json.dumps(results),
        "/page/v1/events": json.dumps({**page, "next_cursor": None}),
        "/v1/log": json.dumps(pangea),
        "/v2/log": json.dumps(many),
        "/PutAuditEvents": json.dumps({"successful": taken, "failed": []}),
    }


@contextmanager
def null_server() -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, str(DOWNLOAD)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-3, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(answers()))
        process.stdin.close()
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


# One at a time.


def raw_socket(url: str) -> tuple[int, Callable[[], object]]:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    body = json.dumps(EVENT).encode()
    request = b"POST /v1/events HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    def run() -> None:
        for _ in range(CALLS):
            connection.sendall(request)
            connection.recv(65_536)

    return CALLS, run


def repeated(call: Callable[[], object], count: int = CALLS) -> Callable[[], object]:
    def run() -> None:
        for _ in range(count):
            call()

    return run


def httpx_post(url: str) -> tuple[int, Callable[[], object]]:
    import httpx

    client, headers = httpx.Client(), {"Authorization": f"Bearer {KEY}"}
    place = f"{url}/v1/events"
    return CALLS, repeated(lambda: client.post(place, json=EVENT, headers=headers).json())


def trailseal_log(url: str) -> tuple[int, Callable[[], object]]:
    import trailseal

    client = trailseal.Client(url, KEY)
    fields = {name: value for name, value in EVENT.items() if name != "action"}
    return CALLS, repeated(lambda: client.log(EVENT["action"], **fields).index)


def pangea_client(url: str) -> Any:
    from pangea.config import PangeaConfig
    from pangea.services import Audit

    return Audit("pts_x", config=PangeaConfig(base_url_template=url))


def pangea_log(url: str) -> tuple[int, Callable[[], object]]:
    audit = pangea_client(url)
    return CALLS, repeated(lambda: audit.log_event(EVENT).result)


def boto3_client(url: str) -> Any:
    import boto3

    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    return boto3.client("cloudtrail-data", region_name="eu-west-1", endpoint_url=url, **keys)


ARN = "arn:aws:cloudtrail:eu-west-1:123456789012:channel/a"


def boto3_put(url: str) -> tuple[int, Callable[[], object]]:
    client = boto3_client(url)
    return CALLS, repeated(
        lambda: client.put_audit_events(
            auditEvents=[{"id": "e1", "eventData": json.dumps(EVENT)}], channelArn=ARN
        )
    )


def auditledge_log(url: str) -> tuple[int, Callable[[], object]]:
    from auditledge import AuditLedge

    client = AuditLedge("key", base_url=f"{url}/v1")
    return CALLS // 4, repeated(lambda: client.log(LEDGE), CALLS // 4)


# Many in flight.


def in_flight(call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> Callable[[], object]:
    async def worker() -> None:
        for _ in range(CALLS * 2 // IN_FLIGHT):
            await call()

    async def run() -> None:
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    return lambda: loop.run_until_complete(run())


def httpx_async(url: str) -> tuple[int, Callable[[], object]]:
    import httpx

    client, headers = httpx.AsyncClient(timeout=300), {"Authorization": f"Bearer {KEY}"}
    place = f"{url}/v1/events"

    async def call() -> object:
        return (await client.post(place, json=EVENT, headers=headers)).json()

    return CALLS * 2, in_flight(call, asyncio.new_event_loop())


def trailseal_async(url: str) -> tuple[int, Callable[[], object]]:
    import trailseal

    client = trailseal.AsyncClient(url, KEY, timeout=300)
    fields = {name: value for name, value in EVENT.items() if name != "action"}

    async def call() -> object:
        return (await client.log(EVENT["action"], **fields)).index

    return CALLS * 2, in_flight(call, asyncio.new_event_loop())


# Batches, pages, downloads.


def ready() -> list[dict[str, Any]]:
    """Events of objects of their own, as a program has them; what differs in practice differs."""
    events: list[dict[str, Any]] = [json.loads(json.dumps(EVENT)) for _ in range(BATCH)]
    for i, event in enumerate(events):
        event["id"] = f"{EVENT['id'][:-4]}{i:04x}"
        event["occurred_at"] = f"2026-11-20T10:15:{i % 60:02}.{i:06}Z"
        event["actor"]["id"] = f"user_{i % 50}"
        event["resources"][0]["id"] = f"inv_{i}"
        event["context"] |= {"source_ip": f"2001:db8::{i % 200:x}", "request_id": f"r-{i}"}
        event["data"]["count"] = i
    return events


def httpx_batch(url: str) -> tuple[int, Callable[[], object]]:
    import httpx

    client, events, place = httpx.Client(), ready(), f"{url}/v1/events/batch"
    try:
        import orjson
    except ImportError:
        return BATCH * BATCHES, repeated(
            lambda: client.post(place, json={"events": events}).json(), BATCHES
        )

    def call() -> object:
        return orjson.loads(client.post(place, content=orjson.dumps({"events": events})).content)

    return BATCH * BATCHES, repeated(call, BATCHES)


def trailseal_bulk(url: str) -> tuple[int, Callable[[], object]]:
    import trailseal

    client, events = trailseal.Client(url, KEY), ready()
    return BATCH * BATCHES, repeated(lambda: client.log_bulk(events).failed, BATCHES)


def pangea_bulk(url: str) -> tuple[int, Callable[[], object]]:
    audit, events = pangea_client(url), ready()
    return BATCH * BATCHES, repeated(lambda: audit.log_bulk(events).result, BATCHES)


def boto3_bulk(url: str) -> tuple[int, Callable[[], object]]:
    client, events = boto3_client(url), ready()

    def run() -> None:
        for at in range(0, BATCH, BOTO3_MOST):
            texts = [
                {"id": event["id"], "eventData": json.dumps(event)}
                for event in events[at : at + BOTO3_MOST]
            ]
            client.put_audit_events(auditEvents=texts, channelArn=ARN)

    return BATCH, run


def json_pages(url: str) -> tuple[int, Callable[[], object]]:
    import httpx

    client, place = httpx.Client(), f"{url}/page/v1/events"
    call = lambda: [event["id"] for event in client.get(place).json()["items"]]  # noqa: E731
    return BATCH * PAGES, repeated(call, PAGES)


def trailseal_pages(url: str) -> tuple[int, Callable[[], object]]:
    import trailseal

    client = trailseal.Client(f"{url}/page", KEY)
    call = lambda: [event.id for event in client.query(limit=1000)]  # noqa: E731
    return BATCH * PAGES, repeated(call, PAGES)


def httpx_download(url: str) -> tuple[int, Callable[[], object]]:
    import httpx

    client, digest = httpx.Client(timeout=60), hashlib.sha256()
    path = Path(tempfile.mkdtemp()) / "file"

    def run() -> None:
        with client.stream("GET", f"{url}/file") as response, path.open("wb") as file:
            for chunk in response.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
        path.unlink()

    return DOWNLOAD >> 20, run


def trailseal_download(url: str) -> tuple[int, Callable[[], object]]:
    import trailseal

    client = trailseal.Client(url, KEY)
    path = Path(tempfile.mkdtemp()) / "file"

    def run() -> None:
        client.download_file(f"{url}/file", path)
        path.unlink()

    return DOWNLOAD >> 20, run


WITHOUT = ":bare"  # neither orjson nor aiohttp, as without the extra `fast`
GROUPS: dict[str, tuple[str, list[str]]] = {
    "one at a time, CPU µs a call": (
        "httpx_post",
        [
            "raw_socket",
            "httpx_post",
            "trailseal_log",
            "trailseal_log:bare",
            "pangea_log",
            "boto3_put",
            "auditledge_log",
        ],
    ),
    f"{IN_FLIGHT} in flight, CPU µs a call": (
        "httpx_async",
        ["httpx_async", "trailseal_async", "trailseal_async:bare"],
    ),
    f"batches of {BATCH}, CPU µs an event": (
        "trailseal_bulk",
        [
            "httpx_batch",
            "httpx_batch:bare",
            "trailseal_bulk",
            "trailseal_bulk:bare",
            "pangea_bulk",
            "boto3_bulk",
        ],
    ),
    f"pages of {BATCH}, CPU µs an event": (
        "json_pages",
        ["json_pages", "trailseal_pages", "trailseal_pages:bare"],
    ),
    "download with SHA-256, CPU µs a MiB": (
        "httpx_download",
        ["httpx_download", "trailseal_download"],
    ),
}
NOTES = {
    "auditledge_log": "four fields, nothing checked",
    "boto3_bulk": f"{BOTO3_MOST} a request, its most; nothing checked in an event",
    "boto3_put": "nothing checked in the event",
    "httpx_batch": "orjson; nothing checked",
    "httpx_batch:bare": "nothing checked",
    "pangea_bulk": "nothing checked in an event",
    "pangea_log": "nothing checked in the event",
    "trailseal_bulk": "every member checked",
    "trailseal_bulk:bare": "every member checked",
    "trailseal_log": "every member checked",
    "trailseal_log:bare": "every member checked",
}
IMPORTED = {
    "import httpx": "import httpx",
    "import httpx, first client": "import httpx; httpx.Client()",
    "import trailseal": "import trailseal",
    "import trailseal, first client": f"import trailseal; trailseal.Client('http://x', '{KEY}')",
    "the same, ready for its first call": (
        f"import trailseal; trailseal.Client('http://x', '{KEY}')._transport.http();"
        "trailseal._api.create_event"
    ),
}


def measure(name: str, url: str) -> None:
    """In the subject's process: print microseconds and the most memory."""
    name, _, bare = name.partition(":")
    if bare:
        sys.modules["orjson"] = sys.modules["aiohttp"] = None  # type: ignore[assignment]  # as if missing
    subject: Subject = globals()[name]
    try:
        count, run = subject(url)
        run()  # warm
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return
    begun = time.process_time()
    run()
    taken = time.process_time() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"us": taken / count * 1e6, "mb": memory}))


def measured(name: str, url: str) -> dict[str, Any]:
    peer = name.startswith(("pangea", "boto3", "auditledge"))
    if peer and not PEERS.exists():
        return {"missing": f"no {PEERS}: make bench-client"}
    python = str(PEERS) if peer else sys.executable
    done = subprocess.run([python, HERE, name, url], capture_output=True, text=True, check=False)
    last = (done.stdout or done.stderr).strip().splitlines()[-1]
    return dict(json.loads(last)) if done.returncode == 0 else {"missing": last}


def imports() -> None:
    """With compiled bytecode, as an installed package has it."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as cache:
        env["PYTHONPYCACHEPREFIX"] = cache
        times: dict[str, list[float]] = {name: [] for name in IMPORTED}
        for _ in range(IMPORTS + 1):
            for name, code in IMPORTED.items():
                timed = (
                    f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
                )
                command = [sys.executable, "-c", timed]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
                times[name].append(float(done.stdout))
    print(f"import, CPU ms (least of {IMPORTS})")
    base = min(times["import httpx, first client"][1:])
    for name, taken in times.items():
        print(f"  {name:36}{min(taken[1:]) * 1e3:9.1f}{min(taken[1:]) / base:8.2f} ×")


def main() -> None:
    imports()
    with null_server() as url:
        for title, (base, names) in GROUPS.items():
            found = [{name: measured(name, url) for name in names} for _ in range(ROUNDS)]
            best = {
                name: min((one[name] for one in found), key=lambda row: row.get("us", 1e9))
                for name in names
            }
            print(f"\n{title} (least of {ROUNDS} rounds)")
            for name, row in best.items():
                if "missing" in row:
                    print(f"  {name:24} skipped: {row['missing'][:80]}")
                    continue
                us = row["us"]
                ratio = us / best[base]["us"]
                note = NOTES.get(name, "")
                figures = f"{us:9.2f}{ratio:8.2f} ×{1e6 / us:12,.0f} /s{row['mb']:7.0f} MB"
                print(f"  {name:24}{figures}  {note}".rstrip())


if __name__ == "__main__":
    measure(*sys.argv[1:]) if len(sys.argv) > 1 else main()
