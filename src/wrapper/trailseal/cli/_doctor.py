"""`trailseal doctor`: what is wrong between here and the server, and how to mend it.

1. One line for each check, from the nearest to the farthest, with the fix where it is not well.
2. It asks as the SDK asks: the same proxies, certificates and deadlines. No check tries twice.
3. What cannot be checked because of an earlier fault is left out. It changes nothing anywhere, but
   that a damaged spool is set aside, as by everybody who opens it.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from . import _output
from ._doctor_check import FAIL, OK, WARN, Check
from ._doctor_spool import look
from ._exits import FAILED, REFUSED, UNREACHABLE, USAGE, Mistake, printable
from ._session import Session, ask, command, run

if TYPE_CHECKING:
    from trailseal import Client

MARKS = {OK: ("ok  ", "green"), WARN: ("warn", "yellow"), FAIL: ("FAIL", "red")}
TIMEOUT = 10.0  # seconds for one check: a server that needs longer is not well
MAX_SKEW = 5.0  # seconds; the server's Date has whole seconds, and TLS and tokens bear minutes
SOON = timedelta(days=14)  # to renew a key in
# A key of the right form that is nobody's: /healthz needs none, and the client will not do without.
NOBODY = "ts_nobody00_" + "0" * 32 + "_cd6b7ebc"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor")(doctor)


def doctor(
    session: Session,
    *,
    spool: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A spool's folder; else TRAILSEAL_SPOOL_DIR."),
    ] = None,
) -> None:
    """Say what is wrong between here and the server.

    Looks at address, key, spool, connection, TLS, server, version, clock and rights. Exits 0 if
    nothing failed, else as any command would: 2 settings, 4 key, 5 no connection.
    """
    code = 0
    checks = []
    for check in _checks(session, spool or os.environ.get("TRAILSEAL_SPOOL_DIR")):
        checks.append(asdict(check))
        code = code or (check.code if check.status == FAIL else 0)
        if session.report == _output.TABLE:
            _show(check)
        elif session.report == _output.JSONL:
            _output.write(_output.dumps(_public(asdict(check))))
    if session.report == _output.JSON:
        _output.write(_output.dumps({"ok": code == 0, "checks": list(map(_public, checks))}))
    raise typer.Exit(code)


def _public(check: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in check.items() if name != "code"}


def _checks(session: Session, spool: Path | str | None) -> Iterator[Check]:
    from trailseal import Client  # noqa: PLC0415  # loads httpx

    url, found = _address(session)
    yield found
    key, found = _key(session)
    yield found
    if spool:
        yield from look(Path(spool))
    if url is None:
        return
    yield _secrecy(url)
    with Client(url, key or NOBODY, timeout=TIMEOUT, max_retries=0, disabled=False) as client:
        server, found = _server(client)
        yield found
        if server is None:
            return
        yield _clock(*server)
        yield _ready(client)
        yield _version(server[0])
        if key is not None:
            yield from _rights(client)


def _address(session: Session) -> tuple[str | None, Check]:
    from trailseal import config, errors  # noqa: PLC0415  # loads httpx

    try:
        url = config.check_base_url(session.address())
    except (Mistake, errors.ConfigurationError) as error:
        text = "set TRAILSEAL_URL to the server's address: https://audit.example.org"
        return None, Check("address", FAIL, str(error.args[0]), text, USAGE)
    return url, Check("address", OK, url)


def _key(session: Session) -> tuple[str | None, Check]:
    from trailseal import config, errors  # noqa: PLC0415  # loads httpx

    fix = "set TRAILSEAL_API_KEY to a key as keys create showed it: ts_<id>_<secret>_<checksum>"
    try:
        key = config.check_api_key(session.key())
    except (Mistake, OSError, errors.ConfigurationError) as error:
        detail = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else ""
        return None, Check("key", FAIL, detail or str(error.args[0]), fix, USAGE)
    return key, Check("key", OK, f"well formed: key_{key.split('_')[1]}")


def _secrecy(url: str) -> Check:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return Check("tls", OK, "the connection is encrypted, the certificate is checked")
    if _local(parts.hostname or ""):
        return Check("tls", OK, "not needed on this machine")
    fix = "use https://: put TLS in front of the server"
    return Check("tls", WARN, "key and events travel in clear", fix)


def _local(host: str) -> bool:
    from ipaddress import ip_address  # noqa: PLC0415  # for this alone

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _server(client: "Client") -> tuple[tuple[dict[str, Any], str, float] | None, Check]:
    """What /healthz says, its Date, and our clock in the middle of the call."""
    from trailseal_api.api.health import get_health  # noqa: PLC0415  # loads httpx

    from trailseal import _call, errors  # noqa: PLC0415

    began = time.time()
    try:
        response = run(client, lambda settings: _call.call(settings, get_health.request_kwargs()))
        health = _call.decoded(response)
    except errors.TransportError as error:
        return None, Check("server", FAIL, str(error.args[0]), _why(error), UNREACHABLE)
    except errors.ApiError as error:
        return None, _stranger(str(error.args[0]))
    if not isinstance(health.get("version"), str):
        return None, _stranger("/healthz answers, and is not TrailSeal's")
    known = (health, response.headers.get("date", ""), (began + time.time()) / 2)
    return known, Check("server", OK, f"reached in {(time.time() - began) * 1000:.0f} ms")


def _stranger(detail: str) -> Check:
    fix = "the address must be the server's own, without /v1; look at proxies before it"
    return Check("server", FAIL, detail, fix, FAILED)


def _why(error: Exception) -> str:
    text = str(error.args[0])
    reasons = {
        "CERTIFICATE": "the certificate is not trusted here: mend it, or set SSL_CERT_FILE to the"
        " file of the authority that signed it",
        "SSL": "the server does not speak TLS on this port: check http:// against https://",
        "refused": "nothing listens there: start the server (trailseal serve), check the port",
        "not known": "the name is not in DNS: check its spelling",
        "resolution": "DNS does not answer: check the network",
        "unreachable": "no way to the network: check the connection and VPN",
    }
    fix = next((fix for sign, fix in reasons.items() if sign in text), "")
    return fix or "check that the server runs, firewalls, and HTTPS_PROXY, HTTP_PROXY, NO_PROXY"


def _ready(client: "Client") -> Check:
    from trailseal_api.api.health import get_readiness  # noqa: PLC0415  # loads httpx

    from trailseal.errors import ApiError  # noqa: PLC0415

    try:
        ask(client, get_readiness.request_kwargs())
    except ApiError as error:
        fix = "its database or signing key is away: look at the server's log"
        return Check("ready", FAIL, str(error.args[0]), fix, UNREACHABLE)
    return Check("ready", OK, "its database answers")


def _version(health: dict[str, Any]) -> Check:
    from importlib.metadata import version  # noqa: PLC0415  # slow to import

    ours, theirs = version("trailseal"), health["version"]
    if _contract(ours) == _contract(theirs):
        return Check("version", OK, f"server {theirs}, this {ours}")
    fix = f"bring both to one version: pip install 'trailseal=={printable(theirs)[:20]}'"
    return Check("version", WARN, f"server {theirs}, this {ours}: their contracts differ", fix)


def _contract(version: str) -> list[str]:
    """What must agree by semantic versioning: the first number, before 1.0 the first two."""
    parts = version.split(".")
    return parts[:2] if parts[0] == "0" else parts[:1]


def _clock(_health: dict[str, Any], date: str, ours: float) -> Check:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # slow to import

    try:
        theirs = parsedate_to_datetime(date).timestamp() + 0.5  # Date is cut to the second
    except ValueError:
        return Check("clock", WARN, "the server tells no time", "a proxy takes Date away")
    skew = ours - theirs
    if abs(skew) <= MAX_SKEW:
        return Check("clock", OK, f"within {MAX_SKEW:g} s of the server's")
    way = "ahead of" if skew > 0 else "behind"
    fix = "synchronise this machine's clock (NTP), or the server's: occurred_at goes by this one"
    return Check("clock", WARN, f"{abs(skew):.0f} s {way} the server's", fix)


def _rights(client: "Client") -> Iterator[Check]:
    from trailseal.errors import ApiError, AuthenticationError, TransportError  # noqa: PLC0415

    try:
        caller = client.whoami()
        tenant, scopes, ends = caller.tenant_id, ", ".join(caller.scopes), caller.expires_at
        detail = f"{caller.name}, {f'tenant {tenant}' if tenant else 'all tenants'}: {scopes}"
        has_log = bool(tenant or caller.default_log_id)
    except AuthenticationError as error:
        fix = "ask for a new key (trailseal keys create), and set TRAILSEAL_API_KEY"
        yield Check("accepted", FAIL, str(error.args[0]), fix, REFUSED)
        return
    except ApiError as error:
        code = UNREACHABLE if isinstance(error, TransportError) else FAILED
        yield Check("accepted", FAIL, str(error.args[0]), "see the server's log", code)
        return
    yield Check("accepted", OK, detail)
    if ends is not None and ends - datetime.now(UTC) < SOON:
        fix = f"trailseal keys rotate {caller.key_id} --grace 86400"
        yield Check("expiry", WARN, f"the key ends at {ends:%Y-%m-%d %H:%M} UTC", fix)
    if not has_log:
        fix = "give --log-id, or a tenant_id in events"
        yield Check("log", WARN, "the key has no log of its own", fix)


def _show(check: Check) -> None:
    import sys  # noqa: PLC0415

    mark, colour = MARKS[check.status]
    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    head = typer.style(mark, fg=None if plain else colour)
    fix = f"  -> {check.fix}" if check.fix else ""
    typer.echo(f"{head}  {check.check:<9} {printable(check.detail + fix)}")
