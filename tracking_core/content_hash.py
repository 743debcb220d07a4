"""What a reading says, folded into 64 bits, so that a repetition can be told from a contradiction, and a stored reading
from another of its time.

Not part of what a reading says: when it was received or sent, and its running number; a device that repeats itself may
change those. Every NaN counts as the same, and so do 0.0 and -0.0.

Part of the keys in every database (services/tracking/history_rows.py): what is mixed, and how, never changes.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from geofence.kernel import scalar_kernel

SEED: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_NAN_BITS: Final = np.uint64(0x7FF8000000000000)

Words = TypeVar("Words", np.uint64, npt.NDArray[np.uint64])


def mixed(state: Words, word: Words) -> Words:
    """The next state after one word, or of each state after its word; all are uint64.

    The finalizer of splitmix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA
    2014, figure 16) after each word.
    """
    # Functions instead of signs: what overflows is meant to, and numpy warns of it where it is plain Python.
    summed: Any = np.add(state ^ word, SEED)
    first: Any = np.multiply(summed ^ (summed >> np.uint64(30)), _FIRST)
    second: Any = np.multiply(first ^ (first >> np.uint64(27)), _SECOND)
    return second ^ (second >> np.uint64(31))  # type: ignore[no-any-return]


mix = scalar_kernel(mixed)


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
