"""Shared fixtures: a real server on a free loopback port; clients whose every answer is checked.

- `server`: one for the whole run, with a temporary database. Tests that share it keep apart by
  logs: `log_id` is a fresh one for each test.
- `make_server(**settings)`: a server of one's own.
- `client`: an `httpx.Client` with the first key; every answer is held against the contract by
  `Checked`, with another validator than the server's.
- `make_key(**input)`: a key with fewer rights.
- `make_database()`: the URL of a new database; a test that uses it runs on every engine.
- `postgresql()`: the URL of a new database of a PostgreSQL that this run started.
"""

import itertools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from openapi_schema_validator import oas31_format_checker
from trailseal_server.app import Running, running
from trailseal_server.settings import Settings
from trailseal_server.store import Store

from .spec import DOCUMENT

slow = [HealthCheck.too_slow]  # two busy cores say nothing about the code
settings.register_profile("unhurried", deadline=None, suppress_health_check=slow)
settings.load_profile("unhurried")

BYTES = "#/components/schemas/Bytes"  # what is streamed is no single JSON value
TIMEOUT = 40.0  # seconds: longer than the longest wait of the server
_numbers = itertools.count(1)

POSTGRESQL_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # as Debian has them
POSTGRESQL_DEADLINE = 30.0  # seconds to start or to stop
# No fsync: tests kill our processes, never the machine. A socket in a folder needs no free port.
POSTGRESQL_OPTIONS = {"fsync": "off", "listen_addresses": "", "max_connections": "200"}

# No authorities instead of all the world's, which every new client would read: 20 ms of work each.
# Our servers speak plain HTTP on loopback; what tests show of TLS brings its own certificate.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.fspath(Path(__file__).parent)


