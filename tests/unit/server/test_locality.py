"""Nothing on the append and read paths crosses logs: shown by the statements themselves.

PostgreSQL logs every statement of a real run, COPY and the driver's own among them; each that
reaches a distributed table must name one log.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import make_url
from trailseal_server.app import running
from trailseal_server.settings import Settings
from trailseal_server.store.schema import metadata

# Tables that Citus distributes by log_id, `terms` (of no metadata) among them.
DISTRIBUTED = frozenset(
    {
        *("checkpoints", "events", "logs", "names", "redaction_policies", "signing_keys", "terms"),
        *("tiles", "usage"),
    }
)
# Small tables that every node holds (Citus: reference tables), or that stay on one node, with the
# reason why no log bounds them.
GLOBAL = {
    "meta": "facts about the whole database",
    "directory": "which logs there are: a log is found in it before its id is known",
    "tenants": "a tenant has several logs",
    "channels": "a channel is found by its key before its log is known",
    "api_keys": "a key is found by its id before any log is known",
    "event_schemas": "a tenant's schemas hold for all its logs",
    "idempotency": "belongs to a key",
    # Found by the id that the client was given, which says no log; each row goes after some time.
    "searches": "a search is found by its id; holds requests, never events",
    "operations": "one queue for the workers of all logs",
    "uploads": "an upload is found by its id; holds no content",
    "legal_holds": "a hold is released by its id; they are few",
}
# Statements on distributed tables that have no single log, by design.
CROSSING = {
    r"SELECT logs\.log_id FROM logs WHERE logs\.size > logs\.sealed_size": (
        "the signer looks for logs to seal, from a partial index that holds those alone"
    ),
    r"SELECT .* FROM logs WHERE logs\.tenant_id = .* ORDER BY logs\.created_at": "a list of logs",
    r"SELECT .* FROM logs ORDER BY logs\.created_at": "a list of logs",
    r"SELECT coalesce\(sum\(usage\.events\).* FROM usage": "getUsage: the sum over logs",
    r"SELECT directory\.tenant_id, sum\(usage\.events\)": (
        "quotas: the sum over the logs of tenants, between two appends (quota.py)"
    ),
    r"SELECT logs\.log_id FROM logs WHERE logs\.sealed_size > ": (
        "at start: whether the database is older than what was published"
    ),
}
APPENDS = 5  # at least so many transactions of `write`
APPENDED = "UPDATE logs SET size ="  # in each transaction that appends, and in no other

# Process and statement, as PostgreSQL logs them by itself.
_STATEMENT = re.compile(r"\[(\d+)\] .*LOG:  (?:execute [^:]*|statement): ((?:.*)(?:\n\t.*)*)")
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|COPY|,) ([a-z_]+)\b(?! ?\.)")


def tables(statement: str) -> set[str]:
    """The distributed tables that a statement names."""
    return set(_TABLE.findall(statement)) & DISTRIBUTED


def crossing(statement: str) -> bool:
    """Whether it reaches a distributed table without naming one log."""
    found = tables(statement)
    if re.match(r"(?:COPY|INSERT INTO) [a-z_]+ \(log_id, ", statement):
        return False  # each row says whose it is; those of one append are one log's
    if len(found) == 1 and re.search(r"(?<![a-z_.])log_id = [$%]", statement):
        return False
    own = "|".join(found)
    named = {table for table in found if re.search(rf"\b{table}\.log_id = [$%]", statement)}
    same = re.findall(rf"\b({own})\.log_id = (?:{own})\.log_id", statement)
    return not found <= named | (set(same) if named else set())


def transactions(said: list[tuple[str, str]]) -> list[list[str]]:
    """The statements of each transaction, from what each process was asked."""
    found: list[list[str]] = []
    last: dict[str, list[str]] = {}
    for process, statement in said:
        if statement.startswith("BEGIN"):
            last[process] = []
            found.append(last[process])
        elif process in last:
            last[process].append(statement)
    return found


def test_every_key_of_a_distributed_table_begins_with_the_log() -> None:
    """Primary keys and unique indexes too: Citus demands it; every index stays in its shard."""
    known = {table.name for table in metadata.sorted_tables}
    assert known == (DISTRIBUTED - {"terms"}) | GLOBAL.keys()
    for table in metadata.sorted_tables:
        if table.name in DISTRIBUTED:
            assert next(iter(table.primary_key)).name == "log_id", table
            assert not any(column.unique for column in table.columns), table
            for index in table.indexes:
                assert next(iter(index.columns)).name == "log_id", index


def test_a_statement_that_crosses_logs_is_noticed() -> None:
    """The test's own eyes: these do cross, and those do not."""
    assert crossing("SELECT events.body FROM events WHERE events.event_id = %(event_id_1)s")
    assert crossing("UPDATE logs SET size=%(size)s WHERE logs.log_no = %(no)s")
    assert crossing("SELECT 1 FROM terms WHERE terms.doc @@ %(q)s")
    assert crossing("SELECT 1 FROM directory JOIN usage ON usage.log_id = directory.log_id")
    assert not crossing("SELECT 1 FROM events WHERE events.log_id = %(log_id_1)s")
    assert not crossing("SELECT 1 FROM meta")
    assert crossing(
        "SELECT 1 FROM terms, events WHERE terms.log_id = $1 AND terms.idx = events.idx"
    )


