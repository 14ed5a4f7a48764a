"""Logs that were rewritten, against real servers: whoever remembers a checkpoint notices.

Two databases are grown apart behind one signing key and one name, as after a restored backup or a
dishonest operator. Each is sound by itself; only memory tells.
"""

import base64
import json
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from trailseal import AsyncClient, Client, Ed25519Signer
from trailseal._remember import Memory, default_path
from trailseal.errors import (
    CheckpointForkError,
    ConfigurationError,
    EventCorruptionError,
    IntegrityError,
    ProofError,
    UnverifiableError,
)
from trailseal_server.app import Running, running
from trailseal_server.settings import Settings

LOG = "forked"


class Fork:
    """Two servers with one history up to `common` events, and a key and an origin in common."""

    def __init__(self, honest: Running, forked: Running, verifier_key: str, key: str) -> None:
        self.honest, self.forked, self.verifier_key, self.key = honest, forked, verifier_key, key

    def client(self, state: Path, *, forked: bool = False, **options: Any) -> Client:
        """A client that remembers in `state`, whichever server it is shown."""
        server = self.forked if forked else self.honest
        given = {"trusted_keys": [self.verifier_key], "verify": True, "state_file": state}
        return Client(server.url, self.key, **{**given, **options})


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    folder = tmp_path_factory.mktemp("fork")
    first, second = folder / "a.db", folder / "b.db"
    with running(Settings(database_url=f"sqlite:///{first}", port=0)) as server:
        key = server.key
        with Client(server.url, key) as client:
            made = {"headers": {"Authorization": f"Bearer {key}"}, "json": {"log_id": LOG}}
            httpx.post(f"{server.url}/v1/logs", **made).raise_for_status()
            for number in range(3):
                client.log("common", id=f"c{number}", log_id=LOG)
            client.seal(LOG)
            verifier_key = next(
                k.verifier_key for k in client.verification_keys(log_id=LOG) if k.verifier_key
            )
    for path in filter(Path.is_file, list(folder.glob("a.db*"))):
        shutil.copy(path, folder / path.name.replace("a.db", "b.db"))
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running(Settings(database_url=f"sqlite:///{path}", port=0)))
            for path in (first, second)
        ]
        for server, name in zip(servers, ("honest", "forked"), strict=True):
            with Client(server.url, key) as client:
                for number in range(2):
                    client.log(name, id=f"{name}-{number}", log_id=LOG)
                client.seal(LOG)
        yield Fork(*servers, verifier_key, key)


def relayed(request: httpx.Request, server: Running, path: str | None = None) -> httpx.Response:
    """What the server answers to a request; a liar changes it on its way."""
    return httpx.request(
        request.method,
        server.url + (path or request.url.raw_path.decode()),
        headers={
            "authorization": request.headers["authorization"],
            "content-type": "application/json",
        },
        content=request.content,
        timeout=30,
    )


@pytest.mark.row("P-26", "P-60")
def test_a_fork_is_noticed_by_whoever_saw_the_other_branch(fork: Fork, tmp_path: Path) -> None:
    """By root, log, get, query and search; and the memory keeps what it had."""
    state = tmp_path / "state.json"
    with fork.client(state) as client:
        client.root(log_id=LOG)
        seen = Memory(state).get(fork.verifier_key.split("+")[0])
    calls: list[Callable[[Client], object]] = [
        lambda client: client.root(log_id=LOG),
        lambda client: client.log("new", log_id=LOG),
        lambda client: client.get("forked-0", log_id=LOG),
        lambda client: list(client.query(log_id=LOG)),
        lambda client: client.search("", log_id=LOG),
    ]
    with fork.client(state, forked=True) as client:
        for call in calls:
            with pytest.raises(CheckpointForkError):
                call(client)
    assert Memory(state).get(fork.verifier_key.split("+")[0]) == seen


