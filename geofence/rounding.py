"""What is told has no digits that only the way of reckoning made: a late fix that changes nothing amends nothing.

A bound on how far two answers may be apart to be one would not do: what is told would then depend on which came first.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.kernel import scalar_kernel

PLACE_PARTS: Final = 1e9
"""Of a degree: a tenth of a millimetre, a thousand times what interpolation is off by."""

SPEED_PARTS: Final = 1e3
"""Of a metre a second."""


@scalar_kernel
def rounded(value: float, parts: float) -> float:
    """To so many parts of one; NaN of NaN."""
    return float(np.floor(value * parts + 0.5) / parts)
