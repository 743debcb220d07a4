"""The grid under the index: the world cut in 4 by 4, thirteen times over, and which cell holds a point.

Level 0 is one cell, level n has 4**n columns and rows; a cell of level 13 is at most 0.6 m wide and 0.3 m high. The
finest column of a point is a rounded expression, but a monotone one, so that every cell is a rectangle of doubles. Its
true sides lie within `PAD_DEG` of the ideal ones, and whatever is said of a cell is said of the padded one.
"""

from __future__ import annotations

from typing import Final

from geofence.kernel import inlined_kernel, scalar_kernel

DEEPEST: Final = 13
BITS: Final = 2 * DEEPEST
COLUMNS: Final = 1 << BITS
# Rounding of (degrees + 180) * scale and of the sides below is less than 2e-13 degrees in all.
PAD_DEG: Final = 1e-12

_COLUMN_SCALE: Final = COLUMNS / 360.0
_ROW_SCALE: Final = COLUMNS / 180.0
_MASK: Final = COLUMNS - 1


@inlined_kernel
def finest_column(longitude_deg: float) -> int:
    """The column on the deepest level of a longitude in [-180, 180]; 180 belongs to the last."""
    return min(int((longitude_deg + 180.0) * _COLUMN_SCALE), _MASK)


@inlined_kernel
def finest_row(latitude_deg: float) -> int:
    """The row on the deepest level of a latitude in [-90, 90]; 90 belongs to the last."""
    return min(int((latitude_deg + 90.0) * _ROW_SCALE), _MASK)


@scalar_kernel
def cell_key(level: int, column: int, row: int) -> int:
    """A cell in one int64."""
    return (level << (2 * BITS)) | (row << BITS) | column


@scalar_kernel
def key_parts(key: int) -> tuple[int, int, int]:
    """Level, column and row of a cell."""
    return key >> (2 * BITS), key & _MASK, (key >> BITS) & _MASK


@scalar_kernel
def column_west_deg(level: int, column: int) -> float:
    """The ideal western side of a column; the eastern one is that of the next."""
    return column * (360.0 / (1 << (2 * level))) - 180.0


@scalar_kernel
def row_south_deg(level: int, row: int) -> float:
    """The ideal southern side of a row; the northern one is that of the next."""
    return row * (180.0 / (1 << (2 * level))) - 90.0


@scalar_kernel
def level_for(width_deg: float, height_deg: float, cells: float) -> int:
    """The level, 1 to DEEPEST, on which a box is `cells` cells wide or high, or down to a quarter of that."""
    extent = max(width_deg / 360.0, height_deg / 180.0)
    level = 1
    while level < DEEPEST and extent * (1 << (2 * (level + 1))) <= cells:
        level += 1
    return level
