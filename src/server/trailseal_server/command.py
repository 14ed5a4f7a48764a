"""`trailseal-server`: what an operator does with a server and its database.

Rules:
- Settings come as the server's own do: an option, else `TRAILSEAL_<NAME>`, else a default
  (settings.py). `migrate` and `keys` need the database only.
- `run` writes nothing but its log, to standard error. A key is printed once, by `keys create`.
- Exit codes: 0 done; 1 failed; of `check`: 0 clean, 1 damaged, 2 could not check.
"""

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .settings import PREFIX, Settings

if TYPE_CHECKING:
    from .store import Store

DONE, FAILED = 0, 1
DAMAGED, COULD_NOT_CHECK = 1, 2
UNITS = {"h": 3600, "d": 86_400, "w": 604_800}  # seconds
MAX_LIFETIME_DIGITS = 5  # 99,999 weeks are beyond any calendar that a key meets
PAGE = 1000  # keys of a page

# The server's modules are imported where they are used: `--help` should not take a second.
# ruff: noqa: PLC0415


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    given = _parser().parse_args(arguments)
    from .store import SQLAlchemyError

    failed = COULD_NOT_CHECK if given.do is check else FAILED
    try:
        status = given.do(given)
    except (OSError, ValueError, RuntimeError) as error:
        _say(_reason(error))
        status = failed
    except SQLAlchemyError as error:
        _say(f"the database cannot be used: {getattr(error, 'orig', None) or error}")
        status = failed
    sys.exit(status)


def run(given: argparse.Namespace) -> int:
    """The server itself."""
    from . import app

    settings = Settings.load(
        database_url=given.database_url, host=given.host, port=given.port, workers=given.workers
    )
    configure = partial(_log_to_stderr, access=given.access_log)
    configure()
    app.run(settings, configure)
    return DONE


def migrate(given: argparse.Namespace) -> int:
    """Bring the schema up to date."""
    from .store import Store
    from .store.migrate import newest, revision

    url = _database(given)
    store = Store.attach(url)
    try:
        with store.read() as connection:
            before = revision(connection)
    finally:
        store.close()
    Store.open(url).close()
    after = newest()
    _out(f"at {after} already" if before == after else f"from {before or 'nothing'} to {after}")
    return DONE


def create_key(given: argparse.Namespace) -> int:
    """Make a key and print it: now or never."""
    from .store import keys, micros

    lifetime = given.expires_in
    with _opened(given) as store, store.write() as connection:
        row, secret = keys.create(
            connection,
            name=given.name,
            scopes=_scopes(given.scope),
            tenant_id=given.tenant,
            default_log=given.default_log,
            expires_at=None if lifetime is None else micros.now() + lifetime * 1_000_000,
        )
    _say(f"{row.key_id} was made; this is the only time its key is shown:")
    _out(secret)
    return DONE


def list_keys(given: argparse.Namespace) -> int:
    """One line for each key: id, state, tenant, scopes, name; separated by tabs."""
    with _opened(given) as store:
        for row in _keys(store):
            tenant, scopes = row.tenant_id or "-", ",".join(sorted(row.scopes))
            _out("\t".join(map(printable, (row.key_id, _state(row), tenant, scopes, row.name))))
    return DONE


def revoke_key(given: argparse.Namespace) -> int:
    """End a key: servers refuse it within five seconds (auth.REMEMBER_S)."""
    from .store import keys

    with _opened(given) as store, store.write() as connection:
        if not keys.revoke(connection, given.key_id):
            raise ValueError(f"{given.key_id} is no key in force: see trailseal-server keys list")
    _out(f"{given.key_id} was revoked")
    return DONE


def rotate_signing_key(given: argparse.Namespace) -> int:
    """Put a new key beside the one that signs checkpoints: both sign, from the next start on."""
    from .signing_key import rotate

    path = Settings.load(database_url=given.database_url).key_file
    rotate(path)
    _out(f"{path} holds a new key. Give the file to every process and start it again.")
    _out("When your readers trust the new key of GET /v1/keys: trailseal-server signing-key retire")
    return DONE


def retire_signing_key(given: argparse.Namespace) -> int:
    """Take the old key away: the new one signs alone, from the next start on."""
    from .signing_key import retire

    path = Settings.load(database_url=given.database_url).key_file
    retire(path)
    _out(f"{path} holds the new key alone. Give the file to every process and start it again")
    return DONE


def check(given: argparse.Namespace) -> int:
    """Recompute every hash, and name what is damaged; with --json one object a line."""
    from .check import Check
    from .signing_key import read_key_file
    from .store import audit, checkpoints

    settings = Settings.load(database_url=given.database_url)
    if settings.database_url.startswith("sqlite") and not os.path.exists(settings.place):  # noqa: PTH110 - a URL's path
        raise ValueError(f"there is no database {settings.place}")
    keys = read_key_file(settings.key_file).public_keys
    store = audit.open_for_check(settings.database_url)
    try:
        with store.read() as connection:
            prefix = checkpoints.origin_prefix(connection)
        if prefix is None:
            raise ValueError("the database has no origin yet: no server has run on it")
        checked = Check(store, prefix, keys)
        damages = 0
        kept = checked.kept(given.contains.read_text("utf-8")) if given.contains else ()
        for found in chain(kept, checked.log(given.log) if given.log else checked.all()):
            damages += 1
            line = f"{found.log_id}: {found.where}: {found.reason}"
            _out(json.dumps(found._asdict()) if given.json else printable(line))
    finally:
        store.close()
    counts = {name: getattr(checked, name) for name in ("logs", "events", "checkpoints")}
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    _out(
        json.dumps({**counts, "damages": damages}) if given.json else f"{words}: {damages} damaged"
    )
    return DAMAGED if damages else DONE


