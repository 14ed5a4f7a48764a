"""Any answer becomes the one right exception, which can be pickled and holds no payload."""

from __future__ import annotations

import json
import pickle
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal import errors
from trailseal._flow import Response
from trailseal._results import BatchResult
from trailseal.errors import ApiError, TrailSealError, from_response, from_transport

from ...spec import DOCUMENT

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def kinds(root: type[TrailSealError] = TrailSealError) -> list[type[TrailSealError]]:
    """The whole tree below a class."""
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # our own bytes


def problem(status: int, code: str, **more: object) -> Response:
    body = {
        "type": "about:blank",
        "title": "T",
        "status": status,
        "code": code,
        "detail": "D",
        **more,
    }
    headers = {"content-type": "application/problem+json", "request-id": "req-1"}
    return Response(status, headers, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("message", "faults", "text"),
    [
        ("No such event", (), "No such event. Do. [x]"),
        ("Is it?", (), "Is it? Do. [x]"),
        ("Bad", (("/a", "must be b"),), "Bad. /a: must be b. Do. [x]"),
        ("/a must be b", (("/a", "must be b"),), "/a must be b. Do. [x]"),
        ("Bad", (("", "It is long."), ("/b", "c")), "Bad. It is long. (1 more in .errors) Do. [x]"),
    ],
)
def test_a_message_is_sentences_and_says_nothing_twice(
    message: str, faults: tuple[tuple[str, str], ...], text: str
) -> None:
    """What happened, the first fault, what to do."""
    details = tuple(errors.ErrorDetail("c", *fault) for fault in faults)
    error = errors.RequestError(message, errors=details, code="x")
    error.advice = "Do."  # type: ignore[misc]  # an instance's own, here only
    assert str(error) == text


@pytest.mark.row("P-70", "L-16", "A-12")
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (422, "field_required", errors.EventValidationError),
        (422, "batch_empty", errors.EmptyBatchError),
        (413, "batch_too_large", errors.BatchTooLargeError),
        (422, "duplicate_event_id", errors.DuplicateEventInBatchError),
        (409, "event_id_conflict", errors.EventConflictError),
        (401, "key_revoked", errors.AuthenticationError),
        (403, "tenant_mismatch", errors.PermissionDeniedError),
        (403, "restriction_mismatch", errors.RestrictionMismatchError),
        (404, "checkpoint_not_found", errors.CheckpointNotFoundError),
        (404, "schema_not_registered", errors.SchemaNotRegisteredError),
        (400, "cursor_invalid", errors.InvalidPageError),
        (400, "query_invalid", errors.InvalidQueryError),
        (410, "search_expired", errors.ResultExpiredError),
        (429, "rate_limited", errors.RateLimitError),
        (402, "quota_exceeded", errors.QuotaExceededError),
        (500, "internal_error", errors.ServerError),
        (503, "unavailable", errors.UnavailableError),
        (507, "storage_full", errors.StorageFullError),
        (501, "operation_unsupported", errors.UnsupportedOperationError),
    ],
)
def test_a_problem_becomes_the_class_of_its_code(status: int, code: str, kind: type) -> None:
    """Status, code and request id are there for programs, the detail for people."""
    error = from_response(problem(status, code))
    assert type(error) is kind
    assert (error.status, error.code, error.request_id) == (status, code, "req-1")
    assert "D" in str(error)
    assert "req-1" in str(error)


def test_every_code_of_the_contract_has_a_class_of_its_own_choice() -> None:
    """No code that the server may send falls back to its status."""
    codes = DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]
    found_by_checks = {
        "event_corrupt",
        "proof_invalid",
        "log_forked",
    }  # IntegrityError, raised locally
    assert set(codes) - set(errors._base.BY_CODE) == found_by_checks


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (502, b"<html><h1>Bad Gateway</h1>", errors.UnavailableError),
        (520, b"<!DOCTYPE html> SECRET", errors.ServerError),
        (404, b"", errors.NotFoundError),
        (418, b"I'm a teapot", errors.RequestError),
        (302, b"", errors.UnexpectedResponseError),
        (600, b"", errors.UnexpectedResponseError),
        (401, b"[1, 2]", errors.AuthenticationError),
        (422, b'{"code": 5, "errors": 7, "detail": ["x"]}', errors.EventValidationError),
        (500, b"[" * 100_000, errors.ServerError),
    ],
)
def test_whatever_a_proxy_sends_is_an_error_of_ours(
    status: int, content: bytes, kind: type
) -> None:
    """HTML, nothing, wrong types, unknown statuses: judged by the status, the body is not shown."""
    error = from_response(Response(status, {"content-type": "text/html"}, content))
    assert type(error) is kind
    assert "SECRET" not in str(error) + repr(error.__dict__)


@given(st.integers(100, 999), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_reading_an_answer_never_fails(status: int, content: bytes) -> None:
    """Any bytes in, only an ApiError out."""
    assert isinstance(from_response(Response(status, {}, content)), ApiError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["code", "errors", "detail", "retryable", "retry_after_ms"]), json_values
    )
)
def test_any_types_in_a_problem_are_survived(body: dict[str, object]) -> None:
    """A problem document is as little to be trusted as any other answer."""
    error = from_response(Response(400, {}, json.dumps({"code": "x", **body}).encode()))
    assert isinstance(str(error), str)


