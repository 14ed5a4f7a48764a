"""`python -m trailseal.integrations.outbox`: relay an outbox of any database SQLAlchemy knows.

The server and the key come from the environment (`TRAILSEAL_URL`, `TRAILSEAL_API_KEY`). Exit codes:
0 done, 1 something is left or parked, 2 it cannot work as it was called.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence

from trailseal.client import Client
from trailseal.errors import ConfigurationError, DeliveryError
from trailseal.integrations.outbox._relay import POLL, Relay, Rows
from trailseal.integrations.outbox._rows import TABLE

LEFT, MISTAKE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser("python -m trailseal.integrations.outbox", description=__doc__)
    parser.add_argument("command", choices=["create", "relay", "status", "requeue"])
    parser.add_argument("url", help="the application's database, such as postgresql+psycopg://…")
    parser.add_argument("--table", default=TABLE)
    parser.add_argument("--once", action="store_true", help="relay: end when nothing is left")
    parser.add_argument("--poll", type=float, default=POLL, help="relay: seconds between looks")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        from sqlalchemy import MetaData, create_engine  # noqa: PLC0415  # it may not be installed

        from trailseal.integrations.outbox.sqlalchemy import (  # noqa: PLC0415
            SQLAlchemyRows,
            outbox_table,
        )
    except ImportError:
        return _fail("The command needs SQLAlchemy; Django has manage.py trailseal_relay.")
    metadata = MetaData()
    table = outbox_table(metadata, given.table)
    engine = create_engine(given.url)
    rows = SQLAlchemyRows(engine, table)
    try:
        if given.command == "create":
            metadata.create_all(engine)
            return 0
        if given.command == "relay":
            return relay(rows, once=given.once, poll=given.poll)
        return report(rows, requeue=given.command == "requeue")
    except (ConfigurationError, DeliveryError) as error:
        return _fail(str(error))
    finally:
        engine.dispose()


def relay(rows: Rows, *, once: bool, poll: float) -> int:
    """Relay until SIGTERM or SIGINT, or `once`; an exit code."""
    with Client.from_env() as client, Relay(client, rows, poll=poll) as running:
        if once:
            return 0 if running.run_once() else LEFT
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        running.run()
    return 0


def report(rows: Rows, *, requeue: bool) -> int:
    """Print, as JSON, what waits and what is parked, after letting it wait again; an exit code."""
    requeued = rows.requeue() if requeue else 0
    parked = [
        dict(zip(("event_id", "code", "detail"), each, strict=True)) for each in rows.parked()
    ]
    told = {"waiting": rows.count(1_000_000), "requeued": requeued, "parked": parked}
    sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    return LEFT if parked else 0


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
