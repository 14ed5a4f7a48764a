"""Signed notes (c2sp.org/signed-note) with Ed25519 signatures.

1. A note is text, an empty line, and one signature line for each signer:
   `— NAME BASE64(key hash ‖ signature)`; the signature is over the text with its last newline.
2. A verifier key is `NAME+HASH+BASE64(0x01 ‖ public key)`, HASH the first four bytes of
   SHA-256(NAME ‖ "\\n" ‖ 0x01 ‖ public key) in hexadecimal.
3. Signatures by keys that we do not hold say nothing; one by a key that we hold must be right.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ._values import base64_bytes
from .ed25519 import verify_ed25519
from .errors import MalformedError, ProofError, UnverifiableError

MAX_NOTE_BYTES = 64 * 1024  # ours have under 1 KiB; witnesses add a line each
MAX_SIGNATURES = 100  # as many as Go's implementation of the format reads

_ED25519 = b"\x01"  # the signature type of c2sp.org/signed-note
_HASH_BYTES = 4
_PUBLIC_KEY_BYTES = 32
_KEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
_SIGNATURE_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs for; a log's key has the log's origin as its name."""

    name: str
    public_key: bytes  # 32 bytes

    @property
    def key_hash(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        data = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(data).digest()[:_HASH_BYTES]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `NAME+HASH+BASE64`; raises `MalformedError`."""
        match = _KEY.fullmatch(text.strip())
        if match is None:
            raise MalformedError("a verifier key must read NAME+HASH+BASE64")
        name, key_hash, encoded = match.groups()
        data = base64_bytes(encoded, None, "a verifier key")
        if data[:1] != _ED25519 or len(data) != 1 + _PUBLIC_KEY_BYTES:
            raise MalformedError(f"the verifier key of {name} is not an Ed25519 key")
        key = cls(name, data[1:])
        if key.key_hash.hex() != key_hash:
            raise MalformedError(f"the verifier key of {name} does not match its own hash")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, not checked yet."""

    name: str
    key_hash: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note; nothing is known about who signed it until `verify`."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes | str) -> Note:
        """Read a signed note of at most 64 KiB; raises `MalformedError`."""
        raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
        if len(raw) > MAX_NOTE_BYTES:
            raise MalformedError(f"a signed note is longer than {MAX_NOTE_BYTES} bytes")
        try:
            decoded = raw.decode()
        except UnicodeDecodeError:
            raise MalformedError("a signed note is not UTF-8") from None
        text, gap, block = decoded.rpartition("\n\n")
        if not gap or not block.endswith("\n") or _CONTROL.search(decoded):
            raise MalformedError("a signed note must be text, an empty line and signature lines")
        lines = block[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise MalformedError(f"a signed note has more than {MAX_SIGNATURES} signatures")
        signatures = tuple(_parse_signature(line) for line in lines)
        if len({(one.name, one.key_hash) for one in signatures}) < len(signatures):
            raise MalformedError("a signed note has two signatures by one key")
        return cls(text + "\n", signatures)

    def verify(self, keys: Iterable[VerifierKey], name: str) -> None:
        """Raise unless one of `keys` of this `name` signed the text.

        `UnverifiableError` where no key has the name; `ProofError` where none of those that have
        it signed, or one did so wrongly.
        """
        trusted = [key for key in keys if key.name == name]
        if not trusted:
            raise UnverifiableError(f"no verifier key for {name!r} was given")
        ours = [
            (key, signature)
            for key in trusted
            for signature in self.signatures
            if (signature.name, signature.key_hash) == (key.name, key.key_hash)
        ]
        if not ours:
            raise ProofError(f"not signed by the key given for {name!r}", kind="signature")
        for key, signature in ours:
            verify_ed25519(key.public_key, signature.value, self.text.encode(), name)


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise MalformedError("a signature line of a signed note is malformed")
    data = base64_bytes(match[2], None, "a signature of a signed note")
    if len(data) <= _HASH_BYTES:
        raise MalformedError("a signature of a signed note is too short")
    return Signature(match[1], data[:_HASH_BYTES], data[_HASH_BYTES:])
