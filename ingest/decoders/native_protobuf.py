"""`drover.telemetry.v1` decoded in bulk: offsets in, columns out, no Python object a message.

A message is taken whole or not at all. Unknown fields are passed over; of a field sent twice the last counts, as
protobuf says. Stricter than protobuf, because a sound message of another format must not become a reading: a known
field with another wire type is MALFORMED, as is all that protobuf itself refuses. proto3 does not send a zero, so a
latitude or a longitude that is not there is 0; a time that is not there is MISSING_FIELD.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np

from geofence.kernel import kernel
from ingest.decoders.native_readings import (
    EPC_HIGH,
    EPC_LENGTH,
    EPC_LOW,
    WORDS,
    parse_position,
    parse_sensor,
    parse_tag,
    refusal,
)
from ingest.decoders.protobuf_wire import BYTES, VARINT, read_length, read_tag, skip_field
from ingest.reasons import Reason
from tracking_core.columns import (
    F32,
    F64,
    I64,
    U8,
    U32,
    U64,
    Readings,
    empty_positions,
    empty_sensors,
    empty_tags,
    take,
)


class PayloadKind(enum.IntEnum):
    """What a payload holds, by the last level of its topic."""

    POSITION = 1
    SENSOR = 2
    TAG = 3
    BATCH = 4


# Numbers of the enums, as kernels want them.
_POSITION: Final = int(PayloadKind.POSITION)
_SENSOR: Final = int(PayloadKind.SENSOR)
_TAG: Final = int(PayloadKind.TAG)
_BATCH: Final = int(PayloadKind.BATCH)
_BATCH_ID: Final = 4  # ReadingBatch.batch_id, which batch_ids.py reads
_OK: Final = int(Reason.OK)
_MALFORMED: Final = int(Reason.MALFORMED)
_EMPTY: Final = int(Reason.EMPTY)
_UNKNOWN_TYPE: Final = int(Reason.UNKNOWN_TYPE)

# The least bytes of a reading that can be taken: a time; a time and a quantity; a time and an EPC of one byte.
_LEAST_BYTES: Final = (9, 11, 12)
# Where a batch goes wrong, one reading is begun for which no row was counted.
_SPARE_ROWS: Final = 1


def decode_bulk(
    buffer: U8, payload_start: I64, payload_end: I64, kind: U8, device: U32, received_at_us: int
) -> tuple[Readings, U8]:
    """The readings of all sound messages in order, and a Reason number for each message (0: taken).

    `buffer` is uint8; message i is `buffer[payload_start[i]:payload_end[i]]`, of `kind[i]` (a PayloadKind), from
    `device[i]`. `observed_at_us` must lie between the year 2000 and a day after `received_at_us`. Nothing is raised,
    whatever the bytes are.
    """
    status = np.empty(len(payload_start), np.uint8)
    most = count_readings(buffer, payload_start, payload_end, kind)
    room = Readings(
        empty_positions(most[0] + _SPARE_ROWS), empty_sensors(most[1] + _SPARE_ROWS), empty_tags(most[2] + _SPARE_ROWS)
    )
    words = np.zeros(WORDS, np.uint64)
    views = (words, words.view(np.float64), words.view(np.float32))
    positions, sensors, tags = decode_messages(
        buffer, payload_start, payload_end, kind, device, received_at_us, *views, room, status
    )
    filled = Readings(
        take(room.positions, slice(positions)), take(room.sensors, slice(sensors)), take(room.tags, slice(tags))
    )
    return filled, status


@kernel
def count_readings(buffer: U8, payload_start: I64, payload_end: I64, kind: U8) -> tuple[int, int, int]:
    """How many positions, sensor samples and tag reads there can be at most.

    A batch is only counted as far as its readings have a size that can be taken, so that small bytes never ask for
    much memory: at most eight times their own size.
    """
    counts = np.zeros(3, np.int64)
    for index in range(len(payload_start)):
        if _POSITION <= kind[index] <= _TAG:
            counts[kind[index] - 1] += 1
        if kind[index] != _BATCH:
            continue
        at = payload_start[index]
        end = payload_end[index]
        while 0 <= at < end:
            tag, at = read_tag(buffer, at, end)
            if at < 0:
                break
            field = tag >> 3
            if field <= 3:
                length, at = read_length(buffer, at, end)
                if at < 0 or length < _LEAST_BYTES[field - 1]:
                    break
                counts[field - 1] += 1
                at += length
            else:
                at = skip_field(buffer, at, end, tag)
    return counts[0], counts[1], counts[2]


@kernel
def decode_messages(
    buffer: U8,
    payload_start: I64,
    payload_end: I64,
    kind: U8,
    device: U32,
    received_at_us: int,
    words: U64,
    doubles: F64,
    singles: F32,
    room: Readings,
    status: U8,
) -> tuple[int, int, int]:
    """Fills `room`, which has one row of each more than `count_readings` said, and `status`; returns the rows filled.

    `doubles` and `singles` are views of `words`. The rows of a message that is refused are written over by the next.
    """
    positions, sensors, tags = 0, 0, 0
    for index in range(len(payload_start)):
        at = payload_start[index]
        end = payload_end[index]
        p, s, t = positions, sensors, tags
        reason = _UNKNOWN_TYPE
        if at >= end:
            reason = _EMPTY
            at = end
        elif kind[index] < _POSITION or kind[index] > _BATCH:
            at = end
        while at < end:
            field, at, after = next_reading(buffer, at, end, kind[index])
            if field <= 0:
                # No further reading: what was before it decides, or why there is none.
                if field < 0:
                    reason = -field
                elif p + s + t == positions + sensors + tags:
                    reason = _EMPTY
                break
            if field == _POSITION:
                reason = parse_position(buffer, at, after, received_at_us, words)
                row = room.positions
                row.device[p] = device[index]
                row.received_at_us[p] = received_at_us
                row.observed_at_us[p] = np.int64(words[1])
                row.latitude_deg[p] = doubles[2]
                row.longitude_deg[p] = doubles[3]
                row.altitude_m[p] = singles[8]
                row.speed_mps[p] = singles[10]
                row.heading_deg[p] = singles[12]
                row.accuracy_m[p] = singles[14]
                row.satellites[p] = np.int32(words[8])
                row.sequence[p] = np.int64(words[9])
                row.sent_at_us[p] = np.int64(words[10])
                row.is_historical[p] = words[11] != 0
                p += 1
            elif field == _SENSOR:
                reason = parse_sensor(buffer, at, after, received_at_us, words)
                sample = room.sensors
                sample.device[s] = device[index]
                sample.received_at_us[s] = received_at_us
                sample.observed_at_us[s] = np.int64(words[1])
                sample.quantity[s] = np.uint8(words[2])
                sample.value[s] = doubles[3]
                sample.probe[s] = np.uint32(words[4])
                sample.sequence[s] = np.int64(words[5])
                sample.sent_at_us[s] = np.int64(words[6])
                s += 1
            else:
                reason = parse_tag(buffer, at, after, received_at_us, words)
                read = room.tags
                read.device[t] = device[index]
                read.received_at_us[t] = received_at_us
                read.observed_at_us[t] = np.int64(words[1])
                read.epc_high[t] = words[EPC_HIGH]
                read.epc_low[t] = words[EPC_LOW]
                read.epc_length[t] = np.uint8(words[EPC_LENGTH])
                read.antenna[t] = np.uint32(words[3])
                read.rssi_dbm[t] = singles[8]
                read.sequence[t] = np.int64(words[5])
                read.sent_at_us[t] = np.int64(words[6])
                t += 1
            if reason != _OK:
                break
            at = after
        status[index] = reason
        if reason == _OK:
            positions, sensors, tags = p, s, t
    return positions, sensors, tags


@kernel
def next_reading(buffer: U8, at: int, end: int, kind: int) -> tuple[int, int, int]:
    """The next reading of a message at `at`: its PayloadKind, where it begins and where it ends.

    A message that is no batch is its own only reading. In a batch, unknown fields before the reading are passed over;
    instead of a kind it is 0 at the end of the message, and a negative Reason number where the batch is not sound.
    """
    if kind != _BATCH:
        return kind, at, end
    while at < end:
        tag, at = read_tag(buffer, at, end)
        if at < 0:
            return -refusal(at), at, at
        field = tag >> 3
        if field <= 3:
            if tag & 7 != BYTES:
                return -_MALFORMED, at, at
            length, at = read_length(buffer, at, end)
            if at < 0:
                return -refusal(at), at, at
            return field, at, at + length
        if field == _BATCH_ID and tag & 7 != VARINT:
            return -_MALFORMED, at, at
        at = skip_field(buffer, at, end, tag)
        if at < 0:
            return -refusal(at), at, at
    return 0, at, at
