"""SenML (RFC 8428), as JSON or as CBOR; the first byte says which.

`senml_pack.py` resolves a pack; here its records become readings. Units say what a record is (the registry of RFC 8428,
section 12.1, and the secondary units of RFC 8798); where a unit may mean several things, so does the last part of the
name, after the last of `: / .`:

- `lat` and `lon` of one time and one thing are a fix. A thing is the name, without its last part if that says which
  measure it is. `m`, `m/s`, `rad` and `deg` belong to it where name or last part say so;
- `%EL` is the battery. `EL` is the time it will last, in seconds, and no charge: it is passed over;
- a number of up to three digits behind a word is the probe: `temp2` is probe 2;
- `m/s2` is a shock whatever it is called.

What Drover has no quantity for is passed over. So is half a location, if the pack has anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

import cbor2
import msgspec

from drover.telemetry.v1.reading_pb2 import Position, Quantity, ReadingBatch, SensorSample
from ingest.decoders.json_refusal import JSON_ERRORS
from ingest.decoders.senml_pack import LABELS, BadPackError, Resolved, resolve, to_records
from ingest.reasons import Reason, Rejection

MAX_RECORDS: Final = 10_000
"""Records of one pack: what more costs would be felt by others."""

_OPENS_JSON: Final = b"["
_JSON_SPACE: Final = b" \t\r\n"
# An array of maps of scalars; decimal fractions are one array more.
_MAX_DEPTH: Final = 4
_DECIMAL_FRACTION: Final = 4
_SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"
# Beyond this, microseconds do not fit 64 bits; the clock is judged later, by admission.
_MAX_TIME_S: Final = 9e12
_DEG_PER_RAD: Final = 57.29577951308232

_PARTS: Final = re.compile(r"[:/.]")
# A word and the number of a probe; what has more digits, or other characters, is an address.
_NUMBERED: Final = re.compile(r"([A-Za-z]+)[_-]?(\d{1,3})")


class _Measure(NamedTuple):
    quantity: Quantity.ValueType
    factor: float = 1.0
    offset: float = 0.0


_BY_UNIT: Final = {
    "Cel": _Measure(Quantity.QUANTITY_TEMPERATURE_CELSIUS),
    "K": _Measure(Quantity.QUANTITY_TEMPERATURE_CELSIUS, offset=-273.15),
    "%RH": _Measure(Quantity.QUANTITY_HUMIDITY_RATIO, 0.01),
    "%EL": _Measure(Quantity.QUANTITY_BATTERY_RATIO, 0.01),
    "Pa": _Measure(Quantity.QUANTITY_PRESSURE_PA),
    "hPa": _Measure(Quantity.QUANTITY_PRESSURE_PA, 100.0),
    "lx": _Measure(Quantity.QUANTITY_ILLUMINANCE_LUX),
    "V": _Measure(Quantity.QUANTITY_VOLTAGE_V),
    "mV": _Measure(Quantity.QUANTITY_VOLTAGE_V, 0.001),
    "m/s2": _Measure(Quantity.QUANTITY_SHOCK_MPS2),
}
_BY_NAME_AND_UNIT: Final = {
    ("fuel", "/"): _Measure(Quantity.QUANTITY_FUEL_RATIO),
    ("fuel", "%"): _Measure(Quantity.QUANTITY_FUEL_RATIO, 0.01),
    ("battery", "/"): _Measure(Quantity.QUANTITY_BATTERY_RATIO),
    ("battery", "%"): _Measure(Quantity.QUANTITY_BATTERY_RATIO, 0.01),
    ("odometer", "m"): _Measure(Quantity.QUANTITY_ODOMETER_M),
    ("odometer", "km"): _Measure(Quantity.QUANTITY_ODOMETER_M, 1000.0),
    ("door", None): _Measure(Quantity.QUANTITY_DOOR_OPEN),
    ("door", "/"): _Measure(Quantity.QUANTITY_DOOR_OPEN),
    ("open", None): _Measure(Quantity.QUANTITY_DOOR_OPEN),
    ("open", "/"): _Measure(Quantity.QUANTITY_DOOR_OPEN),
    ("ignition", None): _Measure(Quantity.QUANTITY_IGNITION_ON),
    ("ignition", "/"): _Measure(Quantity.QUANTITY_IGNITION_ON),
}
# Of a fix: the column, and for each unit its factor.
_BY_FIX_NAME: Final = {
    **dict.fromkeys(("lat", "latitude"), ("latitude_deg", {"lat": 1.0})),
    **dict.fromkeys(("lon", "longitude"), ("longitude_deg", {"lon": 1.0})),
    **dict.fromkeys(("alt", "altitude", "elevation"), ("altitude_m", {"m": 1.0})),
    **dict.fromkeys(("speed", "velocity", "vel"), ("speed_mps", {"m/s": 1.0, "km/h": 1 / 3.6})),
    **dict.fromkeys(("heading", "course", "cog"), ("heading_deg", {"rad": _DEG_PER_RAD, "deg": 1.0})),
    **dict.fromkeys(("accuracy", "acc"), ("accuracy_m", {"m": 1.0})),
}
# Where the location, the height and the speed share one name, as in RFC 8428, section 5.1.4.
_BY_FIX_UNIT: Final = {"lat": "latitude_deg", "lon": "longitude_deg", "m": "altitude_m", "m/s": "speed_mps"}

_decode_json: Final = msgspec.json.Decoder().decode


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """The readings of one pack. Relative times count from when it was received."""
    try:
        pack = _parsed(payload)
        if isinstance(pack, list) and len(pack) > MAX_RECORDS:
            return Rejection(Reason.TOO_LARGE, f"more than {MAX_RECORDS} records")
        resolved = resolve(to_records(pack), received_at_us / 1e6)
    except BadPackError as error:
        return Rejection(Reason.MALFORMED, str(error))
    if any(abs(record.time_s) > _MAX_TIME_S for record in resolved):
        return Rejection(Reason.VALUE_OUT_OF_RANGE, "a time")
    readings = ReadingBatch(positions=list(_positions(resolved)), sensors=list(_samples(resolved)))
    if readings.positions or readings.sensors:
        return readings
    if any(record.unit in {"lat", "lon"} for record in resolved):
        return Rejection(Reason.NO_LOCATION, "lat without lon of the same time, or lon without lat")
    if not any(record.value is not None for record in resolved):
        return Rejection(Reason.NOT_A_READING, "a pack without values")
    units = ", ".join(sorted({record.unit or "none" for record in resolved}))
    return Rejection(Reason.UNKNOWN_TYPE, f"no record is of a quantity of ours; units: {units[:200]}")


class _OnlyDecimalFractions(dict[int, Any]):
    """What cbor2 asks for the meaning of a tag: RFC 8428, section 6, allows decimal fractions and no other.

    Among the others are references that make circles, and regular expressions.
    """

    def __getitem__(self, tag: int) -> Any:
        if tag == _DECIMAL_FRACTION:
            raise KeyError(tag)  # cbor2 knows

        def refuse(_decoder: object) -> object:
            raise BadPackError(f"the tag {tag}")

        return refuse


_TAGS: Final = _OnlyDecimalFractions()


def _parsed(payload: bytes) -> object:
    """A pack with text labels. Raises BadPackError."""
    if payload.lstrip(_JSON_SPACE).startswith(_OPENS_JSON):
        try:
            return _decode_json(payload)
        except JSON_ERRORS as error:
            raise BadPackError(str(error)) from None
    try:
        pack = cbor2.loads(payload.removeprefix(_SELF_DESCRIBED), semantic_decoders=_TAGS, max_depth=_MAX_DEPTH)
    except cbor2.CBORDecodeError as error:
        raise BadPackError(str(error)) from None
    if not isinstance(pack, list):
        raise BadPackError("neither JSON nor CBOR: a pack is an array")
    return [_labelled(record) if isinstance(record, dict) else record for record in pack[: MAX_RECORDS + 1]]


def _labelled(record: dict[Any, Any]) -> dict[Any, Any]:
    return {
        LABELS.get(label, str(label)) if isinstance(label, int) else label: (
            float(value) if isinstance(value, Decimal) else value
        )
        for label, value in record.items()
    }


def _split(name: str) -> tuple[str, str, int]:
    """The thing, the last part of its name without the number at its end, and that number."""
    last = _PARTS.split(name)[-1]
    match = _NUMBERED.fullmatch(last)
    word, number = (match[1], int(match[2])) if match is not None else (last, 0)
    return name[: len(name) - len(last)].rstrip(":/."), word.lower(), number


def _positions(resolved: Iterable[Resolved]) -> Iterable[Position]:
    """One position for each thing and time that has both latitude and longitude."""
    fixes: dict[tuple[float, str], dict[str, float]] = {}
    for time_s, thing, column, value in _parts_of_fixes(resolved):
        fixes.setdefault((time_s, thing), {})[column] = value
    for (time_s, _), columns in fixes.items():
        if "latitude_deg" in columns and "longitude_deg" in columns:
            yield Position(observed_at_us=round(time_s * 1e6), **columns)  # type: ignore[arg-type]


def _parts_of_fixes(resolved: Iterable[Resolved]) -> Iterable[tuple[float, str, str, float]]:
    for record in resolved:
        if record.unit is None or not isinstance(record.value, float):
            continue
        thing, word, _ = _split(record.name)
        column, units = _BY_FIX_NAME.get(word, ("", {}))
        if record.unit in units:
            yield record.time_s, thing, column, record.value * units[record.unit]
        elif record.unit in _BY_FIX_UNIT and not column:
            yield record.time_s, record.name, _BY_FIX_UNIT[record.unit], record.value


def _samples(resolved: Iterable[Resolved]) -> Iterable[SensorSample]:
    for record in resolved:
        if not isinstance(record.value, float | bool):
            continue
        _, word, number = _split(record.name)
        measure = _BY_NAME_AND_UNIT.get((word, record.unit)) or _BY_UNIT.get(record.unit or "")
        if measure is not None:
            yield SensorSample(
                observed_at_us=round(record.time_s * 1e6),
                quantity=measure.quantity,
                value=record.value * measure.factor + measure.offset,
                probe=number,
            )
