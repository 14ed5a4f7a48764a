"""The registered versions: adding them, and checking events' `data` against them.

Rules:
- A schema belongs to the tenant of the key that registers it, or to all tenants if the key has
  none. A tenant sees its own and the shared ones; its own come first.
- A name (id and version) means one text for ever: what a tenant sees under it cannot be registered
  again with another one.
- Validators are kept, compiled, by name, as long as few enough patterns are among them. Nothing is
  remembered of names that were not found.
- Mistakes are named one by one unless that could take long: where data and schema are both large,
  only that there is one.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson

from ..problems import FieldError, Problem
from ..store import Store, schemas
from ..store.schemas import SHARED, SchemaRow
from ..validation import NUL_ADVICE, Validator, field_errors
from . import compatibility, rules
from .documents import invalid, read

MAX_VERSIONS = 10_000  # of one tenant: what a mistaken loop may fill
MAX_NAME = 256  # characters of an id and of a version
MAX_COMPILED = 256  # a few kilobytes each, without patterns
MAX_COMPILED_PATTERNS = 1000  # up to 0.5 MiB each
MAX_REPORT = 500_000  # bytes of data × subschemas: naming each mistake then takes at most seconds
BACKWARD = "backward"

Name = tuple[str, str, str]  # tenant, schema id, version


@dataclass(frozen=True, slots=True)
class Compiled:
    """A version, ready to check."""

    validator: Validator
    work: int
    patterns: int

    def errors(self, data: Any, at: str) -> list[FieldError]:
        """What is wrong with `data`, which lies at the pointer `at`."""
        if self.validator.is_valid(data):
            return []
        if len(orjson.dumps(data)) * self.work > MAX_REPORT:
            return [FieldError("event_invalid", at, "does not follow its schema")]
        return field_errors(self.validator, data, at)


class Registry:
    """The schemas of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[Name, Compiled] = OrderedDict()
        self._patterns = 0
        self._lock = threading.Lock()

    def register(self, tenant_id: str | None, sent: dict[str, Any]) -> tuple[SchemaRow, bool]:
        """Store what a `SchemaInput` says: the row, and whether it is new.

        Raises `Problem`: schema_invalid, schema_version_exists, schema_incompatible,
        quota_exceeded.
        """
        wanted = _wanted(tenant_id or SHARED, sent)
        found = self._judge(wanted)
        if found is None:
            with self._store.write() as connection:
                if schemas.count(connection, wanted.tenant_id) >= MAX_VERSIONS:
                    detail = f"A tenant may have {MAX_VERSIONS} schema versions"
                    raise Problem("quota_exceeded", detail)
                added = schemas.add(connection, wanted)
            if added is not None:
                return added, True
            found = self._judge(wanted)  # another request was faster
        if found is None:
            raise Problem("unavailable", "Another request changes this schema", retry_after=1.0)
        return found, False

    def check(self, tenant_id: str | None, sent: dict[str, Any]) -> None:
        """Raise what `register` would, and store nothing."""
        self._judge(_wanted(tenant_id or SHARED, sent))

    def errors(self, tenant_id: str | None, event: dict[str, Any]) -> list[FieldError]:
        """What is wrong with the `data` of an event that names a schema; pointers in the event."""
        name = event["schema"]
        compiled = self._compiled((tenant_id or SHARED, name["id"], name["version"]))
        if compiled is None:
            detail = "is not registered under this version; createSchema registers it"
            return [FieldError("schema_not_registered", "/schema", detail)]
        if "data" not in event:
            return [FieldError("field_required", "/data", "is required beside schema")]
        return compiled.errors(event["data"], "/data")

    def _judge(self, wanted: SchemaRow) -> SchemaRow | None:
        """The same version if it is there, None if it may be added; raises `Problem` otherwise."""
        tenant_id, schema_id = wanted.tenant_id, wanted.schema_id
        with self._store.read() as connection:
            same = schemas.named(connection, tenant_id, schema_id, wanted.version)
            last = schemas.newest(connection, tenant_id, schema_id)
        if same is not None:
            if same.document == wanted.document:
                return same
            advice = "is registered with another text; give the new text a new version"
            errors = [FieldError("schema_version_exists", "/version", advice)]
            raise Problem("schema_version_exists", f"The version {advice}", errors=errors)
        if last is not None and wanted.compatibility == BACKWARD:
            documents = orjson.loads(last.document), orjson.loads(wanted.document)
            found = compatibility.breaks(*documents, (last.dialect, wanted.dialect))
            if found:
                detail = f"{found[0].pointer} {found[0].detail}; use compatibility none, or mend it"
                raise Problem("schema_incompatible", detail, errors=found)
        return None

    def _compiled(self, name: Name) -> Compiled | None:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        with self._store.read() as connection:
            row = schemas.named(connection, *name)
        if row is None:
            return None
        validator = rules.compile_document(orjson.loads(row.document), row.dialect)
        compiled = Compiled(validator, row.work, row.patterns)
        self._keep(name, compiled)
        return compiled

    def _keep(self, name: Name, compiled: Compiled) -> None:
        with self._lock:
            if name in self._kept:
                return
            self._kept[name] = compiled
            self._patterns += compiled.patterns
            while len(self._kept) > MAX_COMPILED or self._patterns > MAX_COMPILED_PATTERNS:
                _, oldest = self._kept.popitem(last=False)
                self._patterns -= oldest.patterns


def _wanted(tenant_id: str, sent: dict[str, Any]) -> SchemaRow:
    """The row that a `SchemaInput` asks for; raises `Problem` schema_invalid."""
    if ("document" in sent) == ("text" in sent):
        raise invalid("/document", "or text is required, and not both")
    at = "/text" if "text" in sent else "/document"
    document = read(sent["text"]) if "text" in sent else sent["document"]
    sound = rules.check(document, at)
    return SchemaRow(
        schema_key=schemas.new_key(),
        tenant_id=tenant_id,
        schema_id=_name(sent.get("schema_id"), document, "$id", f"{at}/$id"),
        version=_name(sent.get("version"), document, "version", f"{at}/version"),
        document=orjson.dumps(document, option=orjson.OPT_SORT_KEYS),
        dialect=sound.dialect,
        compatibility=sent.get("compatibility", "none"),
        work=sound.work,
        patterns=sound.patterns,
        created_at=0,
    )


def _name(given: str | None, document: dict[str, Any], member: str, at: str) -> str:
    """The id or the version: the request's, else the document's own; both must agree."""
    own = document.get(member, given)
    if type(own) is int:  # `version: 1`
        own = str(own)
    if not isinstance(own, str) or not 0 < len(own) <= MAX_NAME:
        raise invalid(at, f"must be text of 1 to {MAX_NAME} characters, here or in the request")
    if "\0" in own:
        raise invalid(at, NUL_ADVICE)
    if given not in {None, own}:
        raise invalid(at, "must be what the request says")
    return own
