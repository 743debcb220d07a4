"""AIS positions as MarineCadastre.gov publishes them: CSV with a header line, times in UTC without an offset.

Source: NOAA's data dictionary of that file, and ITU-R M.1371-5, table 48, for the values that mean "not available": SOG
102.3, COG 360. What is not available is left out; a latitude of 91 and a longitude of 181 are passed on as they
are, for admission to refuse with a reason. `Heading` is where the bow points and is no course: it is not read.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final

from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch
from ingest.replay_formats.row import Row, Skipped

_MPS_PER_KNOT: Final = 1852 / 3600
_NO_SPEED_KNOTS: Final = 102.3
_FULL_CIRCLE_DEG: Final = 360.0
_COLUMNS: Final = ("MMSI", "BaseDateTime", "LAT", "LON", "SOG", "COG")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


def read(lines: Iterable[str]) -> Iterator[Row | Skipped]:
    """One row a fix; the device is the MMSI."""
    table = csv.reader(lines)
    header = next(table, [])
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        yield Skipped(1, f"the header lacks {', '.join(missing)}")
        return
    at = [header.index(name) for name in _COLUMNS]
    last_us: dict[str, int] = {}  # most rows share the second of the row before
    for cells in table:
        if len(cells) != len(header):
            yield Skipped(table.line_num, f"{len(cells)} cells, the header has {len(header)}")
            continue
        mmsi, time, latitude, longitude, speed, course = (cells[index] for index in at)
        try:
            observed_at_us = last_us.get(time)
            if observed_at_us is None:
                observed_at_us = _microseconds(time)
                last_us = {time: observed_at_us}
            position = Position(
                observed_at_us=observed_at_us,
                latitude_deg=float(latitude),
                longitude_deg=float(longitude),
                speed_mps=_speed_mps(speed),
                heading_deg=_course_deg(course),
            )
        except ValueError as error:
            yield Skipped(table.line_num, str(error))
            continue
        yield Row(mmsi, observed_at_us, ReadingBatch(positions=[position]))


def _microseconds(text: str) -> int:
    return (dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND


def _speed_mps(text: str) -> float | None:
    knots = float(text) if text else _NO_SPEED_KNOTS
    return knots * _MPS_PER_KNOT if 0 <= knots < _NO_SPEED_KNOTS else None


def _course_deg(text: str) -> float | None:
    course_deg = float(text) if text else _FULL_CIRCLE_DEG
    return course_deg if 0 <= course_deg < _FULL_CIRCLE_DEG else None
