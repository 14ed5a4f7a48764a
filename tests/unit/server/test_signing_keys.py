"""Clients' signatures against registered keys, on a real database."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trailseal_server import prepare
from trailseal_server.auth import Caller
from trailseal_server.commitments import signing_input
from trailseal_server.signatures import Signatures
from trailseal_server.store import Store, logs, micros, signing_keys
from trailseal_server.store.signing_keys import SigningKey
from trailseal_server.targets import Target

Json = dict[str, Any]
CALLER = Caller("key_1", None, None, frozenset())
MAIN = Target(log_id="main")
HOUR = 3600 * 1_000_000


class Signer:
    """A client with a key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, key_id: str = "k", *, enclose: bool = False, **members: Any) -> tuple[Json, str]:
        """A signed event and its `fields_hash`."""
        event = {"id": "e1", "action": "x", "seed": "A" * 43, **members}
        committed = prepare.draft(event, lambda _: [], prepare.Origin("key_1"), "").fields_hash
        value = b64encode(self._key.sign(signing_input("e1", committed))).decode()
        signature = {"algorithm": "ed25519", "key_id": key_id, "value": value}
        if enclose:
            signature["public_key"] = b64encode(self.public).decode()
        return {**event, "signature": signature}, committed


@pytest.fixture
def signatures(store: Store) -> Signatures:
    """Checks of a database with a log of nobody's and one of tenant a."""
    with store.write() as connection:
        logs.create(connection, "main")
        logs.create(connection, "other", tenant_id="a")
    return Signatures(store)


def register(store: Store, key: bytes, log_id: str = "main", **times: int) -> None:
    """Store a key named `k`."""
    given = {"created_at": micros.now(), "valid_from": 0, **times}
    with store.write() as connection:
        assert signing_keys.add(connection, SigningKey(log_id, "k", key, None, **given))


def said(signatures: Signatures, signed: tuple[Json, str], **where: Any) -> list[tuple[str, str]]:
    """Codes and pointers of what is wrong."""
    caller, target = where.get("caller", CALLER), where.get("target", MAIN)
    errors = signatures.errors(caller, target, *signed)
    return [(each.code, each.pointer) for each in errors]


@pytest.mark.row("P-32", "P-33")
def test_a_registered_key_verifies_what_it_signed(store: Store, signatures: Signatures) -> None:
    """Found by its id; nothing else than this event, signed by this key, passes."""
    signer, stranger = Signer(), Signer()
    register(store, signer.public)
    event, committed = signer.sign()
    assert said(signatures, (event, committed)) == []
    assert said(signatures, stranger.sign()) == [("signature_invalid", "/signature/value")]
    assert said(signatures, (event, "00" * 32)) == [("signature_invalid", "/signature/value")]


def test_an_unknown_key_must_be_enclosed(signatures: Signatures) -> None:
    """With neither, nobody could tell whether the event was signed."""
    assert said(signatures, Signer().sign()) == [("signature_invalid", "/signature/key_id")]
    assert said(signatures, Signer().sign(enclose=True)) == []


def test_an_enclosed_key_does_not_replace_a_registered_one(
    store: Store, signatures: Signatures
) -> None:
    """Whoever signs under a registered id must have its key."""
    signer, stranger = Signer(), Signer()
    register(store, signer.public)
    assert said(signatures, signer.sign(enclose=True)) == []
    assert said(signatures, stranger.sign(enclose=True)) == [
        ("signature_invalid", "/signature/public_key")
    ]


@pytest.mark.parametrize("enclose", [False, True])
@pytest.mark.parametrize(
    "times",
    [{"revoked_at": 1}, {"valid_to": 1}, {"valid_from": micros.now() + HOUR}],
    ids=["revoked", "expired", "early"],
)
def test_a_key_out_of_force_is_refused(
    times: dict[str, int], enclose: bool, store: Store, signatures: Signatures
) -> None:
    """Revoked, expired, or not valid yet, by the server's clock; enclosing it does not help."""
    signer = Signer()
    register(store, signer.public, **times)
    found = said(signatures, signer.sign(enclose=enclose, occurred_at="1970-01-01T00:00:00Z"))
    assert found == [("signature_invalid", "/signature/key_id")]


def test_a_key_belongs_to_its_log(store: Store, signatures: Signatures) -> None:
    """Another log does not know it, and another tenant learns nothing of it."""
    signer = Signer()
    register(store, signer.public, "other")
    unknown = [("signature_invalid", "/signature/key_id")]
    assert said(signatures, signer.sign(), target=Target(log_id="other")) == []
    assert said(signatures, signer.sign()) == unknown
    foreign = Caller("key_2", "b", None, frozenset())
    assert said(signatures, signer.sign(), target=Target(log_id="other"), caller=foreign) == unknown


def test_a_change_takes_effect_once_it_is_forgotten(store: Store, signatures: Signatures) -> None:
    """Keys, and that there is none, are remembered; `forget` reads again."""
    signer = Signer()
    unknown = [("signature_invalid", "/signature/key_id")]
    assert said(signatures, signer.sign()) == unknown
    register(store, signer.public)
    assert said(signatures, signer.sign()) == unknown
    signatures.forget("k")
    assert said(signatures, signer.sign()) == []
    with store.write() as connection:
        signing_keys.revoke(connection, "main", "k")
    signatures.forget("k")
    assert said(signatures, signer.sign()) == unknown