def test_without_memory_each_branch_is_sound(fork: Fork, tmp_path: Path) -> None:
    """What makes the attack one: everything verifies, and so memory is needed."""
    for forked in (False, True):
        with fork.client(tmp_path / f"{forked}", forked=forked) as client:
            client.seal(LOG)
            pager = client.query(log_id=LOG)
            assert all(event.verdict and event.verdict.ok for event in pager)
            assert pager.verification is not None
            assert pager.verification.report.exit_code == 0


def test_a_log_that_went_back_is_a_fork_and_an_old_checkpoint_is_none(
    fork: Fork, tmp_path: Path
) -> None:
    """A server whose newest checkpoint is older than the one seen has lost events; asking for an
    old size is fine, and does not turn the memory back."""
    state = tmp_path / "state.json"
    with fork.client(state) as client:
        client.log("more", log_id=LOG)
        newest = client.root(log_id=LOG)
        assert client.root(3, log_id=LOG).tree_size == 3
        origin = newest.origin
        assert Memory(state).get(origin) == newest.signed_note
        for first, second in ((3, newest.tree_size), (newest.tree_size, newest.tree_size)):
            client.verify_consistency(
                client.root(first, log_id=LOG), client.root(second, log_id=LOG)
            )
        with pytest.raises(CheckpointForkError, match="shrank"):
            client.verify_consistency(newest, client.root(3, log_id=LOG))
    note = Memory(state).get(origin)

    def older(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().replace("latest", "3")
        answer = relayed(request, fork.honest, path)
        return httpx.Response(answer.status_code, json=answer.json())

    with (
        fork.client(state, http_transport=httpx.MockTransport(older)) as client,
        pytest.raises(CheckpointForkError, match="newest"),
    ):
        client.root(log_id=LOG)
    assert Memory(state).get(origin) == note


def test_a_fork_older_than_the_memory_is_found_when_it_is_shown(fork: Fork, tmp_path: Path) -> None:
    """Also an old checkpoint must be one that the newest continues."""
    state = tmp_path / "state.json"
    with fork.client(state) as client:
        for number in range(9):
            client.log("ahead", id=f"ahead-{number}", log_id=LOG, verify=False)
        client.seal(LOG)
        client.root(log_id=LOG)
    with fork.client(state, forked=True) as client, pytest.raises(IntegrityError):
        client.get("forked-0", log_id=LOG)


@pytest.mark.parametrize("kind", [Client, AsyncClient], ids=["sync", "async"])
@pytest.mark.row("P-26", "P-28")
async def test_a_receipt_is_held_against_what_was_sent(
    fork: Fork, tmp_path: Path, kind: Any
) -> None:
    """Another event, entry, place, time, proof or signature is an error, whose subject is the
    receipt; replayed events and the server's own seeds are fine."""

    async def settle(value: Any) -> Any:
        return await value if hasattr(value, "__await__") else value

    options = {"trusted_keys": [fork.verifier_key], "state_file": tmp_path / "state"}
    signer = Ed25519Signer.generate()
    client = kind(fork.honest.url, fork.key, signer=signer, **options)
    for _ in range(2):  # the second is the first again
        receipt = await settle(
            client.log("signed", id=f"r-{kind.__name__}", data=[1.0, {}], log_id=LOG, verify=True)
        )
        assert receipt.verdict.ok
        assert receipt.proof
    await settle(client.close())

    swaps: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
        "leaf_hash": lambda raw, other: raw.update(leaf_hash=other["leaf_hash"]),
        "entry": lambda raw, other: raw.update(entry=other["entry"]),
        "event_id": lambda raw, other: raw.update(event_id=other["event_id"]),
        "index": lambda raw, other: raw.update(index=other["index"]),
        "received_at": lambda raw, other: raw.update(received_at=other["received_at"]),
        "proof": lambda raw, other: raw.update(proof=other["proof"]),
        "all of it": lambda raw, other: raw.update(other),
        "a note": lambda raw, _: raw.update(proof={**raw["proof"], "signed_note": "x"}, entry="{}"),
    }
    event = {"id": f"lied-{kind.__name__}", "action": "lied about", "seed": "A" * 43}
    with fork.client(tmp_path / "other") as honest:  # what is sealed is answered at once later
        other = dict(honest.log_event({**event, "id": f"o-{kind.__name__}"}, log_id=LOG).raw)
        honest.log_event(event, log_id=LOG)
    for name, swap in swaps.items():

        def lie(request: httpx.Request, name: str = name, swap: Any = swap) -> httpx.Response:
            answer = relayed(request, fork.honest)
            raw = answer.json()
            if request.url.path.startswith("/v1/events"):
                first = request.method == "POST"
                raw.update({"replayed": False} if first else {})
                if first or name in {"entry", "proof"}:
                    swap(raw, json.loads(json.dumps(other)))
            return httpx.Response(answer.status_code, json=raw)

        transport = httpx.MockTransport(lie)
        client = kind(fork.honest.url, fork.key, verify=True, http_transport=transport, **options)
        try:
            await settle(client.log_event(event, log_id=LOG))
        except IntegrityError as error:
            caught = error
        else:
            pytest.fail(f"{name} was believed")
        assert caught.subject is not None, name
        await settle(client.close())


