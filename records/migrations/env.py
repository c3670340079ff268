"""How alembic reaches the records; migrations run one at a time, whoever starts them."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from records.tables import metadata

LOCK = 7_262_633  # an advisory lock's number, ours

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "", poolclass=NullPool)
with engine.connect() as connection:
    connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
    connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
    connection.commit()
