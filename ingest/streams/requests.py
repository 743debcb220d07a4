"""The outer layer of `StreamRequest`, for many requests in one call: where each device's id and readings stand.

The readings themselves are not looked at here: they are payloads like those of the topic `batch`. Stricter than
protobuf in one thing: a `DeviceReadings` that gives its id or its readings twice is malformed, instead of merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import kernel
from ingest.decoders.protobuf_wire import BYTES, VARINT, read_length, read_tag, read_varint, skip_field
from tracking_core.columns import I64, U8, U64

_BATCH_NUMBER: Final = 1
_DEVICES: Final = 2
_DEVICE_ID: Final = 1
_READINGS: Final = 2
_VARINT_BYTES: Final = 10


class Requests(NamedTuple):
    """Requests taken apart. Offsets are into `buffer`; one row of the five columns below is one device of a request."""

    buffer: U8
    batch_number: U64
    """Of each request; 0 where it gives none."""
    is_sound: U8
    """Of each request; one that is not has no rows."""
    request: I64
    id_start: I64
    id_end: I64
    readings_start: I64
    readings_end: I64


def take_apart(requests: Sequence[bytes]) -> Requests:
    """The layers of requests as they came from the wire. Never raises, whatever the bytes."""
    lengths = np.array([len(request) for request in requests], np.int64)
    end = np.cumsum(lengths)
    buffer = np.frombuffer(b"".join(requests), np.uint8)
    most = count_devices(buffer, end - lengths, end)
    parts = Requests(
        buffer,
        np.zeros(len(lengths), np.uint64),
        np.zeros(len(lengths), np.uint8),
        *(np.zeros(most, np.int64) for _ in range(5)),
    )
    found = find_devices(end - lengths, end, parts)
    if found == most:
        return parts
    rows = (column[:found] for column in parts[3:])
    return Requests(buffer, parts.batch_number, parts.is_sound, *rows)


@kernel
def count_devices(buffer: U8, start: I64, end: I64) -> int:
    """How many devices there can be at most in the requests `buffer[start[i]:end[i]]`."""
    count = 0
    for index in range(len(start)):
        at = start[index]
        while 0 <= at < end[index]:
            tag, at = read_tag(buffer, at, end[index])
            if at >= 0:
                count += tag >> 3 == _DEVICES
                at = skip_field(buffer, at, end[index], tag)
    return count


@kernel
def find_devices(start: I64, end: I64, parts: Requests) -> int:
    """Fills the columns of `parts`, which have room for what `count_devices` said; returns the rows filled.

    The rows of a request that is not sound are written over by the next.
    """
    row = 0
    for index in range(len(start)):
        first = row
        at = start[index]
        while 0 <= at < end[index]:
            tag, at = read_tag(parts.buffer, at, end[index])
            if at < 0:
                break
            if tag == _BATCH_NUMBER << 3 | VARINT:
                parts.batch_number[index], at = read_varint(parts.buffer, at, end[index], _VARINT_BYTES)
            elif tag == _DEVICES << 3 | BYTES:
                length, at = read_length(parts.buffer, at, end[index])
                if at >= 0:
                    parts.request[row] = index
                    at = find_device(parts, row, at, at + length)
                    row += 1
            else:
                at = skip_field(parts.buffer, at, end[index], tag)
        parts.is_sound[index] = at >= 0
        if at < 0:
            row = first
    return row


@kernel
def find_device(parts: Requests, row: int, at: int, end: int) -> int:
    """One `DeviceReadings` to `row` of `parts`; returns `end`, or something negative when it is not sound."""
    parts.id_start[row] = parts.id_end[row] = at
    parts.readings_start[row] = parts.readings_end[row] = at
    has_id = False
    has_readings = False
    while at < end:
        tag, at = read_tag(parts.buffer, at, end)
        if at < 0:
            return at
        if tag == _DEVICE_ID << 3 | BYTES or tag == _READINGS << 3 | BYTES:
            length, at = read_length(parts.buffer, at, end)
            if at < 0:
                return at
            if tag >> 3 == _DEVICE_ID:
                if has_id:
                    return -1
                has_id = True
                parts.id_start[row], parts.id_end[row] = at, at + length
            else:
                if has_readings:
                    return -1
                has_readings = True
                parts.readings_start[row], parts.readings_end[row] = at, at + length
            at += length
        else:
            at = skip_field(parts.buffer, at, end, tag)
            if at < 0:
                return at
    return end
