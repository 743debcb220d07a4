"""What a reading says, folded into 64 bits, so that a repetition can be told from a contradiction.

Not part of what a reading says: when it was received or sent, and its running number; a device that repeats itself may
change those. Every NaN counts as the same, and so do 0.0 and -0.0.

The mixing multiplies halves of 32 bits, so that nothing overflows and the same code runs as plain Python.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.kernel import scalar_kernel

_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
_FIRST: Final = np.uint64(0x9E3779B1)
_SECOND: Final = np.uint64(0x85EBCA77)
_NAN_BITS: Final = np.uint64(0x7FF8000000000000)
SEED: Final = np.uint64(0x243F6A8885A308D3)


@scalar_kernel
def mix(state: np.uint64, word: np.uint64) -> np.uint64:
    """The next state after one word. Both are uint64."""
    both = state ^ word
    low = (both & _LOW) * _FIRST
    high = (both >> _HALF) * _SECOND
    return low ^ (high << _HALF) ^ (high >> _HALF) ^ (low >> _HALF)


@scalar_kernel
def mix_number(state: np.uint64, number: float) -> np.uint64:
    """The next state after a float64; all NaNs are one, both zeros are one."""
    if number != number:  # noqa: PLR0124 - NaN
        return mix(state, _NAN_BITS)
    return mix(state, np.float64(number + 0.0).view(np.uint64))


@scalar_kernel
def mix_integer(state: np.uint64, number: int) -> np.uint64:
    """The next state after an int64."""
    return mix(state, np.int64(number).view(np.uint64))
