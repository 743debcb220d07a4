"""Crossings know their revision, and whether they were withdrawn.

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
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("stop_crossings")}
    for column in (
        sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
        sa.Column("withdrawn", sa.Boolean, nullable=False, server_default="0"),
    ):
        # A start that was killed between the two goes on from there: MariaDB commits each at once.
        if column.name not in known:
            op.add_column("stop_crossings", column)
