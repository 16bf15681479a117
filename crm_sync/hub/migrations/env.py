"""Alembic's entry: runs the migrations of our own tables on the connection that `hub/migrate.py` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=None,
    version_table="schema_version",
    version_table_schema="sync",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
