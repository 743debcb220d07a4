"""What readers yield."""

from __future__ import annotations

from typing import Final, NamedTuple

from drover.telemetry.v1.reading_pb2 import ReadingBatch

NAMELESS: Final = ""
"""In place of a device id, where the file does not say whose it is."""


class Row(NamedTuple):
    """One row of a file. `observed_at_us` is that of its first reading, for replays that keep the recorded pace."""

    device_id: str
    observed_at_us: int
    readings: ReadingBatch


class Skipped(NamedTuple):
    """A row that cannot be read, by the number of its line in the file, from 1."""

    line: int
    detail: str
