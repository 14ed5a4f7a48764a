"""Who signs events: a private key in memory, or a `Signer` of one's own.

1. A `Signer` may be a KMS or an HSM: the private key need not be here.
2. `cryptography` is loaded with the first key.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from trailseal.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "TRAILSEAL_SIGNING_KEY_FILE"
KEY_PASSWORD = "TRAILSEAL_SIGNING_KEY_PASSWORD"  # noqa: S105  # the variable's name
MAX_KEY_FILE = 64 << 10  # bytes: a key has under 1 KiB
PUBLIC_KEY_BYTES = 32
MAX_INFO = 8  # members of public_key_info, by the contract
MAX_INFO_TEXT = 256

_KEY_ID = r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,127}"
_INFO_NAME = r"[A-Za-z0-9_.-]{1,64}"
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"

Password = str | bytes | Callable[[], str | bytes]


@runtime_checkable
class Signer(Protocol):
    """Signs events with Ed25519 (RFC 8032); for a KMS or an HSM, write a class of these three.

    A signer may also have `public_key_info`, a mapping as `Ed25519Signer` takes it. `sign` must be
    safe to call from several threads.
    """

    @property
    def key_id(self) -> str:
        """The key's name in the log: 1-128 of `A-Z a-z 0-9 _ : - .`, no dot first."""
        ...

    @property
    def public_key(self) -> bytes | None:
        """The 32 bytes that are enclosed with each signature; None where the log's registered key
        is to be used alone."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        ...


class Ed25519Signer:
    """Signs with a private key in memory.

        Client(signer=Ed25519Signer.from_file("billing.pem", password="…"))

    Args:
        private_key: Of `cryptography`, or its 32 raw bytes.
        key_id: Its name in the log; else made of the public key (`key_id_of`).
        public_key_info: What else is to be known of the key, such as its owner: at most 8 texts of
            256 characters, names of letters, digits, `_ . -`. It lies in the log beside the
            signature, which does not cover it.
        enclose: Whether the public key goes with each signature, so that it can be checked without
            a registered one.

    Raises:
        ConfigurationError: A value cannot be used.
    """

    def __init__(
        self,
        private_key: Ed25519PrivateKey | bytes,
        *,
        key_id: str | None = None,
        public_key_info: Mapping[str, str] | None = None,
        enclose: bool = True,
    ) -> None:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  # rule 2

        if isinstance(private_key, bytes):
            if len(private_key) != PUBLIC_KEY_BYTES:
                raise ConfigurationError("An Ed25519 private key has 32 bytes.")
            private_key = ed25519.Ed25519PrivateKey.from_private_bytes(private_key)
        if not isinstance(private_key, ed25519.Ed25519PrivateKey):
            raise ConfigurationError("The signing key is no Ed25519 private key.")
        self._key = private_key
        self.raw_public_key: bytes = private_key.public_key().public_bytes_raw()
        self._enclose = enclose
        self.key_id = key_id_of(self.raw_public_key) if key_id is None else check_key_id(key_id)
        self.public_key_info = check_info(public_key_info or {})

    def __repr__(self) -> str:
        return f"Ed25519Signer(key_id={self.key_id!r})"

    @property
    def public_key(self) -> bytes | None:
        """The 32 bytes, where they are enclosed."""
        return self.raw_public_key if self._enclose else None

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(message)

    @classmethod
    def generate(cls, **options: Any) -> Self:
        """Make a new key."""
        return cls(os.urandom(PUBLIC_KEY_BYTES), **options)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, password: Password | None = None, **options: Any
    ) -> Self:
        """Read a private key: PEM (PKCS #8) or OpenSSH, encrypted or not.

        `password` is a text, or a function that is called only if the file is encrypted. Other
        options are those of the class. An encrypted OpenSSH key needs the package `bcrypt` (extra
        `ssh`).

        Raises:
            ConfigurationError: The file cannot be read, holds no Ed25519 key, or the password is
                missing or wrong.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_KEY_FILE)
        except OSError as error:
            text = f"The signing key cannot be read: {error.strerror}."
            raise ConfigurationError(text) from None
        return cls.from_bytes(data, password=password, **options)

    @classmethod
    def from_bytes(cls, data: bytes, *, password: Password | None = None, **options: Any) -> Self:
        """As `from_file`, from what such a file holds."""
        return cls(_load(data, password), **options)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """The key in the file that `TRAILSEAL_SIGNING_KEY_FILE` names, with the password in
        `TRAILSEAL_SIGNING_KEY_PASSWORD`; None where it is not set. Raises as `from_file`."""
        env = os.environ if environ is None else environ
        path = env.get(KEY_FILE)
        return cls.from_file(path, password=env.get(KEY_PASSWORD) or None) if path else None

    def to_pem(self, password: str | bytes | None = None) -> bytes:
        """The private key as PEM (PKCS #8), encrypted if there is a password."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # rule 2

        how: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            how = serialization.BestAvailableEncryption(_bytes(password))
        pkcs8 = serialization.PrivateFormat.PKCS8
        return self._key.private_bytes(serialization.Encoding.PEM, pkcs8, how)

    @cached_property
    def fingerprint(self) -> str:
        """`SHA256:…` of the public key, as `ssh-keygen -l` shows it."""
        return fingerprint(self.raw_public_key)


def check(signer: object) -> Signer | None:
    """Return a signer that can be used, or None; raises `ConfigurationError`."""
    if signer is None:
        return None
    if isinstance(signer, type) or not isinstance(signer, Signer):
        raise ConfigurationError("signer needs key_id, public_key and sign(message): see Signer.")
    check_key_id(signer.key_id)
    if signer.public_key is not None and len(signer.public_key) != PUBLIC_KEY_BYTES:
        raise ConfigurationError("signer.public_key must be 32 bytes, or None.")
    check_info(getattr(signer, "public_key_info", None) or {})
    return signer


def registered(signer: Signer) -> dict[str, str | None]:
    """What a log is to know of a signer; raises `ConfigurationError` without a public key."""
    check(signer)
    raw = getattr(signer, "raw_public_key", None) or signer.public_key
    if raw is None:
        raise ConfigurationError("signer.public_key is needed to register it.")
    return {"key_id": signer.key_id, "public_key": base64.b64encode(raw).decode()}


def key_id_of(public_key: bytes) -> str:
    """The name of a key that was given none: `ed25519-` and 16 hex digits of its SHA-256."""
    return f"ed25519-{hashlib.sha256(public_key).hexdigest()[:16]}"


def fingerprint(public_key: bytes) -> str:
    """`SHA256:…` of a public key of 32 bytes, as `ssh-keygen -l` shows it."""
    name = b"ssh-ed25519"
    blob = b"".join(len(part).to_bytes(4) + part for part in (name, public_key))  # RFC 8709
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def check_key_id(key_id: object) -> str:
    """Return a key's name if the contract allows it; raises `ConfigurationError`."""
    if not isinstance(key_id, str) or not re.fullmatch(_KEY_ID, key_id):
        raise ConfigurationError("key_id must be 1-128 of A-Z a-z 0-9 _ : - and, not first, a dot.")
    return key_id


