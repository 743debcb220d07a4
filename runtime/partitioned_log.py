"""A durable log in partitions: append, read on from an offset, trim. Redis Streams stand behind it; Kafka could.

An entry has a kind and bytes, which this module does not look into. Offsets are strings that order within a partition
by `offset_key`; an entry's append time is part of its offset and never goes back within a partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import redis.asyncio as redis

from runtime.problems import FatalError

START: Final = "0-0"
"""Before the first entry."""

_COUNT_KEY: Final = "drover:log:partitions"


class Entry(NamedTuple):
    """One entry as read."""

    partition: int
    offset: str
    appended_at_us: int
    kind: int
    payload: bytes


class Append(NamedTuple):
    """One entry to append."""

    partition: int
    kind: int
    payload: bytes


def stream_key(partition: int) -> str:
    """The Redis stream of a partition, with the fields `k` (kind as decimal) and `b` (bytes)."""
    return f"drover:log:{partition}"


def offset_key(offset: str) -> tuple[int, int]:
    """What to compare offsets of a partition by."""
    milliseconds, _, number = offset.partition("-")
    return int(milliseconds), int(number)


class PartitionedLog(Protocol):
    """What producers and consumers need of a log."""

    @property
    def partitions(self) -> int:
        """How many there are."""

    async def append(self, entries: Sequence[Append]) -> list[str]:
        """Appends all entries or none; returns their offsets once they are durable.

        A connection that breaks leaves it open whether they were appended: repeat, and let readers de-duplicate.
        """

    async def read_from(self, offsets: Mapping[int, str], *, max_entries: int = 64, wait_ms: int = 100) -> list[Entry]:
        """Entries after the given offset of each partition, at most `max_entries` of each, in order per partition.

        Waits up to `wait_ms` milliseconds when there are none; 0 does not wait.
        """

    async def end(self, partition: int) -> str:
        """The offset of the last entry, or START."""

    async def length(self, partition: int) -> int:
        """How many entries are kept."""

    async def trim(self, partition: int, before: str) -> None:
        """Lets go of entries before an offset. Some of them may stay for a while."""


class RedisStreamLog:
    """The log on Redis Streams: one stream a partition, `drover:log:{partition}`, with the fields `k` and `b`.

    Durability is the server's: with an append-only file, an append is in the file before it is answered.
    """

    def __init__(self, client: redis.Redis, partitions: int) -> None:
        self._client = client
        self.partitions: Final = partitions
        self._keys: Final = [stream_key(number).encode() for number in range(partitions)]
        self._numbers: Final = {key: number for number, key in enumerate(self._keys)}

    async def check_partitions(self) -> None:
        """Writes down the number of partitions, once for all. Raises FatalError when it was another."""
        await self._client.set(_COUNT_KEY, self.partitions, nx=True)
        stored = int(await self._client.get(_COUNT_KEY) or 0)
        if stored != self.partitions:
            raise FatalError(
                f"the telemetry log has {stored} partitions, the settings say {self.partitions}: "
                f"set partitions = {stored}"
            )

    async def append(self, entries: Sequence[Append]) -> list[str]:
        """See PartitionedLog."""
        pipeline = self._client.pipeline(transaction=True)
        for partition, kind, payload in entries:
            pipeline.xadd(self._keys[partition], {b"k": b"%d" % kind, b"b": payload})
        return [offset.decode() for offset in await pipeline.execute()]

    async def read_from(self, offsets: Mapping[int, str], *, max_entries: int = 64, wait_ms: int = 100) -> list[Entry]:
        """See PartitionedLog."""
        streams: dict[Any, Any] = {self._keys[partition]: offset for partition, offset in offsets.items()}
        found: Any = await self._client.xread(streams, count=max_entries, block=wait_ms or None)
        entries: list[Entry] = []
        # A list of pairs in the second version of the protocol, a mapping in the third.
        answers = found.items() if isinstance(found, dict) else found
        for key, rows in answers:
            partition = self._numbers[key]
            flat = rows[0] if isinstance(found, dict) and rows and isinstance(rows[0], list) else rows
            for raw_offset, fields in flat:
                offset = raw_offset.decode()
                entries.append(Entry(partition, offset, offset_key(offset)[0] * 1000, int(fields[b"k"]), fields[b"b"]))
        return entries

    async def end(self, partition: int) -> str:
        """See PartitionedLog."""
        last: Any = await self._client.xrevrange(self._keys[partition], count=1)
        return last[0][0].decode() if last else START

    async def length(self, partition: int) -> int:
        """See PartitionedLog."""
        return int(await self._client.xlen(self._keys[partition]))

    async def trim(self, partition: int, before: str) -> None:
        """See PartitionedLog."""
        await self._client.xtrim(self._keys[partition], minid=before, approximate=True)
