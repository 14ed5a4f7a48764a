"""Exports: making them, reading them, downloading them."""

import re
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response, StreamingResponse

from ..contract import operation
from ..exports import Content
from ..problems import Problem
from ..store.pages import DEFAULT_LIMIT
from ._http import ServerCall, answer, empty, log_of
from ._once import once
from .operations import location

CHUNK_BYTES = 256 << 10  # read from the file at a time

_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})", re.ASCII)


@operation("createExport")
def create_export(call: ServerCall) -> Response:
    """Queue an export; a search's export lies in the search's log."""

    def create() -> tuple[int, Any]:
        log_id = "" if "search_id" in call.body else log_of(call)
        return 202, call.services.exports.create(call.caller, log_id, call.body)

    return once(call, create, location)


@operation("listExports")
def list_exports(call: ServerCall) -> Response:
    """A page of the log's exports."""
    page = call.services.exports.list_exports(
        log_of(call),
        order=call.params.get("order", "desc"),
        limit=call.params.get("limit", DEFAULT_LIMIT),
        cursor=call.params.get("cursor"),
    )
    return answer(page)


@operation("getExport")
def get_export(call: ServerCall) -> Response:
    """One export."""
    return answer(call.services.exports.get(call.caller, call.params["export_id"]))


@operation("deleteExport")
def delete_export(call: ServerCall) -> Response:
    """Remove an export with its file."""
    call.services.exports.delete(call.caller, call.params["export_id"])
    return empty()


@operation("getExportManifest")
def get_export_manifest(call: ServerCall) -> Response:
    """The exact texts of manifest, note and checkpoint."""
    return answer(call.services.exports.manifest(call.caller, call.params["export_id"]))


@operation("downloadExport")
def download_export(call: ServerCall) -> Response:
    """The file or one range of it (RFC 9110, section 14); several ranges answer the whole."""
    content = call.services.exports.content(call.caller, call.params["export_id"])
    etag = f'"{content.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{content.filename}"',
    }
    wanted = None
    if call.params.get("If-Range", etag) == etag:
        wanted = _range(call.params.get("Range", ""), content.bytes)
    first, last = wanted or (0, content.bytes - 1)
    headers["Content-Length"] = str(last - first + 1)
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{last}/{content.bytes}"
    pieces = _read(content, first, last - first + 1)
    return StreamingResponse(
        pieces, 206 if wanted else 200, headers, media_type="application/octet-stream"
    )


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range, or None for the whole; raises `range_invalid`."""
    found = _RANGE.fullmatch(text)
    if found is None or found.groups() == ("", ""):
        return None
    low, high = found.groups()
    first = int(low) if low else max(0, size - int(high))
    last = min(int(high), size - 1) if low and high else size - 1
    if first > last and low and high and int(high) < int(low):
        return None  # no valid range at all: RFC 9110 says to ignore it
    if first > last:
        detail = f"The content has {size} bytes"
        raise Problem("range_invalid", detail, headers={"Content-Range": f"bytes */{size}"})
    return first, last


def _read(content: Content, at: int, left: int) -> Iterator[bytes]:
    with content.path.open("rb") as file:
        file.seek(at)
        while left > 0:
            piece = file.read(min(CHUNK_BYTES, left))
            if not piece:
                raise OSError("the export's file ended early")  # breaks off the answer
            left -= len(piece)
            yield piece