def check_info(info: Mapping[str, str]) -> Mapping[str, str]:
    """Return a copy of a key's info if the contract allows it; raises `ConfigurationError`."""
    if not isinstance(info, Mapping) or len(info) > MAX_INFO or not all(map(_fits, info.items())):
        raise ConfigurationError(
            f"public_key_info must be at most {MAX_INFO} texts of {MAX_INFO_TEXT} characters, "
            "by names of letters, digits, _ . -."
        )
    return dict(info)


def _fits(item: tuple[object, object]) -> bool:
    name, text = item
    named = isinstance(name, str) and re.fullmatch(_INFO_NAME, name) is not None
    return named and isinstance(text, str) and len(text) <= MAX_INFO_TEXT and text.isprintable()


def _load(data: bytes, password: Password | None) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # rule 2
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    ssh = data.lstrip().startswith(_OPENSSH)
    load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    try:
        try:
            return load(data, None)
        except TypeError:  # it is encrypted
            if password is None:
                raise ConfigurationError("The signing key is encrypted: give password=.") from None
            return load(data, _bytes(password() if callable(password) else password))
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            text = "An encrypted OpenSSH key needs bcrypt: pip install 'trailseal[ssh]'."
            raise ConfigurationError(text) from None
        raise ConfigurationError("The signing key is of a kind that is not supported.") from None
    except (ValueError, TypeError):
        text = "The signing key is no PEM or OpenSSH private key"
        known = "" if password is None else ", or the password is wrong"
        raise ConfigurationError(f"{text}{known}.") from None


def _bytes(password: str | bytes) -> bytes:
    return password.encode() if isinstance(password, str) else password
