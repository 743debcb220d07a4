"""Ours in `benchmarks.mqtt_ingest`: source, pipeline and log as the ingest process wires them.

    python -m benchmarks.mqtt_ours PORT COUNT QOS REDIS_URL FOLDER

Speaks on standard output as `benchmarks.mqtt_peers` does. The last message counts when it is in the log and about to be
acknowledged.
"""

from __future__ import annotations

import asyncio
import pathlib
import sys
import time
from collections.abc import Mapping

import uvloop

from benchmarks.mqtt_load import DEVICES, FILTER, TENANT, device_id
from benchmarks.mqtt_peers import Watch
from ingest.batcher import Batcher
from ingest.dead_letters.store import DeadLetters
from ingest.decoders import Decoders
from ingest.devices.device_name import DeviceName
from ingest.devices.registry import AutoProvisioning, Registry
from ingest.messages import Messages
from ingest.mqtt.source import Broker, MqttOptions, MqttSource
from ingest.pipeline import Pipeline
from ingest.reasons import Rejection
from ingest.topics.rules import TopicRules
from ingest.warm_up import warm_up
from runtime.database import create_engine
from runtime.migrations import migrate
from runtime.partitioned_log import RedisStreamLog
from runtime.process import Stop
from runtime.redis_client import connect as connect_redis

PARTITIONS = 4


class Counted:
    """The pipeline, and when it has taken so many messages."""

    def __init__(self, pipeline: Pipeline, count: int) -> None:
        self._pipeline = pipeline
        self._left = count
        self.first_s = 0.0
        self.last_s = 0.0
        self.done = asyncio.Event()

    async def accept_and_tell(self, messages: Messages, refused: Mapping[int, Rejection]) -> None:
        raise AssertionError(f"the load has nothing to refuse: {messages} {refused}")

    async def accept(self, messages: Messages) -> None:
        self.first_s = self.first_s or time.perf_counter()
        await self._pipeline.accept(messages)
        self._left -= len(messages.topic_start)
        if self._left <= 0:
            self.last_s = time.perf_counter()
            self.done.set()


async def run(watch: Watch, port: int, count: int, redis_url: str, folder: pathlib.Path) -> None:
    url = f"sqlite+aiosqlite:///{folder / 'ingest.db'}"
    await migrate(url, "ingest")
    engine = create_engine(url)
    async with connect_redis(redis_url) as client:
        log = RedisStreamLog(client, PARTITIONS)
        registry = Registry(engine, AutoProvisioning(True, frozenset()))
        await registry.resolve({DeviceName(TENANT, device_id(number)) for number in range(DEVICES)})
        batcher = Batcher(log, registry.device, renamed=registry.renamed)
        dead_letters = DeadLetters(engine)
        pipeline = Pipeline(TopicRules(Decoders()), registry, batcher, dead_letters)
        sink = Counted(pipeline, count)
        stop = Stop()
        source = MqttSource(Broker.from_url(f"mqtt://127.0.0.1:{port}"), [FILTER], sink, MqttOptions(version="5"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(batcher.run())
            tasks.create_task(dead_letters.run())
            reading = tasks.create_task(source.run(stop))
            while source.wrong is not None:  # noqa: ASYNC110 - before the clock runs
                await asyncio.sleep(0.01)
            watch.ready()
            await sink.done.wait()
            watch.report(sink.first_s, sink.last_s)
            stop.set()
            await reading
            batcher.close()
            dead_letters.close()
    await engine.dispose()


def main() -> None:
    port, count, redis_url, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[4], pathlib.Path(sys.argv[5])
    warm_up()
    uvloop.run(run(Watch(), port, count, redis_url, folder))


if __name__ == "__main__":
    main()
