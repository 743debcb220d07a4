"""Events say which one they correct, and what became of it.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    known = {column["name"] for column in inspector.get_columns("events")}
    for column in (
        sa.Column("amends_event_id", sa.String(64)),
        sa.Column("standing", sa.SmallInteger, nullable=False, server_default="1"),
    ):
        # A start that was killed in between goes on from there: MariaDB commits each at once.
        if column.name not in known:
            op.add_column("events", column)
    if "ix_events_amends" not in {index["name"] for index in inspector.get_indexes("events")}:
        op.create_index("ix_events_amends", "events", ["amends_event_id", "revision"])
