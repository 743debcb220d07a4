"""Events out, each exactly once: the stream `drover:events`, and at once the hint on `drover.alerts.{tenant}.{kind}`.
With them the companions: entries that one partition's fold appends to the log of another
(tracking_core/pairs/companions.py).

One Lua script compares the partition's marker, appends the events and companions, publishes the hints and moves the
marker, so that the streams and the memory of what is in them cannot part. A marker is the offset of a log entry and
how many of that entry's events and companions are out: `1700000000000-0/3`. A process that dies anywhere folds again
from its snapshot, and passes over what the marker says is out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import redis.asyncio as redis
import structlog

from runtime.metrics import LATENCY_BUCKETS_S, Counter, Histogram
from runtime.partitioned_log import START, Append, offset_key, stream_key
from runtime.redis_client import AWAY
from services.tracking.events import PublishedEvent

log = structlog.get_logger()

STREAM: Final = "drover:events"
GROUP_EVENTS: Final = 1_000
"""Events of one script call; Redis does nothing else meanwhile."""
RETRY_S: Final = 0.2

PUBLISHED: Final = Counter("drover_tracking_events_total", "Events published.", ["kind"])
COMPANIONS: Final = Counter(
    "drover_tracking_companions_total", "Entries appended to the logs of partitions where proximities are folded."
)
PUBLISH_TIME: Final = Histogram(
    "drover_tracking_event_publish_seconds", "Time to publish a group of events.", buckets=LATENCY_BUCKETS_S
)

_SCRIPT: Final = """
local marker = redis.call('GET', KEYS[1])
if marker == ARGV[2] then return 0 end
if (marker or '') ~= ARGV[1] then return redis.error_reply('MARKER ' .. (marker or '')) end
for i = 4, #ARGV, 3 do
  local stream = tonumber(ARGV[i])
  if stream == 2 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[i + 2])
    redis.call('PUBLISH', ARGV[i + 1], ARGV[i + 2])
  else
    redis.call('XADD', KEYS[stream], '*', 'k', ARGV[i + 1], 'b', ARGV[i + 2])
  end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class EventsDivergedError(Exception):
    """The marker is not where this process left it: another tracking service publishes, or Redis has lost writes.

    The process ends, and its next start goes on from a snapshot that is not ahead of the marker.
    """


class Marker(NamedTuple):
    """`published` of what came of the entry at `offset`, and all that came of entries before it, are out."""

    offset: str
    published: int

    @classmethod
    def parse(cls, text: bytes | None) -> Marker:
        """As stored; nothing stored is the start."""
        if not text:
            return cls(START, 0)
        offset, _, published = text.decode().partition("/")
        return cls(offset, int(published))

    def key(self) -> tuple[int, int, int]:
        """What to compare markers by."""
        return (*offset_key(self.offset), self.published)

    def encode(self) -> str:
        """As stored: nothing for the start."""
        return f"{self.offset}/{self.published}" if self.published else ""


Outgoing: TypeAlias = PublishedEvent | Append


class EntryEvents(NamedTuple):
    """What came of one log entry: its events, then its companions."""

    offset: str
    events: Sequence[Outgoing]


def marker_key(partition: int) -> str:
    """Where a partition's marker is kept."""
    return f"drover:events:offset:{partition}"


class EventSink:
    """Publishes the events of all partitions. Call `load` first."""

    def __init__(self, client: redis.Redis, max_length: int) -> None:
        self._client = client
        self._max_length = max_length
        self._markers: dict[int, Marker] = {}
        self._script = client.register_script(_SCRIPT)
        self.trouble: str | None = None
        """Why events do not go out now; None when they do."""

    async def load(self, partitions: int) -> Mapping[int, Marker]:
        """Reads how far each partition has come."""
        texts: list[Any] = await self._client.mget([marker_key(number) for number in range(partitions)])
        self._markers = {number: Marker.parse(text) for number, text in enumerate(texts)}
        return dict(self._markers)

    def marker(self, partition: int) -> Marker:
        """How far a partition has come."""
        return self._markers[partition]

    def fresh(self, partition: int, entry: EntryEvents) -> EntryEvents:
        """What came of an entry and is not out yet."""
        marker = self._markers[partition]
        if entry.offset == marker.offset:
            return EntryEvents(entry.offset, entry.events[marker.published :])
        if offset_key(entry.offset) < offset_key(marker.offset):
            return EntryEvents(entry.offset, ())
        return entry

    async def publish(self, partition: int, entries: Sequence[EntryEvents]) -> None:
        """Puts out what came of consecutive entries and is not out yet; returns when it is.

        Waits as long as Redis is away. Raises EventsDivergedError.
        """
        waiting: list[tuple[Marker, Outgoing]] = []
        for entry in entries:
            fresh = self.fresh(partition, entry)
            before = len(entry.events) - len(fresh.events)
            waiting += [
                (Marker(entry.offset, before + position), event) for position, event in enumerate(fresh.events, start=1)
            ]
        for begin in range(0, len(waiting), GROUP_EVENTS):
            group = waiting[begin : begin + GROUP_EVENTS]
            await self._publish_group(partition, group[-1][0], [event for _, event in group])

    async def _publish_group(self, partition: int, marker: Marker, events: Sequence[Outgoing]) -> None:
        keys = [marker_key(partition), STREAM]
        arguments: list[Any] = [self._markers[partition].encode(), marker.encode(), self._max_length]
        for each in events:
            if isinstance(each, Append):
                keys.append(stream_key(each.partition))
                arguments += (len(keys), int(each.kind), each.payload)
            else:
                arguments += (2, f"drover.alerts.{each.core.tenant}.{each.core.kind.value}", each.body)
        with PUBLISH_TIME.time():
            while True:
                try:
                    await self._script(keys=keys, args=arguments)
                except AWAY as error:
                    # Whether it was done is unknown: the script sees by the marker, and then does nothing.
                    self.trouble = f"Redis takes no events: {error}"
                    log.warning("events wait for Redis", partition=partition, error=str(error))
                    await asyncio.sleep(RETRY_S)
                except redis.ResponseError as error:
                    if not str(error).startswith("MARKER"):
                        raise
                    raise EventsDivergedError(
                        f"the event marker of partition {partition} is {str(error)[7:]!r}, not {arguments[0]!r}: "
                        "another tracking service publishes, or Redis has lost writes"
                    ) from error
                else:
                    break
        self.trouble = None
        self._markers[partition] = marker
        for each in events:
            if isinstance(each, Append):
                COMPANIONS.inc()
            else:
                PUBLISHED.labels(each.core.kind.value).inc()
