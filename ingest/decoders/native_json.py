"""Native JSON: `drover.telemetry.v1` with its own field names, for people and for devices without protobuf.

On `.../{position|sensor|tag}/json` one reading, on `.../batch/json` a batch: `{"positions": [...], "sensors": [...],
"tags": [...]}`, with a `batch_id` where the device wants a receipt. On `.../json`, and wherever else a rule names this
decoder, either: a single reading is told by `latitude_deg`, `quantity` or `epc`. A time is `observed_at_us` (a number,
or a string of digits) or `observed_at` (RFC 3339, with an offset). A quantity is its name in small letters without the
prefix, for instance `temperature_celsius`. An EPC is hexadecimal. Unknown fields are passed over; a number may stand in
a string.
"""

from __future__ import annotations

import binascii
import datetime as dt
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from drover.telemetry.v1.reading_pb2 import Position, Quantity, ReadingBatch, SensorSample, TagRead
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.reasons import Reason, Rejection

_Time = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Small = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_AwareTime = Annotated[dt.datetime, Meta(tz=True)]

_KINDS: Final = ("position", "sensor", "tag", "batch")
_LEVELS_WITH_KIND: Final = 6
_PREFIX: Final = "QUANTITY_"
_QUANTITIES: Final = {name.removeprefix(_PREFIX).lower(): number for name, number in Quantity.items() if number != 0}
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


class _Clocks(msgspec.Struct, kw_only=True):
    observed_at_us: _Time | None = None
    observed_at: _AwareTime | None = None
    sequence: _Sequence | None = None
    sent_at_us: _Time | None = None


class _Position(_Clocks, kw_only=True):
    latitude_deg: float
    longitude_deg: float
    altitude_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    accuracy_m: float | None = None
    satellites: _Small | None = None
    is_historical: bool = False


class _Sensor(_Clocks, kw_only=True):
    quantity: str
    value: float
    probe: _Small = 0


class _Tag(_Clocks, kw_only=True):
    epc: str
    antenna: _Small = 0
    rssi_dbm: float | None = None


class _Batch(msgspec.Struct, kw_only=True):
    positions: list[_Position] = []
    sensors: list[_Sensor] = []
    tags: list[_Tag] = []
    batch_id: _Sequence | None = None


class _Shape(msgspec.Struct):
    """Which of the fields that tell the kind are there."""

    latitude_deg: msgspec.Raw | UnsetType = UNSET
    quantity: msgspec.Raw | UnsetType = UNSET
    epc: msgspec.Raw | UnsetType = UNSET
    positions: msgspec.Raw | UnsetType = UNSET
    sensors: msgspec.Raw | UnsetType = UNSET
    tags: msgspec.Raw | UnsetType = UNSET


# Lax: "12.5" is a number too.
_decode_batch: Final = msgspec.json.Decoder(_Batch, strict=False).decode
_decode_position: Final = msgspec.json.Decoder(_Position, strict=False).decode
_decode_sensor: Final = msgspec.json.Decoder(_Sensor, strict=False).decode
_decode_tag: Final = msgspec.json.Decoder(_Tag, strict=False).decode
_decode_shape: Final = msgspec.json.Decoder(_Shape).decode


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """A batch of readings, or one reading."""
    try:
        kind = _kind_of(topic, payload)
        if kind == "position":
            return ReadingBatch(positions=[_position(_decode_position(payload))])
        if kind == "sensor":
            return ReadingBatch(sensors=[_sensor(_decode_sensor(payload))])
        if kind == "tag":
            return ReadingBatch(tags=[_tag(_decode_tag(payload))])
        batch = _decode_batch(payload)
        readings = ReadingBatch(
            positions=[_position(each) for each in batch.positions],
            sensors=[_sensor(each) for each in batch.sensors],
            tags=[_tag(each) for each in batch.tags],
            batch_id=batch.batch_id,
        )
    except JSON_ERRORS as error:
        return refusal(error)
    except _Refused as refused:
        return refused.rejection
    if not (readings.positions or readings.sensors or readings.tags):
        return Rejection(Reason.EMPTY, "a batch without readings")
    return readings


def _kind_of(topic: str, payload: bytes) -> str:
    levels = topic.split("/")
    if levels[:2] == ["drover", "v1"] and len(levels) == _LEVELS_WITH_KIND and levels[4] in _KINDS:
        return levels[4]
    shape = _decode_shape(payload)
    if shape.positions is not UNSET or shape.sensors is not UNSET or shape.tags is not UNSET:
        return "batch"
    if shape.quantity is not UNSET:
        return "sensor"
    return "tag" if shape.epc is not UNSET else "position"


def _observed_at_us(reading: _Clocks) -> int:
    if reading.observed_at_us is not None:
        return reading.observed_at_us
    if reading.observed_at is not None:
        return (reading.observed_at - _EPOCH) // _MICROSECOND
    raise _Refused(Reason.MISSING_FIELD, "observed_at_us is missing")


def _position(reading: _Position) -> Position:
    return Position(
        observed_at_us=_observed_at_us(reading),
        latitude_deg=reading.latitude_deg,
        longitude_deg=reading.longitude_deg,
        altitude_m=reading.altitude_m,
        speed_mps=reading.speed_mps,
        heading_deg=reading.heading_deg,
        accuracy_m=reading.accuracy_m,
        satellites=reading.satellites,
        sequence=reading.sequence,
        sent_at_us=reading.sent_at_us,
        is_historical=reading.is_historical,
    )


def _sensor(reading: _Sensor) -> SensorSample:
    quantity = _QUANTITIES.get(reading.quantity.removeprefix(_PREFIX).lower())
    if quantity is None:
        raise _Refused(Reason.UNKNOWN_TYPE, f"quantity {reading.quantity[:100]!r}")
    return SensorSample(
        observed_at_us=_observed_at_us(reading),
        quantity=quantity,
        value=reading.value,
        probe=reading.probe,
        sequence=reading.sequence,
        sent_at_us=reading.sent_at_us,
    )


def _tag(reading: _Tag) -> TagRead:
    try:
        epc = binascii.unhexlify(reading.epc)
    except ValueError:  # binascii.Error is one; so is text beyond ASCII
        raise _Refused(Reason.BAD_EPC, f"epc {reading.epc[:100]!r} is not hexadecimal") from None
    return TagRead(
        observed_at_us=_observed_at_us(reading),
        epc=epc,
        antenna=reading.antenna,
        rssi_dbm=reading.rssi_dbm,
        sequence=reading.sequence,
        sent_at_us=reading.sent_at_us,
    )
