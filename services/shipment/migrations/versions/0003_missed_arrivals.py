"""Stops know whether the arrival there was missed.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa

from runtime.migrations import add_missing_columns

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_missing_columns(
        "shipment_stops",
        sa.Column("missed_at_us", sa.BigInteger),
        sa.Column("missed_revision", sa.Integer, nullable=False, server_default="-1"),
    )