class Contract:
    """The contract, read by the tests themselves."""

    def __init__(self) -> None:
        self._validators: dict[str, Draft202012Validator] = {}  # by their schema's JSON

    @cached_property
    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Method, path and specification of every operation, parameters resolved."""
        found = []
        for path, item in DOCUMENT["paths"].items():
            for method in item.keys() & {"get", "put", "post", "delete", "patch"}:
                given = [*item.get("parameters", []), *item[method].get("parameters", [])]
                spec = {**item[method], "parameters": [self.resolve(each) for each in given]}
                found.append((method.upper(), path, spec))
        # Fixed paths first: /v1/events/batch is no event id.
        return sorted(found, key=lambda each: (each[1].count("{"), each[1], each[0]))

    def resolve(self, node: Any) -> Any:
        """A node behind its local reference."""
        while "$ref" in node:
            target: Any = DOCUMENT
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
        def pattern(template: str) -> re.Pattern[str]:
            return re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template)))

        return [(method, pattern(template), spec) for method, template, spec in self.operations]

    def find(self, method: str, path: str) -> dict[str, Any] | None:
        """The operation that a request means, or None."""
        for each_method, pattern, spec in self._patterns:
            if method == each_method and pattern.fullmatch(path):
                return spec
        return None

    def check(self, method: str, path: str, response: httpx.Response) -> None:
        """Refuse an answer that the contract does not describe."""
        spec = self.find(method, path)
        status = str(response.status_code)
        if spec is None:
            described: Any = self.resolve({"$ref": "#/components/responses/Problem"})
            assert response.status_code >= 400 or path.startswith("/tlog/"), f"undescribed {path}"
            if response.status_code < 400:
                return
        else:
            answers = spec["responses"]
            assert status in answers or f"{status[0]}XX" in answers, f"undescribed status {status}"
            described = self.resolve(answers.get(status, answers.get(f"{status[0]}XX")))
        assert response.headers.get("request-id"), "an answer without Request-Id"
        content = described.get("content", {})
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if not content:
            assert not response.content, "a body where there should be none"
            return
        assert media_type in content, f"undescribed media type {media_type}"
        for name, header in described.get("headers", {}).items():
            if self.resolve(header).get("required"):
                assert name in response.headers, f"the header {name} is missing"
        schema = content[media_type]["schema"]
        if media_type.endswith("json") and schema.get("$ref") != BYTES:
            self.check_value(schema, response.json())

    def check_value(self, schema: dict[str, Any], value: Any) -> None:
        """Refuse a value that does not follow a schema of the contract."""
        key = json.dumps(schema, sort_keys=True, default=str)
        if key not in self._validators:
            whole = {**schema, "components": DOCUMENT["components"]}
            made = Draft202012Validator(whole, format_checker=oas31_format_checker)
            self._validators[key] = made
        self._validators[key].validate(value)


class Checked(httpx.BaseTransport):
    """A transport that holds every answer against the contract."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._inner = httpx.HTTPTransport()
        self.seen: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, read and check."""
        response = self._inner.handle_request(request)
        response.read()
        self._contract.check(request.method, request.url.path, response)
        spec = self._contract.find(request.method, request.url.path)
        if spec is not None and response.status_code < 300:
            self.seen.add(spec["operationId"])
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


@pytest.fixture(scope="session")
def contract() -> Contract:
    """The contract as the tests read it."""
    return Contract()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """A PostgreSQL in a temporary folder, one for each run and worker."""
    found = shutil.which("initdb") or (POSTGRESQL_BINARIES and POSTGRESQL_BINARIES[-1] / "initdb")
    if not found:
        pytest.skip("PostgreSQL's initdb is not installed")
    binaries = Path(found).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="trailseal-"))  # pytest's own is closed to other users
    # PostgreSQL refuses to run as root.
    user = next(
        user for user in ("postgres", "nobody") if user in {u.pw_name for u in pwd.getpwall()}
    )
    owner: dict[str, Any] = {"user": user, "extra_groups": []} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(folder, user)
    options = [f"-c{name}={value}" for name, value in POSTGRESQL_OPTIONS.items()]
    made = ["initdb", "-D", "data", "-U", "trailseal", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(
        [binaries / made[0], *made[1:]], cwd=folder, check=True, capture_output=True, **owner
    )
    run = [binaries / "postgres", "-D", folder / "data", "-k", folder, *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(run, cwd=folder, stderr=log, **owner)
    address = f"host={folder} user=trailseal"
    try:
        with _connected(f"{address} dbname=postgres", process) as connection:
            connection.execute("CREATE DATABASE migrated")
            url = f"postgresql+psycopg://trailseal@/%s?host={folder}"
            Store.open(url % "migrated").close()  # the schema is made once, and copied after that

            def make() -> str:
                name = f"test_{next(_numbers)}"
                connection.execute(f"CREATE DATABASE {name} TEMPLATE migrated")
                return url % name

            yield make
    finally:
        process.send_signal(signal.SIGQUIT)  # nobody will start it again
        process.wait(POSTGRESQL_DEADLINE)
        shutil.rmtree(folder)


def _connected(address: str, process: subprocess.Popen[bytes]) -> psycopg.Connection[Any]:
    deadline = time.monotonic() + POSTGRESQL_DEADLINE
    while True:
        try:
            return psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # it says when it is ready in its log only


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def make_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes databases of each engine in turn."""
    if request.param == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("postgresql")
        return make
    return lambda: f"sqlite:///{tmp_path_factory.mktemp('database')}/trailseal.db"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running server that all tests share: `url`, and `key`, the first API key."""
    path = tmp_path_factory.mktemp("server") / "trailseal.db"
    with running(Settings(database_url=f"sqlite:///{path}", port=0)) as started:
        yield started


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Running:
            given = {
                "database_url": f"sqlite:///{tmp_path / 'trailseal.db'}",
                "port": 0,
                **settings,
            }
            return stack.enter_context(running(Settings(**given)))

        yield make


@pytest.fixture
def make_client(contract: Contract) -> Iterator[Callable[..., httpx.Client]]:
    """Makes clients of a server, with a key or without, that check every answer."""
    with ExitStack() as stack:

        def make(server: Running, key: str | None = None) -> httpx.Client:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            client = httpx.Client(
                transport=Checked(contract), base_url=server.url, headers=headers, timeout=TIMEOUT
            )
            return stack.enter_context(client)

        yield make


@pytest.fixture
def client(server: Running, make_client: Callable[..., httpx.Client]) -> httpx.Client:
    """A client of the shared server, with the key that may do everything."""
    return make_client(server, server.key)


@pytest.fixture
def make_key(client: httpx.Client) -> Callable[..., str]:
    """Makes keys of the shared server: `make_key(scopes=[…], tenant_id=…)`."""

    def make(**given: Any) -> str:
        answer = client.post("/v1/api-keys", json={"name": "test", "scopes": ["admin"], **given})
        secret: str = answer.raise_for_status().json()["secret"]
        return secret

    return make


@pytest.fixture
def log_id(client: httpx.Client) -> str:
    """A log of the shared server that no other test writes to."""
    name = f"log-{next(_numbers)}"
    client.post("/v1/logs", json={"log_id": name}).raise_for_status()
    return name
