"""Commands to devices.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.database import TABLE_OPTIONS, AutoNumber

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_commands",
        sa.Column("command_id", AutoNumber, primary_key=True, autoincrement=True),
        sa.Column("device_number", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("parameters_json", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary(64 * 1024), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("idempotency_key", sa.String(128)),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger, nullable=False),
        sa.Column("try_at_us", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("sent_at_us", sa.BigInteger),
        sa.Column("answered_at_us", sa.BigInteger),
        sa.UniqueConstraint("device_number", "idempotency_key", name="device_commands_key"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("device_commands_of_device", "device_commands", ["device_number", "command_id"], if_not_exists=True)
    op.create_index("device_commands_to_try", "device_commands", ["state", "try_at_us"], if_not_exists=True)
    op.create_index("device_commands_to_expire", "device_commands", ["state", "expires_at_us"], if_not_exists=True)


def downgrade() -> None:
    op.drop_table("device_commands")
