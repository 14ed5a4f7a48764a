"""Problem documents."""

import pytest
from trailseal_server.edge import problem_response
from trailseal_server.problems import CODES, MAX_FIELD_ERRORS, FieldError, Problem


@pytest.mark.parametrize("code", CODES)
def test_every_code_makes_a_document(code: str) -> None:
    """Status, title and retryability come from the table; 5xx and 429 say whether to try again."""
    document = Problem(code, "what to do").as_json(instance="/v1/x", request_id="req_1")
    assert document["status"] == CODES[code].status
    assert document["message"] == document["detail"] == "what to do"
    assert 400 <= document["status"] < 600
    if document["status"] in {429, 503}:
        assert document["retryable"]


def test_a_code_that_is_not_in_the_table_is_a_bug() -> None:
    """It cannot be raised at all."""
    with pytest.raises(KeyError):
        Problem("no_such_code", "")


def test_retry_after_is_told_in_both_units() -> None:
    """Milliseconds in the document, whole seconds of at least one in the header."""
    problem = Problem("unavailable", "wait", retry_after=0.25)
    answer = problem_response(problem, "/", "req_1")
    assert answer.headers["retry-after"] == "1"
    assert b'"retry_after_ms":250' in answer.body


def test_the_number_of_field_errors_is_bounded() -> None:
    """An answer does not grow with the mistakes of a request."""
    errors = [FieldError("field_type", f"/{n}", "must be string") for n in range(1000)]
    assert len(Problem("event_invalid", "", errors=errors).as_json()["errors"]) == MAX_FIELD_ERRORS
