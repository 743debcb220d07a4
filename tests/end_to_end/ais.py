"""The recorded day of ships: fences around the busiest waters, and what must come of it."""

from __future__ import annotations

import pathlib
from typing import Any, Final

# Longitude, latitude of busy harbours and straits in the recording.
WATERS: Final = {
    "new-orleans": (-90.05, 29.94), "baton-rouge": (-91.20, 30.45), "vancouver": (-123.10, 49.29),
    "houston": (-95.00, 29.70), "miami": (-80.15, 25.77), "seattle": (-122.36, 47.60), "galveston": (-94.77, 29.33),
    "new-york": (-74.05, 40.67), "port-arthur": (-93.93, 29.85), "san-francisco": (-122.36, 37.81),
    "norfolk": (-76.32, 36.92), "los-angeles": (-118.24, 33.74), "corpus-christi": (-97.30, 27.81),
    "san-diego": (-117.17, 32.70), "tampa": (-82.48, 27.80), "baltimore": (-76.53, 39.24),
}  # fmt: skip
TILE_DEG: Final = 0.02
TILES: Final = 5


def _box(west: float, south: float, size_deg: float) -> list[list[list[float]]]:
    east, north = west + size_deg, south + size_deg
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def fences() -> list[dict[str, Any]]:
    """GeoJSON features: for each water a large box, a circle, and a chequered field of small boxes sharing borders."""
    features = []
    for name, (longitude_deg, latitude_deg) in WATERS.items():
        shapes: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            (f"{name}-box", {"type": "Polygon", "coordinates": _box(longitude_deg - 0.1, latitude_deg - 0.1, 0.2)}, {}),
            (f"{name}-circle", {"type": "Point", "coordinates": [longitude_deg, latitude_deg]}, {"radius_m": 2500.0}),
        ]
        for row in range(TILES):
            for column in range(TILES):
                west = round(longitude_deg + (column - TILES / 2) * TILE_DEG, 6)
                south = round(latitude_deg + (row - TILES / 2) * TILE_DEG, 6)
                polygon = {"type": "Polygon", "coordinates": _box(west, south, TILE_DEG)}
                shapes.append((f"{name}-{row}{column}", polygon, {}))
        features += [
            {"type": "Feature", "id": fence_id, "geometry": geometry, "properties": {"name": fence_id, **properties}}
            for fence_id, geometry, properties in shapes
        ]
    return features


def recording(folder: pathlib.Path) -> pathlib.Path:
    """The file."""
    return folder / "ais_us_2022-01-03.csv.gz"
