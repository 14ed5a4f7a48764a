"""The lines of a content file: all of them within limits, and each byte held against the digest."""

from __future__ import annotations

import gzip
import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trailseal.verify import ProofError, Verifier, content
from trailseal.verify.content import Content

DAMAGED = "the content is damaged, cut or unreadable"


def read(data: bytes, *, compressed: bool = False) -> list[bytes | None]:
    return list(Content(io.BytesIO(data), compressed=compressed).lines())


def refusal(opened: Content, data: bytes) -> str:
    """What is said of the whole, though size and digest are the data's."""
    with pytest.raises(ProofError) as caught:
        opened.check(len(data), hashlib.sha256(data).digest())
    assert caught.value.kind == "content"
    return str(caught.value.args[0])


def test_a_line_is_as_long_as_its_limit_with_its_line_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one is None, once, and reading goes on behind it."""
    monkeypatch.setattr(content, "MAX_LINE_BYTES", 10)
    assert read(b"123456789\n123456789") == [b"123456789"] * 2
    assert read(b"1234567890\n1234567890") == [None, None]
    assert read(b"x" * 35 + b"\n\nab\n" + b"y" * 10) == [None, b"", b"ab", None]
    assert read(b"") == []


def test_compressed_data_may_expand_so_many_times_and_always_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both limits are allowed themselves; beyond the greater one lines end."""
    lines = [b"0" * 19] * 100
    packed = gzip.compress(b"\n".join(lines) + b"\n")
    monkeypatch.setattr(content, "FREE_EXPANSION_BYTES", 2000)
    monkeypatch.setattr(content, "MAX_EXPANSION", 0)
    assert read(packed, compressed=True) == lines
    monkeypatch.setattr(content, "FREE_EXPANSION_BYTES", 1019)
    opened = Content(io.BytesIO(packed), compressed=True)
    assert list(opened.lines()) == lines[:50]
    assert refusal(opened, packed) == "the content expands more than 0 times"
    monkeypatch.setattr(content, "FREE_EXPANSION_BYTES", 0)
    monkeypatch.setattr(content, "MAX_EXPANSION", 200)
    assert read(packed, compressed=True) == lines


@pytest.mark.parametrize("bad", [slice(-6), slice(1, None), slice(15)], ids=str)
def test_damage_ends_the_lines_and_is_told(bad: slice) -> None:
    """Cut at either end, though the manifest names these very bytes."""
    data = gzip.compress(b"a\nb\n")[bad]
    opened = Content(io.BytesIO(data), compressed=True)
    assert list(opened.lines()) in ([], [b"a", b"b"])
    assert refusal(opened, data) == DAMAGED


class Failing(io.BytesIO):
    """A medium that cannot be read to its end."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 70_000:
            raise OSError
        return super().read(size)


def test_what_cannot_be_read_is_no_content() -> None:
    """Not even where the lines that were needed could be."""
    data = b"a\n" * 70_000
    opened = Content(Failing(data), compressed=False)
    assert next(opened.lines()) == b"a"
    assert refusal(opened, data) == "the content cannot be read to its end"
    opened = Content(Failing(data), compressed=False)
    assert set(opened.lines()) == {b"a"}
    assert opened._fault is not None
    assert opened._fault.args == (DAMAGED,)


def test_every_byte_counts_whether_or_not_it_was_a_line() -> None:
    """Also what stands behind the lines that were looked at."""
    data = b"a\n" * 100_000
    opened = Content(io.BytesIO(data), compressed=False)
    assert next(opened.lines()) == b"a"
    opened.check(len(data), hashlib.sha256(data).digest())
    for size, digest in ((len(data) + 1, hashlib.sha256(data).digest()), (len(data), bytes(32))):
        opened = Content(io.BytesIO(data), compressed=False)
        with pytest.raises(ProofError, match="not the one that the manifest names"):
            opened.check(size, digest)


@pytest.fixture
def _far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An auditor in Tokyo."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_away")
def test_a_time_range_is_the_same_wherever_it_is_verified(log: Any, tmp_path: Path) -> None:
    """Its bounds are instants, whatever offset they are written with."""
    bounds = {"start": "2026-11-20T19:00:00+09:00", "end": "2026-11-20T05:00:09-05:00"}
    report = Verifier([log.verifier_key]).verify_bundle(log.export(tmp_path, **bounds))
    assert (report.findings, report.complete) == ((), True)
    late = log.export(tmp_path, start="2026-11-20T19:00:01+09:00")
    report = Verifier([log.verifier_key]).verify_bundle(late)
    assert [(f.index, f.kind) for f in report.findings][:1] == [(0, "time")]
