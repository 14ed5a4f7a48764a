"""The asynchronous client: settings, options, life; its calls are in the rooms of `_async`.

    writing   log, log_event, emit              reading   get, query, search, results
    bulk      log_bulk, upload and the like     exports   export, wait, download_results, …
    proofs    root, verify, proofs, keys        privacy   redact, erase, legal_holds, …
    account   whoami, usage, schemas            boto      get_paginator, get_waiter

What happens in a call is written in flows (`_operations`, `_exports` and so on); rooms run them.
`make generate` makes `Client` and its rooms of this; a test holds both to the same surface.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, Unpack

from trailseal import config
from trailseal._async.account import AsyncAccount
from trailseal._async.boto import AsyncBoto
from trailseal._async.bulk import AsyncBulk
from trailseal._async.exports import AsyncExports
from trailseal._async.privacy import AsyncPrivacy
from trailseal._async.proofs import AsyncProofs
from trailseal._async.reading import AsyncReading
from trailseal._async.writing import AsyncWriting
from trailseal._context import check_fields, joined
from trailseal._events import EventFields
from trailseal._signer import Signer
from trailseal._transport import AsyncTransport

if TYPE_CHECKING:
    import ssl

    from trailseal_api.client import AuthenticatedClient

    from trailseal._context import Fields
    from trailseal.hooks import Hooks
    from trailseal.verify import TrustPolicy


class AsyncClient(  # the reference begins with the last
    AsyncBoto,
    AsyncAccount,
    AsyncPrivacy,
    AsyncProofs,
    AsyncExports,
    AsyncReading,
    AsyncBulk,
    AsyncWriting,
):
    """Logs events to a TrailSeal server and reads, proves and exports them.

    One client serves a whole process: it keeps connections, and is safe to share. Nothing is
    opened before the first call. Close it, or use it as a context manager.

    Args:
        base_url: The server's address, may hold `{region}`; else `TRAILSEAL_URL`.
        api_key: `ts_<id>_<secret>_<checksum>`; else `TRAILSEAL_API_KEY`.
        region: What stands for `{region}`.
        tenant: Filled into events that name no `tenant_id`; else `TRAILSEAL_TENANT`.
        timeout: Seconds for a whole call, with its retries and waits.
        max_retries: Further tries after the first, 0-100.
        headers: Sent with every request.
        trusted_keys: C2SP verifier keys of the logs that you trust, for `verify`.
        verify: Check receipts, records and checkpoints on the way, unless a call says otherwise:
            True (with `trusted_keys`, else with the keys that the server names), a
            `trailseal.verify.TrustPolicy`, or the path of its file.
        state_file: Where the last checkpoint of each log is remembered when something is
            verified; else `TRAILSEAL_STATE_FILE`, else below `$XDG_STATE_HOME`.
        disabled: Take events and send nothing; else `TRAILSEAL_DISABLED`.
        signer: Signs every event before it is sent: an `Ed25519Signer` or a `Signer` of yours; else
            the key in `TRAILSEAL_SIGNING_KEY_FILE`.
        app: Your program, such as `billing/1.2`: the end of `User-Agent`.
        tls: A file or folder of trusted authorities (PEM), an `ssl.SSLContext`, or False.
        proxy: `http://user:password@host:port` (or https, socks5); else `HTTPS_PROXY` and the like.
        trust_env: Whether to heed the environment's proxies and `SSL_CERT_FILE`.
        max_connections: 1-10,000; more calls at once wait. Idle ones are kept for 60 s.
        hooks: Told of requests, retries and answers: see `trailseal.hooks`.
        http_client: Your own httpx client. It is neither changed nor closed; the API key goes with
            each request.
        http_transport: A transport of httpx, for tests.

    Raises:
        ConfigurationError: A setting cannot work; found before any I/O.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        region: str | None = None,
        tenant: str | None = None,
        timeout: float = config.DEFAULT_TIMEOUT,  # the deadline of each call
        max_retries: int = config.DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        trusted_keys: Sequence[str] = (),
        verify: bool | str | os.PathLike[str] | TrustPolicy = False,
        state_file: str | os.PathLike[str] | None = None,
        disabled: bool | None = None,
        signer: Signer | None = None,
        app: str | None = None,
        tls: bool | str | os.PathLike[str] | ssl.SSLContext = True,
        proxy: str | None = None,
        trust_env: bool = True,
        max_connections: int = config.DEFAULT_MAX_CONNECTIONS,
        hooks: Hooks | Iterable[Hooks] = (),
        http_client: Any = None,
        http_transport: Any = None,
    ) -> None:
        self._settings = config.load(
            base_url,
            api_key,
            region=region,
            tenant=tenant,
            timeout=timeout,
            max_retries=max_retries,
            headers=headers,
            trusted_keys=trusted_keys,
            verify=verify,
            state_file=state_file,
            disabled=disabled,
            signer=signer,
            hooks=hooks,
        )
        connection = config.connection(
            app=app,
            tls=tls,
            proxy=proxy,
            trust_env=trust_env,
            max_connections=max_connections,
            http_client=http_client,
            http_transport=http_transport,
        )
        self._transport = AsyncTransport(self._settings, connection)
        self._bound: Fields = {}
        self._owner = True

    @classmethod
    def from_env(cls) -> Self:
        """Make a client from `TRAILSEAL_URL`, `TRAILSEAL_API_KEY` and the like."""
        return cls()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.described})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; later calls raise `ClosedError`. A client of `with_options` only
        borrows them, and leaves them open."""
        if self._owner:
            await self._transport.close()

    def with_options(
        self,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Return a client on the same connections with other options; headers are added."""
        old = self._settings
        return self._view(
            replace(
                old,
                timeout=old.timeout if timeout is None else config.check_timeout(timeout),
                max_retries=old.max_retries
                if max_retries is None
                else config.check_retries(max_retries),
                headers={**old.headers, **config.check_headers(headers or {})},
            ),
            self._bound,
        )

    def bind(self, **fields: Unpack[EventFields]) -> Self:
        """Return a client on the same connections that fills these fields into the events it logs.

        An event's own fields win; then those bound last; then those of `trailseal.context`.
        `context`, `source` and `tags` are joined member by member. Raises `ConfigurationError`
        for what is unknown, or belongs to one event alone (`id`, `occurred_at` and the like).
        """
        return self._view(self._settings, joined(self._bound, check_fields(fields)))

    def _view(self, settings: config.Settings, bound: Fields) -> Self:
        other = object.__new__(type(self))
        other._settings, other._bound = settings, bound  # its own class
        other._transport, other._owner = self._transport, False  # its own class
        return other

    @property
    def api(self) -> AuthenticatedClient:
        """The generated client, with the same key and connections, for any raw endpoint:
        `trailseal_api.api.<tag>.<operation>`. Its calls do not retry."""
        return self._transport.api