def printable(line: str) -> str:
    """Without control characters: a damaged name may hold any."""
    return "".join(c if c.isprintable() else "\ufffd" for c in line)


def lifetime(text: str) -> int:
    """Seconds of `12h`, `90d` or `4w`."""
    found = re.fullmatch(rf"([1-9]\d{{0,{MAX_LIFETIME_DIGITS - 1}}})([hdw])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError("must be hours, days or weeks, such as 12h, 90d, 4w")
    return int(found[1]) * UNITS[found[2]]


def _parser() -> argparse.ArgumentParser:
    database = argparse.ArgumentParser(add_help=False)
    database.add_argument("--database-url", metavar="URL", help="else TRAILSEAL_DATABASE_URL")
    parser = argparse.ArgumentParser(
        prog="trailseal-server", description="Operate a TrailSeal server."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(to: Any, name: str, do: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        about = (do.__doc__ or "").strip()
        added: argparse.ArgumentParser = to.add_parser(
            name, parents=[database], help=about, description=about
        )
        added.set_defaults(do=do)
        return added

    running = add(commands, "run", run)
    running.add_argument("--host", help="address to listen on; 127.0.0.1 if nothing else is said")
    running.add_argument("--port", type=int, help="8080 if nothing else is said")
    about = "processes, best one for each core; 1 if nothing else is said"
    running.add_argument("--workers", type=int, help=about)
    running.add_argument("--access-log", action="store_true", help="log each request, no content")
    add(commands, "migrate", migrate)
    about = "Make, list and revoke API keys."
    keys = commands.add_parser("keys", help=about, description=about)
    of_keys = keys.add_subparsers(required=True, metavar="COMMAND")
    creating = add(of_keys, "create", create_key)
    creating.add_argument("--name", required=True, help="what it is for")
    creating.add_argument("--scope", required=True, action="append", help="may be repeated")
    creating.add_argument("--tenant", help="the only tenant whose logs it reaches")
    creating.add_argument("--default-log", help="the log of requests that name none")
    creating.add_argument("--expires-in", type=lifetime, metavar="90d", help="12h, 90d, 4w")
    add(of_keys, "list", list_keys)
    add(of_keys, "revoke", revoke_key).add_argument("key_id", metavar="KEY_ID")
    about = "Change the key that signs checkpoints, in two steps."
    signing = commands.add_parser("signing-key", help=about, description=about)
    of_signing = signing.add_subparsers(required=True, metavar="COMMAND")
    add(of_signing, "rotate", rotate_signing_key)
    add(of_signing, "retire", retire_signing_key)
    checking = add(commands, "check", check)
    checking.add_argument("--log", metavar="LOG_ID", help="this log only")
    about = "a checkpoint kept elsewhere: damaged unless it is one of this database still"
    checking.add_argument("--contains", type=Path, metavar="FILE", help=about)
    checking.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _log_to_stderr(*, access: bool) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if not access:
        logging.getLogger("trailseal.server.access").setLevel(logging.WARNING)


def _database(given: argparse.Namespace) -> str:
    named: str | None = given.database_url or os.environ.get(f"{PREFIX}DATABASE_URL")
    return named or Settings().database_url


@contextmanager
def _opened(given: argparse.Namespace) -> Iterator["Store"]:
    from .store import Store

    store = Store.open(_database(given))
    try:
        yield store
    finally:
        store.close()


def _scopes(asked: Sequence[str]) -> list[str]:
    from . import contract

    known: list[str] = contract.load()["components"]["schemas"]["Scope"]["enum"]
    if unknown := [each for each in asked if each not in known]:
        raise ValueError(f"--scope {unknown[0]} is none of {', '.join(known)}")
    return list(asked)


def _keys(store: "Store") -> Iterator[Any]:
    from .store import listings
    from .store.pages import Reader

    params: dict[str, Any] = {"limit": PAGE, "order": "asc"}
    while True:
        page = listings.key_page(Reader(store), params, None, lambda row: row)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


def _state(row: Any) -> str:
    from .store import micros

    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None:
        return "active"
    return (
        f"{'expired' if row.expires_at <= micros.now() else 'until'} {micros.text(row.expires_at)}"
    )


def _reason(error: Exception) -> str:
    named = isinstance(error, OSError) and error.filename and f"{error.filename}: {error.strerror}"
    return named or str(error)


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")


def _say(line: str) -> None:
    sys.stderr.write(f"trailseal-server: {line}\n")
