"""Searches: a stored query over a snapshot, and its pages."""

from typing import Any

from starlette.responses import Response

from ..contract import operation
from ._http import ServerCall, answer, empty, log_of
from ._once import Keep, once


@operation("createSearch")
def create_search(call: ServerCall) -> Response:
    """Store a search and answer its first page."""

    def create() -> tuple[int, Any]:
        searches = call.services.searches
        return 201, searches.create(call.caller, log_of(call), call.body).as_json()

    def again(search_id: Any) -> Any:
        return call.services.searches.get(call.caller, search_id).as_json()

    return once(call, create, keep=Keep(lambda found: found["search_id"], again))


@operation("getSearch")
def get_search(call: ServerCall) -> Response:
    """A stored search with its first page."""
    return answer(call.services.searches.get(call.caller, call.params["search_id"]).as_json())


@operation("deleteSearch")
def delete_search(call: ServerCall) -> Response:
    """Forget a search."""
    call.services.searches.delete(call.caller, call.params["search_id"])
    return empty()


@operation("listSearchResults")
def list_search_results(call: ServerCall) -> Response:
    """A page of a stored search."""
    body = call.body or {}
    page = call.services.searches.results(call.caller, call.params["search_id"], body)
    return answer(page.as_json())
