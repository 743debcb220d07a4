"""Teltonika JSON over MQTT, as trackers of the FMB family send it to an AWS IoT shadow or to any broker.

Source: Teltonika Telematics wiki, "Codec JSON". One record a message, in `state.reported`: `ts` is milliseconds,
`latlng` one string of two numbers, `alt` metres, `ang` degrees, `sat` satellites in use, `sp` km/h; IO elements stand
beside them by their AVL id (`teltonika_record.py`). `pr` (priority) and `evt` (the element that caused the record) are
no readings. The IMEI is in the topic.

- `0,0` with `sat` 0 is no fix: it is sent on as a fix of no satellites.
- A record without `latlng` still carries its samples.
- An answer to a command (`RSP`) carries no reading.
- A number may be a string.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType, field
from msgspec.structs import astuple

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.decoders.teltonika_record import MAX_TIME_MS, GpsElement, add_position, add_sample
from ingest.reasons import Reason, Rejection

# Some elements are ids, in hexadecimal, in other families of devices.
_Element = float | str | None


class _Reported(msgspec.Struct):
    ts: Annotated[int, Meta(ge=0, le=MAX_TIME_MS)] | None = None
    latlng: str | None = None
    alt: float | None = None
    ang: float | None = None
    sat: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    sp: float | None = None
    io_16: _Element = field(name="16", default=None)
    io_66: _Element = field(name="66", default=None)
    io_67: _Element = field(name="67", default=None)
    io_72: _Element = field(name="72", default=None)
    io_73: _Element = field(name="73", default=None)
    io_74: _Element = field(name="74", default=None)
    io_75: _Element = field(name="75", default=None)
    io_113: _Element = field(name="113", default=None)
    io_239: _Element = field(name="239", default=None)


class _State(msgspec.Struct):
    reported: _Reported | None = None


class _Message(msgspec.Struct):
    state: _State | None = None
    answer: msgspec.Raw | UnsetType = field(name="RSP", default=UNSET)


_IO: Final = tuple((index, int(name[3:])) for index, name in enumerate(_Reported.__struct_fields__) if "io_" in name)
# Lax: "12.5" is a number too.
_decode_message: Final = msgspec.json.Decoder(_Message, strict=False).decode


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """One record: a fix, and a sample for each IO element that is a quantity of ours."""
    try:
        message = _decode_message(payload)
    except JSON_ERRORS as error:
        return refusal(error)
    reported = message.state.reported if message.state is not None else None
    if reported is None:
        if message.answer is not UNSET:
            return Rejection(Reason.NOT_A_READING, "the answer to a command")
        return Rejection(Reason.MISSING_FIELD, "state.reported is missing")
    if reported.ts is None:
        return Rejection(Reason.MISSING_FIELD, "ts is missing")
    batch = ReadingBatch()
    if reported.latlng is not None:
        places = [_number(text) for text in reported.latlng.split(",", 2)]
        latitude_deg, longitude_deg = places if len(places) == 2 else (None, None)
        if latitude_deg is None or longitude_deg is None:
            return Rejection(Reason.MALFORMED, f"latlng {reported.latlng[:100]!r} is not two numbers")
        optional = [None if each is None else _finite(each) for each in (reported.alt, reported.ang, reported.sp)]
        altitude_m, angle_deg, speed_kmh = optional
        add_position(
            batch,
            GpsElement(reported.ts, latitude_deg, longitude_deg, altitude_m, angle_deg, reported.sat, speed_kmh),
        )
    values = astuple(reported)
    for index, avl_id in _IO:
        value = values[index]
        if value is not None:
            number = _number(value) if isinstance(value, str) else value
            if number is not None:
                add_sample(batch, avl_id, number, reported.ts * 1000)
    if not batch.positions and not batch.sensors:
        return Rejection(Reason.NO_LOCATION, "neither latlng nor an IO element that is known")
    return batch


def _number(text: str) -> float | None:
    try:
        # float() takes 1_0 for 10, which no tracker means.
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
