"""Compiles what makes frames before the first client comes."""

from __future__ import annotations

import numpy as np

from gateway.live.viewport_kernel import Earlier, Shown, pack_viewport, room_for


def warm_up() -> None:
    """Packs one frame of one device, and throws it away."""
    wide, narrow = np.zeros(1), np.zeros(1, np.float32)
    number, row = np.zeros(1, np.uint32), np.zeros(1, np.int64)
    shown = Shown(wide, wide, wide, number, narrow, narrow, narrow, row)
    pack_viewport(shown, Earlier(wide, wide, wide, wide, number), -1.0, -1.0, 1.0, 1.0, room_for(1))
