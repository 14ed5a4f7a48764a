"""The asynchronous client: one short method per call, the same names as `Client`.

What happens in a call is written in flows (`_operations`, `_exports`); here they are only run.
It needs asyncio. A test holds both clients to the same methods, parameters, defaults and texts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar, Unpack

from trailseal import (
    _checks,
    _downloads,
    _exports,
    _filters,
    _operations,
    _privacy,
    _signing,
    _targets,
    _uploads,
    config,
)
from trailseal._batches import Batch, Cutter, check_events
from trailseal._boto import PAGEABLE, AsyncPaginator, AsyncWaiter
from trailseal._bulk import Items, acollect, acut, adrive, aeach, aonly
from trailseal._context import Fields, check_fields, filled, joined
from trailseal._events import EventFields, EventLike, Prepared
from trailseal._filters import Filters
from trailseal._flow import Flow, arun
from trailseal._models import (
    Caller,
    Checkpoint,
    ConsistencyProof,
    Erasure,
    Event,
    Export,
    InclusionProof,
    Operation,
    Page,
    Receipt,
    Usage,
    VerificationKey,
)
from trailseal._pages import AsyncPager, AsyncSearch
from trailseal._privacy import AsyncLegalHolds, AsyncRedactionPolicies
from trailseal._results import BatchItem, BatchResult, Download, DownloadedFile
from trailseal._schemas import AsyncSchemas
from trailseal._signing import Signer
from trailseal._transport import AsyncTransport
from trailseal.hooks import Hooks

if TYPE_CHECKING:
    import ssl

    from trailseal_api.client import AuthenticatedClient

if TYPE_CHECKING:  # apart, because `blocking.py` sorts them otherwise
    from trailseal._verifying import Verification
    from trailseal.verify import TrustPolicy, Verifier

T = TypeVar("T")


class AsyncClient:
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

    async def _run(self, flow: Flow[T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109  # of the call
        return await arun(flow, self._transport.send, timeout=timeout or self._settings.timeout)

    # ----------------------------------------------------------------- writing

    async def log(
        self,
        action: str,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
        **fields: Unpack[EventFields],
    ) -> Receipt:
        """Log that something was done, durable before it returns.

        `action` is dotted lower case: `invoice.deleted`. `actor` is an id, an `Actor` or a
        mapping; `resource` an id, `(type, id)`, `(type, id, name)`, a `Resource` or a mapping.
        All fields are in `EventFields`. A missing `id` (UUIDv7) is filled in, and `occurred_at`
        with it; the id makes the client's own retries safe. With an `id` of yours the same call
        can be made again at any time: it answers the first receipt. With `include_proof` the
        server waits up to 3 s for a checkpoint, else `receipt.proof` is None.

        With `verify` the receipt is proved: that the log's entry commits to what was sent, that it
        is in the log, and that the log only grew since it was last seen.

        Raises:
            IntegrityError: With `verify`. The event is logged: `.subject` is the receipt.
            EventValidationError: A field is unknown, missing or too long; found before any I/O.
            EventConflictError: The id was logged before with other content.
            TransportError: No answer; the event may have been logged.
        """
        event = {"action": action, **fields}
        options = {"include_proof": include_proof, "verify": verify}
        return await self.log_event(event, log_id=log_id, **options)  # type: ignore[arg-type]

    async def log_event(
        self,
        event: EventLike,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
    ) -> Receipt:
        """Log an event given as a mapping, which is not changed; else as `log`."""
        check = self._verifies(verify)
        prepared, proof = await self._prepare(event, seeds=check), include_proof or check
        receipt = await self._run(
            _operations.log(self._settings, prepared, log_id=log_id, include_proof=proof)
        )
        return await self._proved(prepared, receipt) if check else receipt

    async def _prepare(self, event: EventLike, *, seeds: bool = False) -> Prepared:
        settings, full = self._settings, filled(event, self._bound)
        options = {"tenant": settings.tenant, "signer": settings.signer, "seeds": seeds}
        if _signing.is_local(settings.signer):
            return _signing.prepare(full, **options)  # type: ignore[arg-type]  # of several types
        return await asyncio.to_thread(_signing.prepare, full, **options)  # type: ignore[arg-type]

    async def emit(
        self,
        schema: str,
        data: Any,
        *,
        version: str | None = None,
        action: str | None = None,
        log_id: str | None = None,
        **fields: Any,
    ) -> Receipt:
        """Log an event whose `data` follows a registered schema, which the server checks.

        `version` is the schema's latest if left out, which costs a request more; `action` is the
        schema's id. All other fields are those of `log`.

        Raises:
            SchemaNotRegisteredError: There is no such schema, or version of it.
            EventValidationError: The data does not follow it; nothing was logged.
        """
        if version is None:
            version = (await self.schemas.get(schema)).version
        named = {"action": action or schema, "schema": {"id": schema, "version": version}}
        return await self.log_event({**fields, **named, "data": data}, log_id=log_id)

    async def log_bulk(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        atomic: bool = False,
        concurrency: int = 1,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> BatchResult:
        """Log any number of events, in requests of at most 1,000 events and 10 MiB.

        Results are in the order given. Without `atomic`, an event that is not valid is a failed
        item, and the others are logged: look at `.failed`, or call `.raise_for_failures()`. With
        `atomic`, all are logged or none; they must fit into one request.

        `concurrency` (1-32) is how many requests may be under way. With 1 the events lie in the
        log in the order given; with more that order may differ. Events are taken as they are
        sent, results kept: for millions use `log_bulk_iter`, or `upload`. `imported` marks events
        of another system's archive, for good.

        Raises:
            ConfigurationError: `events` is one event, or nothing that can be iterated.
            EmptyBatchError: There is no event.
            EventValidationError, BatchTooLargeError: With `atomic`; nothing was logged.
            TrailSealError: A request failed; `.result` holds what was logged before it.
        """
        batches = acut(events, Cutter(self._settings, self._bound, atomic=atomic))
        send = self._sender(
            atomic=atomic,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        return await acollect(adrive(batches, send, concurrency))

    async def log_bulk_iter(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        concurrency: int = 1,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> AsyncIterator[BatchItem]:
        """Log any number of events in constant memory: yields the results, in the order given.

        Events are logged as the results are taken: iterate it to its end. Else as `log_bulk`;
        an error's `.result` holds what was logged and not yet yielded.
        """
        batches = acut(events, Cutter(self._settings, self._bound))
        send = self._sender(
            atomic=False,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        async with aclosing(aeach(adrive(batches, send, concurrency))) as items:
            async for item in items:
                yield item

    def _sender(self, **options: Any) -> Callable[[Batch], Awaitable[Items]]:
        async def send(batch: Batch) -> Items:
            return await self._run(batch.send(self._settings, **options))

        return send

    async def log_bulk_async(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        atomic: bool = False,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> Operation:
        """Hand over at most 1,000 events and 10 MiB, which the server logs later.

        Give the operation to `wait` or `poll_result` for the `BatchResult`. For more events use
        `upload`.

        Raises:
            EventValidationError, BatchTooLargeError, EmptyBatchError: Before any I/O.
        """
        batch = await aonly(events, Cutter(self._settings, self._bound, atomic=True))
        flow = _operations.log_batch_async(
            self._settings,
            batch.contents,
            atomic=atomic,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        return await self._run(flow)

    async def log_stream(
        self,
        source: str,
        payload: Any,
        *,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> BatchResult:
        """Log another vendor's payload: `auth0 github cloudtrail generic`, at most 1,000 records.

        `payload` is JSON as Python values, or its bytes as they came. The server maps each record
        to an event and keeps it under `data`; records with an id of their own are logged once.

        Raises:
            ConfigurationError: The payload is no JSON.
            EmptyBatchError, BatchTooLargeError: No record, or more than 1,000.
        """
        flow = _operations.log_stream(
            self._settings,
            source,
            payload,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        return await self._run(flow)

    async def upload(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        compression: str = "none",
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
        timeout: float = 900.0,  # noqa: ASYNC109  # the deadline of this call
    ) -> Operation:
        """Send up to 1 GiB of events as one file, which the server logs later; memory stays flat.

        All events are checked and written to a temporary file first: nothing is sent if one is
        not valid. `compression` is `none` or `gzip`; `timeout` is for sending, in seconds. Give
        the operation to `wait`: its `BatchResult` holds the events that failed, and all counts.

        Raises:
            EventValidationError, EmptyBatchError, BatchTooLargeError: Before any I/O.
            UploadExpiredError: The server's permission ended, twice, before the file arrived.
        """
        check_events(events)
        with _uploads.EventFile(self._settings, self._bound, compression) as file:
            if isinstance(events, AsyncIterable):
                async for event in events:
                    await self._add(file, event)
            else:
                for event in events:
                    await self._add(file, event)
            file.finish()
            flow = _uploads.upload(
                self._settings,
                file,
                log_id=log_id,
                channel=channel,
                external_id=external_id,
                imported=imported,
            )
            return await self._run(flow, timeout=config.check_timeout(timeout))

    @staticmethod
    async def _add(file: _uploads.EventFile, event: EventLike) -> None:
        if file.blocking:
            await asyncio.to_thread(file.add, event)
        else:
            file.add(event)

    async def seal(self, log_id: str) -> Checkpoint:
        """Have a log sign a checkpoint over all its events now, instead of within a second."""
        return await self._run(_operations.seal(self._settings, log_id))

    # ----------------------------------------------------------------- reading

    async def get(
        self,
        event_id: str,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
    ) -> Event:
        """Fetch one event; raises `NotFoundError`, with `verify` an `IntegrityError`."""
        check = self._verifies(verify)
        proof = include_proof or check
        event = await self._run(
            _operations.get(self._settings, event_id, log_id=log_id, include_proof=proof)
        )
        if check:
            from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

            verifier = await self._verifier(event.log_id)
            await self._take(verifier, _verifying.check_event(verifier, event))
        return event

    def query(
        self,
        *,
        limit: int = 100,
        offset: int | None = None,
        order: str | None = None,
        include_proof: bool = False,
        include_total: bool = False,
        wait: int | None = None,
        log_id: str | None = None,
        verify: bool | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncPager:
        """List the events that match all filters, newest first unless `order="asc"`.

        `limit` is the page's size, 1-1,000; `offset` skips 0-10,000 matches of the first page.
        Filters are in `Filters`. Nothing is sent before the pager is iterated. `wait` (seconds,
        up to 30) holds an ascending list that goes on from a `tail_cursor` until events arrive.

        With `verify` every event comes with its `verdict`, and the pager's `verification.report`
        sums them up; a bad event raises nothing.

        Raises:
            ConfigurationError: A filter is unknown.
            InvalidPageError: `limit` or `offset` is out of range; found before any I/O.
            InvalidQueryError: A value is not understood.
        """
        _filters.check_page(limit, offset)
        verification = self._verification(verify)
        proof = include_proof or verification is not None
        include = [name for name, on in (("proof", proof), ("total", include_total)) if on]
        options = {
            "limit": limit,
            "order": order,
            "include": include,
            "wait": wait,
            "log_id": log_id,
        }
        values = _filters.filter_values(filters)

        async def fetch(cursor: str | None) -> Page:
            skip = offset if cursor is None else None
            page = await self._run(
                _operations.page(self._settings, cursor, values, offset=skip, **options)
            )
            return await self._checked(page, verification)

        pager = AsyncPager(fetch)
        pager.verification = verification
        return pager

    async def search(
        self,
        query: str = "",
        *,
        restrictions: Mapping[str, Sequence[str]] | None = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        last: str | None = None,
        time_field: str | None = None,
        order: str | None = None,
        order_by: str | None = None,
        limit: int = 100,
        max_results: int | None = None,
        include_proof: bool = False,
        log_id: str | None = None,
        verify: bool | None = None,
    ) -> AsyncSearch:
        """Store a search and return it with its first page; iterate it for the rest.

        The grammar: words, `"a phrase"`, `field:part`, `field="exact"`, `data.amount>100`, `-not`,
        `AND OR NOT`, parentheses, `prefix*`, `field:[a TO b]`, `has:field`. `restrictions`
        (`{field: [values]}`) are ANDed by the server, so a query typed by a user cannot widen its
        scope. `start`, `end` and `verify` are as in `query`.

        Raises:
            InvalidPageError: `limit` is out of range; found before any I/O.
            InvalidQueryError: The query is not understood; `.errors` name the position.
        """
        _filters.check_page(limit, None)
        verification = self._verification(verify)
        given = {
            "query": query or None,
            "restrictions": dict(restrictions) if restrictions is not None else None,
            "start": _filters.moment(start, "start"),
            "end": _filters.moment(end, "end"),
            "last": last,
            "time_field": time_field,
            "order": order,
            "order_by": order_by,
            "limit": limit,
            "max_results": max_results,
            "include": ["proof"] if include_proof or verification is not None else None,
        }
        raw = await self._run(_operations.search(self._settings, given, log_id=log_id))
        page = {
            "limit": limit,
            "include": given["include"],
            "assert_restrictions": given["restrictions"],
        }

        async def fetch(cursor: str | None) -> Page:
            turn = {**page, "cursor": cursor}
            found = await self._run(
                _operations.results(self._settings, str(raw["search_id"]), turn)
            )
            return await self._checked(found, verification)

        search = AsyncSearch(raw, fetch)
        search.verification = verification
        if search.first_page is not None:
            await self._checked(search.first_page, verification)
        return search

    async def results(
        self,
        search_id: str,
        *,
        limit: int = 20,
        offset: int = 0,
        assert_restrictions: Mapping[str, Sequence[str]] | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
    ) -> Page:
        """Fetch a page of a stored search: `limit` 1-1,000 events after `offset`.

        With `assert_restrictions` the server refuses (`RestrictionMismatchError`) unless the
        search was made with exactly these. Raises `ResultExpiredError` when the search is gone,
        `InvalidPageError` where `limit` or `offset` is out of range, before any I/O. With `verify`
        every event comes with its `verdict`.
        """
        _filters.check_page(limit, offset)
        verification = self._verification(verify)
        given = {
            "limit": limit,
            "offset": offset,
            "assert_restrictions": assert_restrictions,
            "include": ["proof"] if include_proof or verification is not None else None,
        }
        page = await self._run(_operations.results(self._settings, search_id, given))
        return await self._checked(page, verification)

    # ------------------------------------------------------------------ exports

    async def export(
        self,
        format: str = "jsonl",  # noqa: A002  # its name in the contract
        *,
        compression: str | None = None,
        query: str | None = None,
        search_id: str | None = None,
        order: str | None = None,
        order_by: str | None = None,
        include_proofs: bool = False,
        log_id: str | None = None,
        **filters: Unpack[Filters],
    ) -> Operation:
        """Start an export of all events that match (all, without a filter), oldest first.

        `format` is `jsonl` (the one that can be verified), `json` or `csv`; `compression` is
        `none` or `gzip`. Give the operation to `wait` or `poll_result`, its id to
        `download_results`. Only an ascending `jsonl` without filters can be proved complete.
        """
        values = _filters.filter_values(filters)
        times = {name: values.pop(name, None) for name in ("start", "end", "last", "time_field")}
        given = {
            "format": format,
            "compression": compression,
            "filter": values or None,
            "query": query,
            "search_id": search_id,
            "order": order,
            "order_by": order_by,
            "include_proofs": include_proofs or None,
            **times,
        }
        return await self._run(_exports.create(self._settings, given, log_id=log_id))

    async def poll_result(self, operation: _exports.Reference) -> Export | BatchResult | Operation:
        """Look once after an operation (or its id, or an `AcceptedRequestError`).

        Raises:
            AcceptedRequestError: It goes on; `.retry_after` says when to look again.
            OperationFailedError: It failed or was cancelled.
            ResultExpiredError: Its result is gone.
        """
        return await self._run(_exports.poll_result(self._settings, operation))

    async def wait(
        self,
        operation: _exports.Reference,
        *,
        timeout: float = 600.0,  # noqa: ASYNC109  # the deadline of this call
        on_progress: _exports.OnProgress | None = None,
    ) -> Export | BatchResult | Operation:
        """Wait up to `timeout` seconds for an operation's result; `on_progress` gets the operation.

        Raises:
            OperationTimeoutError: Not in time; the operation goes on, so call again.
            OperationFailedError, ResultExpiredError: As `poll_result`.
        """
        flow = _exports.wait(self._settings, operation, on_progress)
        return await self._run(flow, timeout=config.check_timeout(timeout))

    async def cancel(self, operation: _exports.Reference) -> Operation:
        """Cancel an operation; one that has ended stays as it is. Returns what it is now."""
        return await self._run(_exports.cancel(self._settings, operation))

    async def download_results(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        export_id: str | None = None,
        search_id: str | None = None,
        format: str = "jsonl",  # noqa: A002  # its name in the contract
        compression: str | None = None,
        overwrite: bool = False,
        timeout: float = 3600.0,  # noqa: ASYNC109  # the deadline of this call
        on_progress: _targets.OnBytes | None = None,
    ) -> Download:
        """Download a finished export (or export a stored search first) to a path or open file.

        In constant memory; cuts are resumed, at a path in a later process too (`PATH.part`); size
        and SHA-256 are checked; the file gets its name only when it is whole. A `jsonl` export at
        a path gets its manifest, note and checkpoint beside it, so that `verify` can check it
        offline. `on_progress` gets bytes so far and in all. `format` and `compression` are for a
        search; an export has its own.

        Raises:
            AcceptedRequestError: The export is not finished: `wait` for it.
            DownloadError: The file exists, or did not arrive whole; call again to go on.
            OperationFailedError, ResultExpiredError: There is nothing to download.
        """
        given = {"format": format, "compression": compression}
        target = _targets.target(path, overwrite=overwrite, on_progress=on_progress)
        with target:
            await asyncio.to_thread(target.load)
            flow = _exports.download(self._settings, target, export_id, search_id, given)
            export, beside = await self._run(flow, timeout=config.check_timeout(timeout))
            made = await asyncio.to_thread(target.commit, beside)
            return Download(target.path, export, target.size, target.sha256, made)

    async def download_file(
        self,
        url: str,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        sha256: str | None = None,
        overwrite: bool = False,
        timeout: float = 3600.0,  # noqa: ASYNC109  # the deadline of this call
        on_progress: _targets.OnBytes | None = None,
    ) -> DownloadedFile:
        """Download what a signed URL names to a path or open file, as `download_results` does.

        The URL must be permission enough: the API key goes to this client's own server only, and
        never along a redirect. `sha256` (hex) is checked where it is given.

        Raises:
            ConfigurationError: The URL is no http(s) URL.
            DownloadError: The file exists, or did not arrive whole; call again to go on.
            PermissionDeniedError, NotFoundError: The URL is not valid, or not any more.
        """
        target = _targets.target(path, overwrite=overwrite, on_progress=on_progress)
        with target:
            await asyncio.to_thread(target.load)
            flow = _downloads.download(self._settings, target, url, sha256)
            await self._run(flow, timeout=config.check_timeout(timeout))
            await asyncio.to_thread(target.commit, {})
            return DownloadedFile(target.path, target.size, target.sha256)

    # --------------------------------------------------------------- integrity

    async def root(
        self,
        tree_size: int | None = None,
        *,
        log_id: str | None = None,
        verify: bool | None = None,
    ) -> Checkpoint:
        """Fetch a log's latest checkpoint, or that of a size; raises `CheckpointNotFoundError`.

        With `verify` it is checked, and that it continues the one last seen of this log (or
        precedes it), which it then takes the place of: else `CheckpointForkError`.
        """
        found = await self._run(_operations.root(self._settings, tree_size, log_id=log_id))
        if self._verifies(verify):
            verifier = await self._verifier(log_id)
            await self._take(verifier, [found.signed_note], latest=tree_size is None)
        return found

    async def verify_consistency(self, first: Checkpoint, second: Checkpoint) -> None:
        """Check that one signed checkpoint continues another, with the server's proof.

        Raises:
            CheckpointForkError: It does not: the log was rewritten between them.
            ProofError, UnverifiableError: A signature is wrong, a key is missing.
        """
        from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(_checks.log_of(second))
        notes = first.signed_note, second.signed_note
        await self._run(_verifying.continues(self._settings, verifier, *notes))

    def _verifies(self, verify: bool | None) -> bool:
        return not self._settings.disabled and (self._settings.verify if verify is None else verify)

    def _verification(self, verify: bool | None) -> Verification | None:
        if not self._verifies(verify):
            return None
        from trailseal._verifying import Verification  # noqa: PLC0415  # it loads cryptography

        return Verification()

    async def _verifier(self, log_id: str | None) -> Verifier:
        trusted, policy = self._settings.trusted_keys, self._settings.signing_keys
        own = bool(trusted) or policy is not None  # then the server's word about keys is not asked
        published = [] if own else await self.verification_keys(log_id=log_id)
        return _checks.verifier(trusted, published, policy)

    async def _checked(self, page: Page, verification: Verification | None) -> Page:
        if verification is None or not page.items:
            return page
        from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(page.items[0].raw.get("log_id"))
        await self._take(
            verifier,
            await asyncio.to_thread(_verifying.check_page, verifier, page, verification),
        )
        return page

    async def _proved(self, sent: Prepared, receipt: Receipt) -> Receipt:
        from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(receipt.log_id)
        whole = await self._run(_verifying.proved(self._settings, receipt))
        await self._take(verifier, _verifying.check_receipt(verifier, sent, whole))
        return whole

    async def _take(
        self, verifier: Verifier, notes: Iterable[str], *, latest: bool = False
    ) -> None:
        from trailseal import _remember, _verifying  # noqa: PLC0415  # as above

        memory = _remember.Memory(self._settings.state_file or _remember.default_path())
        for note in notes:
            await self._run(_verifying.take(self._settings, verifier, memory, note, latest=latest))

    async def inclusion_proof(
        self,
        event_id: str | None = None,
        *,
        index: int | None = None,
        tree_size: int | None = None,
        log_id: str | None = None,
    ) -> InclusionProof:
        """Fetch the proof that an event, by id or index, is in the log of a size (the latest)."""
        return await self._run(
            _operations.inclusion_proof(
                self._settings, event_id=event_id, index=index, tree_size=tree_size, log_id=log_id
            )
        )

    async def consistency_proof(
        self, first: int, second: int, *, log_id: str | None = None
    ) -> ConsistencyProof:
        """Fetch the proof that the log of size `second` continues that of size `first`."""
        return await self._run(
            _operations.consistency_proof(self._settings, first, second, log_id=log_id)
        )

    async def verification_keys(self, *, log_id: str | None = None) -> list[VerificationKey]:
        """Fetch the public keys that the server names for a log."""
        return await self._run(_operations.verification_keys(self._settings, log_id=log_id))

    async def register_key(
        self,
        signer: Signer,
        *,
        owner: str | None = None,
        valid_from: str | datetime | None = None,
        valid_to: str | datetime | None = None,
        log_id: str | None = None,
    ) -> VerificationKey:
        """Register a signer's public key with a log, which then takes signatures of its `key_id`
        by this key only, between the two times. The same key again is fine. Scope: `admin`.

        Raises `RequestError` where the id belongs to another key.
        """
        given = _signing.registered(signer) | {
            "owner": owner,
            "valid_from": _filters.moment(valid_from, "valid_from"),
            "valid_to": _filters.moment(valid_to, "valid_to"),
        }
        return await self._run(_operations.register_key(self._settings, given, log_id=log_id))

    async def verify(self, subject: _checks.Subject) -> None:
        """Check an event or page (with proofs), receipt, checkpoint, or downloaded export.

        With `trusted_keys` this proves what the holders of those keys signed. Without, the keys
        are fetched from the server first, and it only proves that the server's words agree.

        Raises:
            EventCorruptionError: An event is not what its log entry commits to.
            ProofError: A signature, proof or digest does not hold.
            UnverifiableError: A key or a proof is missing.
        """
        verifier = await self._verifier(_checks.log_of(subject))
        await asyncio.to_thread(_checks.check, verifier, subject)

    # ---------------------------------------------------------- personal data

    async def redact(
        self, event_id: str, paths: Iterable[str], reason: str, *, log_id: str | None = None
    ) -> Event:
        """Take all fields at or below JSON Pointers (`/actor/email`) out of an event, for good.

        Proofs and signatures stay valid, the log tells of it, the same again changes nothing.
        Returns the event as it is now. Scope: `privacy`.

        Raises:
            EventConflictError: A legal hold keeps the event.
            RequestError: A path leads to nothing, or to what must stay.
        """
        return await self._run(_privacy.redact(self._settings, event_id, paths, reason, log_id))

    async def erase(self, subject: str, reason: str, *, log_id: str | None = None) -> Operation:
        """Begin to erase a data subject from all events of a log that name it in `subjects`.

        Give the operation to `wait`: its `.erasure` counts events and deleted exports.
        Scope: `privacy`. Raises `EventConflictError` where a legal hold keeps
        such events.
        """
        return await self._run(_privacy.erase(self._settings, subject, reason, log_id))

    async def erasures(self, *, log_id: str | None = None) -> tuple[Erasure, ...]:
        """Fetch all erasures in a log, newest first."""
        return await self._run(_privacy.erasures(self._settings, log_id))

    @property
    def legal_holds(self) -> AsyncLegalHolds:
        """Duties to keep events: `place`, `list`, `release`."""
        return AsyncLegalHolds(self._settings, self._run)

    @property
    def redaction_policies(self) -> AsyncRedactionPolicies:
        """What the server takes out of arriving events: `get`, `set`."""
        return AsyncRedactionPolicies(self._settings, self._run)

    # ----------------------------------------------------------- account, names

    async def whoami(self) -> Caller:
        """Ask whose key this is, for which tenant, with which scopes."""
        return await self._run(_operations.whoami(self._settings))

    async def usage(self) -> Usage:
        """Ask for the plan, and how much of it was used this month."""
        return await self._run(_operations.usage(self._settings))

    @property
    def schemas(self) -> AsyncSchemas:
        """The server's event schemas: `register`, `get`, `list`, `validate`."""
        return AsyncSchemas(self._settings, self._run)

    def can_paginate(self, name: str) -> bool:
        """Tell whether a method has a paginator: `query` and `search` have."""
        return name in PAGEABLE

    def get_paginator(self, name: str) -> AsyncPaginator:
        """Return the paginator of a method: `.paginate(**filters)` yields pages.

        As in boto3; `query(…).pages()` is the same. Raises `ConfigurationError` for a method that
        has none.
        """
        return AsyncPaginator(self, name)

    def get_waiter(self, name: str) -> AsyncWaiter:
        """Return a waiter: `operation_succeeded` or `event_sealed`, with `.wait(id, timeout=…)`.

        Raises `ConfigurationError` for an unknown name.
        """
        return AsyncWaiter(self, name)
