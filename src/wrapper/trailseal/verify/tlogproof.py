"""Proofs of one entry in a file of their own (c2sp.org/tlog-proof).

    c2sp.org/tlog-proof@v1
    extra BASE64                (perhaps; it proves nothing, and is not looked at)
    index DECIMAL
    BASE64 of 32 bytes          (a line for each hash, leaf to root)
                                (an empty line)
    the checkpoint as signed note

The file holds no entry: that comes from elsewhere, and is what it proves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._values import base64_bytes
from .errors import MalformedError
from .merkle import HASH_SIZE
from .note import MAX_NOTE_BYTES

MAX_PROOF_HASHES = 63  # levels of the largest tree
MAX_TLOG_PROOF_BYTES = 2 * MAX_NOTE_BYTES  # 63 hashes take 3 KiB; the rest is for `extra`

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A parsed proof; nothing is known about it until it is held against an entry."""

    index: int
    hashes: list[bytes]
    signed_note: str

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Read a proof, strictly; raises `MalformedError`."""
        if len(data) > MAX_TLOG_PROOF_BYTES:
            raise MalformedError(f"a tlog-proof is longer than {MAX_TLOG_PROOF_BYTES} bytes")
        try:
            head, gap, note = data.decode().partition("\n\n")
        except UnicodeDecodeError:
            raise MalformedError("a tlog-proof is not UTF-8") from None
        first, *lines = head.split("\n")
        if first != _HEADER or not gap:
            raise MalformedError(f"a tlog-proof must begin with {_HEADER} and end with a note")
        if lines and lines[0].startswith("extra "):
            base64_bytes(lines.pop(0).removeprefix("extra "), None, "the 'extra' of a tlog-proof")
        match = _INDEX.fullmatch(lines[0]) if lines else None
        if match is None:
            raise MalformedError("a tlog-proof must name its index")
        if len(lines) > 1 + MAX_PROOF_HASHES:
            raise MalformedError(f"a tlog-proof has more than {MAX_PROOF_HASHES} hashes")
        hashes = [base64_bytes(line, HASH_SIZE, "a hash of a tlog-proof") for line in lines[1:]]
        return cls(int(match[1]), hashes, note)
