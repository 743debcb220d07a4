"""The protobuf wire format for kernels: varints, fixed words, and the way past fields that nobody knows.

Source: Protocol Buffers documentation, "Encoding". Where that leaves room, these kernels do as the reference decoder
(upb) does: a varint has at most ten bytes, a tag and a length at most five, field number 0 is malformed, groups nest at
most 100 deep. All functions read `buffer[at:end]` only, whatever the bytes are.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.kernel import kernel
from tracking_core.columns import U8

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
GROUP_START: Final = 3
GROUP_END: Final = 4
FIXED32: Final = 5

ENDS_EARLY: Final = -1
"""Returned in place of a position: the bytes end within the field."""
IS_MALFORMED: Final = -2
"""Returned in place of a position: no further bytes would make sense of it."""

_MAX_DEPTH: Final = 100
_TAG_BYTES: Final = 5
_VARINT_BYTES: Final = 10


@kernel
def read_varint(buffer: U8, at: int, end: int, max_bytes: int) -> tuple[np.uint64, int]:
    """The varint at `at`, and where it ends, or ENDS_EARLY, or IS_MALFORMED when it has more than `max_bytes`.

    Of a tenth byte only the lowest bit counts, as in upb.
    """
    value = np.uint64(0)
    shift = np.uint64(0)
    for index in range(max_bytes):
        if at + index >= end:
            return value, ENDS_EARLY
        byte = np.uint64(buffer[np.uint64(at + index)])
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return value, at + index + 1
        shift += np.uint64(7)
    return value, IS_MALFORMED


@kernel
def read_tag(buffer: U8, at: int, end: int) -> tuple[int, int]:
    """The tag (field number times 8 plus wire type) at `at`, and where it ends, or ENDS_EARLY or IS_MALFORMED."""
    if at < end:
        first = int(np.int64(buffer[np.uint64(at)]))
        if 8 <= first < 0x80:
            return first, at + 1
    value, after = read_varint(buffer, at, end, _TAG_BYTES)
    if after > 0 and (value > np.uint64(0xFFFFFFFF) or value < np.uint64(8)):
        return 0, IS_MALFORMED
    return int(np.int64(value)), after


@kernel
def read_length(buffer: U8, at: int, end: int) -> tuple[int, int]:
    """The length at `at`, and where the bytes of that length begin: they end within `end`.

    ENDS_EARLY when they do not, IS_MALFORMED for a length that a signed 32-bit number cannot hold.
    """
    value, after = read_varint(buffer, at, end, _TAG_BYTES)
    if after < 0:
        return 0, after
    if value > np.uint64(0x7FFFFFFF):
        return 0, IS_MALFORMED
    length = int(np.int64(value))
    if length > end - after:
        return 0, ENDS_EARLY
    return length, after


@kernel
def load_u32(buffer: U8, at: int) -> np.uint32:
    """Four bytes, little-endian. The caller has checked that they are there."""
    i = np.uint64(at)  # an unsigned index spares numba's test for negative ones
    return np.uint32(
        np.uint32(buffer[i])
        | np.uint32(buffer[i + np.uint64(1)]) << np.uint32(8)
        | np.uint32(buffer[i + np.uint64(2)]) << np.uint32(16)
        | np.uint32(buffer[i + np.uint64(3)]) << np.uint32(24)
    )


@kernel
def load_u64(buffer: U8, at: int) -> np.uint64:
    """Eight bytes, little-endian. The caller has checked that they are there."""
    return np.uint64(load_u32(buffer, at)) | np.uint64(load_u32(buffer, at + 4)) << np.uint64(32)


@kernel
def skip_field(buffer: U8, at: int, end: int, tag: int) -> int:
    """Where the field ends whose `tag` ended at `at`; ENDS_EARLY or IS_MALFORMED. Takes time linear in its bytes."""
    if tag & 7 == GROUP_START:
        return skip_group(buffer, at, end, tag >> 3)
    return skip_value(buffer, at, end, tag & 7)


@kernel
def skip_value(buffer: U8, at: int, end: int, wire_type: int) -> int:
    """As `skip_field`, for all but groups; the end of a group that was not begun is malformed."""
    if wire_type == VARINT:
        _, after = read_varint(buffer, at, end, _VARINT_BYTES)
        return after
    if wire_type == FIXED64:
        return at + 8 if end - at >= 8 else ENDS_EARLY
    if wire_type == FIXED32:
        return at + 4 if end - at >= 4 else ENDS_EARLY
    if wire_type == BYTES:
        length, after = read_length(buffer, at, end)
        return after + length if after > 0 else after
    return IS_MALFORMED


@kernel
def skip_group(buffer: U8, at: int, end: int, field: int) -> int:
    """Where the group of number `field` ends, groups within it included: a stack instead of recursion."""
    open_groups = np.empty(_MAX_DEPTH, np.int64)
    open_groups[0] = field
    depth = 1
    while depth > 0:
        tag, at = read_tag(buffer, at, end)
        if at < 0:
            return at
        if tag & 7 == GROUP_START:
            if depth == _MAX_DEPTH:
                return IS_MALFORMED
            open_groups[depth] = tag >> 3
            depth += 1
        elif tag & 7 == GROUP_END:
            depth -= 1
            if open_groups[depth] != tag >> 3:
                return IS_MALFORMED
        else:
            at = skip_value(buffer, at, end, tag & 7)
            if at < 0:
                return at
    return at
