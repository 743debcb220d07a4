"""Batches that hold something bad: what is sound in them is admitted, and only the rest is refused.

The bulk decoder takes a message whole or not at all, and judges every reading: range, clock, EPC. A batch that it
refused for one of its readings comes here, where each reading is decoded as a message of its own, by the same rules.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.native_protobuf import PayloadKind, decode_bulk
from ingest.reasons import Reason
from tracking_core.columns import Readings

OF_ONE_READING: Final = frozenset(
    {
        Reason.MISSING_FIELD,
        Reason.NOT_FINITE,
        Reason.COORDINATE_OUT_OF_RANGE,
        Reason.BAD_EPC,
        Reason.CLOCK_UNSET,
        Reason.CLOCK_FUTURE,
        Reason.UNKNOWN_TYPE,
        Reason.VALUE_OUT_OF_RANGE,
    }
)
"""Reasons that speak of a reading; the others speak of the whole message, and nothing in it can be trusted."""


class Admitted(NamedTuple):
    """The sound readings, and the others as batches by reason."""

    readings: Readings
    refused: dict[Reason, ReadingBatch]


def admit_singly(payload: bytes, device: int, received_at_us: int) -> Admitted | None:
    """Takes a `ReadingBatch` apart; None when it is not one, or is all of one mind: nothing sound, one reason."""
    try:
        batch = ReadingBatch.FromString(payload)
    except DecodeError:
        return None
    parts = [
        *((PayloadKind.POSITION, reading.SerializeToString()) for reading in batch.positions),
        *((PayloadKind.SENSOR, reading.SerializeToString()) for reading in batch.sensors),
        *((PayloadKind.TAG, reading.SerializeToString()) for reading in batch.tags),
    ]
    ends = np.cumsum(np.array([len(part) for _, part in parts], np.int64))
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1])) if parts else ends
    buffer = np.frombuffer(b"".join(part for _, part in parts), np.uint8)
    kinds = np.array([kind for kind, _ in parts], np.uint8)
    devices = np.full(len(parts), device, np.uint32)
    readings, status = decode_bulk(buffer, starts, ends, kinds, devices, received_at_us)
    refused: dict[Reason, ReadingBatch] = {}
    for index in np.flatnonzero(status).tolist():
        # A reading that became empty bytes is all zeros: it lacks its time.
        reason = Reason(int(status[index]))
        into = refused.setdefault(Reason.MISSING_FIELD if reason is Reason.EMPTY else reason, ReadingBatch())
        kind, part = parts[index]
        if kind is PayloadKind.POSITION:
            into.positions.add().ParseFromString(part)
        elif kind is PayloadKind.SENSOR:
            into.sensors.add().ParseFromString(part)
        else:
            into.tags.add().ParseFromString(part)
    if not refused or (len(refused) == 1 and status.all()):
        return None
    return Admitted(readings, refused)


def pieces(batch: ReadingBatch, max_bytes: int) -> list[ReadingBatch]:
    """The same readings in batches of at most `max_bytes` each, as far as single readings allow."""
    if batch.ByteSize() <= max_bytes or size(batch) < 2:
        return [batch]
    halves = ReadingBatch(), ReadingBatch()
    for half, rows in zip(halves, (slice(None, None, 2), slice(1, None, 2)), strict=True):
        half.positions.extend(batch.positions[rows])
        half.sensors.extend(batch.sensors[rows])
        half.tags.extend(batch.tags[rows])
    if not size(halves[1]):  # one reading of each kind
        return [
            ReadingBatch(positions=batch.positions),
            ReadingBatch(sensors=batch.sensors),
            ReadingBatch(tags=batch.tags),
        ]
    return [piece for half in halves for piece in pieces(half, max_bytes)]


def size(batch: ReadingBatch) -> int:
    """How many readings."""
    return len(batch.positions) + len(batch.sensors) + len(batch.tags)