@pytest.mark.row("P-26")
def test_a_receipt_is_proved_without_another_request(fork: Fork, tmp_path: Path) -> None:
    """Only that the log grew since it was last seen takes a second one."""
    asked: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        answer = relayed(request, fork.honest)
        return httpx.Response(answer.status_code, json=answer.json())

    transport = httpx.MockTransport(note)
    with (
        fork.client(tmp_path / "other") as other,
        fork.client(tmp_path / "state", http_transport=transport) as client,
    ):
        for name in ("proved-1", "proved-2"):  # what is sealed is answered at once later
            other.log("proved", id=name, log_id=LOG, verify=False)
            other.seal(LOG)
            assert client.log("proved", id=name, log_id=LOG).verdict
    assert asked == ["/v1/events", "/v1/events", "/v1/proofs/consistency"]


@pytest.mark.row("P-49", "P-50")
@pytest.mark.parametrize("how", ["query", "search", "results"])
def test_one_bad_record_hides_no_good_one(fork: Fork, tmp_path: Path, how: str) -> None:
    """Each record comes with its verdict; the report names the bad one; nothing is raised."""

    def tamper(request: httpx.Request) -> httpx.Response:
        answer = relayed(request, fork.honest)
        raw = answer.json()
        for item in raw.get("items") or [raw]:
            if item.get("id") == "c1":
                item["action"] = "changed"
            if item.get("id") == "c2":
                item.pop("proof", None)
        return httpx.Response(answer.status_code, json=raw)

    transport = httpx.MockTransport(tamper)
    with fork.client(tmp_path / "state", http_transport=transport) as client:
        if how == "results":
            search = client.search('action="common"', log_id=LOG, verify=False)
            events = client.results(search.id).items
        else:
            pager: Any = (
                client.query(action="common", log_id=LOG, limit=2)
                if how == "query"
                else client.search('action="common"', log_id=LOG, limit=2)
            )
            events = tuple(pager)
            report = pager.verification.report
            assert (report.events, report.exit_code) == (3, 1)
            assert {f.kind for f in report.findings} == {"event", "unverifiable"}
            with pytest.raises(IntegrityError):
                report.raise_for_findings()
        verdicts = {event.id: event.verdict.error for event in events if event.verdict}
        assert verdicts["c0"] is None
        assert isinstance(verdicts["c1"], EventCorruptionError)
        assert isinstance(verdicts["c2"], UnverifiableError)
        with pytest.raises(EventCorruptionError):
            client.get("c1", log_id=LOG) if how == "query" else client.verify(
                next(event for event in events if event.id == "c1")
            )


