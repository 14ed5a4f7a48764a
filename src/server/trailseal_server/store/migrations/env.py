"""What alembic runs: the migrations, in the transaction that `migrate.upgrade` opened."""

from alembic import context
from trailseal_server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
