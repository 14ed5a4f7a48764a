"""Events are completed and checked before any I/O, and the caller's objects stay as they are."""

from __future__ import annotations

import copy
import json
import math
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, RegexOptions
from trailseal import Actor, Resource, _events, _ids
from trailseal._event_rules import EVENT, FIELDS
from trailseal._events import MAX_EVENT_BYTES, EventFields, encode, prepare
from trailseal._ids import timestamp, uuid7
from trailseal.errors import ErrorDetail, EventValidationError

from ...spec import DOCUMENT

SCHEMAS = DOCUMENT["components"]
CONTRACT = Draft202012Validator(
    {**SCHEMAS["schemas"]["EventInput"], "components": SCHEMAS},
    validate_formats=True,
    pattern_options=RegexOptions(),
)


def faults(event: object) -> dict[str, str]:
    """Pointer → code of what is wrong."""
    with pytest.raises(EventValidationError) as caught:
        prepare(event)  # type: ignore[arg-type]  # wrong on purpose
    return {detail.pointer: detail.code for detail in caught.value.errors}


@pytest.mark.row("A-18", "L-05", "P-20")
def test_short_forms_become_the_contracts_and_ids_are_filled_in() -> None:
    """What a person writes in one line is a whole event."""
    event = prepare(
        {
            "action": "invoice.deleted",
            "actor": Actor("user_1", name="Ada", on_behalf_of=(Actor("svc"),)),
            "resources": [
                ("invoice", "inv_1", "Invoice #1"),
                Resource("r2", parent=Resource("r3")),
                "r4",
            ],
            "occurred_at": datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=1))),
            "message": None,
            "data": None,
        },
        tenant="t1",
    ).event
    UUID(event["id"])
    assert {name: value for name, value in event.items() if name != "id"} == {
        "action": "invoice.deleted",
        "actor": {"id": "user_1", "name": "Ada", "on_behalf_of": [{"id": "svc"}]},
        "resources": [
            {"type": "invoice", "id": "inv_1", "name": "Invoice #1"},
            {"id": "r2", "parent": {"id": "r3"}},
            {"id": "r4"},
        ],
        "occurred_at": "2026-01-02T02:04:05.000006Z",
        "data": None,
        "tenant_id": "t1",
    }


def test_an_event_with_an_id_of_its_own_is_the_same_event_when_it_is_given_again() -> None:
    """A time of ours would make it another one, and its repetition a conflict."""
    given_event = {"id": "order-7:paid", "action": "order.paid"}
    assert prepare(given_event).event == given_event
    assert set(prepare({"action": "order.paid"}).event) == {"id", "action", "occurred_at"}


def test_reserved_names_are_free_in_free_json() -> None:
    """`__typename` of a GraphQL answer is the caller's, wherever any JSON is allowed."""
    free = {"__typename": "Invoice", "lines": [{"__typename": "Line"}]}
    given_event = {
        "id": "e1",
        "action": "a",
        "actor": {"id": "u", "attributes": free},
        "resources": [{"id": "r", "attributes": free}],
        **dict.fromkeys(("before", "after", "data"), free),
    }
    assert prepare(given_event).event == given_event


def test_what_was_given_is_sent_as_given() -> None:
    """A time as a string keeps its offset and precision: it is hashed as it is."""
    given_event = {"id": "e:1", "action": "a", "occurred_at": "2026-01-01T00:00:00.123456789+05:30"}
    assert prepare(given_event).event == given_event
    assert json.loads(prepare(given_event).content) == given_event


@pytest.mark.row("P-23", "J-04")
def test_the_callers_objects_are_never_changed() -> None:
    """Not the mapping, nor anything in it; later changes do not reach the event."""
    event = {
        "action": "a",
        "actor": {"id": "u"},
        "resource": {"id": "r"},
        "data": {"deep": [1, {"x": (2,)}]},
    }
    before = copy.deepcopy(event)
    prepared = prepare(event, tenant="t")
    assert event == before
    event["data"]["deep"].append(9)  # type: ignore[index]  # a list, two levels down
    assert prepared.event["data"] == {"deep": [1, {"x": [2]}]}


