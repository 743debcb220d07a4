"""Binary frames, byte for byte."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from gateway.live.frames import DamagedFrameError, Kind, frame_bytes, pack, unpack
from gateway.live.positions_table import Fixes

FIXES = Fixes(
    np.array([1_641_168_000_000_000, 5, 7], np.int64),
    np.array([9.98, 1.0, -180.0]),
    np.array([53.54, 2.0, 90.0]),
    np.array([12.5, 0.5, np.nan], np.float32),
    np.array([359.5, 0.5, np.nan], np.float32),
    np.array([np.nan, 0.5, 4.0], np.float32),
)
NUMBERS = np.array([12, 13, 4_294_967_295], np.uint32)


def test_a_frame_byte_for_byte() -> None:
    frame = pack(
        Kind.DIFFERENCE, 77, 1_641_168_000_250_000, np.array([0]), NUMBERS, FIXES, np.array([99, 3, 4], np.uint32)
    )
    assert frame == (
        b"DRLV"
        + bytes([1, 2, 0, 0])
        + struct.pack("<II", 1, 3)
        + struct.pack("<ddd", 77.0, 1_641_168_000_250_000.0, 0.0)
        + struct.pack("<d", 1_641_168_000_000_000.0)
        + struct.pack("<d", 9.98)
        + struct.pack("<d", 53.54)
        + struct.pack("<I4x", 12)
        + struct.pack("<f4x", 12.5)
        + struct.pack("<f4x", 359.5)
        + b"\x00\x00\xc0\x7f\x00\x00\x00\x00"
        + struct.pack("<III4x", 99, 3, 4)
    )


@pytest.mark.parametrize("rows", [[], [2], [0, 2], [2, 1, 0]])
@pytest.mark.parametrize("removed", [[], [7], [7, 8]])
def test_what_is_packed_is_unpacked(rows: list[int], removed: list[int]) -> None:
    frame = pack(Kind.SNAPSHOT, 2**53, 3, np.array(rows, np.int64), NUMBERS, FIXES, np.array(removed, np.uint32))
    assert len(frame) == frame_bytes(len(rows), len(removed))
    assert len(frame) % 8 == 0
    found = unpack(frame)
    assert (found.kind, found.sequence, found.sent_at_us) == (Kind.SNAPSHOT, 2**53, 3)
    assert found.device_number.tolist() == NUMBERS[rows].tolist()
    assert found.removed.tolist() == removed
    np.testing.assert_array_equal(found.observed_at_us, FIXES.observed_at_us[rows])
    for name in ("longitude_deg", "latitude_deg", "speed_mps", "heading_deg", "accuracy_m"):
        np.testing.assert_array_equal(getattr(found, name), getattr(FIXES, name)[rows])


def test_damaged_frames_are_told_apart() -> None:
    good = pack(Kind.SNAPSHOT, 1, 1, np.array([0, 1]), NUMBERS, FIXES, np.array([], np.uint32))
    for bad in (
        b"",
        good[:39],
        good[:-1],
        good + b"\0",
        b"\0" + good[1:],
        good[:4] + b"\2" + good[5:],
        good[:5] + b"\3" + good[6:],
    ):
        with pytest.raises(DamagedFrameError):
            unpack(bad)
