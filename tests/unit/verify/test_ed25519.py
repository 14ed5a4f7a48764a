"""One verdict about a signature, with libsodium and without, where verifiers differ."""

import hashlib
from itertools import product

import pytest
from trailseal.verify import ed25519
from trailseal.verify.errors import ProofError

# The curve, as RFC 8032 section 5.1 has it.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
SECRET, NONCE = 123456789, 987654321


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P,
    )


def times(factor: int, point: Point) -> Point:
    result = (0, 1)
    for bit in f"{factor:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def on_curve(y: int, odd: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for root in (x, x * pow(2, (P - 1) // 4, P) % P):
        if root * root % P == square:
            return root if root & 1 == odd else P - root, y
    return None


def spelled(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def small_points() -> list[Point]:
    """The points whose order divides eight."""
    for y in range(2, 99):
        if (point := on_curve(y, 0)) and times(4, eighth := times(ORDER, point)) != (0, 1):
            return [times(n, eighth) for n in range(8)]
    raise AssertionError("no point of order eight")


BASE = on_curve(4 * pow(5, -1, P) % P, 0) or (0, 1)
SMALL = small_points()


def signed(key: bytes, nonce: bytes, message: bytes) -> bytes:
    digest = hashlib.sha512(nonce + key + message).digest()
    s = (NONCE + int.from_bytes(digest, "little") * SECRET) % ORDER
    return nonce + s.to_bytes(32, "little")


def cases() -> list[tuple[bytes, bytes, bytes]]:
    """Keys, signatures and messages: good ones, and each kind about which verifiers differ."""
    key, nonce = times(SECRET, BASE), times(NONCE, BASE)
    found = []
    for more_key, more_nonce in product(SMALL, SMALL):
        spelling, message = spelled(add(key, more_key)), b"trailseal"
        found.append(
            (spelling, signed(spelling, spelled(add(nonce, more_nonce)), message), message)
        )
    spelling, good, message = found[0]
    s = int.from_bytes(good[32:], "little")
    found += [
        (spelling, good[:32] + (s + n * ORDER).to_bytes(32, "little"), message) for n in (1, 9)
    ]
    found += [
        (spelling, good, b"other"),
        (spelling, good[:63], message),
        (spelling[1:], good, message),
    ]
    for number, weak in product(range(9), SMALL):  # keys that anybody can sign for, at times
        found.append(
            (spelled(weak), spelled(times(5, BASE)) + (5).to_bytes(32, "little"), b"%d" % number)
        )
    for y in range(P, 2**255):  # keys that have a second spelling
        found += [((y | sign << 255).to_bytes(32, "little"), good, message) for sign in (0, 1)]
    return found


def accepts(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        ed25519.verify_ed25519(key, signature, message, "k1")
    except ProofError:
        return False
    return True


def test_libsodium_changes_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points of small order in key or nonce, S too large, second spellings, wrong lengths."""
    assert ed25519._USE_LIBSODIUM, "PyNaCl is not installed, or not to be used"
    tried = cases()
    fast = [accepts(*case) for case in tried]
    alone = [ed25519._libsodium_accepts(*case) for case in tried]
    monkeypatch.setattr(ed25519, "_USE_LIBSODIUM", False)
    assert fast == [accepts(*case) for case in tried]
    assert {True, False} == set(fast)
    assert fast != alone, "these cases do not divide the two"
    assert not any(a and not f for a, f in zip(alone, fast, strict=True))


def test_a_libsodium_that_accepts_more_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried with a signature that holds for those who multiply by the cofactor alone."""
    key, signature = (
        bytes.fromhex(x) for x in (ed25519._COFACTOR_KEY, ed25519._COFACTOR_SIGNATURE)
    )
    nonces = [spelled(add(times(NONCE, BASE), small)) for small in SMALL[1:]]
    assert key == spelled(times(SECRET, BASE))
    assert signature in [signed(key, nonce, b"trailseal") for nonce in nonces]
    assert ed25519._libsodium_is_as_strict()
    monkeypatch.setattr("nacl.bindings.crypto_sign_open", lambda signed, key: signed)
    assert not ed25519._libsodium_is_as_strict()
    monkeypatch.setattr(ed25519, "nacl", None)
    assert not ed25519._libsodium_is_as_strict()