@pytest.mark.row("A-06", "A-07", "L-04", "C-08")
@pytest.mark.parametrize(
    ("event", "pointer", "code"),
    [
        ({}, "/action", "field_required"),
        ({"action": ""}, "/action", "field_required"),
        ({"action": 5}, "/action", "field_type"),
        ({"action": "a" * 257}, "/action", "field_too_long"),
        ({"action": "a", "actor": {}}, "/actor/id", "field_required"),
        ({"action": "a", "actor": {"id": "u", "type": "human"}}, "/actor/type", "event_invalid"),
        ({"action": "a", "actor": ["u"]}, "/actor", "field_type"),
        ({"action": "a", "resource": ("t", "")}, "/resources/0/id", "field_required"),
        ({"action": "a", "resources": "r"}, "/resources", "field_type"),
        ({"action": "a", "resources": ["r"] * 101}, "/resources", "field_too_long"),
        ({"action": "a", "resource": "r", "resources": []}, "/resource", "event_invalid"),
        ({"action": "a", "id": "batch"}, "/id", "event_invalid"),
        ({"action": "a", "id": ".x"}, "/id", "event_invalid"),
        ({"action": "a", "id": "x\n"}, "/id", "event_invalid"),
        ({"action": "a", "occurred_at": datetime(2026, 1, 1)}, "/occurred_at", "event_invalid"),  # noqa: DTZ001  # naive on purpose
        ({"action": "a", "occurred_at": "2026-01-01T00:00:00"}, "/occurred_at", "event_invalid"),
        ({"action": "a", "occurred_at": "2026-02-30T00:00:00Z"}, "/occurred_at", "event_invalid"),
        (
            {"action": "a", "occurred_at": "2026-01-01T00:00:00+00:00Z"},
            "/occurred_at",
            "event_invalid",
        ),
        ({"action": "a", "context": {"source_ip": "1.2.3"}}, "/context/source_ip", "event_invalid"),
        (
            {"action": "a", "context": {"source_ip": "fe80::1%eth0"}},
            "/context/source_ip",
            "event_invalid",
        ),
        ({"action": "a\0"}, "/action", "event_invalid"),
        ({"action": "a", "actor": "u\0"}, "/actor/id", "event_invalid"),
        (
            {"action": "a", "resource": {"id": "r", "name": "\0"}},
            "/resources/0/name",
            "event_invalid",
        ),
        ({"action": "a", "tags": {"k\0": "v"}}, "/tags/k\0", "event_invalid"),
        ({"action": "a", "tags": {"k": "\0"}}, "/tags/k", "event_invalid"),
        ({"action": "a", "reason": {"code": "\0"}}, "/reason/code", "event_invalid"),
        ({"action": "a", "subjects": ["\0"]}, "/subjects/0", "event_invalid"),
        ({"action": "a", "data": [0] * 10_000}, "", "event_too_large"),
        ({"action": "a", "data": {str(i): [] for i in range(10_000)}}, "", "event_too_large"),
        ({"action": "a", "tags": {"k": 1}}, "/tags/k", "field_type"),
        (
            {"action": "a", "tags": dict.fromkeys(map(str, range(65)), "")},
            "/tags",
            "field_too_long",
        ),
        ({"action": "a", "__x": 1}, "/__x", "field_reserved"),
        ({"action": "a", "tags": {"__a/b~": "t"}}, "/tags/__a~1b~0", "field_reserved"),
        ({"action": "a", "context": {"__x": "t"}}, "/context/__x", "field_reserved"),
        ({"action": "a", "data": 2**53}, "/data", "event_invalid"),
        ({"action": "a", "data": float("nan")}, "/data", "event_invalid"),
        ({"action": "a", "data": "\ud800"}, "/data", "event_invalid"),
        ({"action": "a", "data": {1: 2}}, "/data", "field_type"),
        ({"action": "a", "data": {"x": object()}}, "/data/x", "field_type"),
        ({"action": "a", "data": b"x"}, "/data", "field_type"),
        ({"action": "a", "severity": "hgih"}, "/severity", "event_invalid"),
        ({"action": "a", "checksum": "zz"}, "/checksum", "event_invalid"),
        ({"action": "a", "message": "x" * 65_537}, "/message", "field_too_long"),
        ("text", "", "field_type"),
    ],
)
def test_a_fault_is_named_with_its_pointer(event: object, pointer: str, code: str) -> None:
    """Every rule of the contract is checked at home."""
    assert faults(event) == {pointer: code}


