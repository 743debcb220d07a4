"""Samples of a Sparkplug device, as readings.

Sparkplug reports by exception: only what changed is sent. A fix is made of what changed and of the present values of
the rest, which births and earlier data said. Where a payload has no measure twice, its metrics are one fix, of the time
of the newest; where it has, metrics of one time are one fix each.

Historical samples are of their own time, and never mixed with present values: their metrics of one time are one fix, if
there are both latitude and longitude. They come before the others, so that the present state is what was last said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch, SensorSample
from ingest.decoders.sparkplug_metric import Sample
from ingest.field_mapping import POSITION_FIELDS, QUANTITY_FIELDS

_MAX_SATELLITES: Final = 2**31 - 1


def readings(samples: Sequence[Sample], present: dict[str, float]) -> ReadingBatch:
    """Positions and sensor samples. Updates `present`, the last values of what makes a fix."""
    batch = ReadingBatch()
    of_fixes = [sample for sample in samples if sample.field in POSITION_FIELDS]
    historical = [sample for sample in of_fixes if sample.is_historical]
    for together in _by_time(historical):
        _add_fix(batch, together, {}, is_historical=True)
    live = [sample for sample in of_fixes if not sample.is_historical]
    is_one_fix = len({sample.field for sample in live}) == len(live)
    for together in [live] if is_one_fix else _by_time(live):
        _add_fix(batch, together, present, is_historical=False)
    for sample in sorted(samples, key=lambda sample: not sample.is_historical):
        if sample.field not in POSITION_FIELDS and sample.value is not None:
            batch.sensors.append(
                SensorSample(
                    observed_at_us=sample.time_ms * 1000,
                    quantity=QUANTITY_FIELDS[sample.field],
                    value=sample.value,
                    probe=sample.probe,
                )
            )
    return batch


def _by_time(samples: Iterable[Sample]) -> list[list[Sample]]:
    """The samples of each time, in order of time."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.time_ms, []).append(sample)
    return [found[time_ms] for time_ms in sorted(found)]


def _add_fix(batch: ReadingBatch, samples: Sequence[Sample], present: dict[str, float], *, is_historical: bool) -> None:
    """The fix of some samples on top of what is present, if that has a place."""
    for sample in samples:
        if sample.value is None or not _fits(sample.field, sample.value):
            present.pop(sample.field, None)
        else:
            present[sample.field] = sample.value
    if samples and "latitude_deg" in present and "longitude_deg" in present:
        columns = {field: int(value) if field == "satellites" else value for field, value in present.items()}
        observed_at_us = max(sample.time_ms for sample in samples) * 1000
        batch.positions.append(
            Position(observed_at_us=observed_at_us, is_historical=is_historical, **columns)  # type: ignore[arg-type]
        )


def _fits(field: str, value: float) -> bool:
    """Whether a value can stand in its field; all others are judged by admission."""
    return field != "satellites" or (0 <= value <= _MAX_SATELLITES and value.is_integer())
