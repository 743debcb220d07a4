"""The difference that one viewport is sent, found and packed in one call: a thousand clients have a thousand viewports.

Columns come sorted by longitude, so that a viewport looks at a slice of them. The layout of a frame is that of
`frames.py`; its columns are whole multiples of 8 bytes, so that three views of one buffer are enough to write it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geofence.kernel import inlined_kernel, scalar_kernel
from tracking_core.columns import F32, F64, I64, U32

HEADER_WORDS: Final = 5
"""The header of a frame, in words of 8 bytes."""


class Shown(NamedTuple):
    """What may be shown, by longitude; NaN, which is nowhere, last."""

    longitude_deg: F64
    latitude_deg: F64
    observed_at_us: F64
    device_number: U32
    speed_mps: F32
    heading_deg: F32
    accuracy_m: F32
    row: I64


class Earlier(NamedTuple):
    """Where the same devices were before, by that longitude, and where they are now."""

    longitude_deg: F64
    latitude_deg: F64
    now_longitude_deg: F64
    now_latitude_deg: F64
    device_number: U32


class Room(NamedTuple):
    """A buffer for one frame, as numbers of 8 and of 4 bytes, and room for as many rows."""

    words: F64
    numbers: U32
    singles: F32
    rows: I64


def room_for(count: int) -> Room:
    """Room for a frame in which all of `count` devices are shown or gone."""
    words: npt.NDArray[Any] = np.zeros(HEADER_WORDS + 6 * count + 8, np.float64)
    return Room(words, words.view(np.uint32), words.view(np.float32), np.zeros(count, np.int64))


@inlined_kernel
def _slice(longitude_deg: F64, west: float, east: float) -> tuple[int, int]:
    """First and last + 1 of the sorted longitudes within both ends."""
    first, last = 0, len(longitude_deg)
    while first < last:
        middle = (first + last) // 2
        if longitude_deg[middle] < west:
            first = middle + 1
        else:
            last = middle
    start, last = first, len(longitude_deg)
    while first < last:
        middle = (first + last) // 2
        if longitude_deg[middle] <= east:
            first = middle + 1
        else:
            last = middle
    return start, first


@inlined_kernel
def _contains(west: float, south: float, east: float, north: float, longitude: float, latitude: float) -> bool:
    """Edges do belong; NaN does not."""
    if not (latitude >= south and latitude <= north):
        return False
    if west <= east:
        return longitude >= west and longitude <= east
    return longitude >= west or longitude <= east


@scalar_kernel
def pack_viewport(
    shown: Shown, earlier: Earlier, west: float, south: float, east: float, north: float, room: Room
) -> tuple[int, int]:
    """Writes the columns of a frame behind its header, and the rows shown; returns how many are shown and gone.

    Degrees; `west > east` spans the antimeridian. A frame without either has no meaning, and its room is not touched.
    """
    count = 0
    for part in range(2):
        if part == 1 and west <= east:
            break
        low = west if part == 0 else -180.0
        high = 180.0 if part == 0 and west > east else east
        first, last = _slice(shown.longitude_deg, low, high)
        for index in range(first, last):
            if shown.latitude_deg[index] >= south and shown.latitude_deg[index] <= north:
                room.rows[count] = index
                count += 1
    narrow = count + (count & 1)
    at = HEADER_WORDS
    numbers = 2 * (at + 3 * count)
    for place in range(count):
        index = room.rows[place]
        room.words[at + place] = shown.observed_at_us[index]
        room.words[at + count + place] = shown.longitude_deg[index]
        room.words[at + 2 * count + place] = shown.latitude_deg[index]
        room.numbers[numbers + place] = shown.device_number[index]
        room.singles[numbers + narrow + place] = shown.speed_mps[index]
        room.singles[numbers + 2 * narrow + place] = shown.heading_deg[index]
        room.singles[numbers + 3 * narrow + place] = shown.accuracy_m[index]
        room.rows[place] = shown.row[index]
    for column in range(4 if narrow > count else 0):
        room.numbers[numbers + column * narrow + count] = 0
    numbers += 4 * narrow
    gone = 0
    for part in range(2):
        if part == 1 and west <= east:
            break
        low = west if part == 0 else -180.0
        high = 180.0 if part == 0 and west > east else east
        first, last = _slice(earlier.longitude_deg, low, high)
        for index in range(first, last):
            if not (earlier.latitude_deg[index] >= south and earlier.latitude_deg[index] <= north):
                continue
            now_longitude, now_latitude = earlier.now_longitude_deg[index], earlier.now_latitude_deg[index]
            if not _contains(west, south, east, north, now_longitude, now_latitude):
                room.numbers[numbers + gone] = earlier.device_number[index]
                gone += 1
    if gone & 1:
        room.numbers[numbers + gone] = 0
    return count, gone
