"""What every `migrations/env.py` does, so that each is three lines: import this, import the tables, run."""

from __future__ import annotations

from alembic import context
from sqlalchemy import MetaData


def run(metadata: MetaData) -> None:
    """Runs the scripts on the connection that `runtime.migrations.migrate` has put into the configuration."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        # SQLite cannot alter a table; alembic then copies it.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()
