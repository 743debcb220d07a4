"""One reading of `drover.telemetry.v1` from bytes to words. `native_protobuf.py` says what counts as sound.

The words are one uint64 array: field number n of the message stands at n, as the bits of its 64 or 32 bits; an EPC
stands in EPC_HIGH, EPC_LOW and EPC_LENGTH. Absent fields are the bits of what the columns say for absent. (Rejected:
writing straight into the rows of a column tuple. Each call then counts references of a dozen arrays up and down:
490 ns a position against 95.)

The kernels compare whole tags (field number times 8 plus wire type), so that a known field with another wire type falls
through to MALFORMED. `wrong` has a bit for each field whose last value cannot be taken: of a field sent twice the last
counts, so a later sound value takes the bit away.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from drover.telemetry.v1 import reading_pb2
from geofence.kernel import kernel
from ingest.decoders.protobuf_wire import ENDS_EARLY, load_u32, load_u64, read_length, read_tag, read_varint, skip_field
from ingest.reasons import Reason
from tracking_core.columns import NO_SATELLITES, NO_SEQUENCE, NO_TIME, U8, U64

YEAR_2000_US: Final = 946_684_800_000_000
DAY_US: Final = 86_400_000_000
MAX_EPC_BYTES: Final = 16

WORDS: Final = 16
EPC_HIGH: Final = 11
EPC_LOW: Final = 12
EPC_LENGTH: Final = 13

# Numbers of the enums, as kernels want them.
_OK: Final = int(Reason.OK)
_TRUNCATED: Final = int(Reason.TRUNCATED)
_MALFORMED: Final = int(Reason.MALFORMED)
_MISSING_FIELD: Final = int(Reason.MISSING_FIELD)
_NOT_FINITE: Final = int(Reason.NOT_FINITE)
_BAD_EPC: Final = int(Reason.BAD_EPC)
_CLOCK_UNSET: Final = int(Reason.CLOCK_UNSET)
_CLOCK_FUTURE: Final = int(Reason.CLOCK_FUTURE)
_COORDINATE_OUT_OF_RANGE: Final = int(Reason.COORDINATE_OUT_OF_RANGE)
_UNKNOWN_TYPE: Final = int(Reason.UNKNOWN_TYPE)
_VALUE_OUT_OF_RANGE: Final = int(Reason.VALUE_OUT_OF_RANGE)
_LAST_QUANTITY: Final = np.uint64(max(reading_pb2.Quantity.values()))

_VARINT_BYTES: Final = 10
_ZERO: Final = np.uint64(0)
_NAN_F32: Final = np.uint64(0x7FC00000)
_NO_TIME: Final = np.uint64(NO_TIME % 2**64)
_NO_SEQUENCE: Final = np.uint64(NO_SEQUENCE % 2**64)
_NO_SATELLITES: Final = np.uint64(NO_SATELLITES % 2**32)
_LOW_32: Final = np.uint64(2**32 - 1)
_MAX_SIGNED_32: Final = np.uint64(2**31 - 1)
_MAX_SIGNED_64: Final = np.uint64(2**63 - 1)
# The bits of 90.0 and 180.0: without their sign, finite floats are ordered as their bits are.
_SIGNLESS: Final = np.uint64(2**63 - 1)
_90: Final = np.float64(90.0).view(np.uint64)
_180: Final = np.float64(180.0).view(np.uint64)


@kernel
def refusal(position: int) -> int:
    """The reason behind a negative position."""
    return _TRUNCATED if position == ENDS_EARLY else _MALFORMED


@kernel
def _is_finite_f32(bits: np.uint64) -> bool:
    """IEEE 754, binary32: an exponent of ones is infinite or NaN."""
    return bool(bits & np.uint64(0x7F800000) != np.uint64(0x7F800000))


@kernel
def _is_finite_f64(bits: np.uint64) -> bool:
    """IEEE 754, binary64."""
    return bool(bits >> np.uint64(52) & np.uint64(0x7FF) != np.uint64(0x7FF))


@kernel
def _with_bit(mask: int, field: int, value: bool) -> int:  # noqa: FBT001
    return mask | 1 << field if value else mask & ~(1 << field)


@kernel
def _reason_of_clock(observed_at_us: np.uint64, received_at_us: int) -> int:
    if np.int64(observed_at_us) < YEAR_2000_US:
        return _CLOCK_UNSET
    if np.int64(observed_at_us) > received_at_us + DAY_US:
        return _CLOCK_FUTURE
    return _OK


@kernel
def parse_position(buffer: U8, at: int, end: int, received_at_us: int, words: U64) -> int:
    """The `Position` in `buffer[at:end]` to `words`; a Reason number."""
    words[2] = _ZERO
    words[3] = _ZERO
    words[4] = _NAN_F32
    words[5] = _NAN_F32
    words[6] = _NAN_F32
    words[7] = _NAN_F32
    words[8] = _NO_SATELLITES
    words[9] = _NO_SEQUENCE
    words[10] = _NO_TIME
    words[11] = _ZERO
    has_time = False
    wrong = 0
    while at < end:
        tag, at = read_tag(buffer, at, end)
        if at < 0:
            return refusal(at)
        field = tag >> 3
        if tag == 0x09 or tag == 0x11 or tag == 0x19 or tag == 0x51:  # noqa: PLR1714 - a set would be built each time
            if end - at < 8:
                return _TRUNCATED
            words[field] = load_u64(buffer, at)
            has_time |= field == 1
            at += 8
        elif tag == 0x25 or tag == 0x2D or tag == 0x35 or tag == 0x3D:  # noqa: PLR1714
            if end - at < 4:
                return _TRUNCATED
            words[field] = load_u32(buffer, at)
            wrong = _with_bit(wrong, field, not _is_finite_f32(words[field]))
            at += 4
        elif tag == 0x40:
            number, at = read_varint(buffer, at, end, _VARINT_BYTES)
            if at < 0:
                return refusal(at)
            words[8] = number & _LOW_32
            wrong = _with_bit(wrong, 8, bool(words[8] > _MAX_SIGNED_32))
        elif tag == 0x48:
            number, at = read_varint(buffer, at, end, _VARINT_BYTES)
            if at < 0:
                return refusal(at)
            words[9] = number
            wrong = _with_bit(wrong, 9, bool(number > _MAX_SIGNED_64))
        elif tag == 0x58:
            words[11], at = read_varint(buffer, at, end, _VARINT_BYTES)
            if at < 0:
                return refusal(at)
        elif field <= 11:
            return _MALFORMED
        else:
            at = skip_field(buffer, at, end, tag)
            if at < 0:
                return refusal(at)
    if not has_time:
        return _MISSING_FIELD
    if wrong & 0xFF != 0 or not _is_finite_f64(words[2]) or not _is_finite_f64(words[3]):
        return _NOT_FINITE
    if wrong != 0:
        return _VALUE_OUT_OF_RANGE
    if (words[2] & _SIGNLESS) > _90 or (words[3] & _SIGNLESS) > _180:
        return _COORDINATE_OUT_OF_RANGE
    return _reason_of_clock(words[1], received_at_us)


@kernel
def parse_sensor(buffer: U8, at: int, end: int, received_at_us: int, words: U64) -> int:
    """The `SensorSample` in `buffer[at:end]` to `words`; a Reason number."""
    words[2] = _ZERO
    words[3] = _ZERO
    words[4] = _ZERO
    words[5] = _NO_SEQUENCE
    words[6] = _NO_TIME
    has_time = False
    wrong = 0
    while at < end:
        tag, at = read_tag(buffer, at, end)
        if at < 0:
            return refusal(at)
        field = tag >> 3
        if tag == 0x09 or tag == 0x19 or tag == 0x31:  # noqa: PLR1714
            if end - at < 8:
                return _TRUNCATED
            words[field] = load_u64(buffer, at)
            has_time |= field == 1
            at += 8
        elif tag == 0x10 or tag == 0x20 or tag == 0x28:  # noqa: PLR1714
            number, at = read_varint(buffer, at, end, _VARINT_BYTES)
            if at < 0:
                return refusal(at)
            words[field] = number if field == 5 else number & _LOW_32
            wrong = _with_bit(wrong, field, bool(field == 5 and number > _MAX_SIGNED_64))
        elif field <= 6:
            return _MALFORMED
        else:
            at = skip_field(buffer, at, end, tag)
            if at < 0:
                return refusal(at)
    if not has_time or words[2] == _ZERO:
        return _MISSING_FIELD
    if words[2] > _LAST_QUANTITY:
        return _UNKNOWN_TYPE
    if not _is_finite_f64(words[3]):
        return _NOT_FINITE
    if wrong != 0:
        return _VALUE_OUT_OF_RANGE
    return _reason_of_clock(words[1], received_at_us)


@kernel
def parse_tag(buffer: U8, at: int, end: int, received_at_us: int, words: U64) -> int:
    """The `TagRead` in `buffer[at:end]` to `words`; a Reason number."""
    words[3] = _ZERO
    words[4] = _NAN_F32
    words[5] = _NO_SEQUENCE
    words[6] = _NO_TIME
    epc_at = 0
    epc_length = 0
    has_time = False
    wrong = 0
    while at < end:
        tag, at = read_tag(buffer, at, end)
        if at < 0:
            return refusal(at)
        field = tag >> 3
        if tag == 0x09 or tag == 0x31:  # noqa: PLR1714
            if end - at < 8:
                return _TRUNCATED
            words[field] = load_u64(buffer, at)
            has_time |= field == 1
            at += 8
        elif tag == 0x12:
            epc_length, epc_at = read_length(buffer, at, end)
            if epc_at < 0:
                return refusal(epc_at)
            at = epc_at + epc_length
        elif tag == 0x18 or tag == 0x28:  # noqa: PLR1714
            number, at = read_varint(buffer, at, end, _VARINT_BYTES)
            if at < 0:
                return refusal(at)
            words[field] = number if field == 5 else number & _LOW_32
            wrong = _with_bit(wrong, field, bool(field == 5 and number > _MAX_SIGNED_64))
        elif tag == 0x25:
            if end - at < 4:
                return _TRUNCATED
            words[4] = load_u32(buffer, at)
            wrong = _with_bit(wrong, 4, not _is_finite_f32(words[4]))
            at += 4
        elif field <= 6:
            return _MALFORMED
        else:
            at = skip_field(buffer, at, end, tag)
            if at < 0:
                return refusal(at)
    if not has_time or epc_length == 0:
        return _MISSING_FIELD
    if epc_length > MAX_EPC_BYTES:
        return _BAD_EPC
    if wrong & 1 << 4 != 0:
        return _NOT_FINITE
    if wrong != 0:
        return _VALUE_OUT_OF_RANGE
    high, low = _ZERO, _ZERO
    for index in range(epc_length):
        high = high << np.uint64(8) | low >> np.uint64(56)
        low = low << np.uint64(8) | np.uint64(buffer[np.uint64(epc_at + index)])
    words[EPC_HIGH] = high
    words[EPC_LOW] = low
    words[EPC_LENGTH] = np.uint64(epc_length)
    return _reason_of_clock(words[1], received_at_us)
