"""Redaction policies: what the server takes out of arriving events, after it committed to them.

Rules:
- A log has one rule for each schema, and `*` for events without a rule of their own. A rule is
  about `data`: a field stays if its top-level property is one of `allowed_properties`, or if it has
  data classes and all of them are allowed; `unrestricted` always is. All else is taken out.
- A schema says `"x-data-classes": ["contact"]` of a value (`categories` and `redactionPolicies`, as
  Jupyter's schemas have them, are the same). The classes hold for all below it. Where several
  subschemas may apply (allOf, anyOf, if …), those of all of them do: a class too many takes a field
  out, never lets it stay.
- `mask` puts `***` in the place of a field, `hash` a hash keyed with this database's secret and the
  log's id, so that equal values can be told to be equal, but not guessed by others.
- The writer applies a policy under the lock of the log's row, which names the one in force: no
  event that arrives after it was set escapes it, in any process.
"""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from .commitments import prepare
from .problems import FieldError, Problem
from .redaction import Content, Path, Reason, Replace, redact
from .schemas.rules import SAME, SAME_LIST, SAME_MAP, resolve
from .store import Connection, policies, schemas
from .store.append import Draft
from .store.logs import LogRow
from .store.schemas import SHARED
from .store.terms import derive

ANY = "*"  # the rule of events that have none of their own
UNRESTRICTED = "unrestricted"
MASK = "***"
KEYWORDS = ("x-data-classes", "categories", "redactionPolicies")
MAX_KEPT = 256  # policies, and schemas: a few kilobytes each
REASON = "redaction policy of the log"

Json = Any  # a parsed JSON value
Rule = Mapping[str, Json]


class Policies:
    """The policies of a database, for its writer's thread; `secret` makes the key of hashes."""

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret
        self._rules: dict[tuple[str, int], dict[str, Rule]] = {}
        self._documents: dict[tuple[str, str, str], Json] = {}

    def apply(self, connection: Connection, log: LogRow, draft: Draft) -> Draft:
        """The draft without what the log's policy takes out."""
        rules = self._in_force(connection, log)
        event = orjson.loads(draft.body)
        schema = event.get("schema") or {}
        rule = rules.get(schema.get("id", ANY), rules.get(ANY))
        if rule is None or "data" not in event:
            return draft
        document: Json = {}
        if schema:
            owner = event.get("tenant_id") or log.tenant_id or SHARED
            name = owner, schema["id"], schema["version"]
            document = self._document(connection, name)
        reason = Reason(f"policy:{rule['schema_id']}", REASON, self._replace(log.log_id, rule))
        content = Content(draft.body, draft.seed)
        left = redact(content, lambda path, _: not _stays(path, rule, document), reason)
        if left is None:
            return draft
        terms = derive(prepare(orjson.loads(left.body)), draft.ingested_by, draft.channel_id)
        return draft._replace(
            body=left.body,
            seed=None,
            salts=left.salts,
            redactions=left.redactions,
            terms=terms,
        )

    def _in_force(self, connection: Connection, log: LogRow) -> dict[str, Rule]:
        key = log.log_id, log.policy_at or 0
        found = self._rules.get(key)
        if found is None:
            rules, _ = policies.in_force(connection, log.log_id)
            found = dict[str, Rule]({each["schema_id"]: each for each in rules})
            if len(self._rules) >= MAX_KEPT:
                self._rules.clear()
            self._rules[key] = found
        return found

    def _document(self, connection: Connection, name: tuple[str, str, str]) -> Json:
        if name not in self._documents:
            row = schemas.named(connection, *name)
            if len(self._documents) >= MAX_KEPT:
                self._documents.clear()
            self._documents[name] = {} if row is None else orjson.loads(row.document)
        return self._documents[name]

    def _replace(self, log_id: str, rule: Rule) -> Replace | None:
        if rule["method"] == "drop":
            return None
        if rule["method"] == "mask":
            return lambda _: MASK
        key = hmac.digest(self._secret(), f"trailseal/redaction/v1\n{log_id}".encode(), "sha256")
        return lambda value: hmac.digest(key, value, "sha256").hex()


def check(rules: Sequence[Rule]) -> None:
    """Raises `Problem("request_invalid")` for a second rule of a schema."""
    seen: set[str] = set()
    for at, rule in enumerate(rules):
        if rule["schema_id"] in seen:
            errors = [FieldError("request_invalid", f"/rules/{at}/schema_id", "has a rule already")]
            raise Problem("request_invalid", "A schema has one rule at most", errors=errors)
        seen.add(rule["schema_id"])


def _stays(path: Path, rule: Rule, document: Json) -> bool:
    if path[0] != "data":
        return True
    if len(path) > 1 and path[1] in rule.get("allowed_properties", ()):
        return True
    found = classes(document, path[1:])
    return bool(found) and found <= {UNRESTRICTED, *rule.get("allowed_classes", ())}


def classes(document: Json, path: Path) -> set[str]:
    """The data classes that a schema gives to the value at a path."""
    applying = list(_same(document, [document]))
    found = _told(applying)
    for step in path:
        below = [each for schema in applying for each in _part(schema, step)]
        applying = list(_same(document, below))
        found |= _told(applying)
    return found


def _told(applying: Sequence[Mapping[str, Json]]) -> set[str]:
    lists = [schema.get(keyword) for schema in applying for keyword in KEYWORDS]
    told = [each for some in lists if isinstance(some, list) for each in some]
    return {each for each in told if isinstance(each, str)}


def _same(document: Json, some: Sequence[Json]) -> Iterator[dict[str, Json]]:
    """The schemas that look at a value, references and combinations followed."""
    waiting, seen = list(some), set()
    while waiting:
        schema = waiting.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        if isinstance(schema.get("$ref"), str):
            waiting.append(resolve(document, schema["$ref"]))
        waiting += [schema.get(name) for name in SAME - {"not"}]
        for name in SAME_LIST:
            waiting += schema.get(name) or []
        for name in SAME_MAP:
            waiting += (schema.get(name) or {}).values()


def _part(schema: Mapping[str, Json], step: str | int) -> Iterator[Json]:
    """The subschemas for a member or an item."""
    if isinstance(step, int):
        prefix = schema.get("prefixItems")
        items = schema.get("items")
        for listed in (prefix, items):
            if isinstance(listed, list):
                yield from listed[step : step + 1]
        yield from (each for each in (items, schema.get("contains")) if isinstance(each, dict))
        yield from (schema.get("additionalItems"), schema.get("unevaluatedItems"))
        return
    properties = schema.get("properties") or {}
    if step in properties:
        yield properties[step]
    yield from (schema.get("patternProperties") or {}).values()
    if step not in properties:
        yield from (schema.get("additionalProperties"), schema.get("unevaluatedProperties"))
