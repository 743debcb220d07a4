"""What readers yield."""

from __future__ import annotations

from typing import NamedTuple

from drover.telemetry.v1.reading_pb2 import ReadingBatch


class Row(NamedTuple):
    """One row of a file. `observed_at_us` is that of its first reading, for replays that keep the recorded pace."""

    device_id: str
    observed_at_us: int
    readings: ReadingBatch


class Skipped(NamedTuple):
    """A row that cannot be read, by the number of its line in the file, from 1."""

    line: int
    detail: str
