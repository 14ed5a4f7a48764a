"""The tables, one schema for every engine.

Rules:
- Every key of a log's data begins with `log_id`, so the same schema shards: tests/unit/server/
  test_locality.py names the tables that an engine may distribute by it. The others are small.
- Times are whole microseconds since 1970-01-01T00:00:00Z (`BigInteger`). A client's own spelling
  of a time stays in `events.body`.
- JSON is stored as UTF-8 bytes; an event's body is its JCS (RFC 8785), so that "the same content"
  is "the same bytes".
- The terms index is no table of this metadata, because each engine has its own: on SQLite the
  contentless FTS5 table `terms(exact, text)`, see fts5.py; on PostgreSQL a table with a tsvector,
  see tsvector.py.

A change here needs a migration in migrations/versions; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    text,
)
from sqlalchemy import Text as AnyText

# Compared byte by byte: no index depends on the locales of the operating system below PostgreSQL.
Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")

metadata = MetaData()

# Facts about this database: `origin_prefix`, chosen when it was made and never changed.
meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Which logs there are, and what no two of them share. A row never changes.
directory = Table(
    "directory",
    metadata,
    Column("log_id", Text, primary_key=True),
    # The log's number in the terms index: rowid = log_no * 2**40 + idx.
    Column("log_no", Integer, nullable=False, unique=True),
    # Whose log it is: null for a log that only keys bound to no tenant reach.
    Column("tenant_id", Text),
    # The tenant whose default log it is.
    Column("default_for", Text, unique=True),
    Index("directory_by_tenant", "tenant_id"),
)

UNSEALED = text("size > sealed_size")

# The row that an append locks, with copies of what the directory says.
logs = Table(
    "logs",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("log_no", Integer, nullable=False),
    Column("tenant_id", Text),
    Column("size", BigInteger, nullable=False),
    # Compact range [0, size): the hashes of its perfect subtrees, left to right, 32 bytes each.
    Column("edge", LargeBinary, nullable=False),
    Column("last_received_at", BigInteger, nullable=False),
    # Tree size of the last checkpoint, 0 before the first; an event below it is `sealed`.
    Column("sealed_size", BigInteger, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("description", Text),
    # Grows when content is taken out: what writers and readers remember holds for one epoch.
    Column("names_epoch", Integer, nullable=False),
    # When the redaction policy in force was set; null without one.
    Column("policy_at", BigInteger),
    # Retention has looked at all events below.
    Column("expired_size", BigInteger, nullable=False),
    Index("logs_unsealed", "log_id", sqlite_where=UNSEALED, postgresql_where=UNSEALED),
)

events = Table(
    "events",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("occurred_at", BigInteger),
    Column("sent_at", BigInteger),
    # JCS of the event without seed, signature and checksum, as it stands after redactions.
    Column("body", LargeBinary, nullable=False),
    # base64url; null once the event was redacted, when `salts` and `redactions` take its place.
    Column("seed", Text),
    Column("salts", LargeBinary),
    Column("redactions", LargeBinary),  # perhaps deflated, see records.py
    # The leaf's data, byte for byte; holds received_at, ingested_by and the signature as signed.
    Column("entry", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("ingested_by", Text, nullable=False),
    Column("channel_id", Text),
    Column("imported", Boolean, nullable=False),
    Index("events_by_id", "log_id", "event_id", unique=True),
    Index("events_by_received_at", "log_id", "received_at"),
    # Holds `idx`, so that lists by this time are read from it alone.
    Index("events_by_occurred_at", "log_id", "occurred_at", "idx"),
)

# Complete tiles of 256 hashes (C2SP tlog-tiles, tile height 8); written once. `root` is the
# hash above a tile, hence an entry of the level above; it stands before `data` to be read alone.
tiles = Table(
    "tiles",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("root", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("tree_size", BigInteger, primary_key=True),
    Column("root_hash", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("published_at", BigInteger, nullable=False),
)

# A log's distinct names, for partial matches: `folded` is the casefolded value, `token` the value's
# token in the `exact` column of the terms index. The fields are terms.NAME_FIELDS.
names = Table(
    "names",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("folded", Text, nullable=False),
    Column("token", Text, nullable=False),
)

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("tenant_key", Text, nullable=False, unique=True),
    Column("name", Text),
    Column("retention_days", Integer),  # null: for ever
    Column("events_limit", BigInteger),  # a month; null: no limit
    Column("created_at", BigInteger, nullable=False),
)

# What was stored in a log in a month (UTC, `2026-11`): counted in the append's own transaction.
usage = Table(
    "usage",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# Ingest endpoints with a policy. `tenant_id` is that of the key that made it.
channels = Table(
    "channels",
    metadata,
    Column("channel_key", Text, primary_key=True),
    Column("tenant_id", Text),
    Column("name", Text, nullable=False),
    Column("log_id", Text),
    Column("allowed_sources", LargeBinary),  # JSON array; null: all
    Column("allowed_schemas", LargeBinary),
    Column("external_id", Text),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),  # SHA-256 of the whole key as shown once
    Column("name", Text, nullable=False),
    Column("tenant_id", Text),
    Column("default_log", Text),
    Column("scopes", Text, nullable=False),  # separated by single spaces
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

searches = Table(
    "searches",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("search_id", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("tree_size", BigInteger, nullable=False),
    Column("request", LargeBinary, nullable=False),  # JSON: query, restrictions, order, limits
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("searches_by_id", "search_id"),
    Index("searches_by_expires_at", "log_id", "expires_at"),
)

# Long jobs (kind: batch, upload, export, erasure). A worker holds one while lease_until is ahead.
operations = Table(
    "operations",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("operation_id", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("tenant_id", Text),  # of that key: its results are for this tenant's keys
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    # The events of a batch, until it has ended; apart, because whoever polls has no use for them.
    Column("content", LargeBinary),
    Column("progress", LargeBinary),
    Column("result", LargeBinary),
    Column("error", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("lease_by", Text),
    Column("lease_until", BigInteger),
    Index("operations_by_id", "operation_id"),
    Index("operations_by_state", "state", "created_at"),
)

# Signed, expiring permissions to send a file of JSON Lines; `file` is its name in the folder.
uploads = Table(
    "uploads",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("upload_id", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("tenant_id", Text),
    Column("state", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),  # JSON: who asked, compression, size, channel
    Column("file", Text),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("operation_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("uploads_by_id", "upload_id"),
    Index("uploads_by_expires_at", "expires_at"),
)

# Event schemas; one never changes but for its end. They belong to a tenant, or to all (''): their
# table is small and read by every log's tenant.
event_schemas = Table(
    "event_schemas",
    metadata,
    Column("schema_key", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("schema_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),  # JSON
    Column("dialect", Text, nullable=False),
    Column("compatibility", Text, nullable=False),
    Column("work", Integer, nullable=False),  # subschemas that one value may meet: schemas/rules.py
    Column("patterns", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deprecated_at", BigInteger),
    Index("event_schemas_by_name", "schema_id", "version", "tenant_id", unique=True),
    Index("event_schemas_by_tenant", "tenant_id", "created_at"),
)

# What a log's server takes out of arriving events: a JSON array of the contract's rules.
redaction_policies = Table(
    "redaction_policies",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("rules", LargeBinary, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# Duties to keep events: those that name `subject`, or (null) the whole log's.
legal_holds = Table(
    "legal_holds",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("hold_id", Text, primary_key=True),
    Column("subject", Text),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("released_at", BigInteger),
    Index("legal_holds_by_id", "hold_id"),
)

# Public keys of clients who sign their events.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("log_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),  # Ed25519, 32 bytes
    Column("owner", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_to", BigInteger),
    Column("revoked_at", BigInteger),
)

# Answers kept for 24 hours for requests with an Idempotency-Key.
idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("idempotency_by_expires_at", "expires_at"),
)
