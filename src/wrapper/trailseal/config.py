"""Settings of a client: keywords first, then the environment; checked before any I/O; frozen.

1. A mistyped API key is refused here: `ts_<id>_<secret>_<crc32>`, the last part being the CRC-32
   of everything before the last underscore, in 8 lower-case hex digits.
2. `{region}` in the base URL is filled in from `region`.
3. No repr, error or log line shows a secret: of the key only its id, of a proxy not its password.

Environment: `TRAILSEAL_URL TRAILSEAL_API_KEY TRAILSEAL_TENANT TRAILSEAL_DISABLED
TRAILSEAL_SIGNING_KEY_FILE TRAILSEAL_SIGNING_KEY_PASSWORD`; for connections also `HTTP_PROXY
HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR`, unless `trust_env` is off.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trailseal import _signer
from trailseal._retry import Budget
from trailseal.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    import ssl

    from trailseal.hooks import Hooks
    from trailseal.verify import TrustPolicy, VerifierKey

    Verify = bool | str | os.PathLike[str] | TrustPolicy

DEFAULT_TIMEOUT = 30.0  # seconds for a whole call, retries and waits included
MAX_TIMEOUT = 86_400.0  # seconds: a longer wait is a forgotten one
DEFAULT_MAX_RETRIES = 3  # four tries within a few seconds
MAX_RETRIES = 100
DEFAULT_MAX_CONNECTIONS = 100  # more calls at once wait for a free connection
MAX_CONNECTIONS = 10_000  # a process has few more file descriptors
PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
VERSION = "0.1.0"  # of the distribution; a test holds them together, reading it costs 10 ms
TRUE, FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})

_KEY = re.compile(r"ts_([a-z0-9]{8,32})_([A-Za-z0-9]{32,64})_([0-9a-f]{8})", re.ASCII)
# Patterns that few clients need are compiled when they are used.
_REGION = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # a DNS label, RFC 1123
_APP = r"[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._+-]{1,64})?"
_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # a token, RFC 9110, 5.6.2


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client works with; made by `load`."""

    base_url: str
    api_key: str = field(repr=False)
    tenant: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted_keys: tuple[str | VerifierKey, ...] = ()
    signing_keys: Mapping[str, str] | None = None  # of clients, by key_id; None without a policy
    verify: bool = False  # on the way, unless a call says otherwise
    state_file: str | os.PathLike[str] | None = None
    disabled: bool = False
    signer: _signer.Signer | None = field(default=None, repr=False)
    hooks: tuple[Hooks, ...] = field(default=(), repr=False)
    budget: Budget = field(default_factory=Budget, repr=False, compare=False)  # of all its calls

    @property
    def key_id(self) -> str:
        """The API key's id, as the server names it: `key_ab12cd34` of `ts_ab12cd34_…`."""
        return "key_" + self.api_key.split("_")[1] if self.api_key else ""

    @property
    def described(self) -> str:
        """The settings as a repr may show them."""
        mode = ", disabled" if self.disabled else ""
        return f"base_url={self.base_url!r}, key_id={self.key_id!r}, tenant={self.tenant!r}{mode}"


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """How a client reaches the server; made by `connection`.

    `tls` is True for the system's and certifi's authorities, False for none, or an
    `ssl.SSLContext`.
    """

    user_agent: str
    tls: bool | ssl.SSLContext = True
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    trust_env: bool = True
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    http_client: Any = field(default=None, repr=False)
    http_transport: Any = field(default=None, repr=False)


