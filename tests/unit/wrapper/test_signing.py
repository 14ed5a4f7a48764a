"""Keys in every form, and that what is signed is what a verifier checks."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from trailseal import Audit, Client, Ed25519Signer, _signer, _signing, errors
from trailseal.verify import commitments

from .conftest import Script, Side, answer, make_key

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
RECEIPT = {"event_id": "e", "log_id": "l", "index": 0, "leaf_hash": "", "state": "pending"}
CREATED = {**RECEIPT, "replayed": False}


def verify(event: dict[str, Any], public_key: bytes = PUBLIC) -> None:
    """As an auditor does: raises unless the event is signed by this key."""
    bare = {k: v for k, v in event.items() if k not in {"seed", "signature", "checksum"}}
    committed = commitments.fields_hash(bare, event["seed"])
    key = base64.b64encode(public_key).decode()
    commitments.verify_signature(event["signature"], event["id"], committed, key)


def written(form: str, password: bytes | None) -> bytes:
    """The key as a file of this form."""
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    kind = serialization.PrivateFormat
    return KEY.private_bytes(
        serialization.Encoding.PEM, kind.OpenSSH if form == "ssh" else kind.PKCS8, encryption
    )


@pytest.mark.row("P-32")
@pytest.mark.parametrize("form", ["pem", "ssh"])
@pytest.mark.parametrize("password", [None, "a passphrase"])
def test_a_key_is_read_from_pem_and_openssh_encrypted_or_not(
    form: str, password: str | None, tmp_path: Path
) -> None:
    """The same key comes out; a password may be a function, asked only where it is needed."""
    path = tmp_path / "key"
    path.write_bytes(written(form, password.encode() if password else None))
    asked = []

    def ask() -> str:
        asked.append(True)
        return password or ""

    signer = Ed25519Signer.from_file(path, password=ask)
    assert (signer.raw_public_key, len(asked)) == (PUBLIC, 1 if password else 0)
    if password:
        for wrong in (None, "another"):
            with pytest.raises(errors.ConfigurationError, match=r"encrypted|password") as caught:
                Ed25519Signer.from_file(path, password=wrong)
            assert password not in str(caught.value)


def test_what_is_no_ed25519_key_is_said_so(tmp_path: Path) -> None:
    """Another kind, a public key, rubbish, no file: one error, which names no content."""
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for content in (
        other,
        public,
        b"",
        b"hello",
        written("pem", None)[:60],
        written("ssh", None)[:80],
    ):
        path = tmp_path / "key"
        path.write_bytes(content)
        with pytest.raises(errors.ConfigurationError):
            Ed25519Signer.from_file(path)
    with pytest.raises(errors.ConfigurationError, match="No such file"):
        Ed25519Signer.from_file(tmp_path / "none")
    for raw in (b"short", object()):
        with pytest.raises(errors.ConfigurationError):
            Ed25519Signer(raw)  # type: ignore[arg-type]  # wrong on purpose


def test_a_new_key_is_written_and_read_back() -> None:
    """With a password and without; a repr shows its id alone."""
    signer = Ed25519Signer.generate(key_id="billing")
    for password in (None, "pw"):
        again = Ed25519Signer.from_bytes(signer.to_pem(password), password=password)
        assert again.raw_public_key == signer.raw_public_key
    assert repr(signer) == "Ed25519Signer(key_id='billing')"


@pytest.mark.row("P-33")
def test_key_ids_and_info_follow_the_contract() -> None:
    """An id made of the key; the info beside the signature; what the server would refuse is
    refused here."""
    signer = Ed25519Signer(KEY, public_key_info={"owner": "billing"})
    assert signer.key_id == _signer.key_id_of(PUBLIC) == "ed25519-56475aa75463474c"
    event = _signing.sign({"id": "e", "action": "a"}, signer)
    assert event["signature"]["public_key_info"] == {"owner": "billing"}
    assert base64.b64decode(event["signature"]["public_key"]) == PUBLIC
    bare = _signing.sign({"id": "e", "action": "a"}, Ed25519Signer(KEY, enclose=False))
    assert bare["signature"].keys() == {"algorithm", "key_id", "value"}
    wrong_infos: list[Any] = [{"a b": "c"}, {"a": 1}, {"a": "b" * 257}, {"a": "\0"}, [1]]
    for info in [*wrong_infos, {str(i): "" for i in range(9)}]:
        with pytest.raises(errors.ConfigurationError, match="public_key_info"):
            Ed25519Signer(KEY, public_key_info=info)
    for key_id in ("", ".a", "a b", "a" * 129, 7):
        with pytest.raises(errors.ConfigurationError, match="key_id"):
            Ed25519Signer(KEY, key_id=key_id)  # type: ignore[arg-type]  # wrong on purpose


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("ab\u00e9\U0001f600", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.row("P-32", "P-34")
@settings(max_examples=60)
@given(JSON)
def test_what_is_sent_verifies_as_it_was_signed(data: Any) -> None:
    """The bytes on the wire, read again by a stranger, are what the signature covers."""
    signer = Ed25519Signer(KEY)
    sent = _signing.prepare({"action": "a", "actor": "u", "data": data}, signer=signer)
    event = json.loads(sent.content)
    verify(event)
    assert event["signature"]["key_id"] == signer.key_id
    event["action"] = "b"
    with pytest.raises(errors.ProofError):
        verify(event)


@pytest.mark.row("P-01", "P-32")
def test_every_way_to_log_signs(side: Side, script: Script, tmp_path: Path) -> None:
    """log, log_event, bulk, bulk in the background, upload: each event carries id, seed, signature;
    the caller's mapping is not changed."""
    client = side.make(signer=Ed25519Signer(KEY))
    given = {"action": "a", "data": {"n": 1}}
    result = {"results": [{"position": 0, "id": "e", "status": "created", "receipt": CREATED}]}
    operation = {"operation_id": "op_1", "kind": "batch", "state": "pending"}
    script.steps = [
        *[answer(201, CREATED)] * 2,
        answer(200, {**result, "created": 1, "duplicate": 0, "failed": 0}),
        answer(202, operation),
        answer(201, {"upload_id": "upl_12345678", "token": "t", "url": "/x"}),
        answer(200),
        answer(202, operation),
    ]
    side.settle(client.log("a", data={"n": 1}))
    side.settle(client.log_event(given))
    side.settle(client.log_bulk([given]))
    side.settle(client.log_bulk_async([given]))
    side.settle(client.upload([given]))
    side.settle(client.close())
    bodies = [request.content for request in script.requests]
    events = [json.loads(body) for body in bodies[:2]]
    events += [json.loads(body)["events"][0] for body in bodies[2:4]]
    events.append(json.loads(bodies[5]))
    for event in events:
        verify(event)
    assert len({event["seed"] for event in events}) == 5
    assert given == {"action": "a", "data": {"n": 1}}