def write(call: Callable[..., Any]) -> None:
    """Appends of every kind, over HTTP."""
    sent = [
        {
            "id": f"e{n}",
            "action": ("a.read", "b.made")[n % 2],
            "occurred_at": f"2026-01-{n % 28 + 1:02}T00:00:00Z",
            "actor": {"id": f"u{n % 3}", "name": "Ann"},
            "source": {"name": "web"},
            "tags": {"env": "prod"},
            "outcome": "success",
            "message": "a red fox",
            "data": {"amount": n},
        }
        for n in range(300)
    ]
    call("POST", "/v1/logs", json={"log_id": "one"})
    here = {"log_id": "one"}
    for events in (sent, sent[:3]):
        call("POST", "/v1/events/batch", params=here, json={"events": events})
    call("POST", "/v1/events", params=here, json={"action": "single", "tenant_id": "t1"})
    call("POST", "/v1/tenants", json={"tenant_id": "t2", "events_limit": 2})
    for _ in range(2):
        call("POST", "/v1/events", json={"action": "single", "tenant_id": "t2"})
    with pytest.raises(httpx.HTTPStatusError, match="402"):
        call("POST", "/v1/events", json={"action": "single", "tenant_id": "t2"})
    call("POST", "/v1/logs/one/seal")
    call("POST", "/v1/events", params=here, json={"action": "last"})
    call("POST", "/v1/logs/one/seal")