def connection(
    *,
    app: str | None = None,
    tls: bool | str | os.PathLike[str] | ssl.SSLContext = True,
    proxy: str | None = None,
    trust_env: bool = True,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    http_client: Any = None,
    http_transport: Any = None,
) -> Connection:
    """Check how to connect; raises `ConfigurationError`, which names the setting."""
    if http_client is not None and (
        http_transport is not None or proxy is not None or tls is not True
    ):
        raise ConfigurationError("With http_client=, set proxy, tls and transport there.")
    agent = f"trailseal-python/{VERSION}"
    if app is not None:
        if not re.fullmatch(_APP, app):
            raise ConfigurationError("app must be like name/1.2 (letters, digits, - . _).")
        agent = f"{agent} {app}"
    number = isinstance(max_connections, int) and not isinstance(max_connections, bool)
    if not number or not 1 <= max_connections <= MAX_CONNECTIONS:
        raise ConfigurationError(f"max_connections must be from 1 to {MAX_CONNECTIONS}.")
    return Connection(
        user_agent=agent,
        tls=check_tls(tls),
        proxy=None if proxy is None else check_proxy(proxy),
        trust_env=trust_env,
        max_connections=max_connections,
        http_client=http_client,
        http_transport=http_transport,
    )


def load(
    base_url: str | None = None,
    api_key: str | None = None,
    *,
    region: str | None = None,
    tenant: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_retries: int = DEFAULT_MAX_RETRIES,
    headers: Mapping[str, str] | None = None,
    trusted_keys: Sequence[str] = (),
    verify: Verify = False,
    state_file: str | os.PathLike[str] | None = None,
    disabled: bool | None = None,
    signer: _signer.Signer | None = None,
    hooks: Hooks | Iterable[Hooks] = (),
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Combine keywords and environment; raises `ConfigurationError`, which names the setting."""
    env = os.environ if environ is None else environ
    off = _flag(env, "TRAILSEAL_DISABLED") if disabled is None else disabled
    key = api_key if api_key is not None else env.get("TRAILSEAL_API_KEY", "")
    url = base_url if base_url is not None else env.get("TRAILSEAL_URL", "")
    if isinstance(trusted_keys, str):
        raise ConfigurationError("trusted_keys must be a list of verifier keys, not one string.")
    if any(isinstance(one, str) and one.count("+") < 2 for one in trusted_keys):
        raise ConfigurationError("trusted_keys: a verifier key is written name+hash+base64.")
    policy = check_verify(verify)
    return Settings(
        base_url="" if off and not url else check_base_url(url, region),
        api_key="" if off and not key else check_api_key(key),
        tenant=tenant if tenant is not None else env.get("TRAILSEAL_TENANT") or None,
        timeout=check_timeout(timeout),
        max_retries=check_retries(max_retries),
        headers=check_headers(headers or {}),
        trusted_keys=(*trusted_keys, *(policy.keys if policy else ())),
        signing_keys=policy.signing_keys if policy else None,
        verify=verify is not False,
        state_file=state_file,
        disabled=off,
        signer=None
        if off
        else _signer.check(signer) or _signer.Ed25519Signer.from_environment(env),
        hooks=() if hooks == () else _checked_hooks(hooks),
    )


def _checked_hooks(hooks: Hooks | Iterable[Hooks]) -> tuple[Hooks, ...]:
    from trailseal.hooks import check_hooks  # noqa: PLC0415  # few have any

    return check_hooks(hooks)


def check_api_key(key: str) -> str:
    """Return the key if its form and its checksum are right."""
    if not key:
        raise ConfigurationError("No API key: pass api_key=, or set TRAILSEAL_API_KEY.")
    if not isinstance(key, str):
        raise ConfigurationError("The API key must be a string.")
    if key != key.strip():
        raise ConfigurationError("The API key has a space or a line's end around it: take it away.")
    matched = _KEY.fullmatch(key)
    if matched is None:
        raise ConfigurationError("The API key is not of the form ts_<id>_<secret>_<checksum>.")
    body, _, checksum = key.rpartition("_")
    if f"{zlib.crc32(body.encode()):08x}" != checksum:
        raise ConfigurationError(
            "The API key is mistyped: its checksum does not fit. Copy it again."
        )
    return key


def check_base_url(url: str, region: str | None = None) -> str:
    """Return the base URL with its region and without a final slash."""
    if not url:
        raise ConfigurationError("No server: pass base_url=, or set TRAILSEAL_URL.")
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise ConfigurationError("The base URL must be a string without spaces and line ends.")
    if "{region}" in url:
        if not region or not re.fullmatch(_REGION, region):
            raise ConfigurationError(
                "The base URL has {region}: pass region= (letters, digits, -)."
            )
        url = url.replace("{region}", region)
    elif region:
        raise ConfigurationError("region= was given, but the base URL has no {region}.")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        raise ConfigurationError("The base URL is malformed.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "The base URL must begin with http:// or https:// and name a host."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("The base URL must hold no user, password, query or fragment.")
    return url.rstrip("/")


def check_verify(verify: Verify) -> TrustPolicy | None:
    """Return the policy that is given or named by a path; None for True and False."""
    if isinstance(verify, bool):
        return None
    from trailseal.verify import TrustPolicy  # noqa: PLC0415  # it loads cryptography

    if isinstance(verify, TrustPolicy):
        return verify
    if not isinstance(verify, str | os.PathLike):
        raise ConfigurationError("verify must be True, False, a TrustPolicy or its file.")
    try:
        return TrustPolicy.load(verify)
    except IntegrityError as error:
        raise ConfigurationError(f"verify, {verify}: {error.args[0]}.") from None


def check_tls(
    tls: bool | str | os.PathLike[str] | ssl.SSLContext,
) -> bool | ssl.SSLContext:
    """Return True, False or a context; a path is a file or folder of trusted authorities (PEM)."""
    if isinstance(tls, bool):
        return tls
    import ssl  # noqa: PLC0415  # a tenth of what importing the package costs

    if isinstance(tls, ssl.SSLContext):
        return tls
    if not isinstance(tls, str | os.PathLike):
        raise ConfigurationError("tls must be True, False, a path or an ssl.SSLContext.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # these authorities, and no others
    try:
        if os.path.isdir(tls):  # noqa: PTH112  # pathlib is not loaded otherwise
            context.load_verify_locations(capath=os.fspath(tls))
        else:
            context.load_verify_locations(cafile=os.fspath(tls))
    except OSError:
        raise ConfigurationError("tls: the CA bundle cannot be read (PEM is needed).") from None
    return context


def check_proxy(proxy: str) -> str:
    """Return a proxy's URL; its user and password are allowed, and never shown."""
    try:
        parts = urlsplit(proxy)
        _ = parts.port
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError("proxy= is malformed.") from None
    if parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        raise ConfigurationError("proxy= must be http://host:port (or https, socks5, socks5h).")
    return proxy


def check_timeout(seconds: float) -> float:
    """Return the seconds if they are a finite, positive number up to `MAX_TIMEOUT`."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds) or not 0 < seconds <= MAX_TIMEOUT:
        raise ConfigurationError(f"timeout must be seconds above 0 and up to {MAX_TIMEOUT:g}.")
    return float(seconds)


def check_retries(count: int) -> int:
    """Return the number of retries if it is from 0 to `MAX_RETRIES`."""
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_RETRIES:
        raise ConfigurationError(f"max_retries must be a whole number from 0 to {MAX_RETRIES}.")
    return count


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return a copy of extra headers; the API key has its own setting and stays out of them."""
    for name, value in headers.items():
        if not isinstance(value, str) or not re.fullmatch(_HEADER, name):
            raise ConfigurationError(f"headers: {name!r} must be a header name with a string.")
        if not value.isascii() or not value.isprintable():
            raise ConfigurationError(f"headers: the value of {name!r} must be printable ASCII.")
        if name.lower() == "authorization":
            raise ConfigurationError("headers: set the API key with api_key=, not Authorization.")
    return dict(headers)


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").strip().lower()
    if value not in TRUE | FALSE:
        raise ConfigurationError(f"{name} must be 1 or 0.")
    return value in TRUE
