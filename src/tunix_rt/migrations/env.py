"""Alembic's entry: one transaction for the whole way, on both databases."""

from alembic import context

from tunix_rt.migrations import sync_engine

with sync_engine(context.config.attributes["url"]).connect() as connection:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_lock(748151)")
        connection.commit()
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
