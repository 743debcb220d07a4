"""The engine's door: columns come in read-only, contiguous and aligned, so that kernels are compiled for that alone.

Columns of an unpacked block are read-only views, those a test or a simulator makes are writable: to numba these are
different types, and it would compile every kernel for each. Passing all of them on as read-only views costs some
microseconds a batch and no copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracking_core.columns import (
    POSITION_DTYPES,
    SENSOR_DTYPES,
    TAG_DTYPES,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
)


def let_in(readings: Readings) -> Readings:
    """The same readings as the kernels want them. Raises ValueError when columns of one kind differ in length."""
    return Readings(
        PositionColumns(*_columns(readings.positions, POSITION_DTYPES)),
        SensorColumns(*_columns(readings.sensors, SENSOR_DTYPES)),
        TagColumns(*_columns(readings.tags, TAG_DTYPES)),
    )


def _columns(columns: tuple[npt.NDArray[Any], ...], dtypes: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    passed: list[npt.NDArray[Any]] = []
    for column, dtype in zip(columns, dtypes, strict=True):
        view = np.require(column, dtype, ("C", "A")).view()
        if view.shape != (len(columns[0]),):
            raise ValueError(f"a column has the shape {view.shape}, device has {len(columns[0])} rows")
        view.flags.writeable = False
        passed.append(view)
    return passed
