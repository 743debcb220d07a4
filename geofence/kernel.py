"""The one decorator for compiled code: `@kernel` releases the GIL, caches machine code, keeps types for mypy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compiles a scalar or looping function for numba.

    Division by zero gives inf or NaN as in numpy, not an exception. Under `NUMBA_DISABLE_JIT=1` the function stays
    Python. No fastmath: containment relies on exact rounding.
    """
    return cast("F", numba.njit(nogil=True, cache=True, error_model="numpy")(function))
