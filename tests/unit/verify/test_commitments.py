"""Commitments against the independent definition, and what a redacted record may hold."""

import base64
import copy

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from trailseal.verify import commitments
from trailseal.verify.errors import EventCorruptionError, IntegrityError, MalformedError

SEED = "AG2aM1fHCNEs7gqzHtbE_LIKglDsKHIz0sFfCjBCDbw"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-9, 99) | st.floats(-9, 9) | NAMES
DATA = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=12) | st.dictionaries(NAMES, v, max_size=4),
    max_leaves=30,
)
EVENTS = st.builds(
    lambda data, after: {"id": "e", "action": "a", "data": data, "after": after}, DATA, DATA
)


@given(EVENTS)
def test_a_commitment_is_the_independent_one(tools, event) -> None:
    """Paths, order, salts and hashes of any event."""
    pairs = [
        (rfc8785.dumps(p).decode(), rfc8785.dumps(v).decode()) for p, v in tools.flatten(event)
    ]
    assert list(commitments.fields(event).items()) == pairs
    assert commitments.fields_hash(event, SEED).hex() == tools.commit(event, SEED)[2]


@given(EVENTS, st.data())
def test_any_redaction_keeps_the_commitment(tools, event, data) -> None:
    """Whatever fields are taken, the rest still hashes to the same `fields_hash`."""
    salts, hashes, total = tools.commit(event, SEED)
    rows = list(zip(tools.flatten(event), salts, hashes, strict=True))
    taken = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    taken -= {i for i, ((path, _), *_) in enumerate(rows) if path in (["id"], ["action"])}
    left = copy.deepcopy(event)
    for i in sorted(taken, reverse=True):  # the last index of an array first
        *parents, name = rows[i][0][0]
        container = left
        for part in parents:
            container = container[part]
        if isinstance(container, list):
            container[name] = None
        else:
            del container[name]
    kept = [[path, salt] for i, ((path, _), salt, _) in enumerate(rows) if i not in taken]
    hidden = [{"path": rows[i][0][0], "hash": rows[i][2]} for i in taken]
    assert commitments.redacted_fields_hash(left, kept, hidden).hex() == total


def redacted(tools) -> tuple[dict, list, list]:
    event = {"id": "e", "action": "a", "actor": {"id": "u", "name": "n"}, "tags": {}}
    line = {"index": 0, "event": event, "seed": SEED, "entry": ""}
    record = tools.redact(line, [["actor", "name"]])
    return record["event"], record["salts"], record["redactions"]


def test_a_value_without_a_salt_is_refused(tools) -> None:
    """Not even null, away from what was redacted."""
    event, salts, redactions = redacted(tools)
    for extra in ({"x": 1}, {"x": None}, {"x": []}, {"actor": {"id": "u", "name": "m"}}):
        with pytest.raises(EventCorruptionError):
            commitments.redacted_fields_hash(event | extra, salts, redactions)


def test_id_and_action_are_never_redacted(tools) -> None:
    """A record that hides what happened is refused."""
    line = {"index": 0, "event": {"id": "e", "action": "a"}, "seed": SEED, "entry": ""}
    for name in ("id", "action"):
        record = tools.redact(line, [[name]])
        with pytest.raises(EventCorruptionError):
            commitments.redacted_fields_hash(record["event"], record["salts"], record["redactions"])


def test_a_path_occurs_once(tools) -> None:
    """Neither twice in one list nor in both."""
    event, salts, redactions = redacted(tools)
    both = [*redactions, {"path": salts[0][0], "hash": "0" * 64}]
    for bad in (([*salts, salts[0]], redactions), (salts, redactions * 2), (salts, both)):
        with pytest.raises(EventCorruptionError):
            commitments.redacted_fields_hash(event, *bad)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        [["a"]],
        [["id"], "short"],
        [["id"], '"' * 24],
        *([path, "A" * 24] for path in ([], [True], [-1], [1.0], ["a"] * 65, "id")),
    ],
)
def test_salts_of_another_shape_are_refused(bad) -> None:
    """Paths are arrays of names and indexes, salts 24 characters of base64url."""
    with pytest.raises(MalformedError):
        commitments.redacted_fields_hash({"id": "e"}, [bad], [])


@pytest.mark.parametrize("bad", [None, [], {"path": ["a"]}, {"path": ["a"], "hash": "A" * 64}])
def test_redactions_of_another_shape_are_refused(bad) -> None:
    """Hashes are lower-case hexadecimal."""
    with pytest.raises(MalformedError):
        commitments.redacted_fields_hash({"id": "e"}, [], [bad])


@pytest.mark.parametrize("seed", ["", SEED + "=", SEED[:-1], SEED[:-1] + "x", SEED[:-1] + "!"])
def test_a_seed_has_one_spelling(seed) -> None:
    """32 bytes in base64url, no padding, no spare bits."""
    with pytest.raises(MalformedError):
        commitments.salts(seed, 1)


def test_an_event_that_is_no_json_is_refused() -> None:
    """Lone surrogates, numbers too large and deep nesting, in values that were not parsed by us."""
    deep: object = 1
    for _ in range(64):
        deep = [deep]
    for value in ("\ud800", {"\ud800": 1}, 2**53, {"a": {1}}, deep):
        with pytest.raises(IntegrityError):
            commitments.fields_hash({"id": "e", "data": value}, SEED)


def test_a_clients_key_and_signature_have_their_own_sizes(log) -> None:
    """Another size is no key and no signature, whatever it holds."""
    value = base64.b64encode(log.key.sign(commitments.signing_input("e", bytes(32)))).decode()
    key = base64.b64encode(log.public_key).decode()
    good = {"algorithm": "ed25519", "key_id": "k1", "value": value}
    commitments.verify_signature(good, "e", bytes(32), key)
    longer = base64.b64encode(bytes(33)).decode()
    for signature, public_key in ((good, longer), (good | {"value": longer}, key)):
        with pytest.raises(MalformedError):
            commitments.verify_signature(signature, "e", bytes(32), public_key)
