"""One JSON object a line: `device_id`, and beside it what the topic `json` takes (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ingest.decoders import native_json
from ingest.reasons import Rejection
from ingest.replay_formats.row import Row, Skipped


class _Named(msgspec.Struct):
    device_id: str


_decode_name: Final = msgspec.json.Decoder(_Named).decode


def read(lines: Iterable[str]) -> Iterator[Row | Skipped]:
    """One row a line; empty lines are passed over."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            device_id = _decode_name(line).device_id
        except msgspec.DecodeError as error:
            yield Skipped(number, str(error))
            continue
        readings = native_json.decode("", line.encode(), 0)
        if isinstance(readings, Rejection):
            yield Skipped(number, f"{readings.reason.text}: {readings.detail}")
            continue
        times = [each.observed_at_us for kind in (readings.positions, readings.sensors, readings.tags) for each in kind]
        yield Row(device_id, times[0], readings)
