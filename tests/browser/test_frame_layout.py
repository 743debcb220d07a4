"""The frame that the page's own tests decode is one that the gateway packs today."""

from __future__ import annotations

import math
import pathlib

import numpy as np

from gateway.live.frames import Kind, pack
from gateway.live.positions_table import Fixes

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "gateway" / "live_map" / "tests" / "golden_frame.hex"


def golden_frame() -> bytes:
    """The values that gateway/live_map/tests/frames.test.ts expects. The first and last row are not in the frame."""
    fixes = Fixes(
        np.array([1, 1_700_000_000_000_001, 1_700_000_000_000_002, 1_699_999_000_000_003, 1], np.int64),
        np.array([1.0, 4.4777326, -179.9999999, 0.0, 1.0]),
        np.array([1.0, 51.9244201, -16.5, 90.0, 1.0]),
        np.array([1.0, 13.5, math.nan, 0.0, 1.0], np.float32),
        np.array([1.0, 359.75, math.nan, 0.0, 1.0], np.float32),
        np.array([1.0, 4.5, math.nan, 250.0, 1.0], np.float32),
    )
    return pack(
        Kind.DIFFERENCE,
        4711,
        1_700_000_000_123_456,
        np.array([1, 2, 3]),
        np.array([99, 1, 4_294_967_295, 70_000, 98], np.uint32),
        fixes,
        np.array([7, 8, 9, 10, 11], np.uint32),
    )


def test_the_golden_frame_is_what_the_gateway_packs() -> None:
    assert bytes.fromhex(GOLDEN.read_text()) == golden_frame()
