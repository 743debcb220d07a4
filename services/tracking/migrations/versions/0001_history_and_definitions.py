"""History, definitions and accounts."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from runtime.database import TABLE_OPTIONS

revision = "0001"
down_revision = None

unsigned32 = sa.Integer().with_variant(mysql.INTEGER(unsigned=True), "mysql", "mariadb")
body = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
epc = sa.LargeBinary(16).with_variant(mysql.VARBINARY(16), "mysql", "mariadb")


def upgrade() -> None:
    readings("positions", *(sa.Column(name, sa.Double) for name in (
        "latitude_deg", "longitude_deg", "altitude_m", "speed_mps", "heading_deg", "accuracy_m",
    )), sa.Column("satellites", sa.Integer))  # fmt: skip
    readings(
        "sensor_samples",
        sa.Column("quantity", sa.SmallInteger, nullable=False),
        sa.Column("probe", unsigned32, nullable=False),
        sa.Column("value", sa.Double),
    )
    readings(
        "tag_reads",
        sa.Column("epc", epc, nullable=False),
        sa.Column("antenna", unsigned32, nullable=False),
        sa.Column("rssi_dbm", sa.Double),
    )
    table(
        "events",
        sa.Column("event_id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("device_id", sa.String(128), nullable=False),
        sa.Column("device_number", unsigned32, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.String(128), nullable=False),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("cause", sa.SmallInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("assumed", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("observed_at_us", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at_us", sa.BigInteger, nullable=False),
        sa.Column("latitude_deg", sa.Double),
        sa.Column("longitude_deg", sa.Double),
        sa.Column("body", body, nullable=False),
    )
    index("ix_events_tenant_time", "events", "tenant", "observed_at_us", "event_id")
    index("ix_events_device_time", "events", "tenant", "device_id", "observed_at_us", "event_id")
    table(
        "devices",
        sa.Column("device_number", unsigned32, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("device_id", sa.String(128), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
    )
    index("ix_devices_tenant_id", "devices", "tenant", "device_id")
    table(
        "definitions",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("published", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("device_id", sa.String(128), nullable=False),
        sa.Column("body", body, nullable=False),
        sa.Column("updated_at_us", sa.BigInteger, nullable=False),
    )
    index("ix_definitions_published", "definitions", "published")
    table(
        "history_offsets",
        sa.Column("partition_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("log_offset", sa.String(48), nullable=False),
        sa.Column("trimmed_before", sa.String(48), nullable=False),
    )
    table(
        "accounts",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("counter", sa.String(32), primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )


def table(name: str, *columns: "sa.Column[Any]", **options: object) -> None:
    op.create_table(name, *columns, if_not_exists=True, **TABLE_OPTIONS, **options)


def readings(name: str, *columns: "sa.Column[Any]") -> None:
    table(
        name,
        sa.Column("device_number", unsigned32, primary_key=True, autoincrement=False),
        sa.Column("observed_at_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("content_hash", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("received_at_us", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.SmallInteger, nullable=False),
        *columns,
        sa.Column("sequence", sa.BigInteger),
        sa.Column("sent_at_us", sa.BigInteger),
        sqlite_with_rowid=False,
    )


def index(name: str, table_name: str, *columns: str) -> None:
    op.create_index(name, table_name, list(columns), if_not_exists=True)
