"""Typed events: their JSON Schema comes from their annotations, and fits what they send."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import attrs
import pytest
from trailseal.errors import ConfigurationError, EventValidationError
from trailseal.schemas import EventLogger, Field, Registry, document_of, schema
from trailseal.schemas.typed import data_of


class Kind(enum.Enum):
    INVOICE = "invoice"
    NOTE = "note"


class Window(TypedDict):
    start: datetime
    end: NotRequired[datetime]


@attrs.frozen
class Line:
    text: str
    parts: tuple[Line, ...] = ()


@schema("urn:test:invoice.deleted", version=3, action="invoice.deleted")
class InvoiceDeleted:
    """An invoice is gone."""

    invoice: Annotated[str, Field(min_length=1, max_length=8, pattern="^inv")]
    amount: Annotated[Decimal, Field(description="In euros")]
    kind: Kind
    reason: Literal["mistake", "law"]
    count: Annotated[int, Field(minimum=0, maximum=9)] = 0
    email: Annotated[str | None, Field(classes=["contact"])] = None
    day: date | None = None
    lines: list[Line] = dataclasses.field(default_factory=list)
    marks: frozenset[str] = frozenset()
    pair: tuple[int, float] | None = None
    extra: dict[str, int] = dataclasses.field(default_factory=dict)
    window: Window | None = None
    ticket: UUID | int = 0
    anything: Any = None


FULL = InvoiceDeleted(
    invoice="inv_1",
    amount=Decimal("1E+2"),
    kind=Kind.NOTE,
    reason="law",
    email="a@b",
    day=date(2026, 1, 2),
    lines=[Line("a", (Line("b"),))],
    marks=frozenset("ba"),
    pair=(1, 2.5),
    extra={"a": 1},
    window={"start": datetime(2026, 1, 2, tzinfo=UTC)},
    ticket=UUID(int=7),
    anything=[{"x": None}],
)


@pytest.mark.row("J-06", "J-10")
def test_the_schema_of_a_class_says_what_its_annotations_say() -> None:
    """Types, bounds, defaults, descriptions, data classes, nested and recursive classes."""
    found = document_of(InvoiceDeleted)
    head = {name: found[name] for name in ("$id", "version", "title", "description", "x-action")}
    assert head == {
        "$id": "urn:test:invoice.deleted",
        "version": "3",
        "title": "InvoiceDeleted",
        "description": "An invoice is gone.",
        "x-action": "invoice.deleted",
    }
    assert found["required"] == ["invoice", "amount", "kind", "reason"]
    assert found["additionalProperties"] is False
    members = found["properties"]
    assert members["invoice"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 8,
        "pattern": "^inv",
    }
    assert members["kind"] == {"enum": ["invoice", "note"]}
    assert members["email"] == {"type": ["string", "null"], "x-data-classes": ["contact"]}
    assert members["lines"] == {"type": "array", "items": {"$ref": "#/$defs/Line"}}
    assert found["$defs"]["Line"]["properties"]["parts"]["items"] == {"$ref": "#/$defs/Line"}
    assert members["anything"] == {}


def test_what_a_typed_event_sends_follows_its_schema() -> None:
    """Each value becomes the JSON that the schema describes; None by default is left out."""
    made = Registry().register(InvoiceDeleted)
    name, version, data = data_of(FULL)
    assert (name, version) == ("urn:test:invoice.deleted", "3")
    assert not made.faults(data)
    assert data["amount"] == "100"
    assert data["window"] == {"start": "2026-01-02T00:00:00.000000Z"}
    assert (data["marks"], data["kind"]) == (["a", "b"], "note")
    assert "email" not in data_of(dataclasses.replace(FULL, email=None))[2]


def test_wrong_values_are_found_however_the_class_was_filled() -> None:
    """Annotations are promises that Python does not keep: the schema does."""
    events = EventLogger(disabled=True)
    events.register(InvoiceDeleted)
    with pytest.raises(EventValidationError) as error:
        events.emit(dataclasses.replace(FULL, count=10, invoice="no"))
    assert {each.pointer for each in error.value.errors} == {"/data/count", "/data/invoice"}


def test_dataclasses_and_attrs_classes_stay_what_they_are() -> None:
    """`@schema` goes on top of either."""

    @schema("urn:test:a", version="1")
    @dataclasses.dataclass
    class One:
        x: int

    @schema("urn:test:b", version="1")
    @attrs.define
    class Two:
        x: int = 5

    assert data_of(One(1)) == ("urn:test:a", "1", {"x": 1})
    assert data_of(Two()) == ("urn:test:b", "1", {"x": 5})
    assert document_of(One)["required"] == ["x"]
    assert "required" not in document_of(Two)


def test_what_has_no_meaning_in_json_is_refused_by_name() -> None:
    """Bytes, functions, a class without @schema, a datetime without a zone."""

    @schema("urn:test:c", version="1")
    class Bad:
        raw: bytes

    with pytest.raises(ConfigurationError, match=r"Bad\.raw"):
        document_of(Bad)
    with pytest.raises(ConfigurationError, match="@schema"):
        document_of(Line)
    with pytest.raises(ConfigurationError, match="time zone"):
        data_of(dataclasses.replace(FULL, window={"start": datetime(2026, 1, 2)}))  # noqa: DTZ001  # the point