@pytest.mark.parametrize("delivery", ["durable", "background", "confirmed"])
def test_background_delivery_signs_before_it_keeps(
    delivery: Any, script: Script, tmp_path: Path
) -> None:
    """What lies in a spool or a queue is signed already: a signer that fails tells the caller."""

    def reply(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        sent = body.get("events", [body])
        for event in sent:
            verify(event)
        seen.extend(sent)
        if "events" not in body:
            return answer(201, CREATED)
        found = [
            {"position": i, "id": e["id"], "status": "created", "receipt": CREATED}
            for i, e in enumerate(sent)
        ]
        return answer(200, {"results": found, "created": len(sent), "duplicate": 0, "failed": 0})

    seen: list[Any] = []
    script.steps = [reply] * 9
    signer = Broken(KEY)
    client = Client(
        "http://server.test",
        make_key(),
        signer=signer,
        http_transport=httpx.MockTransport(script),
    )
    with Audit(client, delivery=delivery, spool=tmp_path / "spool") as audit:
        audit.log("a")
        audit.log("b", data=[1.5])
        signer.down = True
        with pytest.raises(errors.SigningError, match="ConnectionError"):
            audit.log("c")
        assert audit.flush()
    assert sorted(event["action"] for event in seen) == ["a", "b"]


class Broken(Ed25519Signer):
    """A signer that can be switched off."""

    down = False

    def sign(self, message: bytes) -> bytes:
        if self.down:
            raise ConnectionError("secret detail")
        return super().sign(message)


class Kms:
    """What a user writes for a KMS; it remembers the threads that it was called in."""

    key_id = "kms-1"
    public_key = PUBLIC

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def sign(self, message: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        return KEY.sign(message)


def test_a_signer_of_ones_own_signs_and_never_blocks_the_event_loop(
    side: Side, script: Script
) -> None:
    """Three members are enough; the asynchronous client asks it in another thread."""
    signer = Kms()
    client = side.make(signer=signer)
    result = {"results": [{"position": 0, "id": "e", "status": "created", "receipt": CREATED}]}
    script.steps = [
        answer(201, CREATED),
        answer(200, {**result, "created": 1, "duplicate": 0, "failed": 0}),
    ]
    side.settle(client.log("a"))
    side.settle(client.log_bulk([{"action": "a"}]))
    side.settle(client.close())
    verify(json.loads(script.requests[0].content))
    assert (threading.get_ident() in signer.threads) == (side.kind is Client)


def test_a_signer_that_fails_sends_nothing(side: Side, script: Script) -> None:
    """Whatever it raises or returns is one error of ours, with its cause."""

    class Wrong(Kms):
        def sign(self, message: bytes) -> bytes:
            return b"too short"

    broken = Broken(KEY)
    broken.down = True
    for signer in (broken, Wrong()):
        client = side.make(signer=signer)
        with pytest.raises(errors.SigningError) as caught:
            side.settle(client.log("a"))
        assert "secret detail" not in str(caught.value)
        side.settle(client.close())
    assert script.requests == []


def test_what_cannot_sign_is_refused_when_the_client_is_made() -> None:
    """A path, a class, a short key, a wrong id."""

    class Short(Kms):
        public_key = b"short"

    for signer in ("key.pem", Kms, object(), Short()):
        with pytest.raises(errors.ConfigurationError, match="signer"):
            Client("http://server.test", make_key(), signer=signer)  # type: ignore[arg-type]


def test_a_signed_event_stays_as_it_is_and_a_seed_of_the_callers_is_used() -> None:
    """Who signed first signed."""
    first = _signing.sign({"id": "e", "action": "a"}, Ed25519Signer(KEY))
    assert _signing.sign(first, Ed25519Signer.generate()) == first
    own = _signing.sign({"id": "e", "action": "a", "seed": first["seed"]}, Ed25519Signer(KEY))
    assert own == first


def test_an_event_that_its_signature_makes_too_large_is_refused() -> None:
    """The limit is of what is sent."""
    big = {"id": "e", "action": "a", "data": "x" * (_signing.MAX_EVENT_BYTES - 100)}
    assert _signing.prepare(big)
    with pytest.raises(errors.EventValidationError, match="signature"):
        _signing.prepare(big, signer=Ed25519Signer(KEY))


@pytest.mark.row("P-03")
def test_the_environment_names_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its password; a keyword wins; a disabled client reads no key."""
    path = tmp_path / "key.pem"
    path.write_bytes(written("pem", b"pw"))
    monkeypatch.setenv("TRAILSEAL_SIGNING_KEY_FILE", str(path))
    monkeypatch.setenv("TRAILSEAL_SIGNING_KEY_PASSWORD", "pw")
    client = Client("http://server.test", make_key())
    signer = client._settings.signer
    assert isinstance(signer, Ed25519Signer)
    assert signer.raw_public_key == PUBLIC
    assert "pw" not in repr(client)
    other = Ed25519Signer.generate()
    assert Client("http://server.test", make_key(), signer=other)._settings.signer is other
    path.unlink()
    assert Client(disabled=True)._settings.signer is None
    with pytest.raises(errors.ConfigurationError, match="signing key"):
        Client("http://server.test", make_key())


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    """Of the key 00 01 … 1f, as `ssh-keygen -l` prints it."""
    line = KEY.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    want = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    assert Ed25519Signer(KEY).fingerprint == want
