"""Delivery in the background: events are accepted now, and arrive exactly once.

1. Accepted means: in memory (`background`), or committed to disk (`durable`). Every accepted
   event is delivered, parked with the server's reason, or dropped and counted with ours.
2. One thread sends, with a blocking `send(batch)` that it is given: no event loop is involved.
3. An event's id is made before it is accepted; sending it twice stores it once.
4. Nothing is started before the first event. A forked child begins anew; what lay in its parent's
   memory or spool is its parent's.
5. The sending thread never logs: the application may hold logging's lock while it waits for us.

`batching` decides, `memory` and `spool` keep, `worker` acts, `emitter` ties them together.
"""

from trailseal.delivery._options import OnFull, Options
from trailseal.delivery.batching import Item, Limits, Send
from trailseal.delivery.emitter import Emitter
from trailseal.delivery.stats import Delivered, Dropped, Refused, Stats
from trailseal.delivery.worker import is_sending

__all__ = [
    "Delivered",
    "Dropped",
    "Emitter",
    "Item",
    "Limits",
    "OnFull",
    "Options",
    "Refused",
    "Send",
    "Stats",
    "is_sending",
]
