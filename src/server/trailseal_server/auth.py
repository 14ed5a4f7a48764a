"""Who is asking: API keys, and the caller that a key stands for.

Rules:
- A key is `ts_<id>_<secret>_<crc32>`: id `[a-z0-9]{8,32}`, secret `[A-Za-z0-9]{32,64}`, and the
  CRC-32 of everything before the last underscore as eight lower-case hex digits. A key with another
  form or a wrong CRC is refused without a look at the database.
- The database holds the SHA-256 of the whole key, which is compared in constant time; a key that
  is unknown costs the same look and the same comparison. (A secret has 190 bits or more: a slow
  hash would protect nothing.)
- Nothing here puts a key or a secret into an error, a log or a repr.
- A key that was read is remembered for `REMEMBER_S`: a revocation by another process takes effect
  within that time, one by this process at once (`forget`).
"""

import hmac
import re
import secrets
import string
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .problems import Problem

SECRET_CHARS = 43  # 43 of 62 letters and digits: 256 bits
ID_CHARS = 12  # 62 bits: ids of one database do not meet
REMEMBER_S = 5.0
MAX_REMEMBERED = 10_000  # keys; beyond it the oldest is forgotten
MAX_HEADER = 256  # characters of an Authorization header; the longest key has 111

_KEY = re.compile(r"(ts_([a-z0-9]{8,32})_[A-Za-z0-9]{32,64})_([0-9a-f]{8})", re.ASCII)
_LETTERS = string.ascii_letters + string.digits
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of an API key, as every handler sees it; never the key's secret.

    `key_id` is `key_<id>`. A key with a `tenant_id` reaches that tenant's own logs only.
    `default_log` is the log of requests that name none.
    """

    key_id: str
    tenant_id: str | None
    default_log: str | None
    scopes: frozenset[str]


ANONYMOUS = Caller("", None, None, frozenset())


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the database knows it; times are in microseconds since 1970."""

    caller: Caller
    secret_hash: bytes
    expires_at: int | None = None
    revoked_at: int | None = None


def new_key() -> tuple[str, str]:
    """A fresh key and its id: `("ts_…", "key_…")`. The key is shown once and never stored."""
    alphabet = string.ascii_lowercase + string.digits
    ident = "".join(secrets.choice(alphabet) for _ in range(ID_CHARS))
    body = f"ts_{ident}_{''.join(secrets.choice(_LETTERS) for _ in range(SECRET_CHARS))}"
    return f"{body}_{_crc(body)}", f"key_{ident}"


def hash_key(key: str) -> bytes:
    """What is stored of a key: the SHA-256 of all of it."""
    return sha256(key.encode()).digest()


def key_id(key: str) -> str:
    """The id of a well-formed key; raises `Problem("unauthenticated")` without any I/O."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise _refused("The API key does not look like ts_<id>_<secret>_<crc32>")
    body, ident, crc = found.groups()
    if crc != _crc(body):
        raise _refused("The API key is mistyped: its checksum does not match")
    return f"key_{ident}"


class Authenticator:
    """Finds the caller of a request; `find` reads one key by its id, and may block."""

    def __init__(self, find: Callable[[str], StoredKey | None]) -> None:
        self._find = find
        self._remembered: dict[str, tuple[float, StoredKey]] = {}

    async def __call__(self, request: Request) -> Caller:
        """The caller; raises `Problem` unauthenticated, key_expired or key_revoked (401)."""
        key = _bearer(request.headers.getlist("authorization"))
        ident = key_id(key)
        stored = self._recall(ident)
        if stored is None:
            stored = await run_in_threadpool(self._find, ident)
        known = _NOBODY if stored is None else stored.secret_hash
        if not hmac.compare_digest(known, hash_key(key)) or stored is None:
            raise _refused("The API key is not known here")
        self._remember(ident, stored)
        if stored.revoked_at is not None:
            raise Problem("key_revoked", "The API key was revoked; ask for a new one", headers=_ASK)
        if stored.expires_at is not None and stored.expires_at <= time.time_ns() // 1000:
            raise Problem("key_expired", "The API key has expired; ask for a new one", headers=_ASK)
        return stored.caller

    def forget(self, ident: str) -> None:
        """Read this key again at its next use: it was changed."""
        self._remembered.pop(ident, None)

    def _recall(self, ident: str) -> StoredKey | None:
        until, stored = self._remembered.get(ident, (0.0, None))
        return stored if until > time.monotonic() else None

    def _remember(self, ident: str, stored: StoredKey) -> None:
        if self._recall(ident) is stored:
            return
        while len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[ident] = (time.monotonic() + REMEMBER_S, stored)


_ASK = {"WWW-Authenticate": "Bearer"}  # RFC 9110, section 11.6.1: a 401 says how to authenticate


def _bearer(headers: list[str]) -> str:
    if len(headers) != 1 or len(headers[0]) > MAX_HEADER:
        raise _refused("Send one header: Authorization: Bearer ts_…")
    scheme, _, key = headers[0].partition(" ")
    if scheme.lower() != "bearer":
        raise _refused("Send one header: Authorization: Bearer ts_…")
    return key.strip()


def _crc(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _refused(detail: str) -> Problem:
    return Problem("unauthenticated", detail, headers=_ASK)
