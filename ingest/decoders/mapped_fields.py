"""The fields of a foreign object as readings, by the mapping of a topic rule (`ingest/field_mapping.py`).

An object is gone through once, by its own names: it has fewer of them than there are defaults. Rejected: asking for
each field in turn, which takes 2.5 times as long for an object of five names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.json_events import AwareTime, time_us
from ingest.field_mapping import CLOCK_FIELDS, DEFAULTS, POSITION_FIELDS, QUANTITY_FIELDS, FieldSources
from ingest.reasons import Reason, Rejection

_TOO_LARGE: Final = 2.0**63
_MOST_SATELLITES: Final = 2**32 - 1
# What a value is of, by its place in these: clocks, then columns of the position, then quantities and their probes.
_TIME, _SEQUENCE = range(len(CLOCK_FIELDS))
_FIRST_COLUMN: Final = len(CLOCK_FIELDS)
_LATITUDE: Final = _FIRST_COLUMN + POSITION_FIELDS.index("latitude_deg")
_LONGITUDE: Final = _FIRST_COLUMN + POSITION_FIELDS.index("longitude_deg")
_SATELLITES: Final = _FIRST_COLUMN + POSITION_FIELDS.index("satellites")
_FIRST_QUANTITY: Final = _FIRST_COLUMN + len(POSITION_FIELDS)


class _Use(NamedTuple):
    """One use of a name of the object: the rest of the path, what the value is of, and its rank among alternatives."""

    rest: tuple[str, ...]
    slot: int
    rank: int
    scale: float
    offset: float
    path: str


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
        self._wants_time: Final = "observed_at_us" in fields
        self._uses: Final[dict[str, list[_Use]]] = {}
        self._quantities: Final[list[tuple[Any, int]]] = []
        """Quantity and probe of each slot from `_FIRST_QUANTITY`."""
        chosen = fields or DEFAULTS
        for slot, name in enumerate((*CLOCK_FIELDS, *POSITION_FIELDS)):
            self._add(chosen, name, [slot] * len(chosen.get(name, ())))
        for name, quantity in QUANTITY_FIELDS.items():
            first = _FIRST_QUANTITY + len(self._quantities)
            count = len(chosen.get(name, ()))
            # As configured, the sources of a quantity are its probes; by default, they are alternatives.
            probes = range(count) if self._is_configured else [0] * count
            self._add(chosen, name, [first + probe for probe in probes])
            self._quantities.extend((quantity, probe) for probe in sorted(set(probes)))

    def _add(self, fields: FieldSources, name: str, slots: Iterable[int]) -> None:
        for rank, (slot, source) in enumerate(zip(slots, fields.get(name, ()), strict=True)):
            first, *rest = source.path.split(".")
            use = _Use(tuple(rest), slot, rank, source.scale, source.offset, source.path)
            self._uses.setdefault(first, []).append(use)

    def readings(self, objects: Iterable[object], at_us: int | None, sequence: int | None) -> ReadingBatch | Rejection:
        """The readings in objects, observed at their own time if that is mapped, else at `at_us`; `sequence` likewise.

        Objects are any JSON values; `at_us` is microseconds; without it, each must have its own.
        """
        batch = ReadingBatch()
        try:
            for found in objects:
                self._read(found, at_us, sequence, batch)
        except _Refused as refused:
            return refused.rejection
        return batch

    def _read(self, found: object, at_us: int | None, sequence: int | None, batch: ReadingBatch) -> None:
        values = self._values(found) if isinstance(found, Mapping) else {}
        own_time_us = values.pop(_TIME, None)
        if own_time_us is not None:
            at_us = int(own_time_us)
        elif at_us is None or self._wants_time:
            raise _Refused(Reason.MISSING_FIELD, "the time is missing")
        if _SEQUENCE in values:
            sequence = int(values.pop(_SEQUENCE))
        if not values:
            raise _Refused(Reason.UNKNOWN_TYPE, "none of the fields that the topic rule maps")
        has_place = _LATITUDE in values and _LONGITUDE in values
        if has_place:
            columns: dict[str, Any] = {
                name: values[slot] for slot, name in enumerate(POSITION_FIELDS, _FIRST_COLUMN) if slot in values
            }
            if _SATELLITES in values:
                columns["satellites"] = _satellites(values[_SATELLITES])
            batch.positions.add(observed_at_us=at_us, sequence=sequence, **columns)
        slots = sorted(slot for slot in values if slot >= _FIRST_QUANTITY)
        for slot in slots:
            quantity, probe = self._quantities[slot - _FIRST_QUANTITY]
            batch.sensors.add(
                observed_at_us=at_us, sequence=sequence, quantity=quantity, value=values[slot], probe=probe
            )
        if not has_place and not slots:
            raise _Refused(Reason.NO_LOCATION, "a place without its latitude or its longitude")

    def _values(self, found: Mapping[Any, object]) -> dict[int, float]:
        """The value of each slot; of alternatives, that of the lowest rank."""
        values: dict[int, float] = {}
        ranks: dict[int, int] = {}
        for name, value in found.items():
            for use in self._uses.get(name, ()):
                here = _at(value, use.rest) if use.rest else value
                if here is None or use.rank >= ranks.get(use.slot, len(DEFAULTS)):
                    continue
                number = _clock(here, use) if use.slot < _FIRST_COLUMN else _number(here, use)
                if number is not None:
                    values[use.slot], ranks[use.slot] = number, use.rank
                elif self._is_configured:
                    raise _Refused(Reason.MALFORMED, f"{use.path} is no number: {str(here)[:100]!r}")
        return values


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


def _number(value: object, use: _Use) -> float | None:
    """In our unit; None for what is no number, or no finite one."""
    try:
        if isinstance(value, str):
            # float() takes "1_0" for 10.
            value = math.nan if "_" in value else float(value)
        if not isinstance(value, int | float):
            return None
        number = value * use.scale + use.offset
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _clock(value: object, use: _Use) -> float | None:
    """A time or a running number, whole; a time may also be text."""
    number = _number(value, use)
    if number is not None and isinstance(value, int) and use.scale == 1 and use.offset == 0:
        number = value  # a float has not the digits of a time in microseconds
    if number is None and isinstance(value, str) and use.slot == _TIME:
        try:
            return time_us(msgspec.convert(value, AwareTime))
        except msgspec.ValidationError:
            return None
    least = 0 if use.slot == _SEQUENCE else -_TOO_LARGE
    if number is not None and not least <= number < _TOO_LARGE:
        raise _Refused(Reason.VALUE_OUT_OF_RANGE, use.path)
    return None if number is None else round(number)


def _satellites(number: float) -> int:
    if not 0 <= number <= _MOST_SATELLITES:
        raise _Refused(Reason.VALUE_OUT_OF_RANGE, "satellites")
    return round(number)