def test_all_faults_are_reported_at_once() -> None:
    """Nobody wants to mend one field per try."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # on purpose
    wrong = {"actor": {}, "outcome": "ok", "tags": [], "occurred_at": naive, "data": {"x": {1}}}
    assert set(faults(wrong)) == {
        "/action",
        "/actor/id",
        "/data/x",
        "/occurred_at",
        "/outcome",
        "/tags",
    }


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        ({"action": "a", "actr": "u"}, "Did you mean 'actor'?"),
        ({"action": "a", "actor": {"id": "u", "emial": "x"}}, "Did you mean 'email'?"),
        ({"action": "a", "outcome": "succes"}, "Did you mean 'success'?"),
        ({"action": "a", "acter": "u"}, "Did you mean 'actor'?"),  # as like to after
        ({"action": "a", "severity": "Low"}, "Did you mean 'low'?"),
        ({"action": "a", "tenantId": "t"}, "Did you mean 'tenant_id'?"),
        ({"action": "a", "eventTime": "x"}, "Did you mean 'occurred_at'?"),
        ({"action": "a", "metadata": {}}, "Did you mean 'data'?"),
        ({"action": "a", "target": "x"}, "Did you mean 'resources'?"),
        ({"action": "a", "actor": {"id": "u", "details": {}}}, "Did you mean 'attributes'?"),
        ({"action": "a", "context": {"sourceIpAddress": "::1"}}, "Did you mean 'source_ip'?"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(event: dict[str, object], hint: str) -> None:
    """A typo in an audit log is a lost fact."""
    with pytest.raises(EventValidationError, match=re.escape(hint)):
        prepare(event)


def test_a_name_of_a_megabyte_is_refused_in_a_line() -> None:
    """Neither compared with every field nor printed whole."""
    with pytest.raises(EventValidationError) as caught:
        prepare({"action": "a", "acto" * 250_000: 1})
    assert len(str(caught.value)) < 1000


def test_an_error_never_repeats_a_value() -> None:
    """Error texts land in logs, where payloads must not."""
    with pytest.raises(EventValidationError) as caught:
        prepare(
            {
                "action": ["hush"],
                "outcome": "hush",
                "context": {"source_ip": "hush"},
                "id": "hush hush",
            }
        )
    assert "hush" not in str(caught.value) + str([d.detail for d in caught.value.errors])


def test_depth_and_size_are_limited() -> None:
    """64 levels and 1 MiB, as the server has them; cycles end there too."""
    deep: object = 1
    for _ in range(63):
        deep = [deep]
    prepare({"action": "a", "data": deep})
    assert list(faults({"action": "a", "data": [deep]}).values()) == ["event_invalid"]
    cycle: list[object] = []
    cycle.append(cycle)
    assert list(faults({"action": "a", "data": cycle}).values()) == ["event_invalid"]
    assert faults({"action": "a", "data": ["x" * 65_536] * 17}) == {"": "event_too_large"}
    assert (
        len(prepare({"action": "a", "data": "x" * (MAX_EVENT_BYTES - 200)}).content)
        <= MAX_EVENT_BYTES
    )


def test_nul_may_stand_where_the_contract_lets_it() -> None:
    """Free JSON, the message and reasons: nobody looks for events by them."""
    given_event = {
        "id": "e1",
        "action": "a",
        "actor": {"id": "u", "attributes": "\0"},
        **dict.fromkeys(("before", "after", "message"), "\0"),
        "data": {"\0": "\0", "backslash": "\\u0000"},
        "reason": {"message": "\0"},
        "amends": {"event_id": "e0", "reason": "\0"},
    }
    assert prepare(given_event).event == given_event


@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"x": v}])
def test_ten_thousand_values_are_not_too_many(wrap: Any) -> None:
    """Names, and signs within texts, are no values."""
    room = 10_000 - len({"id", "action", "data"}) - (1 if wrap(0) != 0 else 0)
    prepare({"id": "e", "action": "a", "data": wrap([0] * room)})
    prepare({"id": "e", "action": "a", "data": wrap(",[{" * 20_000)})
    assert faults({"id": "e", "action": "a", "data": wrap([0] * (room + 1))}) == {
        "": "event_too_large"
    }


pieces = st.sampled_from(
    [
        *("", "a", "\0", "__a", "é", "a" * 129, "batch", "x-1", ".x", None, 5, "user", "success"),
        *("1.2.3.4", "fe80::1%e", "::1", "ed25519", "A" * 43, "A" * 43 + "=", "A" * 88),
        *("2026-01-31T12:00:00Z", "2026-02-29T12:00:00Z", "2024-02-29t23:59:60.1+01:00"),
        *("0000-01-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.123456789-23:59"),
    ]
)


class _Text(str):
    """Encoders may write a subclass otherwise."""

    __slots__ = ()


def accepted(rule: Callable[[Any], object], value: Any) -> bool:
    """As `_events.ready` takes the answer."""
    try:
        return bool(rule(value))
    except TypeError:
        return False


NAMES = [*FIELDS, "type", "name", "email", "source_ip", "trace_id", "code", "key_id", "value", "k"]
shaped = st.recursive(
    pieces,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
        | st.fixed_dictionaries({"id": inner, "type": inner})
    ),
    max_leaves=6,
)


@given(st.sampled_from([*FIELDS]), shaped)
def test_what_is_right_here_is_right_for_the_schema_of_the_contract(name: str, value: Any) -> None:
    """A fault that the server alone finds costs a round trip, and a parked event."""
    event = {"action": "a", "id": "e1", name: value}
    try:
        plain = json.loads(prepare(event).content)
    except EventValidationError:
        return
    if name == "signature":  # which the contract wants a seed beside
        plain["seed"] = "A" * 43
    assert list(CONTRACT.iter_errors(plain)) == []


def test_the_table_of_fields_is_that_of_the_contract() -> None:
    """A field that the contract gains or loses is noticed here."""
    assert set(FIELDS) == set(SCHEMAS["schemas"]["EventInput"]["properties"])
    assert set(EventFields.__annotations__) - {"resource"} == set(FIELDS) - {"action"}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_like)
def test_free_json_passes_unchanged_or_is_refused(data: object) -> None:
    """Whatever is accepted comes back from the wire as the same JSON."""
    try:
        content = prepare({"action": "a", "data": data}).content
    except EventValidationError:
        return
    assert json.loads(content)["data"] == data


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_has_version_variant_and_its_time(ms: int, noise: bytes) -> None:
    """RFC 9562, 5.7."""
    value = UUID(uuid7(ms, noise))
    assert (value.version, value.variant) == (7, "specified in RFC 4122")
    assert value.int >> 80 == ms


def test_uuid7_of_the_rfc() -> None:
    """RFC 9562, appendix A.6: the same time and random bits give the same id."""
    rand_a, rand_b = 0xCC3, 0x18C4DC0C0C07398F
    noise = (rand_a << 62 | rand_b & (1 << 62) - 1).to_bytes(10)
    assert uuid7(0x017F22E279B0, noise) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_a_forked_child_makes_ids_of_its_own() -> None:
    """Parent and child may make them in the same microsecond."""
    uuid7()  # more than one is drawn
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.write(theirs, b"".join(_ids._draw() for _ in range(_ids.DRAWN)))
        os._exit(0)
    os.waitpid(child, 0)
    drawn = os.read(ours, _ids.NOISE * _ids.DRAWN)
    os.close(ours)
    os.close(theirs)
    child_s = {drawn[i : i + _ids.NOISE] for i in range(0, len(drawn), _ids.NOISE)}
    assert len(child_s) == _ids.DRAWN
    assert not child_s & {_ids._draw() for _ in range(_ids.DRAWN)}


def test_uuid7s_do_not_repeat() -> None:
    """74 random bits within a millisecond."""
    assert len({uuid7() for _ in range(10_000)}) == 10_000


@given(st.datetimes(timezones=st.timezones()))
def test_a_timestamp_is_the_same_moment_in_utc_with_microseconds(moment: datetime) -> None:
    """`2026-01-31T12:00:00.000000Z`, for every year and zone."""
    try:
        text = timestamp(moment)
    except OverflowError:
        return
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert datetime.fromisoformat(text) == moment.astimezone(UTC)


def test_encoding_is_compact_utf8() -> None:
    """No spaces, no escapes that UTF-8 does not need."""
    assert encode({"a": "é", "b": [1]}) == '{"a":"é","b":[1]}'.encode()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["\ud800", b"x", object(), ("a", 1), {1: 2}, "__a"]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.sampled_from([*FIELDS, "actr"]),
)
def test_what_is_accepted_fast_has_no_fault(value: Any, name: str) -> None:
    """The short way and the long way agree: on what is right, and on what would be sent."""
    event = {"action": "a", "id": "e1", name: value}
    quick = _events.ready(event, None)
    if quick is None:
        return
    found: list[ErrorDetail] = []
    plain = _events._plain(_events._spelled_out(event, "", found), "", 1, found)
    EVENT.check(plain, "", found)
    assert found == []
    assert json.loads(quick[2]) == plain


VALUES = st.sampled_from(
    [
        *(None, True, 5, 2**53, -(2**53), 0.5, 1e300, math.nan, math.inf),
        *("", "e1", "a b", "x" * 300, "user", "success"),
        *("::1", "2026-01-31T12:00:00Z", "2026-02-30T12:00:00Z", "é", "batch"),
        *(_Text("a"), ("a",)),
    ]
)
NUMBERS = st.sampled_from([5, 0.5, -0.5, 2**53 - 1, 2**53, -1e300, math.nan, math.inf, True])


def deep(levels: int) -> Any:
    return json.loads('{"a":' * levels + "1" + "}" * levels)


@given(
    st.lists(
        st.recursive(
            VALUES,
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from([*NAMES, "id", "id", "__x"]), inner, max_size=4)
            ),
            max_leaves=6,
        ),
        max_size=8,
    )
    | st.lists(VALUES, max_size=4)
    | st.lists(st.fixed_dictionaries({"a": NUMBERS, "b": st.fixed_dictionaries({"a": VALUES})}))
    | st.lists(st.integers(40, 60).map(deep), max_size=3),
    st.sampled_from([*FIELDS, *["data"] * 5]),
)
@example([0.5, math.nan, 0.5], "data")
@example([0.5, 2**53], "data")
@example([{"a": 1}, {"a": -(2**53)}], "before")
@example([{1: 2}], "after")
@example([deep(60), deep(60)], "data")
@example(["2026-01-01T12:00:00Z,2026-01-02T12:00:00Z"], "occurred_at")
@example([{"__x": "a"}], "tags")
@example([dict.fromkeys(map(str, range(65)), "a")], "tags")
def test_a_column_is_accepted_only_if_each_value_is(values: list[Any], name: str) -> None:
    """Many values are let through together if each would be alone, and only then."""
    rule = FIELDS[name]
    right = [value for value in values if accepted(rule.accepts, value)]
    assert accepted(rule.column, right)
    assert accepted(rule.column, values) == (len(right) == len(values))


def test_the_caller_s_event_is_sent_as_it_was_when_it_was_given() -> None:
    """What is changed afterwards changes nothing, and nothing is changed in it."""
    event: dict[str, Any] = {
        "action": "a",
        "actor": "u",
        "resource": ("t", "i"),
        "data": {"n": [1]},
    }
    ready = prepare(event)
    event["data"]["n"].append(2)
    assert json.loads(ready.content)["data"] == {"n": [1]}
    assert set(event) == {"action", "actor", "resource", "data"}
    assert event["actor"] == "u"


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**53, float("inf")])
def test_a_number_of_any_size_is_refused_by_its_place(number: float) -> None:
    """Also one that no float can hold."""
    with pytest.raises(EventValidationError) as caught:
        prepare({"action": "a", "data": {"n": number}})
    assert [error.pointer for error in caught.value.errors] == ["/data/n"]


@pytest.mark.parametrize("members", [1, 2, 70])
def test_a_circle_is_refused_soon(members: int) -> None:
    """However often a list holds itself: no walk of it is without end."""
    circle: list[Any] = []
    circle.extend([circle] * members)
    with pytest.raises(EventValidationError):
        prepare({"action": "a", "data": circle})
