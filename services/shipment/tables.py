"""The tables of the shipment service's database: shipments with what belongs to them, the inbox, the outbox."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from runtime.database import TABLE_OPTIONS

OPEN: Final = 2**63 - 1
"""`ended_at_us` of a shipment that has not ended: a number, so that one range of an index finds those still open at a
time.
"""

metadata: Final = MetaData()

shipments: Final = Table(
    "shipments",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("reference", String(256), nullable=False),
    Column("device_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("ended_at_us", BigInteger, nullable=False),
    Column("cancel_reason", String(256), nullable=False),
    # Little-endian doubles: all longitudes, then all latitudes.
    Column("route", LargeBinary(2**20), nullable=False),
    Column("content_digest", String(32), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("updated_at_us", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("shipments_newest", "tenant", "created_at_us", "shipment_id"),
    Index("shipments_of_device", "tenant", "device_id", "ended_at_us"),
    **TABLE_OPTIONS,
)


def _of_shipment(name: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant", "shipment_id"], ["shipments.tenant", "shipments.shipment_id"], name=name, ondelete="CASCADE"
    )


stops: Final = Table(
    "shipment_stops",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("stop_id", String(48), nullable=False),
    Column("name", String(256), nullable=False),
    Column("longitude_deg", Double, nullable=False),
    Column("latitude_deg", Double, nullable=False),
    Column("fence_id", String(128), nullable=False),
    Column("radius_m", Double),
    Column("planned_arrival_us", BigInteger),
    Column("service_time_us", BigInteger, nullable=False),
    Column("arrived_at_us", BigInteger),
    Column("departed_at_us", BigInteger),
    Column("missed_at_us", BigInteger),
    Column("missed_revision", Integer, nullable=False, server_default="-1"),
    _of_shipment("shipment_stops_shipment"),
    **TABLE_OPTIONS,
)

limits: Final = Table(
    "shipment_limits",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("limit_id", String(128), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("minimum", Double),
    Column("maximum", Double),
    Column("hysteresis", Double, nullable=False),
    Column("minimum_duration_us", BigInteger, nullable=False),
    UniqueConstraint("tenant", "limit_id", name="shipment_limits_limit"),
    _of_shipment("shipment_limits_shipment"),
    **TABLE_OPTIONS,
)

handling_units: Final = Table(
    "handling_units",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("epc_hex", String(32), nullable=False),
    Column("name", String(256), nullable=False),
    Index("handling_units_epc", "tenant", "epc_hex"),
    _of_shipment("handling_units_shipment"),
    **TABLE_OPTIONS,
)

sightings: Final = Table(
    "unit_sightings",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("epc_hex", String(32), primary_key=True),
    Column("reader_id", String(64), primary_key=True),
    Column("observed_at_us", BigInteger, nullable=False),
    Column("gone", Boolean, nullable=False),
    _of_shipment("unit_sightings_shipment"),
    **TABLE_OPTIONS,
)

exceptions: Final = Table(
    "shipment_exceptions",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("limit_id", String(128), primary_key=True),
    Column("probe", BigInteger, primary_key=True, autoincrement=False),
    Column("opened_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", String(64), nullable=False),
    Column("quantity", String(64), nullable=False),
    Column("value", Double),
    Column("bound", Double),
    Column("worst_value", Double),
    Column("closed_at_us", BigInteger),
    Column("opened_revision", Integer, nullable=False),
    Column("closed_revision", Integer, nullable=False),
    _of_shipment("shipment_exceptions_shipment"),
    **TABLE_OPTIONS,
)

crossings: Final = Table(
    "stop_crossings",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("fence_id", String(128), primary_key=True),
    Column("observed_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("entered", Boolean, primary_key=True),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("withdrawn", Boolean, nullable=False, server_default="0"),
    _of_shipment("stop_crossings_shipment"),
    **TABLE_OPTIONS,
)

inbox: Final = Table(
    "inbox",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("handled_at_us", BigInteger, nullable=False),
    Index("inbox_by_time", "handled_at_us"),
    **TABLE_OPTIONS,
)

definition_outbox: Final = Table(
    "definition_outbox",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("shipment_id", String(64), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("due_at_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("problem", String(256), nullable=False),
    Index("definition_outbox_due", "due_at_us"),
    **TABLE_OPTIONS,
)
