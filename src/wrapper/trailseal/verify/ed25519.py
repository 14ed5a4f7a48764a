"""Ed25519 signatures (RFC 8032), by logs and by clients.

1. The verdict is that of `cryptography`: S below the group's order, and the equation without the
   cofactor, its sides compared byte for byte.
2. libsodium, where PyNaCl is installed, takes half the time and is asked first. What it accepts is
   right: it compares the same bytes, and refuses more (keys and points of small order, other
   spellings of a key). What it refuses, `cryptography` decides.
3. A libsodium that multiplied by the cofactor would accept more. It is tried with a signature that
   only such a check accepts, and then not used.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .errors import ProofError

try:
    import nacl.bindings
    import nacl.exceptions
except ImportError:  # the `fast` extra is optional
    nacl = None  # type: ignore[assignment]

KEYS_KEPT = 1024  # more clients than sign into most exports, in less than a megabyte

# Of "trailseal". R has a part of order 8: right with the cofactor, wrong without.
_COFACTOR_KEY = "17ffad8068dc0de9935d36636f3ad1b5de6de3413b12388e453b05f2a4c1d3db"
_COFACTOR_SIGNATURE = (
    "6999d5cb5126005c325892f1c6eab824b310708befff12fbaf45dda050cb12f0"
    "ccec8bd5b7d2040ee8e31c54125215bb0f183100f17700835f073a080fbf680e"
)


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes, signer: str) -> None:
    """Raise `ProofError` unless `signature` is that of `message` by the key of 32 bytes."""
    if _USE_LIBSODIUM and _libsodium_accepts(public_key, signature, message):
        return
    try:
        _key(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: no point of the curve
        raise ProofError(f"the signature of {signer!r} is wrong", kind="signature") from None


def _libsodium_accepts(public_key: bytes, signature: bytes, message: bytes) -> bool:
    if nacl is None or len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.CryptoError:
        return False
    return True


def _libsodium_is_as_strict() -> bool:
    """Whether there is one, and it refuses what only the cofactor makes right."""
    key, signature = bytes.fromhex(_COFACTOR_KEY), bytes.fromhex(_COFACTOR_SIGNATURE)
    return nacl is not None and not _libsodium_accepts(key, signature, b"trailseal")


_key = lru_cache(KEYS_KEPT)(Ed25519PublicKey.from_public_bytes)
_USE_LIBSODIUM = _libsodium_is_as_strict()
