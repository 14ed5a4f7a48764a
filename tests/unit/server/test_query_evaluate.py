"""Terms held against one event's body."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server.problems import Problem
from trailseal_server.query import parse
from trailseal_server.query_evaluate import body_test, document
from trailseal_server.store import micros

CLOCK = micros.parse("2026-02-01T00:00:00Z")
EVENT = {
    "id": "ev-1",
    "action": "invoice.paid",
    "occurred_at": "2026-01-31T12:00:00+01:00",
    "actor": {"id": "u1", "name": "Ann Lee", "email": "ann@example.org"},
    "resources": [
        {"id": "INV-7", "type": "invoice", "parent": {"id": "acct-9"}},
        {"id": "INV-8", "type": "invoice", "attributes": {"tier": 3}},
    ],
    "before": {"state": "open", "lines": [{"n": 1}, {"n": -2.5}]},
    "after": "settled",
    "message": "The Straße is paid",
    "data": {
        "amount": 100,
        "exact": 9007199254740991,
        "flag": True,
        "nothing": None,
        "none": [],
        "due": "2026-03-01",
        "seen": "2026-03-01T10:00:00.5Z",
        "version": "v2",
        "http.status": 404,
        "http": {"path": "/x", "request.id": "r-1"},
        "list": [1, [2, "three"]],
    },
    "tags": {"env": "prod", "a.b": "x:y"},
    "subjects": ["s1", "s2"],
}
DOCUMENT = document(orjson.dumps(EVENT), CLOCK, "key_1")


def holds(text: str, event: Any = DOCUMENT) -> bool:
    term: Any = parse(text)
    return body_test(term, CLOCK)(event)


@pytest.mark.row("P-41")
@pytest.mark.parametrize(
    "text",
    [
        *("data.amount>99", "data.amount>=100", "data.amount<100.5", "data.amount<=1e2"),
        *("data.amount>-5", "before.lines.n<-2", "before.lines.n:[-3 TO -2]", "data.list:[2 TO 2]"),
        *("data.exact>9007199254740990", "data.exact<=9007199254740991", "data.amount:[* TO 100]"),
        *("resource.attributes.tier:[1 TO 5]", "data.due>2026-02-28", "data.due<=2026-03-01"),
        *("data.seen<=2026-03-01", "data.seen>2026-03-01T10:00:00Z", "data.version>v1"),
        *("data.seen>=2026-03-01", "data.seen:[2026-03-01 TO 2026-03-01]", 'data.version<"v3"'),
        *("occurred_at>=2026-01-31", "occurred_at<=2026-01-31", "occurred_at>-1d"),
        *("occurred_at=2026-01-31T12:00:00+01:00", "occurred_at:2026-01", "occurred_at<now"),
        *("received_at:2026-02-01*", "received_at:2026-02-01T00:00:00.000000Z"),
        *("received_at>=2026-02-01", "received_at:[-1h TO now]", "occurred_at:[* TO *]"),
        *("message:STRASSE", "message:strasse", "message:The*", 'message="The Straße is paid"'),
        *("data.amount:100", "data.amount=100.0", "data.flag=true", "data.nothing=null"),
        *("data.flag:true", "data:THREE", "before:ope", "after:settl", 'after="settled"'),
        *("before.state=open", "data.list=three", "data.list=2", "data.http.status=404"),
        *("data.http.path=/x", "data.http.request.id:R-", "resource.id:inv", "resource.id:INV-7"),
        *("resource.parent.id=acct-9", "actor.email:EXAMPLE", "actor:lee", "actor:ann@example.org"),
        *("actor=u1", "actor:u*", "tags.env:pr", "tags.a.b=x:y", "tags.a.b:X:", "tags:env:p"),
        *("subjects=s2", "subjects:S", "has:data.none", "has:data.nothing", "has:tags.env"),
        *("has:resource.parent", "has:before.lines.n", "has:data.http.request.id", "id=ev-1"),
        *("has:received_at", "ingested_by:KEY"),
    ],
)  # fmt: skip
def test_a_term_holds(text: str) -> None:
    """Each is true of the event above."""
    assert holds(text)


@pytest.mark.row("P-41")
@pytest.mark.parametrize(
    "text",
    [
        *("data.amount>100", "data.amount<100", "data.amount:[101 TO 200]", "data.amount>a"),
        *("data.flag>0", "data.nothing<=0", "data.version>1", "data.due>5", "data.list:[3 TO 9]"),
        *("data.exact>9007199254740991", "data.due>2026-03-01", "data.due<2026-03-01"),
        *("data.seen>2026-03-01", "before.lines.n:[-2 TO 0]", "occurred_at>now", "data>1"),
        *("occurred_at<2026-01-31", "occurred_at>2026-01-31", "received_at<now", "before>1"),
        *("message=paid", "message:paid*", 'data.flag="True"', "data.amount=10", "data.amount:10"),
        *("data.amount:1*", "before=open", "data.http=404", "data.http.request=r-1"),
        *("actor:example", "resource:INV-", "actor:ann@*", "tags.a:x", "tags.en:prod", "tags=env"),
        *("has:data.none.x", "has:data.http.request", "has:tags.en", "has:reason"),
        *("has:channel_id", "data.status:x", "data.amount.x>1", "reason.code=1"),
        *("has:actor.name.first",),
    ],
)  # fmt: skip
def test_a_term_does_not_hold(text: str) -> None:
    """Each is false of the event above: other kinds of values, other ends, other places."""
    assert not holds(text)


@pytest.mark.row("P-41")
@pytest.mark.parametrize(
    "text",
    [
        *("occurred_at>soon", "received_at>=5", "received_at:[a TO b]", "occurred_at>2026-13-01"),
        *("occurred_at<2026-01-01T00:00:00", "data.n:[1 TO b]", "data.n:[2026-01-01 TO 7]"),
    ],
)
def test_a_bound_that_cannot_be_compared_with_is_refused(text: str) -> None:
    """When the test is made, with the term's position."""
    with pytest.raises(Problem, match="position 0") as caught:
        holds(text)
    assert caught.value.code == "query_invalid"


NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS)
def test_numbers_are_compared_by_their_value(value: float, bound: float) -> None:
    """However they are written, integers beside decimals."""
    event = document(orjson.dumps({"data": {"n": value}}), CLOCK, "key_1")
    assert holds(f"data.n>{bound}", event) == (value > bound)
    assert holds(f"data.n<={bound}", event) == (value <= bound)
    assert holds(f"data.n={value}", event)


def test_a_path_of_thousands_of_names_costs_no_more_than_the_event_has() -> None:
    """Names that begin alike, deep and wide: each node is looked at once."""
    deep: Any = "x"
    for _ in range(60):
        deep = {"a": deep, "a.a": {str(n): {} for n in range(50)}}
    event = document(orjson.dumps({"data": [deep] * 20}), CLOCK, "key_1")
    assert holds("data" + ".a" * 60 + "=x", event)
    assert not holds("data" + ".a" * 2000 + "=x", event)
