"""Credentials of devices.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.database import TABLE_OPTIONS

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_credentials",
        sa.Column("device_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("credential_number", sa.BigInteger, nullable=False),
        sa.Column("secret_hash", sa.String(200)),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.Column("change_number", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("device_credentials_changed", "device_credentials", ["change_number"], if_not_exists=True)
    op.create_table(
        "credential_changes",
        sa.Column("credential_changes_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("change_number", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.execute(
        "INSERT INTO credential_changes (credential_changes_id, change_number)"
        " SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM credential_changes)"
    )


def downgrade() -> None:
    op.drop_table("credential_changes")
    op.drop_table("device_credentials")
