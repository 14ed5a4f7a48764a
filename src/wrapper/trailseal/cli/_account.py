"""`trailseal usage` and `trailseal whoami`."""

import typer

from ._session import Session, command


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "usage")(usage)
    command(app, "whoami")(whoami)


def usage(session: Session) -> None:
    """Show this month's events, the quota and the retention."""
    with session.client() as client:
        session.record(client.usage().raw)


def whoami(session: Session) -> None:
    """Show whose key this is, for which tenant, with which scopes."""
    with session.client() as client:
        session.record(client.whoami().raw)
