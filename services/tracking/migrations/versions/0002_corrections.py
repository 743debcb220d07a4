"""Events say which one they correct, and what became of it.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.migrations import add_missing_columns

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_missing_columns(
        "events",
        sa.Column("amends_event_id", sa.String(64)),
        sa.Column("standing", sa.SmallInteger, nullable=False, server_default="1"),
    )
    op.create_index("ix_events_amends", "events", ["amends_event_id", "revision"], if_not_exists=True)
