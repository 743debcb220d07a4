"""What the decorators promise besides speed."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from geofence.kernel import scalar_kernel


def test_a_kernel_is_compiled_once_for_all_integers() -> None:
    @scalar_kernel
    def doubled(number: int) -> int:
        return number + number

    @scalar_kernel
    def of_several(short: Any, long: Any) -> int:
        return doubled(3) + doubled(short[0]) + doubled(long[0])

    assert of_several(np.array([4], np.int32), np.array([5], np.int64)) == 24
    # Without the compiler it is the function itself.
    assert getattr(doubled, "signatures", [(numba.types.int64,)]) == [(numba.types.int64,)]
