"""API keys on the way in."""

import zlib
from dataclasses import dataclass, field

import pytest
from starlette.requests import Request
from trailseal_server.auth import Authenticator, bearer
from trailseal_server.problems import Problem

BODY = "ts_" + "a1" * 8 + "_" + "Zz9" * 12


def _key(body: str = BODY) -> str:
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def _request(key: str) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", f"Bearer {key}".encode())]})


@dataclass
class Row:
    """A stored key."""

    key_id: str = "key_a"
    tenant_id: str | None = "acme"
    default_log: str | None = None
    scopes: frozenset[str] = frozenset({"events:read"})
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass
class Keys:
    """A store of keys that counts its reads."""

    rows: dict[str, Row] = field(default_factory=dict)
    reads: int = 0

    def find(self, key: str) -> Row | None:
        """The row of a key."""
        self.reads += 1
        return self.rows.get(key)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        _key(),
        f"Basic {_key()}",
        f"Bearer {_key()[:-1]}",
        f"Bearer {_key().upper()}",
        f"Bearer {BODY}_00000000",
        f"Bearer {_key('ts_short_' + 'Z' * 40)}",
        f"Bearer {_key(BODY + '!')}",
        f"Bearer {_key()} ",
        f"Bearer {_key('ts_' + 'a' * 33 + '_' + 'Z' * 40)}",
    ],
)
def test_a_malformed_key_is_refused_without_a_look(header: str) -> None:
    """The form and the CRC-32 are checked first; the message never repeats the key."""
    with pytest.raises(Problem) as caught:
        bearer([header])
    assert caught.value.code == "unauthenticated"
    assert "Zz9" not in str(caught.value)


def test_two_authorization_headers_are_refused() -> None:
    """Nobody can tell which one a proxy believed."""
    with pytest.raises(Problem):
        bearer([f"Bearer {_key()}"] * 2)


async def test_a_key_is_looked_up_once_and_forgotten_on_demand() -> None:
    """Within a few seconds the database is asked once, unless the key was changed here."""
    keys = Keys({_key(): Row()})
    authenticate = Authenticator(keys.find)
    callers = [await authenticate(_request(_key())) for _ in range(3)]
    assert {each.tenant_id for each in callers} == {"acme"}
    assert keys.reads == 1
    keys.rows[_key()] = Row(revoked_at=1)
    authenticate.forget("key_a")
    with pytest.raises(Problem) as caught:
        await authenticate(_request(_key()))
    assert caught.value.code == "key_revoked"


async def test_an_unknown_key_is_looked_up_every_time() -> None:
    """A key that is made later works at once."""
    keys = Keys()
    authenticate = Authenticator(keys.find)
    for _ in range(2):
        with pytest.raises(Problem, match="unauthenticated"):
            await authenticate(_request(_key()))
    assert keys.reads == 2
    keys.rows[_key()] = Row()
    assert (await authenticate(_request(_key()))).key_id == "key_a"


async def test_an_expired_key_is_refused_also_while_it_is_remembered() -> None:
    """Expiry is checked at every request."""
    row = Row()
    authenticate = Authenticator(Keys({_key(): row}).find)
    await authenticate(_request(_key()))
    row.expires_at = 1
    with pytest.raises(Problem, match="key_expired"):
        await authenticate(_request(_key()))