def read(call: Callable[..., Any]) -> None:
    """Every way to read, and what takes out of a log, over HTTP."""
    here = {"log_id": "one"}
    time = {"time_field": "occurred_at", "start": "2026-01-05", "end": "2026-01-09"}
    for filters in (
        *({}, {"action": "a.read"}, {"action_contains": "READ"}, {"tag": "env:prod"}),
        *({"q": '"red fox" OR -blue'}, {"q": "data.amount>200"}, {"last": "1h"}, time),
        *({**time, "outcome": "success"}, {"order": "asc", "offset": 5}, {"q": 'id="e7"'}),
    ):
        given = {**here, **filters, "limit": 2, "include": "total,proof"}
        page = call("GET", "/v1/events", params=given)
        if page["next_cursor"] and "offset" not in filters:
            call("GET", "/v1/events", params={**given, "cursor": page["next_cursor"]})
    for order in ("occurred_at", "action", "severity", "source", "message"):
        body = {"query": "fox", "order_by": order, "limit": 2, "restrictions": {"actor": ["u1"]}}
        search = call("POST", "/v1/searches", params=here, json=body)
        path = f"/v1/searches/{search['search_id']}"
        call("POST", f"{path}/results", json={"cursor": search["next_cursor"]})
        call("GET", path)
    call("GET", "/v1/events/e7", params={**here, "include": "proof"})
    call("GET", "/v1/events/export", params={**here, "action": "a.read"})
    for body in ({}, {"filter": {"action": "a.read"}, "compression": "gzip"}):
        job = call("POST", "/v1/exports", params=here, json=body)["operation_id"]
        done = call("GET", f"/v1/operations/{job}", params={"wait": 10})
        assert done["state"] == "succeeded", done
        call("GET", f"/v1/exports/{job}/content")
        call("GET", f"/v1/exports/{job}/manifest")
    call("GET", "/v1/proofs/inclusion", params={**here, "index": 7})
    rules = {"rules": [{"schema_id": "*", "method": "hash"}]}
    call("PUT", "/v1/policies/redaction", params=here, json=rules)
    given = {"action": "a", "subjects": ["u1"], "actor": {"id": "u1", "name": "x"}, "data": 1}
    call("POST", "/v1/events", params=here, json={"id": "personal", **given})
    wanted = {"subject": "u1", "reason": "a test"}
    hold = call("POST", "/v1/legal-holds", params=here, json=wanted)["hold_id"]
    call("DELETE", f"/v1/legal-holds/{hold}")
    for event_id in ("e8", "personal"):
        body = {"paths": ["/actor/name"], "reason": "a test"}
        call("POST", f"/v1/events/{event_id}/redact", params=here, json=body)
    job = call("POST", "/v1/erasures", params=here, json=wanted)["operation_id"]
    done = call("GET", f"/v1/operations/{job}", params={"wait": 20})
    assert done["state"] == "succeeded", done
    checkpoints = call("GET", "/v1/checkpoints", params=here)["items"]
    found = sorted(each["tree_size"] for each in checkpoints if each["tree_size"])
    sizes = {"first": found[0], "second": found[-1]}
    call("GET", "/v1/proofs/consistency", params={**here, **sizes})
    for path in ("checkpoints/latest", "keys", "exports"):
        call("GET", f"/v1/{path}", params=here)
    bound = {"name": "t1's", "scopes": ["admin"], "tenant_id": "t1"}
    secret = call("POST", "/v1/api-keys", json=bound)["secret"]
    for path in ("logs", "usage", "me", "tenants"):
        call("GET", f"/v1/{path}")
        call("GET", f"/v1/{path}", headers={"Authorization": f"Bearer {secret}"})


def test_no_statement_of_appends_and_reads_crosses_logs(
    postgresql: Callable[[], str], tmp_path: Path
) -> None:
    """Each names one log for each distributed table, but for a few named here with reasons; of
    those, none is in a transaction that appends, be its tenant new, limited or over its quota."""
    url = postgresql()
    place = make_url(url)
    folder, name = str(place.query["host"]), str(place.database)
    with psycopg.connect(f"host={folder} user=trailseal dbname=postgres", autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
    log = Path(folder, "log")
    began = log.stat().st_size
    files: dict[str, Any] = {
        "log_key_file": tmp_path / "key",
        "export_dir": tmp_path / "exports",
    }
    with running(Settings(database_url=url, port=0, **files)) as server:
        headers = {"Authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=40.0) as client:

            def call(method: str, path: str, **given: Any) -> Any:
                answer = client.request(method, path, **given).raise_for_status()
                kind = answer.headers.get("content-type", "")
                return answer.json() if kind == "application/json" else None

            write(call)
            read(call)
    text = log.read_bytes()[began:].decode()
    said = [(process, " ".join(found.split())) for process, found in _STATEMENT.findall(text)]
    appends = [each for each in transactions(said) if any(APPENDED in one for one in each)]
    assert len(appends) >= APPENDS
    assert [one for each in appends for one in each if crossing(one)] == []
    seen = {statement for _, statement in said}
    local = {each for each in seen if tables(each)}
    assert DISTRIBUTED - {"signing_keys"} <= set().union(*map(tables, local))
    beyond = {each for each in local if crossing(each)}
    unknown = {each for each in beyond if not any(re.match(known, each) for known in CROSSING)}
    assert unknown == set()
    assert [known for known in CROSSING if not any(re.match(known, each) for each in beyond)] == []
