"""A disk that is full for one process: whatever it appends to a file fails, as with no space left."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """While it lasts, no file of the process may grow. What it sends through sockets and pipes goes on.

    The process must ignore SIGXFSZ, as Python does and every ServerProcess. The error is EFBIG in place of ENOSPC.
    """
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # some servers end rather than go on without a disk
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
