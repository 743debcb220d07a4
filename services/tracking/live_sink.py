"""Live positions out: frames on pub/sub `drover.live.{partition}`. No memory: whoever misses one gets the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis.asyncio as redis

from runtime.metrics import Counter
from runtime.redis_client import AWAY

FRAMES: Final = Counter("drover_tracking_live_frames_total", "Frames of live positions published.")
FRAMES_LOST: Final = Counter(
    "drover_tracking_live_frames_lost_total", "Frames of live positions given up because Redis was away."
)


def channel(partition: int) -> str:
    """Where frames of a partition are published."""
    return f"drover.live.{partition}"


class LiveSink:
    """Publishes frames as they come; gives them up while Redis is away, for the next are newer."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def publish(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Each with its partition, in order."""
        if not frames:
            return
        pipeline = self._client.pipeline(transaction=False)
        for partition, frame in frames:
            pipeline.publish(channel(partition), frame)
        try:
            await pipeline.execute()
        except AWAY:
            FRAMES_LOST.inc(len(frames))
        else:
            FRAMES.inc(len(frames))
