"""On which side of a line a point lies: the exact sign, whatever the rounding.

Source: J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates",
Discrete & Computational Geometry 18 (1997), 305-363: error-free transformations (section 2), the filter
`ccwerrboundA` and the exact determinant (section 4.2). The filter decides nearly always; where it cannot, the
determinant is summed without error. Exact for every double whose products neither overflow nor underflow
(magnitudes 1e-140 to 1e150, and 0).
"""

from __future__ import annotations

from typing import Final

from geofence.kernel import inlined_kernel, scalar_kernel

_EPSILON: Final = 2.0**-53
_FILTER_BOUND: Final = (3.0 + 16.0 * _EPSILON) * _EPSILON
_SPLITTER: Final = 2.0**27 + 1.0
# Keeps products of a denormal and a degree from underflow, and products of 500 degrees from overflow.
_SCALE: Final = 2.0**500

# Twelve components.
Expansion = tuple[float, ...]


@scalar_kernel
def two_product(a: float, b: float) -> tuple[float, float]:
    """The product and its rounding error: a * b = high + low exactly (Shewchuk, theorem 18; Dekker's split)."""
    high = a * b
    split = _SPLITTER * a
    a_high = split - (split - a)
    a_low = a - a_high
    split = _SPLITTER * b
    b_high = split - (split - b)
    b_low = b - b_high
    low = a_low * b_low - (((high - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return high, low


@scalar_kernel
def two_sum(a: float, b: float) -> tuple[float, float]:
    """The sum and its rounding error: a + b = high + low exactly (Knuth; Shewchuk, theorem 7)."""
    high = a + b
    b_virtual = high - a
    a_virtual = high - b_virtual
    return high, (a - a_virtual) + (b - b_virtual)


@scalar_kernel
def _grow(e: Expansion, term: float) -> Expansion:
    """The expansion (zeros, then components from small to large) plus a term, exactly: grow-expansion, unrolled.

    Its first component is 0, else there would be no room. A tuple, because a scalar kernel allocates nothing.
    """
    carried, _ = two_sum(term, e[0])
    carried, e1 = two_sum(carried, e[1])
    carried, e2 = two_sum(carried, e[2])
    carried, e3 = two_sum(carried, e[3])
    carried, e4 = two_sum(carried, e[4])
    carried, e5 = two_sum(carried, e[5])
    carried, e6 = two_sum(carried, e[6])
    carried, e7 = two_sum(carried, e[7])
    carried, e8 = two_sum(carried, e[8])
    carried, e9 = two_sum(carried, e[9])
    carried, e10 = two_sum(carried, e[10])
    carried, e11 = two_sum(carried, e[11])
    return e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, carried


@scalar_kernel
def orientation_exact(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    """The sign of `orientation` from the full determinant, summed without error; slow.

    The twelve halves of the six products of ax*by - ay*bx + bx*py - by*px + px*ay - py*ax go into one expansion
    (grow-expansion, Shewchuk, theorem 10), whose largest component has the sign of the whole.
    """
    ax *= _SCALE
    ay *= _SCALE
    bx *= _SCALE
    by *= _SCALE
    px *= _SCALE
    py *= _SCALE
    high, low = two_product(ax, by)
    expansion: Expansion = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, low, high)
    for term in range(5):
        if term == 0:
            high, low = two_product(-ay, bx)
        elif term == 1:
            high, low = two_product(bx, py)
        elif term == 2:
            high, low = two_product(-by, px)
        elif term == 3:
            high, low = two_product(px, ay)
        else:
            high, low = two_product(-py, ax)
        expansion = _grow(_grow(expansion, low), high)
    sign = 0.0
    for component in expansion:
        if component != 0.0:
            sign = component
    return sign


@inlined_kernel
def orientation(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    """Positive when p lies left of the directed line from a to b, negative when right, 0 exactly when on it.

    Only the sign means anything. NaN in gives NaN.
    """
    left = (ax - px) * (by - py)
    right = (ay - py) * (bx - px)
    determinant = left - right
    bound = _FILTER_BOUND * (abs(left) + abs(right))
    if determinant > bound or -determinant > bound:
        return determinant
    return orientation_exact(ax, ay, bx, by, px, py)
