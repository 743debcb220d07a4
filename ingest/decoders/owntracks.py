"""OwnTracks JSON, as its phone apps and gateways send it.

Source: the booklet of OwnTracks, chapter "JSON". Times are seconds, `vel` is km/h, `p` is kPa, `batt` is percent.
Four habits of the field are honoured:

- zero values are left out, and so is what a phone does not know: a missing number is unknown, never zero, and `lat`,
  `lon` and `tst` must be there;
- `-1` is unknown for `vel`, `cog`, `acc` and `batt`: any number below zero is;
- `tst` of some messages, and every number of some gateways, is a string;
- `transition` (the phone crossed a region of its own) carries the fix it was seen at: that fix is a reading, the
  region is not ours. Last wills, waypoints and the like carry no reading: they are counted and passed over.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from drover.telemetry.v1.reading_pb2 import (
    QUANTITY_BATTERY_RATIO,
    QUANTITY_PRESSURE_PA,
    Position,
    ReadingBatch,
    SensorSample,
)
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.reasons import Reason, Rejection

_WITH_FIX: Final = frozenset({"location", "transition"})
_WITHOUT_READING: Final = frozenset(
    {"lwt", "waypoint", "waypoints", "card", "cards", "cmd", "configuration", "status", "steps", "beacon", "dump"}
    | {"request"}
)
_KMH_PER_MPS: Final = 3.6
# Beyond this, microseconds do not fit 64 bits; the clock is judged later, by admission.
_MAX_TIME_S: Final = 9e12


class _Kind(msgspec.Struct):
    type: str = msgspec.field(name="_type", default="")


class _Message(_Kind):
    tst: float | None = None
    lat: float | None = None
    lon: float | None = None
    acc: float | None = None
    alt: float | None = None
    vel: float | None = None
    cog: float | None = None
    batt: float | None = None
    p: float | None = None
    created_at: float | None = None


# Lax: "12.5" is a number too.
_decode_kind: Final = msgspec.json.Decoder(_Kind).decode
_decode_message: Final = msgspec.json.Decoder(_Message, strict=False).decode


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """One OwnTracks message: a fix, and the battery's charge and the air pressure as samples of the same time."""
    try:
        message = _decode_message(payload)
    except JSON_ERRORS as error:
        return _not_understood(payload, refusal(error))
    if message.type not in _WITH_FIX:
        return _no_fix(message.type)
    if message.lat is None or message.lon is None:
        if message.type == "transition":
            return Rejection(Reason.NOT_A_READING, "transition without a fix")
        return Rejection(Reason.NO_LOCATION, "lat or lon is missing")
    if message.tst is None:
        return Rejection(Reason.MISSING_FIELD, "tst is missing")
    if not math.isfinite(message.tst):
        return Rejection(Reason.NOT_FINITE, "tst")
    if abs(message.tst) > _MAX_TIME_S:
        return Rejection(Reason.VALUE_OUT_OF_RANGE, "tst")
    return _batch(message, message.tst, message.lat, message.lon)


def _batch(message: _Message, tst: float, lat: float, lon: float) -> ReadingBatch:
    observed_at_us = round(tst * 1e6)
    sent_at_us = None
    if message.created_at is not None and abs(message.created_at) <= _MAX_TIME_S:
        sent_at_us = round(message.created_at * 1e6)
    speed_kmh = _known(message.vel)
    position = Position(
        observed_at_us=observed_at_us,
        latitude_deg=lat,
        longitude_deg=lon,
        altitude_m=message.alt if message.alt is not None and math.isfinite(message.alt) else None,
        speed_mps=None if speed_kmh is None else speed_kmh / _KMH_PER_MPS,
        heading_deg=_known(message.cog),
        accuracy_m=_known(message.acc),
        sent_at_us=sent_at_us,
    )
    battery_percent, pressure_kpa = _known(message.batt), _known(message.p)
    samples = []
    if battery_percent is not None:
        samples.append((QUANTITY_BATTERY_RATIO, battery_percent / 100))
    if pressure_kpa is not None:
        samples.append((QUANTITY_PRESSURE_PA, pressure_kpa * 1000))
    return ReadingBatch(
        positions=[position],
        sensors=[
            SensorSample(observed_at_us=observed_at_us, quantity=quantity, value=value, sent_at_us=sent_at_us)
            for quantity, value in samples
        ],
    )


def _known(value: float | None) -> float | None:
    return value if value is not None and 0 <= value < math.inf else None


def _no_fix(kind: str) -> Rejection:
    if kind in _WITHOUT_READING:
        return Rejection(Reason.NOT_A_READING, kind)
    if not kind:
        return Rejection(Reason.MISSING_FIELD, "_type is missing")
    # Among them `encrypted`: there is a reading in it, but not for us.
    return Rejection(Reason.UNKNOWN_TYPE, f"_type {kind[:100]!r}")


def _not_understood(payload: bytes, why: Rejection) -> Rejection:
    """A message whose fields are not what a location has; of another type, they need not be."""
    try:
        kind = _decode_kind(payload).type
    except JSON_ERRORS:
        return why
    return why if kind in _WITH_FIX else _no_fix(kind)
