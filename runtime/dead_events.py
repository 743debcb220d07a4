"""Entries of a stream that one consumer group could not handle, kept beside the stream: listed, and replayed by hand.

The stream is `<stream>:dead:<group>`; its fields are `e` (the event), `error`, `tries` and `id` (the entry it came
from). It keeps about `MAX_DEAD` entries; past that the oldest are let go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import redis.asyncio as redis

from runtime.problems import Problem

MAX_DEAD: Final = 100_000

EventHandler = Callable[[Sequence[bytes]], Awaitable[None]]
"""Takes the bytes of some events, in order. Returning says that all are done. Raising says that none is, or that doing
them once more is harmless: they come again, one by one.
"""

# Only whoever takes the entry out of the group's pending list writes it down: repeating this after a broken connection
# does not bury an event twice.
_BURY: Final = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'e', ARGV[3], 'error', ARGV[4], 'tries', ARGV[5],
             'id', ARGV[2])
end
"""


class DeadEvent(NamedTuple):
    """One entry, as buried."""

    dead_id: str
    event: bytes
    error: str
    tries: int
    entry_id: str


class Replayed(NamedTuple):
    """How a replay went: those handled are gone, those that failed stay."""

    handled: int
    failed: int


class DeadEvents:
    """The dead entries of one group of one stream."""

    def __init__(self, client: redis.Redis, stream: str, group: str) -> None:
        self._client = client
        self._stream = stream
        self._group = group
        self.key: Final = f"{stream}:dead:{group}"

    async def bury(self, entry_id: str, event: bytes, *, error: str, tries: int) -> None:
        """Takes an entry out of the group's pending list and keeps it here: both or neither."""
        arguments: list[Any] = [self._group, entry_id, event, error, tries, MAX_DEAD]
        await self._client.eval(_BURY, 2, self._stream, self.key, *arguments)

    async def count(self) -> int:
        """How many there are."""
        return int(await self._client.xlen(self.key))

    async def page(self, *, after: str = "-", limit: int = 100) -> list[DeadEvent]:
        """The oldest `limit` entries after a `dead_id`, or from the beginning."""
        rows: Any = await self._client.xrange(self.key, min=after if after == "-" else f"({after}", count=limit)
        return [
            DeadEvent(
                dead_id=dead_id.decode(),
                event=fields[b"e"],
                error=fields[b"error"].decode(errors="replace"),
                tries=int(fields[b"tries"]),
                entry_id=fields[b"id"].decode(),
            )
            for dead_id, fields in rows
        ]

    async def replay(self, handler: EventHandler) -> Replayed:
        """Hands every entry to `handler` once more, oldest first; one that raises a Problem stays."""
        handled = failed = 0
        after = "-"
        last: Any = await self._client.xrevrange(self.key, count=1)
        while last and (page := await self.page(after=after)):
            for dead in page:
                if _order(dead.dead_id) > _order(last[0][0].decode()):
                    return Replayed(handled, failed)  # buried since we began
                after = dead.dead_id
                try:
                    await handler([dead.event])
                except Problem:
                    failed += 1
                else:
                    await self._client.xdel(self.key, dead.dead_id)
                    handled += 1
        return Replayed(handled, failed)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
