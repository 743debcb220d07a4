"""Read buffers: chunks that a socket fills piece by piece, and that are used again once nothing in them is needed.

One chunk holds the bytes of many reads, so that what is in flight costs about its own size in memory and not a whole
buffer a read. A piece of a chunk is never written again while a batch refers to the chunk.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tracking_core.columns import U8


class Chunk:
    """`array[:filled]` was received; `array[:taken]` of it was handed on. `users` counts batches in flight."""

    def __init__(self, size: int) -> None:
        self.array: Final[U8] = np.empty(size, np.uint8)
        self.readable: Final[U8] = self.array.view()
        self.readable.flags.writeable = False
        self.view: Final = self.array.data
        self.filled = 0
        self.taken = 0
        self.users = 0

    @property
    def room(self) -> int:
        """Bytes that can still be received into it."""
        return len(self.array) - self.filled


class Chunks:
    """The chunk that is being filled, and up to `spare` others that wait to be used again."""

    def __init__(self, size: int, *, spare: int = 4) -> None:
        self._size: Final = size
        self._spare: Final = spare
        self._free: Final[list[Chunk]] = []
        self.current = Chunk(size)

    def make_room(self, wanted: int) -> Chunk:
        """The chunk to fill, with room for `wanted` bytes behind what was received but not handed on.

        That may be another chunk than before, to which those bytes were moved. `wanted` must fit.
        """
        chunk = self.current
        if chunk.users == 0 and chunk.taken == chunk.filled:
            chunk.taken = chunk.filled = 0
        if chunk.room >= wanted:
            return chunk
        fresh = self._free.pop() if self._free else Chunk(self._size)
        rest = chunk.filled - chunk.taken
        fresh.array[:rest] = chunk.array[chunk.taken : chunk.filled]
        fresh.taken, fresh.filled = 0, rest
        self.current = fresh
        chunk.filled = chunk.taken
        self._keep(chunk)
        return fresh

    def release(self, chunk: Chunk) -> None:
        """A batch that referred to the chunk is done."""
        chunk.users -= 1
        if chunk is not self.current:
            self._keep(chunk)

    def _keep(self, chunk: Chunk) -> None:
        if chunk.users == 0 and len(self._free) < self._spare:
            chunk.taken = chunk.filled = 0
            self._free.append(chunk)
