"""`manage.py trailseal_relay`: send what the outbox holds."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from trailseal.errors import ConfigurationError
from trailseal.integrations.django._settings import client
from trailseal.integrations.django.outbox import DjangoRows
from trailseal.integrations.outbox._relay import POLL, Relay


class Command(BaseCommand):
    """Relays until SIGTERM or SIGINT."""

    help = "Send the events of the outbox to TrailSeal, until SIGTERM; --once: what is there now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="end when nothing is left")
        parser.add_argument("--requeue", action="store_true", help="let parked events wait again")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS)
        parser.add_argument("--poll", type=float, default=POLL, help="seconds between looks")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run."""
        rows = DjangoRows(options["database"])
        if options["requeue"]:
            self.stdout.write(f"{rows.requeue()} events wait again")
        try:
            with client() as used, Relay(used, rows, poll=options["poll"]) as relay:
                if options["once"]:
                    done = relay.run_once()
                    if not done:
                        raise CommandError("Some events must wait: the server is away, or full.")
                else:
                    for number in (signal.SIGTERM, signal.SIGINT):
                        signal.signal(number, lambda *_: relay.stop())
                    relay.run()
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        for event_id, code, detail in rows.parked():
            self.stderr.write(f"parked: {event_id}: {code}: {detail}")
