"""The fields of a foreign object as readings, by the mapping of a topic rule (`ingest/field_mapping.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch, SensorSample
from ingest.decoders.json_events import AwareTime, time_us
from ingest.field_mapping import CLOCK_FIELDS, DEFAULTS, POSITION_FIELDS, QUANTITY_FIELDS, FieldSource, FieldSources
from ingest.reasons import Reason, Rejection

_TOO_LARGE: Final = 2.0**63
_MOST_SATELLITES: Final = 2**32 - 1


class _Place(NamedTuple):
    """Where a value may stand."""

    path: tuple[str, ...]
    source: FieldSource


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


class MappedFields:
    """Reads objects. With `fields` only those are read, and what stands there must be a number; without, DEFAULTS are.

    null is a value that is not there. A boolean is 1 or 0, a number may be a string, and a time may be RFC 3339.
    """

    def __init__(self, fields: FieldSources) -> None:
        self._is_configured: Final = bool(fields)
        # By field, for each of its probes: the places to look at, one after the other. Those configured have one each.
        places: dict[str, list[list[_Place]]] = {
            name: [[_place(source)] for source in sources] for name, sources in fields.items()
        } or {name: [[_place(source) for source in sources]] for name, sources in DEFAULTS.items()}
        self._clocks: Final = {name: places[name][0] for name in CLOCK_FIELDS if name in places}
        self._position: Final = [(name, places[name][0]) for name in POSITION_FIELDS if name in places]
        self._quantities: Final = [
            (number, probe, each)
            for name, number in QUANTITY_FIELDS.items()
            for probe, each in enumerate(places.get(name, ()))
        ]

    def readings(self, objects: Iterable[object], at_us: int, sequence: int | None) -> ReadingBatch | Rejection:
        """The readings in objects, observed at their own time if that is mapped, else at `at_us`; `sequence` likewise.

        Objects are any JSON values; `at_us` is microseconds.
        """
        batch = ReadingBatch()
        try:
            for found in objects:
                self._read(found, at_us, sequence, batch)
        except _Refused as refused:
            return refused.rejection
        return batch

    def _read(self, found: object, at_us: int, sequence: int | None, batch: ReadingBatch) -> None:
        own_time = self._clock(found, "observed_at_us", -_TOO_LARGE)
        if own_time is None and self._is_configured and "observed_at_us" in self._clocks:
            raise _Refused(Reason.MISSING_FIELD, f"{'.'.join(self._clocks['observed_at_us'][0].path)} is missing")
        own_sequence = self._clock(found, "sequence", 0)
        clocks: dict[str, Any] = {
            "observed_at_us": at_us if own_time is None else own_time,
            "sequence": sequence if own_sequence is None else own_sequence,
        }
        before = len(batch.positions) + len(batch.sensors)
        position: dict[str, Any] = {name: self._number(found, places) for name, places in self._position}
        if position.get("latitude_deg") is not None and position.get("longitude_deg") is not None:
            position["satellites"] = _satellites(position.get("satellites"))
            batch.positions.append(Position(**clocks, **position))
        for quantity, probe, places in self._quantities:
            value = self._number(found, places)
            if value is not None:
                batch.sensors.append(SensorSample(**clocks, quantity=quantity, value=value, probe=probe))
        if len(batch.positions) + len(batch.sensors) > before:
            return
        if position.get("latitude_deg") is not None or position.get("longitude_deg") is not None:
            raise _Refused(Reason.NO_LOCATION, "a latitude without a longitude, or a longitude without a latitude")
        raise _Refused(Reason.UNKNOWN_TYPE, "none of the fields that the topic rule maps")

    def _number(self, found: object, places: Sequence[_Place]) -> float | None:
        for path, source in places:
            value = _at(found, path)
            if value is None:
                continue
            number = _as_number(value)
            if number is not None:
                return number * source.scale + source.offset
            self._not_a_number(path, value)
        return None

    def _clock(self, found: object, name: str, least: float) -> int | None:
        """A time or a running number; a time may also be text."""
        for path, source in self._clocks.get(name, ()):
            value = _at(found, path)
            if value is None:
                continue
            if isinstance(value, str) and name == "observed_at_us" and _as_number(value) is None:
                try:
                    return time_us(msgspec.convert(value, AwareTime))
                except msgspec.ValidationError:
                    self._not_a_number(path, value)
                    continue
            if isinstance(value, int) and source.scale == 1 and source.offset == 0:
                number: float | None = value  # as it is: a float has not the digits of a time in microseconds
            else:
                number = _as_number(value)
                number = None if number is None else number * source.scale + source.offset
            if number is None:
                self._not_a_number(path, value)
            elif not least <= number < _TOO_LARGE:
                raise _Refused(Reason.VALUE_OUT_OF_RANGE, ".".join(path))
            else:
                return round(number)
        return None

    def _not_a_number(self, path: tuple[str, ...], value: object) -> None:
        """By default names, another codec's field of the same name is passed over."""
        if self._is_configured:
            raise _Refused(Reason.MALFORMED, f"{'.'.join(path)} is no number: {str(value)[:100]!r}")


def _place(source: FieldSource) -> _Place:
    return _Place(tuple(source.path.split(".")), source)


def _at(found: object, path: tuple[str, ...]) -> object:
    """What stands at a path, or None."""
    for name in path:
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _as_number(value: object) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        # float() takes "1_0" for 10.
        number = math.nan if isinstance(value, str) and "_" in value else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _satellites(number: float | None) -> int | None:
    if number is None:
        return None
    if not 0 <= number <= _MOST_SATELLITES:
        raise _Refused(Reason.VALUE_OUT_OF_RANGE, "satellites")
    return round(number)
