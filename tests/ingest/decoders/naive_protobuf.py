"""The generated protobuf classes as an oracle for the native decoder: slow, and a Python object a field."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from drover.telemetry.v1.reading_pb2 import Position, Quantity, ReadingBatch, SensorSample, TagRead
from ingest.decoders.native_protobuf import PayloadKind
from ingest.reasons import Reason

CLASSES: dict[PayloadKind, type[Message]] = {
    PayloadKind.POSITION: Position,
    PayloadKind.SENSOR: SensorSample,
    PayloadKind.TAG: TagRead,
    PayloadKind.BATCH: ReadingBatch,
}

YEAR_2000_US = 946_684_800_000_000
DAY_US = 86_400_000_000

Rows = list[dict[str, Any]]


def decode(data: bytes, kind: PayloadKind, received_at_us: int) -> Rows | set[Reason]:
    """The readings, positions first, then samples, then tag reads; or the reasons that would be right."""
    if not data:
        return {Reason.EMPTY}
    try:
        message: Any = CLASSES[kind].FromString(data)
    except DecodeError:
        return {Reason.TRUNCATED, Reason.MALFORMED, *_OF_A_READING}
    readings = [message]
    if kind is PayloadKind.BATCH:
        readings = [*message.positions, *message.sensors, *message.tags]
    if any(_has_foreign_wire_type(each) for each in [message, *readings]):
        return {Reason.MALFORMED, *_OF_A_READING}
    reasons = {_reason(each, received_at_us) for each in readings} - {None}
    if reasons:
        return {reason for reason in reasons if reason}
    return [_row(each) for each in readings] or {Reason.EMPTY}


# One that comes before the damage may be found first.
_OF_A_READING = (
    Reason.MISSING_FIELD,
    Reason.NOT_FINITE,
    Reason.VALUE_OUT_OF_RANGE,
    Reason.COORDINATE_OUT_OF_RANGE,
    Reason.BAD_EPC,
    Reason.CLOCK_UNSET,
    Reason.CLOCK_FUTURE,
    Reason.UNKNOWN_TYPE,
)


def _has_foreign_wire_type(message: Message) -> bool:
    """Known fields that came with another wire type are unknown fields to protobuf."""
    known = message.DESCRIPTOR.fields_by_number
    return any(field.field_number in known for field in UnknownFieldSet(message))


def _reason(reading: Any, received_at_us: int) -> Reason | None:
    given = {descriptor.name: value for descriptor, value in reading.ListFields()}
    if "observed_at_us" not in given:
        # Sent as zero, or not sent: protobuf cannot tell, and both are refused.
        return Reason.MISSING_FIELD
    if isinstance(reading, SensorSample):
        if reading.quantity == 0:
            return Reason.MISSING_FIELD
        if reading.quantity not in Quantity.values():
            return Reason.UNKNOWN_TYPE
    if isinstance(reading, TagRead) and not 1 <= len(reading.epc) <= 16:
        return Reason.BAD_EPC if reading.epc else Reason.MISSING_FIELD
    if any(isinstance(value, float) and not math.isfinite(value) for value in given.values()):
        return Reason.NOT_FINITE
    if given.get("sequence", 0) >= 2**63 or given.get("satellites", 0) >= 2**31:
        return Reason.VALUE_OUT_OF_RANGE
    if isinstance(reading, Position) and (abs(reading.latitude_deg) > 90 or abs(reading.longitude_deg) > 180):
        return Reason.COORDINATE_OUT_OF_RANGE
    if reading.observed_at_us < YEAR_2000_US:
        return Reason.CLOCK_UNSET
    if reading.observed_at_us > received_at_us + DAY_US:
        return Reason.CLOCK_FUTURE
    return None


def _row(reading: Any) -> dict[str, Any]:
    return {
        name: getattr(reading, name) if not field.has_presence or reading.HasField(name) else None
        for name, field in reading.DESCRIPTOR.fields_by_name.items()
    }
