"""What must come of a recording, by the naive single-threaded engine."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from drover.telemetry.v1 import reading_pb2
from geofence.geojson import from_feature
from ingest.replay_formats import Row
from tests.tracking_core import naive
from tests.tracking_core.readings import Position


def time_us(text: str) -> int:
    """Microseconds of an RFC 3339 time."""
    return int(
        (dt.datetime.fromisoformat(text) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)
    )


def is_admissible(position: reading_pb2.Position) -> bool:
    """Whether ingest must take it: real coordinates, from a clock that was set and is not in the future."""
    return (
        math.isfinite(position.latitude_deg)
        and math.isfinite(position.longitude_deg)
        and abs(position.latitude_deg) <= 90
        and abs(position.longitude_deg) <= 180
        and time_us("2000-01-01T00:00:00Z") <= position.observed_at_us <= time_us("2030-01-01T00:00:00Z")
    )


EventKey = tuple[str, str, str, int]
"""Device, kind, fence or nothing, when."""

KINDS: Final = frozenset({"geofence_entered", "geofence_exited", "signal_lost", "signal_restored"})
"""What is compared; stops and trips have an oracle of their own, in tests/tracking_core."""


def events(rows: Iterable[Row], features: Sequence[dict[str, Any]], tenant: str) -> list[EventKey]:
    """Sorted: what stands once all rows have come, in whatever order; the log is appended to long after they were
    observed.
    """
    numbers: dict[str, int] = {}
    readings = []
    for row in rows:
        number = numbers.setdefault(row.device_id, len(numbers))
        fix = row.readings.positions[0]
        readings.append(
            Position(
                number,
                fix.observed_at_us,
                fix.latitude_deg,
                fix.longitude_deg,
                speed_mps=fix.speed_mps if fix.HasField("speed_mps") else math.nan,
                heading_deg=fix.heading_deg if fix.HasField("heading_deg") else math.nan,
            )
        )
    names = {number: device_id for device_id, number in numbers.items()}
    ordered = sorted(readings, key=lambda reading: reading.observed_at_us)
    found = naive.standing(naive.events_of(ordered, [from_feature(feature, tenant) for feature in features]))
    return sorted(
        (names[event.device], str(event.kind), event.subject_id, event.observed_at_us)
        for event in found
        if event.kind in KINDS
    )


def differences(wanted: Sequence[EventKey], found: Sequence[EventKey]) -> list[str]:
    """What differs. A crossing is interpolated, so its time may differ by a millisecond."""
    lines = [f"wanted {len(wanted)} events, found {len(found)}"] if len(wanted) != len(found) else []
    for ours, theirs in zip(wanted, found, strict=False):
        if ours[:3] != theirs[:3] or abs(ours[3] - theirs[3]) > 1000:
            return [*lines, f"wanted {ours}, found {theirs}"]
    return lines


def devices_with_fix(rows: Iterable[Row]) -> set[str]:
    """Devices of which at least one fix says where they are."""
    return {
        row.device_id
        for row in rows
        if (row.readings.positions[0].latitude_deg, row.readings.positions[0].longitude_deg) != (0.0, 0.0)
    }
