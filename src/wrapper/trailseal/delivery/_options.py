"""How delivery works."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from trailseal._signer import Signer
from trailseal.delivery.batching import Limits, Send
from trailseal.delivery.memory import MAX_EVENTS
from trailseal.delivery.spool import MAX_BYTES
from trailseal.delivery.stats import Delivered, Dropped

EXIT_TIMEOUT = 5.0  # seconds for what waits at exit: service managers kill after 10 or more
BLOCK_TIMEOUT = 30.0  # seconds that `on_full="block"` waits: longer looks hung

OnFull = Literal["raise", "block", "drop_oldest"]


@dataclass(frozen=True, slots=True)
class Options:
    """How delivery works.

    Attributes:
        make_send: Makes the callable that sends; called once in each process.
        destination: Whither events go: spool files of another destination are left alone.
        tenant: Filled into events that name none.
        signer: Signs events, in the thread that logs them.
        folder: Of the spool, looked at when delivery starts; None without one.
        on_full: What happens to an event for which there is no room.
        max_events: Of the queue in memory.
        max_bytes: Of the spool.
        block_timeout, exit_timeout: Seconds.
    """

    make_send: Callable[[], Send]
    destination: str
    tenant: str | None = None
    signer: Signer | None = None
    folder: str | os.PathLike[str] | None = None
    on_full: OnFull = "raise"
    max_events: int = MAX_EVENTS
    max_bytes: int = MAX_BYTES
    block_timeout: float = BLOCK_TIMEOUT
    exit_timeout: float = EXIT_TIMEOUT
    limits: Limits = field(default_factory=Limits)
    on_delivered: Callable[[Delivered], object] | None = None
    on_drop: Callable[[Dropped], object] | None = None
