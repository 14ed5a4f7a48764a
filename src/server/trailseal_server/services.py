"""The parts of a running server, opened in order and stopped in the opposite one.

Rules:
- Nothing runs before `start`. `stop` writes what was accepted, all within one deadline.
- A database without any key gets a first one, with the scope `admin`; it is shown once, by one of
  the processes that start on it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from .admission import Admission
from .auth import Authenticator
from .batches import Batches
from .erasures import Erasures
from .exports import Exports
from .handoff import Handoff
from .ingest import Ingest
from .metrics import Metrics
from .operations import Operations
from .policies import Policies
from .problems import FieldError
from .rates import Rates
from .redactions import Redactions
from .retention import Janitor
from .schemas.registry import Registry
from .settings import Settings
from .signatures import Signatures
from .signer import Signer
from .store import Store, jobs, keys
from .store.keys import KeyRow
from .store.pages import Reader
from .store.searches import Searches
from .uploads import Uploads
from .worker import Worker

DEFAULT_LOG = "main"  # of the first key: a server can be tried without any set-up

Validate = Callable[[Any], Sequence[FieldError]]


@dataclass(frozen=True, slots=True)
class Services:
    """What the functions of the API use."""

    store: Store
    ingest: Ingest
    batches: Batches
    uploads: Uploads
    schemas: Registry
    signatures: Signatures
    admission: Admission
    signer: Signer
    reader: Reader
    searches: Searches
    exports: Exports
    redactions: Redactions
    erasures: Erasures
    janitor: Janitor
    operations: Operations
    authenticate: Authenticator
    rates: Rates
    metrics: Metrics
    validate: Validate
    limits: dict[str, int]
    unsupported: Sequence[str]
    version: str = field(default_factory=lambda: version("trailseal"))
    handoff: Handoff = field(default_factory=Handoff)
    stopping: threading.Event = field(default_factory=threading.Event)  # whoever waits answers now

    @classmethod
    def open(
        cls,
        settings: Settings,
        store: Store,
        validate: Validate,
        limits: dict[str, int],
        unsupported: Sequence[str],
    ) -> "Services":
        """All parts over an open store; none of them runs yet."""
        signer = Signer.open(store, settings.key_file, settings.origin_prefix)
        reader = Reader(store)
        schemas, signatures = Registry(store), Signatures(store)
        admission = Admission(schemas, signatures)
        metrics = Metrics(version("trailseal"), lambda: jobs.active(store))
        policies = Policies(reader.secret)
        ingest = Ingest(store, validate, admission.check, policies.apply, count=metrics.events)
        exports, janitor = Exports(reader, signer, settings.exports), Janitor(store)
        batches = Batches(store, ingest, validate)
        return cls(
            store=store,
            ingest=ingest,
            batches=batches,
            uploads=Uploads(reader, batches, settings.exports / "uploads", limits),
            schemas=schemas,
            signatures=signatures,
            admission=admission,
            signer=signer,
            reader=reader,
            searches=Searches(reader),
            exports=exports,
            redactions=Redactions(store, exports, janitor.removed),
            erasures=Erasures(reader, exports),
            janitor=janitor,
            operations=Operations(store),
            authenticate=Authenticator(lambda key: _find(store, key)),
            rates=Rates(settings.requests_per_second),
            metrics=metrics,
            validate=validate,
            limits=limits,
            unsupported=unsupported,
        )

    def start(self) -> None:
        """Begin to write, to sign and to export."""
        self.reader.secret()  # made now: no read has to write, nor fails on a full disk
        self.ingest.start()
        self.signer.start()
        self.exports.start()
        self.batches.worker.start()
        self.erasures.worker.start()
        self.janitor.start()
        self.uploads.prepare()
        self.uploads.worker.start()

    def stop(self, seconds: float) -> None:
        """Write what was accepted and end, together within `seconds`; jobs go back to the queue."""
        end = time.monotonic() + seconds

        def left() -> float:
            return max(0.0, end - time.monotonic())

        self.stopping.set()
        workers: tuple[Worker | Janitor, ...] = (
            *(self.uploads.worker, self.batches.worker, self.exports.worker),
            *(self.erasures.worker, self.janitor),
        )
        for worker in workers:
            worker.put_down()
        self.ingest.stop(left())
        for worker in workers:
            worker.stop(left())
        self.signer.stop(left())
        self.store.close()


def bootstrap(store: Store, *, again: bool = False) -> str | None:
    """The first key of a database, all-powerful and shown only now; None if it has one, unless
    another is asked for."""
    with store.write() as connection:
        if not keys.claim_first(connection) and not again:
            return None
        _, key = keys.create(
            connection, name="first key", scopes=["admin"], default_log=DEFAULT_LOG
        )
    return key


def _find(store: Store, key: str) -> KeyRow | None:
    with store.read() as connection:
        return keys.find(connection, key)
