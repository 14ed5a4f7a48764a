"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Exact tokens and words, without their content: see store/terms.py. What one transaction adds is
# one segment: with the 1 MiB of FTS5's default, 2,000 events are two, to be merged again. Segments
# are merged by eights: by fours, the default, each word is written anew more often (300,000 events
# in transactions of 1,000: 24 and 35 µs each); at sixteen, `crisismerge` merges them all within one
# commit (2 s). A search reads twice as many segments: hundredths of a millisecond for each word.
SQLITE_TERMS = (
    """CREATE VIRTUAL TABLE terms USING fts5(
        exact, text, content='', columnsize=0, tokenize="unicode61 remove_diacritics 2"
    )""",
    "INSERT INTO terms (terms, rank) VALUES ('hashsize', 8388608)",
    "INSERT INTO terms (terms, rank) VALUES ('automerge', 8)",
)

# The same, with its content: see store/tsvector.py. The pending list halves what an append costs
# (70 and not 152 µs of the engine's time an event); it holds what three processes' largest
# transactions add, and is emptied beside them, see store/upkeep.py.
POSTGRESQL_TERMS = (
    """CREATE TABLE terms (
        log_id text COLLATE "C", idx bigint, doc tsvector NOT NULL, PRIMARY KEY (log_id, idx)
    )""",
    "CREATE INDEX terms_by_doc ON terms USING gin (doc) WITH (gin_pending_list_limit = 32768)",
    "CREATE SEQUENCE log_numbers AS integer",
)

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=True),
        sa.Column("default_log", TEXT, nullable=True),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "channels",
        sa.Column("channel_key", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("log_id", TEXT, nullable=True),
        sa.Column("allowed_sources", sa.LargeBinary(), nullable=True),
        sa.Column("allowed_schemas", sa.LargeBinary(), nullable=True),
        sa.Column("external_id", TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel_key"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
        sa.Column("root_hash", sa.LargeBinary(), nullable=False),
        sa.Column("note", TEXT, nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "tree_size"),
    )
    op.create_table(
        "directory",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("log_no", sa.Integer(), nullable=False),
        sa.Column("tenant_id", TEXT, nullable=True),
        sa.Column("default_for", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("log_id"),
        sa.UniqueConstraint("default_for"),
        sa.UniqueConstraint("log_no"),
    )
    op.create_index("directory_by_tenant", "directory", ["tenant_id"], unique=False)
    op.create_table(
        "event_schemas",
        sa.Column("schema_key", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("schema_id", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("dialect", TEXT, nullable=False),
        sa.Column("compatibility", TEXT, nullable=False),
        sa.Column("work", sa.Integer(), nullable=False),
        sa.Column("patterns", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deprecated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("schema_key"),
    )
    op.create_index(
        "event_schemas_by_name",
        "event_schemas",
        ["schema_id", "version", "tenant_id"],
        unique=True,
    )
    op.create_index(
        "event_schemas_by_tenant", "event_schemas", ["tenant_id", "created_at"], unique=False
    )
    op.create_table(
        "signing_keys",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("owner", TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("log_id", "key_id"),
    )
    op.create_table(
        "events",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("seed", TEXT, nullable=True),
        sa.Column("salts", sa.LargeBinary(), nullable=True),
        sa.Column("redactions", sa.LargeBinary(), nullable=True),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("ingested_by", TEXT, nullable=False),
        sa.Column("channel_id", TEXT, nullable=True),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "idx"),
    )
    op.create_index("events_by_id", "events", ["log_id", "event_id"], unique=True)
    op.create_index(
        "events_by_occurred_at", "events", ["log_id", "occurred_at", "idx"], unique=False
    )
    op.create_index("events_by_received_at", "events", ["log_id", "received_at"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("idempotency_key", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key"),
    )
    op.create_index("idempotency_by_expires_at", "idempotency", ["expires_at"], unique=False)
    op.create_table(
        "legal_holds",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("hold_id", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=True),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("log_id", "hold_id"),
    )
    op.create_index("legal_holds_by_id", "legal_holds", ["hold_id"], unique=False)
    op.create_table(
        "redaction_policies",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("rules", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id"),
    )
    op.create_table(
        "logs",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("log_no", sa.Integer(), nullable=False),
        sa.Column("tenant_id", TEXT, nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("last_received_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed_size", sa.BigInteger(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("names_epoch", sa.Integer(), nullable=False),
        sa.Column("policy_at", sa.BigInteger(), nullable=True),
        sa.Column("expired_size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id"),
    )
    op.create_index(
        "logs_unsealed",
        "logs",
        ["log_id"],
        unique=False,
        sqlite_where=sa.text("size > sealed_size"),
        postgresql_where=sa.text("size > sealed_size"),
    )
    op.create_table(
        "meta",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "names",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("field", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("folded", TEXT, nullable=False),
        sa.Column("token", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "field", "value"),
    )
    op.create_table(
        "operations",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("operation_id", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("progress", sa.LargeBinary(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_by", TEXT, nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("log_id", "operation_id"),
    )
    op.create_index("operations_by_id", "operations", ["operation_id"], unique=False)
    op.create_index("operations_by_state", "operations", ["state", "created_at"], unique=False)
    op.create_table(
        "searches",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("search_id", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "search_id"),
    )
    op.create_index("searches_by_id", "searches", ["search_id"], unique=False)
    op.create_index("searches_by_expires_at", "searches", ["log_id", "expires_at"], unique=False)
    op.create_table(
        "tenants",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("tenant_key", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=True),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("events_limit", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
        sa.UniqueConstraint("tenant_key"),
    )
    op.create_table(
        "tiles",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "level", "n"),
    )
    op.create_table(
        "uploads",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("upload_id", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("file", TEXT, nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", TEXT, nullable=True),
        sa.Column("operation_id", TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "upload_id"),
    )
    op.create_index("uploads_by_expires_at", "uploads", ["expires_at"], unique=False)
    op.create_index("uploads_by_id", "uploads", ["upload_id"], unique=False)
    op.create_table(
        "usage",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("period", TEXT, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "period"),
    )
    statements = {"sqlite": SQLITE_TERMS, "postgresql": POSTGRESQL_TERMS}
    for statement in statements[op.get_bind().dialect.name]:
        op.execute(statement)
