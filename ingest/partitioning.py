"""Batches put together, and taken apart by partition: one pass over the device numbers, one copy of each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geofence.kernel import kernel
from tracking_core.columns import I64, U32, Columns, Readings, concatenate, count, no_readings, take


def join(parts: Sequence[Readings]) -> Readings:
    """All readings of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_readings()
    return Readings(
        concatenate([part.positions for part in parts]),
        concatenate([part.sensors for part in parts]),
        concatenate([part.tags for part in parts]),
    )


def split(readings: Readings, partitions: int) -> list[tuple[int, Readings]]:
    """The readings of each partition that has any, in order of arrival within it."""
    positions, position_at = _ordered(readings.positions, partitions)
    sensors, sensor_at = _ordered(readings.sensors, partitions)
    tags, tag_at = _ordered(readings.tags, partitions)
    parts = [
        (
            partition,
            Readings(
                _rows(positions, position_at, partition),
                _rows(sensors, sensor_at, partition),
                _rows(tags, tag_at, partition),
            ),
        )
        for partition in range(partitions)
    ]
    return [(partition, part) for partition, part in parts if count(part)]


@kernel
def partition_rows(device: U32, partitions: int) -> tuple[I64, I64]:
    """Rows by partition (device number modulo `partitions`), each partition's in the order they came.

    Returns `(order, offsets)`: the rows of partition p are `order[offsets[p]:offsets[p + 1]]`. Counting sort: stable,
    two passes over `device` (uint32, N). Mutates nothing.
    """
    offsets = np.zeros(partitions + 1, np.int64)
    for row in range(len(device)):
        offsets[device[row] % partitions + 1] += 1
    for partition in range(partitions):
        offsets[partition + 1] += offsets[partition]
    cursor = offsets[:-1].copy()
    order = np.empty(len(device), np.int64)
    for row in range(len(device)):
        partition = device[row] % partitions
        order[cursor[partition]] = row
        cursor[partition] += 1
    return order, offsets


def _ordered(columns: Columns, partitions: int) -> tuple[Columns, list[int]]:
    if partitions == 1 or len(columns.device) == 0:
        return columns, [0] * partitions + [len(columns.device)]
    order, offsets = partition_rows(columns.device, partitions)
    return take(columns, order), offsets.tolist()


def _rows(columns: Columns, offsets: Sequence[int], partition: int) -> Columns:
    rows = slice(offsets[partition], offsets[partition + 1])
    views: list[Any] = [column[rows] for column in columns]
    return type(columns)(*views)
