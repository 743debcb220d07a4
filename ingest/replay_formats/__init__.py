"""Files of recorded readings, for `drover replay` and tests: one reader a format.

A reader yields one row after another, in the order of the file, and never holds more than one. A row that cannot be
read is told, not raised: whoever replays counts it.
"""

from __future__ import annotations

import gzip
import io
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TextIO, cast

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.replay_formats import ais_csv, drover_jsonl, nmea
from ingest.replay_formats.row import NAMELESS, Row, Skipped

__all__ = ["NAMELESS", "READERS", "WITHOUT_DEVICE", "Group", "Reader", "Row", "Skipped", "grouped", "rows"]

Reader = Callable[[Iterable[str]], Iterator[Row | Skipped]]
"""Lines in, rows out."""

READERS: Final[dict[str, Reader]] = {
    "ais-csv": ais_csv.read,
    "drover-jsonl": drover_jsonl.read,
    "nmea": nmea.read,
}
"""By the name that `drover replay --format` takes."""

WITHOUT_DEVICE: Final = frozenset({"nmea"})
"""Formats of one device that do not say whose they are: whoever replays them must."""


class Group(NamedTuple):
    """Rows next to each other in the file: one batch a device, in the order of each device's first row."""

    batches: dict[str, ReadingBatch]
    rows: int
    skipped: list[Skipped]
    last_observed_at_us: int | None


def rows(path: pathlib.Path, format_name: str, device_id: str = NAMELESS) -> Iterator[Row | Skipped]:
    """The rows of a file, compressed by gzip or not; those WITHOUT_DEVICE become those of `device_id`.

    Raises OSError, and KeyError for a format that is not known.
    """
    reader = READERS[format_name]
    with path.open("rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        raw = cast("io.BufferedReader", gzip.GzipFile(fileobj=file)) if is_compressed else file
        text: TextIO = io.TextIOWrapper(raw, "utf-8", errors="replace", newline="")
        for row in reader(text):
            yield row._replace(device_id=device_id) if isinstance(row, Row) and row.device_id == NAMELESS else row


def grouped(readings: Iterable[Row | Skipped], size: int) -> Iterator[Group]:
    """Every `size` rows as one group: for replays that need not keep the recorded pace."""
    batches: dict[str, ReadingBatch] = {}
    skipped: list[Skipped] = []
    count = 0
    last: int | None = None
    for row in readings:
        count += 1
        if isinstance(row, Skipped):
            skipped.append(row)
        else:
            batches.setdefault(row.device_id, ReadingBatch()).MergeFrom(row.readings)
            last = row.observed_at_us
        if count == size:
            yield Group(batches, count, skipped, last)
            batches, skipped, count = {}, [], 0
    if count:
        yield Group(batches, count, skipped, last)
