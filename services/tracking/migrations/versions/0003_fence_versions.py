"""Versions of a fence are kept for a while, and events are found by their fence: so that they can be explained.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from runtime.database import TABLE_OPTIONS

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fence_versions",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("deleted", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("body", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb"), nullable=False),
        sa.Column("made_at_us", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    columns = ["tenant", "device_id", "subject_id", "observed_at_us"]
    op.create_index("ix_events_subject_time", "events", columns, if_not_exists=True)
    # What there is now; again it changes nothing, for a start that was killed in between.
    ignore = "OR IGNORE" if op.get_bind().dialect.name == "sqlite" else "IGNORE"
    op.execute(
        f"INSERT {ignore} INTO fence_versions (tenant, id, version, deleted, body, made_at_us) "  # noqa: S608 - ours
        "SELECT tenant, id, version, deleted, body, updated_at_us FROM definitions "
        "WHERE kind = 'fence' AND version > 0"
    )
