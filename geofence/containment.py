"""Which fences hold a point; the boundary belongs to the fence."""

from __future__ import annotations

from geofence.lookup import contains_one, find_around, find_containing, touch_cells
from geofence.lookup_batch import find_containing_batch

__all__ = ["contains_one", "find_around", "find_containing", "find_containing_batch", "touch_cells"]
