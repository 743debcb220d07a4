"""The folder that holds everything an installation must keep; one stack at a time may use it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from runtime.problems import FatalError


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder, made if need be, locked while the context lasts. Raises FatalError in one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "stack.lock").open("a+")
    except OSError as error:
        raise FatalError(f"cannot write to the data folder {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise FatalError(f"the data folder {folder} is in use by process {owner}") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield folder.resolve()
