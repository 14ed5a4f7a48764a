"""V11–V16: bodies, paths, schemas and texts that are made to hurt.

A real server runs in a process of its own, whose memory (VmHWM, the peak) and processor time are
read from /proc. What costs too much is compared with a harmless twin of the same size.
"""

import csv
import gzip
import hashlib
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SERVE = """
import sys
from trailseal_server import limits
from trailseal_server.app import serve
from trailseal_server.settings import Settings
limits.BODY_DEADLINE = 1.0  # 30 seconds are too long for a test
settings = Settings(database_url=f"sqlite:///{sys.argv[1]}", port=0)
serve(settings, lambda running: print(running.url, running.key, flush=True))
"""
DEADLINE_S = 40.0
MIB = 1 << 20
MORE_MEMORY = 384 * MIB  # what four of the largest bodies at once may add to the server's peak
DEARER = 20  # times the processor time of a harmless request of the same size
LINES_DEEP = 40


class Server:
    """The process: its port, its key, its peak of memory, its processor time."""

    def __init__(self, database: Path) -> None:
        command = [sys.executable, "-c", SERVE, str(database)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        url, _, self.key = self.popen.stdout.readline().strip().partition(" ")
        self.port = int(url.rpartition(":")[2])

    def peak(self) -> int:
        """The most bytes of memory that it ever held."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text(encoding="ascii")
        (line,) = [each for each in status.splitlines() if each.startswith("VmHWM:")]
        return int(line.split()[1]) << 10

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        stat = Path(f"/proc/{self.popen.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def call(
        self, method: str, path: str, body: Any = None, headers: Any = None
    ) -> tuple[int, bytes]:
        """Status and body of one request; bytes are sent as they are."""
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        address = ("127.0.0.1", self.port)
        with closing(http.client.HTTPConnection(*address, timeout=DEADLINE_S)) as connection:
            connection.request(method, path, text, given | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of a POST below /v1."""
        status, text = self.call("POST", f"/v1/{path}", body)
        return status, json.loads(text)

    def raw(self, *pieces: bytes, patient: bool = True) -> bytes:
        """What comes back for bytes on a bare connection; the server may hang up early."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                return self._received(connection) if patient else b""
            except (BrokenPipeError, ConnectionResetError):
                return b""

    @staticmethod
    def _received(connection: socket.socket) -> bytes:
        found = b""
        while piece := connection.recv(65536):
            found += piece
            if b"}" in found:
                break
        return found

    def head(self, path: str, *lines: str) -> bytes:
        """The head of a POST, with the key."""
        given = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.key}"]
        return "\r\n".join([*given, "Content-Type: application/json", *lines, "", ""]).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module: its peak of memory is that of all tests."""
    started = Server(tmp_path_factory.mktemp("hostile") / "trailseal.db")
    assert started.post("events", {"id": "first", "action": "x"})[0] == 201
    try:
        yield started
        assert started.post("events", {"id": "last", "action": "x"})[0] == 201
    finally:
        started.popen.terminate()
        started.popen.wait(DEADLINE_S)
        assert started.popen.stdout is not None
        started.popen.stdout.close()


HUGE = 10 * MIB - 200
EVENT = b'{"events":[{"action":"x","data":%s}]}'
BODIES = {
    "nan": b'{"action":"x","data":NaN}',
    "infinite": b'{"action":"x","data":1e999}',
    "duplicate": b'{"action":"x","data":{"a":1,"a":2}}',
    "deep": b'{"action":"x","data":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "open": b"[" * 1_000_000,
    "objects": b'{"a":' * 200_000,
    "escapes": b'{"action":"x","message":"' + b"\\u0041" * 170_000,
    "surrogate": b'{"action":"x","message":"\\udc00"}',
    "numbers": b'{"action":"x","data":' + b"9" * 1_000_000 + b"}",
    "too long": b'{"action":"x","message":"' + b"x" * MIB + b'"}',
    "names": b'{"action":"x",' + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}",
}
BATCHES = {
    "deep": EVENT % (b"[" * (HUGE // 2) + b"]" * (HUGE // 2)),
    "lists": EVENT % (b"[" + b"[]," * (HUGE // 3 - 1) + b"[]]"),
    "objects": EVENT % (b"[" + b"{}," * (HUGE // 3 - 1) + b"{}]"),
    "numbers": EVENT % (b"[" + b"1.5," * (HUGE // 4 - 1) + b"1.5]"),
    "spaces": EVENT % (b" " * HUGE + b"NaN"),
    "many": b'{"events":[' + b"{}," * 3_000_000 + b"{}]}",
    "over": b" " * (10 * MIB + 1),
}


@pytest.mark.parametrize("kind", BODIES)
def test_v11_a_hostile_event_is_refused(server: Server, kind: str) -> None:
    """Each by a 4xx that says what is wrong, in few words."""
    status, problem = server.post("events", BODIES[kind])
    assert 400 <= status < 500, problem
    assert len(json.dumps(problem)) < 40_000


def test_v11_hostile_batches_are_refused_and_memory_stays_bounded(server: Server) -> None:
    """The largest that are taken, several at once: 4xx, or each event refused by itself."""
    before = server.peak()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda kind: server.post("events/batch", BATCHES[kind]), BATCHES))
    for kind, (status, body) in zip(BATCHES, answers, strict=True):
        assert 400 <= status < 500 or body["created"] == 0, (kind, status)
    assert server.peak() - before < MORE_MEMORY


def test_v11_a_body_is_counted_whatever_it_says_of_itself(server: Server) -> None:
    """A false Content-Length and an endless stream of chunks end at the limit, not in memory."""
    before = server.peak()
    declared = server.raw(server.head("/v1/events", "Content-Length: 99999999999"))
    assert b" 413 " in declared.splitlines()[0]
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    told = server.raw(server.head("/v1/events", "Transfer-Encoding: chunked"), *[chunk] * 1600)
    assert not told or b" 413 " in told.splitlines()[0]  # the server may hang up: 100 MiB unread
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    smuggled = server.raw(server.head("/v1/events", *both), b"0\r\n\r\nGET /metrics HTTP/1.1\r\n")
    assert not smuggled or b" 4" in smuggled.splitlines()[0][:13]
    assert server.peak() - before < 32 * MIB


def test_v12_slow_senders_are_cut_off_and_stop_nobody(server: Server) -> None:
    """200 that never end their body: others are served, and each gets its 400 at the deadline."""
    head = server.head("/v1/events", "Content-Length: 100")
    with ThreadPoolExecutor(200) as pool:
        slow = [pool.submit(server.raw, head, b"{") for _ in range(200)]
        assert server.post("events", {"action": "x"})[0] == 201
        answers = [each.result() for each in slow]
    assert {answer.splitlines()[0] for answer in answers} == {b"HTTP/1.1 400 Bad Request"}
    assert all(b"did not arrive within" in answer for answer in answers)


def test_v12_a_bomb_of_gzip_is_not_opened_further_than_its_limit(server: Server) -> None:
    """As a body it is refused; as an upload, one endless line or many, it ends in failures."""
    before = server.peak()
    bomb = gzip.compress(b" " * (80 * MIB), 3)
    status, _ = server.call("POST", "/v1/events", bomb, {"Content-Encoding": "gzip"})
    assert status == 415
    lines = gzip.compress(b'{"action":"x","data":[' + b"[]," * (4 * MIB) + b"[]]}\n{}\n", 3)
    for content in (bomb, lines, gzip.compress(bomb), bomb[:-9], b"no gzip"):
        _, upload = server.post("uploads", {"compression": "gzip"})
        headers = {"Content-Type": "application/octet-stream", "Authorization": ""}
        status, _ = server.call("PUT", upload["content_url"], content, headers)
        assert status == 200
        path = f"uploads/{upload['upload_id']}/complete"
        status, job = server.post(path, {"sha256": hashlib.sha256(content).hexdigest()})
        assert status == 202
        _, ended = server.call("GET", f"/v1/operations/{job['operation_id']}?wait=30")
        told = json.loads(ended)
        assert told["state"] in {"failed", "succeeded"}, told
        assert told.get("batch", {}).get("created", 0) == 0, told
    assert server.peak() - before < 64 * MIB


PATHS = [
    *("/tlog/main/tile/../../../../../../etc/passwd", "/tlog/main/tile/0/../../etc/passwd"),
    *("/tlog/main/tile/..%2f..%2f..%2fetc%2fpasswd", "/tlog/main/tile/%2e%2e/%2e%2e/etc/passwd"),
    *("/tlog/main/tile//etc/passwd", "/tlog/..%2fmain/checkpoint", "/tlog/main/tile/0/000%00.p/1"),
    *("/v1/logs/main/tiles?path=../../etc/passwd", "/v1/logs/main/tiles?path=/etc/passwd"),
    *("/v1/logs/main/tiles?path=tile/0/../000", "/v1/logs/..%2f..%2fetc/tiles?path=tile/0/000"),
    *("/v1/exports/..%2f..%2ftrailseal.db/content", "/v1/exports/../uploads/content"),
    *("/v1/exports/op_..%2f..%2f/manifest", "/v1/exports/%2e%2e%2ftrailseal.db/content"),
    *("/../trailseal.db", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/v1/..;/metrics"),
]


@pytest.mark.parametrize("path", PATHS)
def test_v13_no_path_leads_out_of_its_place(server: Server, path: str) -> None:
    """4xx for every way to write `..`, on tiles, exports and uploads; nothing of a file comes."""
    status, text = server.call("GET", path)
    assert 400 <= status < 500, text
    assert b"root:" not in text
    assert b"SQLite format" not in text


@pytest.mark.parametrize("name", ["..%2f..%2fx", "upl_..%2f..%2fx", "%2e%2e", "..%00"])
def test_v13_no_upload_writes_outside_its_folder(server: Server, name: str) -> None:
    """An id that is a path is that of no upload, with a token of another one too."""
    _, upload = server.post("uploads", {})
    token = upload["content_url"].partition("?")[2]
    headers = {"Content-Type": "application/octet-stream"}
    status, _ = server.call("PUT", f"/v1/uploads/{name}/content?{token}", b"{}", headers)
    assert 400 <= status < 500


@pytest.fixture
def listener() -> Iterator[tuple[str, list[int]]]:
    """A host that notes who connects: its address and the connections so far."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    seen.append(1)
                    connection.close()
            except OSError:
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        host, port = listening.getsockname()
        yield f"{host}:{port}", seen
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)


def test_v14_no_schema_makes_the_server_open_anything(
    server: Server, listener: tuple[str, list[int]]
) -> None:
    """References to the network and to files are refused; an `$id` that is a URL is a name only."""
    address, seen = listener
    places = [f"http://{address}/s.json", f"//{address}/s", "file:///etc/passwd", "/etc/passwd"]
    places += ["other.json", f"https://{address}/#/x", "urn:x:y", f"ftp://{address}/", "s.json#/a"]
    named = {"$id": f"http://{address}/base/", "version": "1"}
    for place in places:
        schemas: list[dict[str, Any]] = [
            {"$ref": place},
            {"properties": {"a": {"items": {"$ref": place}}}},
            {"$defs": {"a": {"$ref": place}}},
            {"$dynamicRef": place},
            {"$recursiveRef": place},
            {"$schema": place},
            {"allOf": [{"$schema": place}]},
            {"properties": {"a": {"$id": place, "$ref": "#/x"}}},
        ]
        for schema in schemas:
            for body in ({"document": named | schema}, {"text": json.dumps(named | schema)}):
                status, problem = server.post("schemas", body)
                assert (status, problem["code"]) == (422, "schema_invalid"), (body, problem)
                status, check = server.post("schemas/validate", body)
                assert (status, check["valid"]) == (200, False)
    harmless = named | {
        "properties": {"a": {"$ref": "#/$defs/b"}},
        "$defs": {"b": {"type": "null"}},
    }
    assert server.post("schemas", {"document": harmless})[0] == 201
    event = {"action": "x", "schema": {"id": named["$id"], "version": "1"}, "data": {"a": 1}}
    assert server.post("events", event)[0] == 422
    assert server.post("events", event | {"data": {"a": None}})[0] == 201
    assert seen == []


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\r=x",
    "\n=x",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
]


@pytest.mark.row("L-13")
def test_v15_no_cell_of_a_csv_is_a_formula(server: Server) -> None:
    """In every text column, streamed and exported; a cell is the text behind an apostrophe."""
    for number, text in enumerate(FORMULAS):
        event = {
            "id": f"-{number}",
            "action": text,
            "tenant_id": text,
            "actor": {"id": text, "name": text, "email": text},
            "resources": [{"id": text, "name": text, "type": text}],
            "source": {"name": text},
            "message": text,
            "data": text,
            "before": text,
            "tags": {text: text},
            "subjects": [text],
        }
        status, receipt = server.post("events?log_id=main", event)
        assert status == 201, receipt
    _, streamed = server.call("GET", "/v1/events/export?log_id=main&format=csv")
    _, job = server.post("exports?log_id=main", {"format": "csv"})
    server.call("GET", f"/v1/operations/{job['operation_id']}?wait=30")
    _, exported = server.call("GET", f"/v1/exports/{job['operation_id']}/content")
    for text in (streamed, exported):
        rows = list(csv.reader(io.StringIO(text.decode(), newline="")))
        cells = [cell for row in rows for cell in row]
        assert not [
            cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
        ]
        for formula in FORMULAS:
            assert cells.count(f"'{formula}") >= 9, formula


def _spent(server: Server, path: str, body: Any) -> float:
    before = server.cpu()
    for _ in range(3):
        status, _ = server.post(path, body)
        assert status < 500
    return server.cpu() - before


def test_v16_patterns_that_explode_elsewhere_are_linear_here(server: Server) -> None:
    """Events under a schema with such a pattern cost like those under a plain one."""
    evil = {"a": "^(a+)+$", "b": "(.*)*x", "c": "^(([a-z])+.)+[A-Z]([a-z])+$", "d": "(a|aa)+$"}
    text = "a" * 200_000 + "!"
    costs = {}
    for name, patterns in {"evil": evil, "plain": dict.fromkeys(evil, "^b")}.items():
        properties = {key: {"pattern": pattern} for key, pattern in patterns.items()}
        schema = {"$id": name, "version": "1", "properties": properties}
        assert server.post("schemas", {"document": schema})[0] == 201
        data = dict.fromkeys(evil, text)
        event = {"action": "x", "schema": {"id": name, "version": "1"}, "data": data}
        costs[name] = _spent(server, "events", event)
    assert costs["evil"] < DEARER * max(costs["plain"], 0.05), costs


def test_v16_queries_that_explode_elsewhere_are_bounded(server: Server) -> None:
    """Nesting, terms and stars at their limits cost like many plain words; beyond it is 400."""
    plain = _spent(server, "searches", {"query": " ".join(["word"] * 99)})
    for query in ("(" * 20 + "a*" + ")" * 20, " OR ".join(["-a*"] * 99), "data.a>1 " * 99):
        spent = _spent(server, "searches", {"query": query})
        assert spent < DEARER * max(plain, 0.05), query
    for query in ("(" * 2000, "NOT " * 1000 + "a", '"' + "\\" * 4000, "a*" * 4000, "x " * 2000):
        status, problem = server.post("searches", {"query": query})
        assert status == 400, problem


def _doubling(levels: int) -> dict[str, Any]:
    """Two references to the next level, at each level: 2**levels subschemas once unrolled."""
    below = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": below | {f"l{levels}": {"type": "null"}}, "$ref": "#/$defs/l0"}


def _nested(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


BOMBS = {
    "doubling": _doubling(30),
    "itself": {"$ref": "#"},
    "two ways": {"anyOf": [{"items": {"$ref": "#"}}, {"properties": {"a": {"$ref": "#"}}}]},
    "deep": _nested(LINES_DEEP),
    "patterns": {"properties": {f"p{n}": {"pattern": f"a{n}"} for n in range(60)}},
    "repeated": {"pattern": "((a{100}){100}){100}"},
    "classes": {"pattern": r"(\w{500}){20}"},
    "look-around": {"pattern": "(?=(a+)+$)"},
    "back-reference": {"pattern": r"(a+)\1+$"},
    "wide": {"enum": list(range(30_000))},
    "large number": {"multipleOf": 1e300},
}
YAML_BOMBS = {
    "laughs": "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "deep": "[" * 100_000,
    "flow": "{a: " * 50_000,
    "object": "!!python/object/apply:os.system ['true']",
    "merge": "a: &a {x: 1}\nb: {<<: *a}\n",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_v16_a_bomb_of_a_schema_is_refused(server: Server, kind: str) -> None:
    """Before it is compiled, in both dialects, registered or only checked; memory stays bounded."""
    before = server.peak()
    for dialect in (
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
    ):
        document = {"$schema": dialect, "$id": kind, "version": "1", **BOMBS[kind]}
        if kind == "two ways" and "draft-07" in dialect:
            continue  # `items` and `properties` are for different values there too: see rules.py
        status, problem = server.post("schemas", {"document": document})
        assert status in {400, 422}, problem
        status, check = server.post("schemas/validate", {"document": document})
        assert status == 400 or check["valid"] is False
    assert server.peak() - before < 64 * MIB


@pytest.mark.parametrize("kind", YAML_BOMBS)
def test_v16_a_bomb_of_yaml_is_refused(server: Server, kind: str) -> None:
    """No alias, no tag, no depth: the text is refused where it begins to grow."""
    before = server.peak()
    status, problem = server.post("schemas", {"text": YAML_BOMBS[kind]})
    assert (status, problem["code"]) == (422, "schema_invalid"), problem
    assert server.peak() - before < 64 * MIB
