"""Shipments with what belongs to them, the inbox, the outbox.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.database import TABLE_OPTIONS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _key() -> list[sa.Column[str]]:
    return [
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("shipment_id", sa.String(64), primary_key=True),
    ]


def _of_shipment(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", "shipment_id"], ["shipments.tenant", "shipments.shipment_id"], name=name, ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "shipments",
        *_key(),
        sa.Column("reference", sa.String(256), nullable=False),
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger, nullable=False),
        sa.Column("cancel_reason", sa.String(256), nullable=False),
        sa.Column("route", sa.LargeBinary(2**20), nullable=False),
        sa.Column("content_digest", sa.String(32), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("updated_at_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("shipments_newest", "shipments", ["tenant", "created_at_us", "shipment_id"], if_not_exists=True)
    op.create_index("shipments_of_device", "shipments", ["tenant", "device_id", "ended_at_us"], if_not_exists=True)
    op.create_table(
        "shipment_stops",
        *_key(),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("stop_id", sa.String(48), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("longitude_deg", sa.Double, nullable=False),
        sa.Column("latitude_deg", sa.Double, nullable=False),
        sa.Column("fence_id", sa.String(128), nullable=False),
        sa.Column("radius_m", sa.Double),
        sa.Column("planned_arrival_us", sa.BigInteger),
        sa.Column("service_time_us", sa.BigInteger, nullable=False),
        sa.Column("arrived_at_us", sa.BigInteger),
        sa.Column("departed_at_us", sa.BigInteger),
        _of_shipment("shipment_stops_shipment"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
        "shipment_limits",
        *_key(),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("limit_id", sa.String(128), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("minimum", sa.Double),
        sa.Column("maximum", sa.Double),
        sa.Column("hysteresis", sa.Double, nullable=False),
        sa.Column("minimum_duration_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("tenant", "limit_id", name="shipment_limits_limit"),
        _of_shipment("shipment_limits_shipment"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
        "handling_units",
        *_key(),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epc_hex", sa.String(32), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        _of_shipment("handling_units_shipment"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("handling_units_epc", "handling_units", ["tenant", "epc_hex"], if_not_exists=True)
    op.create_table(
        "unit_sightings",
        *_key(),
        sa.Column("epc_hex", sa.String(32), primary_key=True),
        sa.Column("reader_id", sa.String(64), primary_key=True),
        sa.Column("observed_at_us", sa.BigInteger, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False),
        _of_shipment("unit_sightings_shipment"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
        "shipment_exceptions",
        *_key(),
        sa.Column("limit_id", sa.String(128), primary_key=True),
        sa.Column("probe", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("opened_at_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("quantity", sa.String(64), nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("bound", sa.Double),
        sa.Column("worst_value", sa.Double),
        sa.Column("closed_at_us", sa.BigInteger),
        sa.Column("opened_revision", sa.Integer, nullable=False),
        sa.Column("closed_revision", sa.Integer, nullable=False),
        _of_shipment("shipment_exceptions_shipment"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
        "stop_crossings",
        *_key(),
        sa.Column("fence_id", sa.String(128), primary_key=True),
        sa.Column("observed_at_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("entered", sa.Boolean, primary_key=True),
        _of_shipment("stop_crossings_shipment"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(64), primary_key=True),
        sa.Column("handled_at_us", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("inbox_by_time", "inbox", ["handled_at_us"], if_not_exists=True)
    op.create_table(
        "definition_outbox",
        *_key(),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("due_at_us", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("problem", sa.String(256), nullable=False),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_index("definition_outbox_due", "definition_outbox", ["due_at_us"], if_not_exists=True)
