"""The transactional outbox: an event is written in the application's own transaction.

    with Session(engine) as session, session.begin():
        invoice.deleted = True
        outbox.log(session, "invoice.deleted", actor="user_1", resource=("invoice", "inv_1"))

1. The event and the change are committed together, or neither is: rolled back is never sent.
2. A relay sends what was committed, and deletes a row after the server's answer. Where it is killed
   in between, the row is sent again under the same id, which the server stores once.
3. Several relays may run: rows that one of them has are skipped by the others, by `FOR UPDATE SKIP
   LOCKED`. SQLite has no such locks; there an event may travel twice, and is stored once.
4. A row that the server refuses for good is parked with the reason, and the others flow.
5. Rows of concurrent transactions are sent in no certain order; `occurred_at` is the writer's.

`trailseal.integrations.outbox.sqlalchemy` and `trailseal.integrations.django.outbox` write; the
table is the same. `python -m trailseal.integrations.outbox relay URL` relays, and so does Django's
`manage.py trailseal_relay`, or a `Relay` in a thread of yours.
"""

from trailseal.integrations.outbox._relay import Relay, Rows
from trailseal.integrations.outbox._rows import Row, row

__all__ = ["Relay", "Row", "Rows", "row"]
