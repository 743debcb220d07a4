"""Counts the blocks that are asked of Python's allocator, also those that are given back at once.

Every object is such a block, but for the few kinds that are taken from a free list (floats, small tuples, empty lists
and dicts): one that is dropped and made again is seen once. What numpy, Arrow or a kernel ask of libc is not seen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numba import carray, cfunc, types

_DOMAINS: Final = (1, 2)
"""PYMEM_DOMAIN_MEM and PYMEM_DOMAIN_OBJ."""
_SIZE: Final = ctypes.c_size_t
_POINTER: Final = ctypes.c_void_p


class _Allocator(ctypes.Structure):
    """PyMemAllocatorEx, https://docs.python.org/3/c-api/memory.html#customize-memory-allocators."""

    _fields_ = tuple((name, _POINTER) for name in ("context", "malloc", "calloc", "realloc", "free"))


@contextmanager
def counted_allocations() -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Gives one number, that of blocks asked for since then by any thread; it stands still when the context ends."""
    total = np.zeros(1, np.int64)
    found = []
    for domain in _DOMAINS:
        real = _Allocator()
        ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(real))
        counting, functions = _counting(real, total)
        found.append((domain, real, counting, functions))
    for domain, _, counting, _ in found:
        ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(counting))
    try:
        yield total
    finally:
        for domain, real, _, _ in found:
            ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(real))


def _counting(real: _Allocator, total: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[_Allocator, list[object]]:
    """One that counts and hands on, and what must live as long as it. Compiled: in Python it would itself allocate.

    The total is its context, and so that of the real one, which has none and looks at none.
    """
    assert not real.context, "an allocator for debugging is set"
    real_malloc = ctypes.CFUNCTYPE(_POINTER, _POINTER, _SIZE)(real.malloc)
    real_calloc = ctypes.CFUNCTYPE(_POINTER, _POINTER, _SIZE, _SIZE)(real.calloc)

    @cfunc(types.voidptr(types.voidptr, types.uintp))
    def malloc(context, size):  # type: ignore[no-untyped-def]
        carray(context, 1, np.int64)[0] += 1
        return real_malloc(context, size)

    @cfunc(types.voidptr(types.voidptr, types.uintp, types.uintp))
    def calloc(context, blocks, size):  # type: ignore[no-untyped-def]
        carray(context, 1, np.int64)[0] += 1
        return real_calloc(context, blocks, size)

    return _Allocator(total.ctypes.data, malloc.address, calloc.address, real.realloc, real.free), [malloc, calloc]
