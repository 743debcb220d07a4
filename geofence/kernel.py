"""The decorators for compiled code: they release the GIL, cache machine code on disk, and keep types for mypy.

No fastmath: containment relies on exact rounding. Division by zero gives inf or NaN as in numpy, not an exception.
Under `NUMBA_DISABLE_JIT=1` functions stay Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
import numba.core.types

from geofence.kernel_cache import folder_of

F = TypeVar("F", bound=Callable[..., object])

_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "cache": True, "error_model": "numpy"}
# numba's typing knows only its public options.
_config: Final[Any] = numba.config
_types: Final[Any] = numba.core.types


def _njit(**options: Any) -> Callable[[F], F]:
    """`numba.njit` with the machine code kept where `kernel_cache` says: numba looks that up while it decorates."""
    compile_function: Callable[[F], F] = numba.njit(**options)

    def decorate(function: F) -> F:
        before = _config.CACHE_DIR
        _config.CACHE_DIR = folder_of(function.__code__.co_filename) or before
        try:
            return _taking_wide_numbers(compile_function(function))
        finally:
            _config.CACHE_DIR = before

    return decorate


def _taking_wide_numbers(compiled: F) -> F:
    """Lets a kernel that another one calls be compiled once for all integers, as int64, and not again for each constant
    and for an index out of an int32 array: that took a fifth of the time of `drover warmup`, and made the same code.
    """
    dispatcher: Any = compiled
    if _config.DISABLE_JIT:
        return compiled
    template_of = dispatcher.get_call_template

    def get_call_template(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return template_of(tuple(map(_widened, args)), {name: _widened(kind) for name, kind in kws.items()})

    dispatcher.get_call_template = get_call_template
    return compiled


def _widened(kind: Any) -> Any:
    """The type of an argument that stands for this one."""
    kind = _types.unliteral(kind)
    return _types.int64 if isinstance(kind, _types.Integer) and kind != _types.uint64 else kind


def kernel(function: F) -> F:
    """Compiles a function that may allocate: a loop over a batch, or one that returns arrays."""
    compiled: F = _njit(**_OPTIONS)(function)
    return compiled


def scalar_kernel(function: F) -> F:
    """Compiles a function that only borrows arrays: it makes none, and returns scalars or tuples of them.

    Without this numba counts a reference, with an atomic instruction, for every array of a tuple like
    `CompiledFences` at every call: 260 ns for a look-up that takes 10 (measured on numba 0.68). `_nrt` is numba's own
    switch for code that does without its memory; should a version not know it, all that is lost is that time.
    """
    compiled: F
    try:
        compiled = _njit(**_OPTIONS, _nrt=False)(function)
    except KeyError:
        compiled = _njit(**_OPTIONS)(function)
    return compiled


def inlined_kernel(function: F) -> F:
    """A scalar kernel whose code goes into its caller's: for small steps of a look-up.

    A call passes a tuple of arrays by its words, 130 for `CompiledFences`, which takes 20 ns.
    """
    compiled: F
    try:
        compiled = _njit(**_OPTIONS, _nrt=False, forceinline=True)(function)
    except KeyError:
        compiled = _njit(**_OPTIONS, forceinline=True)(function)
    return compiled
