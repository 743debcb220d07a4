"""Points put into tiles of the plane, so that neighbours follow each other."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.compiled import F64, I32
from geofence.kernel import kernel

# Tiles a side. Measured on 10,000 fences and a million points: 300 ns a point with 32, 285 with 64, 266 with 128.
SIDE: Final = 128


class TiledPoints(NamedTuple):
    """Points tile by tile, and which they were."""

    tenant: I32
    longitude_deg: F64
    latitude_deg: F64
    point: I32


@kernel
def no_points(count: int) -> TiledPoints:
    """Room for `count` points."""
    return TiledPoints(
        np.empty(count, np.int32), np.empty(count, np.float64), np.empty(count, np.float64), np.empty(count, np.int32)
    )


@kernel
def fill_tiles(tenant: I32, longitude_deg: F64, latitude_deg: F64, first: int, last: int, tiled: TiledPoints) -> None:
    """Puts the points first to last - 1 into `tiled`, in the order of SIDE by SIDE tiles of their bounding box.

    A pass to count and one to scatter. A point that is NaN or not on the globe comes first.
    """
    west = 180.0
    east = -180.0
    south = 90.0
    north = -90.0
    for point in range(first, last):
        x = longitude_deg[point]
        y = latitude_deg[point]
        if abs(x) <= 180.0 and abs(y) <= 90.0:
            west = min(west, x)
            east = max(east, x)
            south = min(south, y)
            north = max(north, y)
    scale_x = (SIDE - 0.5) / max(east - west, 1e-9)
    scale_y = (SIDE - 0.5) / max(north - south, 1e-9)
    tile = np.zeros(last - first, np.int16)
    start = np.zeros(SIDE * SIDE + 1, np.int64)
    for point in range(first, last):
        x = longitude_deg[point]
        y = latitude_deg[point]
        if abs(x) <= 180.0 and abs(y) <= 90.0:
            tile[point - first] = int((y - south) * scale_y) * SIDE + int((x - west) * scale_x)
        start[tile[point - first] + 1] += 1
    for number in range(SIDE * SIDE):
        start[number + 1] += start[number]
    for point in range(first, last):
        place = start[tile[point - first]]
        start[tile[point - first]] += 1
        tiled.tenant[place] = tenant[point]
        tiled.longitude_deg[place] = longitude_deg[point]
        tiled.latitude_deg[place] = latitude_deg[point]
        tiled.point[place] = point
