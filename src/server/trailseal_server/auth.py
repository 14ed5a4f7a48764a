"""Who is asking: API keys, and the caller that a key stands for.

Rules:
- A key is `ts_<id>_<secret>_<crc32>`: id `[a-z0-9]{8,32}`, secret `[A-Za-z0-9]{32,64}`, and the
  CRC-32 of everything before the last underscore as eight lower-case hex digits. A key with
  another form or a wrong CRC is refused without a look at the database (store/keys.py finds keys).
- Nothing here puts a key or a secret into an error, a log or a repr.
- A key that was found is remembered for `REMEMBER_S`, by the SHA-256 of all of it: a revocation by
  another process takes effect within that time, one by this process at once (`forget`).
"""

import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .problems import Problem

REMEMBER_S = 5.0
MAX_REMEMBERED = 10_000  # keys; beyond it the oldest is forgotten
MAX_HEADER = 256  # characters of an Authorization header; the longest key has 109

_KEY = re.compile(r"(ts_[a-z0-9]{8,32}_[A-Za-z0-9]{32,64})_([0-9a-f]{8})", re.ASCII)
_ASK = {"WWW-Authenticate": "Bearer"}  # RFC 9110, section 11.6.1: a 401 says how to authenticate


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


class Key(Protocol):
    """What is needed of a stored key; times are in microseconds since 1970."""

    @property
    def key_id(self) -> str: ...
    @property
    def tenant_id(self) -> str | None: ...
    @property
    def default_log(self) -> str | None: ...
    @property
    def scopes(self) -> frozenset[str]: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def revoked_at(self) -> int | None: ...


class Authenticator:
    """Finds the caller of a request; `find` reads the row of a whole key, and may block."""

    def __init__(self, find: Callable[[str], Key | None]) -> None:
        self._find = find
        self._remembered: dict[bytes, tuple[float, Key]] = {}

    async def __call__(self, request: Request) -> Caller:
        """The caller; raises `Problem` unauthenticated, key_expired or key_revoked (401)."""
        key = bearer(request.headers.getlist("authorization"))
        digest = sha256(key.encode()).digest()
        until, row = self._remembered.get(digest, (0.0, None))
        if row is None or until < time.monotonic():
            row = await run_in_threadpool(self._find, key)
            if row is None:
                raise _refused("The API key is not known here")
            self._remember(digest, row)
        return _caller(row)

    def forget(self, key_id: str) -> None:
        """Read this key again at its next use: it was changed."""
        stale = [digest for digest, (_, row) in self._remembered.items() if row.key_id == key_id]
        for digest in stale:
            self._remembered.pop(digest, None)

    def _remember(self, digest: bytes, row: Key) -> None:
        self._remembered.pop(digest, None)
        while len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[digest] = (time.monotonic() + REMEMBER_S, row)


def bearer(headers: list[str]) -> str:
    """The well-formed key of an Authorization header; raises `Problem("unauthenticated")`."""
    scheme, _, key = (headers[0] if len(headers) == 1 else "").partition(" ")
    if scheme.lower() != "bearer" or len(key) > MAX_HEADER:
        raise _refused("Send one header: Authorization: Bearer ts_<id>_<secret>_<crc32>")
    found = _KEY.fullmatch(key)
    if found is None:
        raise _refused("The API key does not look like ts_<id>_<secret>_<crc32>")
    body, crc = found.groups()
    if crc != f"{zlib.crc32(body.encode()):08x}":
        raise _refused("The API key is mistyped: its checksum does not match")
    return key


def _caller(row: Key) -> Caller:
    if row.revoked_at is not None:
        raise Problem("key_revoked", "The API key was revoked; ask for a new one", headers=_ASK)
    if row.expires_at is not None and row.expires_at <= time.time_ns() // 1000:
        raise Problem("key_expired", "The API key has expired; ask for a new one", headers=_ASK)
    return Caller(row.key_id, row.tenant_id, row.default_log, row.scopes)


def _refused(detail: str) -> Problem:
    return Problem("unauthenticated", detail, headers=_ASK)
