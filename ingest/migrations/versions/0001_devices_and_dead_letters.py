"""Devices and dead letters.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.database import TABLE_OPTIONS, AutoNumber

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("device_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("provisioned_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("tenant", "device_id", name="devices_name"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
        "next_device",
        sa.Column("next_device_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("device_number", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    # Repeated after a run cut short, it finds the row there.
    op.execute(
        "INSERT INTO next_device (next_device_id, device_number)"
        " SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM next_device)"
    )
    op.create_table(
        "dead_letters",
        sa.Column("dead_letter_id", AutoNumber, primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("payload", sa.LargeBinary(64 * 1024), nullable=False),
        sa.Column("payload_bytes", sa.BigInteger, nullable=False),
        sa.Column("received_at_us", sa.BigInteger, nullable=False),
        sa.Column("replayed_at_us", sa.BigInteger),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("dead_letters_of_tenant", "dead_letters", ["tenant", "dead_letter_id"], if_not_exists=True)
    op.create_index("dead_letters_by_time", "dead_letters", ["received_at_us"], if_not_exists=True)


def downgrade() -> None:
    op.drop_table("dead_letters")
    op.drop_table("next_device")
    op.drop_table("devices")
