"""The tables of the tracking service; docs/history.md explains them to people who query SQL.

What a device left out is NULL. Float columns are DOUBLE also where the wire has 32 bits: MariaDB answers a FLOAT with
six digits only. Every number type is wide enough for its column in memory, so that `INSERT IGNORE` on MariaDB has
nothing to cut short.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
)
from sqlalchemy.dialects import mysql

from runtime.database import TABLE_OPTIONS

metadata: Final = MetaData()

Unsigned32: Final = Integer().with_variant(mysql.INTEGER(unsigned=True), "mysql", "mariadb")
Body: Final = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
Name: Final = String(128)
_READINGS: Final[dict[str, Any]] = {**TABLE_OPTIONS, "sqlite_with_rowid": False}


def _key() -> tuple[Column[Any], ...]:
    # An exact repetition has the same key at any age. Clustered: a device's readings lie together, in order of time.
    return (
        Column("device_number", Unsigned32, primary_key=True, autoincrement=False),
        Column("observed_at_us", BigInteger, primary_key=True, autoincrement=False),
        Column("content_hash", BigInteger, primary_key=True, autoincrement=False),
        Column("received_at_us", BigInteger, nullable=False),
        Column("verdict", SmallInteger, nullable=False),
    )


positions: Final = Table(
    "positions",
    metadata,
    *_key(),
    Column("latitude_deg", Double),
    Column("longitude_deg", Double),
    Column("altitude_m", Double),
    Column("speed_mps", Double),
    Column("heading_deg", Double),
    Column("accuracy_m", Double),
    Column("satellites", Integer),
    Column("sequence", BigInteger),
    Column("sent_at_us", BigInteger),
    **_READINGS,
)

sensor_samples: Final = Table(
    "sensor_samples",
    metadata,
    *_key(),
    Column("quantity", SmallInteger, nullable=False),
    Column("probe", Unsigned32, nullable=False),
    Column("value", Double),
    Column("sequence", BigInteger),
    Column("sent_at_us", BigInteger),
    **_READINGS,
)

tag_reads: Final = Table(
    "tag_reads",
    metadata,
    *_key(),
    Column("epc", LargeBinary(16).with_variant(mysql.VARBINARY(16), "mysql", "mariadb"), nullable=False),
    Column("antenna", Unsigned32, nullable=False),
    Column("rssi_dbm", Double),
    Column("sequence", BigInteger),
    Column("sent_at_us", BigInteger),
    **_READINGS,
)

events: Final = Table(
    "events",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("device_id", Name, nullable=False),
    Column("device_number", Unsigned32, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject_id", Name, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    # NULL in revision 0.
    Column("amends_event_id", String(64)),
    Column("standing", SmallInteger, nullable=False, server_default="1"),
    Column("assumed", Boolean(create_constraint=False), nullable=False),
    Column("observed_at_us", BigInteger, nullable=False),
    Column("confirmed_at_us", BigInteger, nullable=False),
    Column("latitude_deg", Double),
    Column("longitude_deg", Double),
    Column("body", Body, nullable=False),
    Index("ix_events_tenant_time", "tenant", "observed_at_us", "event_id"),
    Index("ix_events_device_time", "tenant", "device_id", "observed_at_us", "event_id"),
    Index("ix_events_amends", "amends_event_id", "revision"),
    Index("ix_events_subject_time", "tenant", "device_id", "subject_id", "observed_at_us"),
    **TABLE_OPTIONS,
)

devices: Final = Table(
    "devices",
    metadata,
    Column("device_number", Unsigned32, primary_key=True, autoincrement=False),
    Column("tenant", Name, nullable=False),
    Column("device_id", Name, nullable=False),
    Column("display_name", String(256), nullable=False),
    Index("ix_devices_tenant_id", "tenant", "device_id"),
    **TABLE_OPTIONS,
)

definitions: Final = Table(
    "definitions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("tenant", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("deleted", Boolean(create_constraint=False), nullable=False),
    # False from the edit until its entry is in every partition of the log.
    Column("published", Boolean(create_constraint=False), nullable=False),
    # Empty for fences.
    Column("device_id", Name, nullable=False),
    Column("body", Body, nullable=False),
    Column("updated_at_us", BigInteger, nullable=False),
    Index("ix_definitions_published", "published"),
    **TABLE_OPTIONS,
)

fence_versions: Final = Table(
    "fence_versions",
    metadata,
    Column("tenant", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("deleted", Boolean(create_constraint=False), nullable=False),
    Column("body", Body, nullable=False),
    Column("made_at_us", BigInteger, nullable=False),
    **TABLE_OPTIONS,
)

history_offsets: Final = Table(
    "history_offsets",
    metadata,
    Column("partition_number", Integer, primary_key=True, autoincrement=False),
    # The last log entry whose readings and events are in these tables.
    Column("log_offset", String(48), nullable=False),
    # Entries before this one may be gone from the log.
    Column("trimmed_before", String(48), nullable=False),
    **TABLE_OPTIONS,
)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("tenant", Name, primary_key=True),
    Column("counter", String(32), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    **TABLE_OPTIONS,
)
