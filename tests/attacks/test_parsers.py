"""Fuzzing: any bytes in, only our own errors out, and one meaning for each text.

Inputs are random, or good ones with pieces taken out, repeated, exchanged and overwritten. `make
attack` does twenty times as many.
"""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trailseal.verify import Verifier, canonical
from trailseal.verify.bundle import Manifest
from trailseal.verify.checkpoint import Checkpoint, open_checkpoint
from trailseal.verify.content import Content
from trailseal.verify.entry import Entry
from trailseal.verify.errors import IntegrityError, MalformedError
from trailseal.verify.line import Checked, Expected, check_line
from trailseal.verify.note import Note, VerifierKey
from trailseal.verify.policy import TrustPolicy

EXAMPLES = 60  # of each parser and round

PIECES = st.sampled_from(
    [
        *(
            b"",
            b"\n",
            b"\n\n",
            b"\x00",
            b"\xff",
            b'"',
            b"\\",
            b"[",
            b"{",
            b"}",
            b",",
            b":",
            b"null",
        ),
        *(b"1e400", b"-0", b"9007199254740993", b"1.0", b"9007199254740993.0", b"\\ud800", b"true"),
        *(
            b"\xed\xa0\x80",
            b"+",
            "— ".encode(),
            b"\xef\xbb\xbf",
            b'{"a":1,"a":2}',
            b"[[[[",
            b"=",
            b"\r",
        ),
        b"A" * 300,
    ]
)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """A good input, changed at one to four places."""
    data = good
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.sampled_from([0, 0, 1, 1, 2, 10, 100])))
        piece = draw(PIECES | st.binary(max_size=4) | st.just(data[begin:end] * 2))
        data = data[:begin] + piece + data[end:]
    return data


@pytest.fixture(scope="module")
def log(tools: Any) -> Any:
    return tools.Log().grow(5)


def unpacked(data: bytes) -> list[bytes | None]:
    return list(Content(io.BytesIO(data), compressed=True).lines())


def goods(log: Any, folder: Path) -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """A good input for each parser, and the parser."""
    path = log.export(folder, 1, 3, compress=True)
    key = VerifierKey.parse(log.verifier_key)
    verifier = Verifier([key])
    policy = f'[logs]\n"{log.origin}" = ["{log.verifier_key}"]\n[signers]\nk = "{"A" * 43}="\n'
    old, new = log.checkpoint(3), log.checkpoint(5)
    return {
        "json": (log.lines(0, 0)[0], canonical.loads),
        "note": (new.encode(), Note.parse),
        "key": (log.verifier_key.encode(), lambda d: VerifierKey.parse(d.decode(errors="replace"))),
        "checkpoint": (new.encode(), lambda d: open_checkpoint(d, [key])),
        "checkpoint's text": (b"a/b\n1\n", lambda d: Checkpoint.parse(d.decode(errors="replace"))),
        "entry": (log.entries[0].encode(), lambda d: Entry.parse(d.decode(errors="replace"))),
        "manifest": ((folder / "audit.manifest.json").read_bytes(), Manifest.parse),
        "policy": (policy.encode(), TrustPolicy.parse),
        "record": (json.dumps(log.record(2)).encode(), verifier.verify_record),
        "receipt": (json.dumps(log.record(2)).encode(), verifier.verify_receipt),
        "consistency": (old.encode(), lambda d: verifier.verify_consistency(d, new, ["00" * 32])),
        "content": (path.read_bytes(), unpacked),
    }  # fmt: skip


NAMES = (
    "json", "note", "key", "checkpoint", "checkpoint's text", "entry", "manifest", "policy",
    "record", "receipt", "consistency", "content",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_parser_raises_nothing_but_our_own_errors(
    log: Any, tmp_path: Path, rounds: int, name: str
) -> None:
    """Whatever it is given."""
    good, parse = goods(log, tmp_path)[name]

    @settings(max_examples=EXAMPLES * rounds, suppress_health_check=list(HealthCheck))
    @given(damaged(good) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        with suppress(IntegrityError):
            parse(data)

    check()


def test_no_changed_checkpoint_is_accepted(log: Any, rounds: int) -> None:
    """At most a stranger's signature was added to it."""
    good, key = log.checkpoint().encode(), VerifierKey.parse(log.verifier_key)

    @settings(max_examples=EXAMPLES * rounds, suppress_health_check=list(HealthCheck))
    @given(damaged(good))
    def check(data: bytes) -> None:
        with suppress(IntegrityError):
            open_checkpoint(data, [key])
            assert Note.parse(data).text == Note.parse(good).text

    check()


def test_no_changed_record_is_accepted(log: Any, rounds: int) -> None:
    """Each member that a record's entry or event has is as it was."""
    record = log.record(2)
    untold = ("state", "leaf_hash", "proof")  # the server's word, or checked by itself
    known = {name: value for name, value in record.items() if name not in untold}
    verifier = Verifier([log.verifier_key])
    verifier.verify_record(record)

    @settings(max_examples=EXAMPLES * rounds, suppress_health_check=list(HealthCheck))
    @given(damaged(json.dumps(record).encode()))
    def check(data: bytes) -> None:
        with suppress(IntegrityError):
            verifier.verify_record(data)
            told = canonical.loads(data)
            assert isinstance(told, dict)
            assert {name: told.get(name) for name in known} == known

    check()


def test_a_damaged_line_is_a_result_and_never_an_exception(log: Any, rounds: int) -> None:
    """What workers do with each line cannot fail, and a changed line is not accepted."""
    good = log.lines(2, 2)[0]
    expected = Expected(log.log_id, 5, None, True, None, None, {})
    assert not check_line(good, expected).faults
    intact = check_line(good, expected)

    @settings(max_examples=EXAMPLES * 3 * rounds, suppress_health_check=list(HealthCheck))
    @given(damaged(good))
    def check(data: bytes) -> None:
        checked = check_line(data, expected)
        assert isinstance(checked, Checked)
        if not checked.faults and checked.leaf_hash == intact.leaf_hash:
            assert canonical.loads(data, max_depth=65)["event"] == log.events[2]  # type: ignore[index]

    check()


def test_the_fast_reader_of_json_takes_nothing_that_the_strict_one_refuses(
    log: Any, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without orjson: the same value, or the same refusal."""
    fast = canonical.orjson
    assert fast is not None, "orjson is not installed"

    def read(data: bytes, module: Any) -> object:
        monkeypatch.setattr(canonical, "orjson", module)
        try:
            return repr(canonical.loads(data))
        except MalformedError as error:
            return str(error)

    number = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"
    numbers = st.from_regex(number, fullmatch=True)
    texts = st.recursive(
        numbers | st.sampled_from(["null", "true", '"a"', '"\\u00e9"', '"é"', '""', '"e5,"']),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda v: f"[{','.join(v)}]")
            | st.lists(st.tuples(st.sampled_from(["a", "b", "\\u0061"]), inner), max_size=3).map(
                lambda v: "{" + ",".join(f'"{key}":{value}' for key, value in v) + "}"
            )
        ),
        max_leaves=8,
    )

    @settings(max_examples=EXAMPLES * 5 * rounds, suppress_health_check=list(HealthCheck))
    @given(texts.map(str.encode) | damaged(log.lines(0, 0)[0]))
    def check(data: bytes) -> None:
        assert read(data, fast) == read(data, None)

    check()