@pytest.mark.row("P-06", "A-07")
def test_field_errors_keep_their_json_pointers() -> None:
    """The first fault stands in the text, all of them in `.errors`."""
    raw = {
        "code": "field_required",
        "pointer": "/events/3/action",
        "detail": "is required",
        "event_id": "e3",
    }
    error = from_response(problem(422, "event_invalid", errors=[raw, "junk"]))
    assert error.errors == (errors.ErrorDetail(**raw),)
    assert "/events/3/action: is required" in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("9" * 400, 999999999999.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str, seconds: float | None) -> None:
    """D5: garbage and negative values count as none."""
    assert errors.parse_retry_after(value, NOW) == seconds


PUBLIC = [found for found in vars(errors).values() if isinstance(found, type)]


@pytest.mark.parametrize("kind", PUBLIC)
def test_a_public_class_names_a_public_module(kind: type) -> None:
    """Tracebacks, reprs and documentation show what can be imported; pickles name it too."""
    assert kind.__module__ in {"trailseal.errors", "trailseal.verify.errors"}
    assert getattr(sys.modules[kind.__module__], kind.__name__) is kind
    assert pickled(kind) is kind


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.__subclasses__() == []])
def test_every_error_says_what_to_do_next(kind: type[TrailSealError]) -> None:
    """A sentence of its own kind, behind what is wrong; a wrong setting's message is one itself."""
    advice: str = kind.advice  # type: ignore[attr-defined]  # of both branches of the tree
    assert advice.endswith(".")
    if kind is not errors.ConfigurationError:
        assert f"Something is wrong. {advice}" in str(kind("Something is wrong"))


def test_advice_for_a_code_is_of_the_classs_own_codes() -> None:
    """It stands instead of the class's, and waits for no code that never comes."""
    for kind in kinds(ApiError):
        for code, advice in vars(kind).get("advice_for", {}).items():
            assert errors._base.BY_CODE[code] is kind
            assert str(kind("x", code=code)).startswith(f"x. {advice} [")


def test_an_error_of_ones_own_keeps_its_advice_in_a_pickle() -> None:
    """Where this very error needs other advice than its kind."""
    error = pickled(errors.DownloadError("x", advice="Wait."))
    assert str(error) == "x. Wait. [download_failed]"


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (401, {}, "Check the base URL"),
        (404, {"content-type": "text/html"}, "Check the base URL"),
        (407, {}, "the proxy's user and password"),
        (413, {}, "Let the proxy take requests"),
        (301, {"location": "https://a:secret@b.test/x?token=secret"}, "to https://b.test. Use"),
        (302, {"location": "/login"}, "HTTP 302 of a proxy"),
        (302, {"location": "http://[::1"}, "HTTP 302 of a proxy"),
        (502, {}, "Try again later"),
    ],
)
def test_an_answer_of_a_proxy_says_so(status: int, headers: dict[str, str], text: str) -> None:
    """Its advice is about the address and the proxy, not about keys and events."""
    error = from_response(Response(status, headers, b"<html>"))
    assert text in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("Connection refused", "Check the base URL and that the server runs."),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "http:// against https://"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "SSL_CERT_FILE"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] not valid for 'b'", "a host name that the certificate"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "must be renewed"),
        ("Name or service not known", "the spelling"),
    ],
)
def test_no_connection_says_what_mends_it(reason: str, text: str) -> None:
    """From the words of the system and of OpenSSL."""
    assert text in str(from_transport("connect", f"https://a.test: {reason}"))


def test_every_error_can_be_pickled_with_all_it_knows() -> None:
    """Errors cross process borders: multiprocessing, Celery, concurrent.futures."""
    for kind in kinds(ApiError):
        error = kind("text", status=418, request_id="r", retry_after=1.5)
        copy = pickled(error)
        assert type(copy) is kind
        assert (str(copy), copy.__dict__) == (str(error), error.__dict__)
    partial = errors.PartialFailureError("x", result=BatchResult())
    assert len(pickled(partial).result) == 0


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    """Every public class is drawn."""
    missing = [
        kind.__name__ for kind in kinds(ApiError)[1:] if kind.__name__ not in str(errors.__doc__)
    ]
    assert missing == []


def test_an_error_keeps_status_and_harmless_headers_of_an_answer_only() -> None:
    """No body, no cookie, no unknown header."""
    response = Response(500, {"set-cookie": "s=1", "server": "x"}, b"payload")
    kept = from_response(response).response
    assert kept == errors.ResponseInfo(500, {"server": "x"})


@pytest.mark.parametrize(
    ("phase", "kind", "sent"),
    [
        ("connect", errors.ConnectError, False),
        ("read", errors.ReadError, True),
        ("timeout", errors.TimeoutError, True),
        ("deadline", errors.TimeoutError, True),
    ],
)
def test_transport_errors_tell_whether_the_request_may_have_arrived(
    phase: str, kind: type, sent: bool
) -> None:
    """That decides whether it is safe to try again."""
    error = from_transport(phase, "why", "req-9")  # type: ignore[arg-type]  # a parametrized literal
    assert (type(error), error.sent, error.expired) == (kind, sent, phase == "deadline")


def test_unknown_attributes_are_refused() -> None:
    """A misspelt keyword of our own is a bug that shows at once."""
    with pytest.raises(TypeError, match="statsu"):
        errors.ServerError("x", statsu=5)
