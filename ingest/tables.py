"""The tables of ingest's database: devices, their credentials, commands to them, dead letters."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

from ingest.devices.device_name import MAX_DEVICE_ID_LENGTH, MAX_TENANT_LENGTH
from runtime.database import TABLE_OPTIONS, AutoNumber

MAX_LETTER_PAYLOAD_BYTES: Final = 64 * 1024
"""What a dead letter keeps of a payload."""

MAX_COMMAND_PAYLOAD_BYTES: Final = 64 * 1024

metadata: Final = MetaData()

devices: Final = Table(
    "devices",
    metadata,
    # Dense, from 0: the number is an index into arrays everywhere else.
    Column("device_number", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String(MAX_TENANT_LENGTH), nullable=False),
    Column("device_id", String(MAX_DEVICE_ID_LENGTH), nullable=False),
    Column("display_name", String(200), nullable=False),
    Column("provisioned_at_us", BigInteger, nullable=False),
    UniqueConstraint("tenant", "device_id", name="devices_name"),
    **TABLE_OPTIONS,
)

next_device: Final = Table(
    "next_device",
    metadata,
    # One row: who gives numbers changes it first, so that its lock puts givers one behind the other.
    Column("next_device_id", BigInteger, primary_key=True, autoincrement=False),
    Column("device_number", BigInteger, nullable=False),
    **TABLE_OPTIONS,
)

device_credentials: Final = Table(
    "device_credentials",
    metadata,
    Column("device_number", BigInteger, primary_key=True, autoincrement=False),
    # Of the device, from 1; a revocation counts too, so that no number ever comes back to life.
    Column("credential_number", BigInteger, nullable=False),
    # Null is revoked.
    Column("secret_hash", String(200)),
    Column("changed_at_us", BigInteger, nullable=False),
    # Of all devices, in the order of commits: who reads what came after the last one it saw has missed nothing.
    Column("change_number", BigInteger, nullable=False),
    Index("device_credentials_changed", "change_number"),
    **TABLE_OPTIONS,
)

credential_changes: Final = Table(
    "credential_changes",
    metadata,
    # One row, as in `next_device`.
    Column("credential_changes_id", BigInteger, primary_key=True, autoincrement=False),
    Column("change_number", BigInteger, nullable=False),
    **TABLE_OPTIONS,
)

device_commands: Final = Table(
    "device_commands",
    metadata,
    Column("command_id", AutoNumber, primary_key=True, autoincrement=True),
    Column("device_number", BigInteger, nullable=False),
    Column("name", String(64), nullable=False),
    Column("parameters_json", Text, nullable=False),
    Column("payload", LargeBinary(MAX_COMMAND_PAYLOAD_BYTES), nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", String(500), nullable=False),
    # Null where the sender gave none: nulls are never the same.
    Column("idempotency_key", String(128)),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    # Not before that: pushed into the future by who is sending it now, and after each time that nobody was there.
    Column("try_at_us", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False),
    Column("sent_at_us", BigInteger),
    Column("answered_at_us", BigInteger),
    UniqueConstraint("device_number", "idempotency_key", name="device_commands_key"),
    Index("device_commands_of_device", "device_number", "command_id"),
    Index("device_commands_to_try", "state", "try_at_us"),
    Index("device_commands_to_expire", "state", "expires_at_us"),
    **TABLE_OPTIONS,
)

dead_letters: Final = Table(
    "dead_letters",
    metadata,
    Column("dead_letter_id", AutoNumber, primary_key=True, autoincrement=True),
    # Empty where the topic names none.
    Column("tenant", String(MAX_TENANT_LENGTH), nullable=False),
    Column("source", String(16), nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", String(500), nullable=False),
    Column("payload", LargeBinary(MAX_LETTER_PAYLOAD_BYTES), nullable=False),
    Column("payload_bytes", BigInteger, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    Column("replayed_at_us", BigInteger),
    Index("dead_letters_of_tenant", "tenant", "dead_letter_id"),
    Index("dead_letters_by_time", "received_at_us"),
    **TABLE_OPTIONS,
)
