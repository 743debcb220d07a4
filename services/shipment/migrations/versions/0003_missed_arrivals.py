"""Stops know whether the arrival there was missed.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("shipment_stops")}
    for column in (
        sa.Column("missed_at_us", sa.BigInteger),
        sa.Column("missed_revision", sa.Integer, nullable=False, server_default="-1"),
    ):
        # As in 0002: a start that was killed between the two goes on from there.
        if column.name not in known:
            op.add_column("shipment_stops", column)
