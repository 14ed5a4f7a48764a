"""Notes, keys and checkpoints are parsed strictly and verified with known keys only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal.verify import Checkpoint, Note, VerifierKey, open_checkpoint
from trailseal.verify.errors import IntegrityError, MalformedError, ProofError, UnverifiableError

ROOT = "HpFdRzmrga8ILW+TmetZoTy8bKQvLEJBk/akkscZY34="


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_input_gives_a_note_or_our_error(data) -> None:
    """Parsers let nothing else out."""
    for parse in (Note.parse, lambda text: open_checkpoint(text, [])):
        try:
            parse(data)
        except IntegrityError:
            continue


def test_a_note_has_text_a_gap_and_signature_lines(log) -> None:
    """One form only."""
    good = log.note("hello\n")
    assert Note.parse(good).text == "hello\n"
    Note.parse(good).verify([VerifierKey.parse(log.verifier_key)], log.origin)
    line = good.split("\n")[2]
    for bad in (
        "hello\n",
        "hello\n\n",
        good[:-1],
        good + "\n",
        good.replace("— ", "- "),
        good.replace("hello", "hel\tlo"),
        good.replace("hello", "hel\r"),
        f"hello\n\n{line} \n",
        f"hello\n\n— a+b {line.split()[2]}\n",
        "hello\n\n— a AAAA\n",
        "hello\n\n" + f"{line}\n" * 101,
        "x" * 70_000 + good,
    ):
        with pytest.raises(MalformedError):
            Note.parse(bad)


def test_signatures_by_unknown_keys_are_ignored_and_known_ones_must_be_right(log, tools) -> None:
    """A witness's line does no harm; a wrong line by our key does."""
    key = VerifierKey.parse(log.verifier_key)
    witness = tools.Log(origin="witness.example", key=tools.private_key(bytes(32)))
    note = log.note("hello\n")
    both = note + witness.note("hello\n").split("\n\n")[1]
    Note.parse(both).verify([key], log.origin)
    wrong = "hello\n\n" + log.note("other\n").split("\n\n")[1]
    with pytest.raises(ProofError):
        Note.parse(wrong).verify([key], log.origin)
    with pytest.raises(MalformedError):
        Note.parse(note + wrong.split("\n\n")[1])
    with pytest.raises(UnverifiableError):
        Note.parse(note).verify([key], "witness.example")
    rotated = tools.Log(key=witness.key)
    with pytest.raises(ProofError):
        Note.parse(note).verify([VerifierKey.parse(rotated.verifier_key)], log.origin)
    Note.parse(note).verify([VerifierKey.parse(rotated.verifier_key), key], log.origin)


def test_a_verifier_key_matches_its_own_hash(log) -> None:
    """Name, hash and key belong together, and only Ed25519 is read."""
    name, digest, encoded = log.verifier_key.split("+", 2)
    for bad in ("", name, f"{name}x+{digest}+{encoded}", f"{name}+{'0' * 8}+{encoded}"):
        with pytest.raises(MalformedError):
            VerifierKey.parse(bad)
    for data in ("Ag" + encoded[2:], encoded[:-4], encoded + "AAAA", "!"):
        with pytest.raises(MalformedError):
            VerifierKey.parse(f"{name}+{digest}+{data}")


def test_a_checkpoint_has_one_spelling() -> None:
    """Origin, size, root, then lines that are not empty."""
    good = f"log.example.com/org_789\n9\n{ROOT}\n"
    checkpoint = Checkpoint.parse(good + "extension\n")
    assert (checkpoint.tree_size, checkpoint.log_id) == (9, "org_789")
    assert checkpoint.extensions == ("extension",)
    for bad in (
        good[:-1],
        good + "\n",
        good + "no line feed",
        good.replace("\n9\n", "\n09\n"),
        good.replace("\n9\n", "\n+9\n"),
        good.replace("\n9\n", "\n٩\n"),
        good.replace("\n9\n", "\n9223372036854775808\n"),
        good.replace("\n9\n", "\n0\n"),
        good.replace("34=", "35="),
        good.replace("34=", "34"),
        good.replace(ROOT, ROOT[:40]),
        "\n" + good.split("\n", 1)[1],
    ):
        with pytest.raises(MalformedError):
            Checkpoint.parse(bad)


def test_a_note_may_have_empty_lines_and_as_many_bytes_and_signatures_as_its_limits(log) -> None:
    """The last empty line is where its signatures begin."""
    key = VerifierKey.parse(log.verifier_key)
    signed = log.note("hello\n\nworld\n")
    assert Note.parse(signed).text == "hello\n\nworld\n"
    Note.parse(signed).verify([key], log.origin)
    line = log.note("hello\n").removeprefix("hello\n")
    room = 65_536 - len(line.encode())
    assert len(Note.parse("x" * (room - 1) + "\n" + line).text) == room
    with pytest.raises(MalformedError, match="longer than 65536 bytes"):
        Note.parse("x" * room + "\n" + line)
    many = "text\n\n" + "".join(f"\u2014 key{n} AAAAAAA=\n" for n in range(100))
    assert len(Note.parse(many).signatures) == 100


def test_a_wrong_signature_is_that_of_its_name(log) -> None:
    """A note may have several."""
    wrong = "hello\n\n" + log.note("other\n").split("\n\n")[1]
    with pytest.raises(ProofError, match=r"the signature of 'log.example.com/org_789' is wrong"):
        Note.parse(wrong).verify([VerifierKey.parse(log.verifier_key)], log.origin)