def test_a_policy_names_whom_to_believe(fork: Fork, tmp_path: Path) -> None:
    """A log without a key in it is not verified, whatever the server says; a signer that is named
    is told from one that encloses its key."""
    signer = Ed25519Signer.generate(key_id="billing")
    origin = fork.verifier_key.split("+")[0]
    trust = tmp_path / "trust.toml"
    public = base64.b64encode(signer.raw_public_key).decode()
    trust.write_text(
        f'[logs]\n"{origin}" = ["{fork.verifier_key}"]\n[signers]\nbilling = "{public}"\n'
    )
    options = {"trusted_keys": (), "verify": trust}
    with fork.client(tmp_path / "state", signer=signer, **options) as client:
        client.log("by billing", id="billed", log_id=LOG)
    with fork.client(tmp_path / "state", signer=Ed25519Signer.generate()) as client:
        client.log("by another", id="another", log_id=LOG)
        client.log("by billing", id="pretended", log_id=LOG, verify=False)
    with fork.client(tmp_path / "state", **options) as client:
        verdicts = {e.id: e.verdict for e in client.query(log_id=LOG, action_contains="by ")}
        assert verdicts["billed"] is not None
        assert verdicts["billed"].trusted is True
        assert verdicts["another"] is not None
        assert verdicts["another"].trusted is False
    trust.write_text('[logs]\n"other.example/x" = []\n')
    with (
        fork.client(tmp_path / "state", **options) as client,
        pytest.raises(UnverifiableError),
    ):
        client.root(log_id=LOG)
    for wrong in (tmp_path / "none.toml", 7):
        with pytest.raises(ConfigurationError, match="verify"):
            fork.client(tmp_path / "state", verify=wrong)


def test_a_signature_by_another_key_than_the_trusted_one_is_refused(
    fork: Fork, tmp_path: Path
) -> None:
    """A log that a stranger signed: the origin is right, the key is not."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )
    from trailseal.verify import VerifierKey  # noqa: PLC0415

    origin = fork.verifier_key.split("+")[0]
    stranger = VerifierKey(origin, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with (
        fork.client(tmp_path / "state", trusted_keys=[stranger]) as client,
        pytest.raises(ProofError),
    ):
        client.root(log_id=LOG)
    assert not (tmp_path / "state").exists()


def test_the_memory_is_private_whole_and_shared(tmp_path: Path) -> None:
    """Mode 0600, replaced atomically, compared before it is replaced: of many writers none forgets
    what another saw."""
    path = tmp_path / "below" / "state.json"
    memory = Memory(path)
    assert memory.get("a") is None
    assert memory.replace("a", None, "0")
    assert not memory.replace("a", None, "1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def count(origin: str) -> None:
        for number in range(20):
            while not memory.replace(origin, memory.get(origin), f"{number}"):
                pass

    threads = [threading.Thread(target=count, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(path.read_text()) == {"v": 1, "logs": dict.fromkeys("abcd", "19")}
    assert sorted(p.name for p in path.parent.iterdir()) == ["state.json", "state.json.lock"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"v":2,"logs":{}}', '{"v":1,"logs":{"a":1}}'])
def test_a_damaged_memory_is_an_error_and_never_an_empty_one(tmp_path: Path, content: str) -> None:
    """Else damaging it would hide a fork."""
    path = tmp_path / "state.json"
    path.write_text(content)
    for call in (lambda: Memory(path).get("a"), lambda: Memory(path).replace("a", None, "x")):
        with pytest.raises(ConfigurationError, match="damaged"):
            call()
    assert path.read_text() == content


def test_the_memory_lies_where_states_lie(tmp_path: Path) -> None:
    """By name, by XDG, else in the home; a relative XDG path counts as none."""
    assert default_path({"TRAILSEAL_STATE_FILE": "/x/y"}) == Path("/x/y")
    xdg = default_path({"XDG_STATE_HOME": "/s"})
    assert xdg == Path("/s/trailseal/checkpoints.json")
    assert default_path({"XDG_STATE_HOME": "s"}) == default_path({})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError):
        Memory(tmp_path / "file" / "below").replace("a", None, "x")
