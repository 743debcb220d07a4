"""What is sent below drover/v1 and leads nowhere is kept with its reason; commands, answers and receipts are not."""

from __future__ import annotations

import asyncio
import pathlib

import aiomqtt
import pytest

from ingest.decoders import Decoders
from ingest.messages import Messages, topic
from ingest.mqtt.source import Broker, MqttOptions, MqttSource
from ingest.reasons import Rejection
from ingest.topics.rules import TopicRules
from runtime.process import Stop
from tests.ingest.devices.secured import INGEST, let_in, secured
from tests.ingest.mqtt.scripted_broker import PATIENCE_S
from tests.ingest.readings import batch, position
from tests.ingest.rig import FakeLog, Rig
from tests.ingest.rig import running as ingest
from tests.servers.mosquitto import Mosquitto
from tracking_core.columns import count

MISSPELT = [
    "drover/v1/acme/truck/positon",
    "drover/v1/acme/truck/Position",
    "drover/v1/acme/truck/position/jsn",
    "drover/v1/acme/truck/position/json/",
    "drover/v1/acme/truck/cmd/acknowledged",
    "drover/v1/acme/truck",
    "drover/v1/acme",
]
FOR_OTHERS = [f"drover/v1/acme/truck/{tail}" for tail in ("cmd", "cmd/json", "cmd/ack", "cmd/ack/json", "ack/json")]


class Watched:
    """A pipeline, and the topics that came to it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.topics: list[str] = []

    async def accept(self, messages: Messages) -> None:
        self.topics += [topic(messages, index).decode() for index in range(len(messages.topic_start))]
        await self._rig.pipeline.accept(messages)


async def subscribed(source: MqttSource) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while source.wrong is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.server
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_misspelt_topic_leaves_a_letter(tmp_path: pathlib.Path, mosquitto: Mosquitto, version: str) -> None:
    log = FakeLog()
    async with ingest(tmp_path, log) as rig, asyncio.TaskGroup() as tasks:
        await rig.provision("truck")
        watched, stop = Watched(rig), Stop()
        options = MqttOptions(client_id=f"misspelt-{version}", version=version, drain_s=0.2)  # type: ignore[arg-type]
        broker = Broker(mosquitto.host, mosquitto.port, None, None, None)
        source = MqttSource(broker, rig.pipeline.filters, watched, options)
        tasks.create_task(source.run(stop))
        await subscribed(source)
        asking = batch(position())
        asking.batch_id = 7
        async with aiomqtt.Client(mosquitto.host, mosquitto.port) as device, asyncio.timeout(PATIENCE_S):
            await device.subscribe("drover/v1/acme/truck/ack", qos=1)
            for name in [*FOR_OTHERS, *MISSPELT]:
                await device.publish(name, b"lost?", qos=1)
            await device.publish("drover/v1/acme/truck/batch", asking.SerializeToString(), qos=1)
            await anext(device.messages)  # the receipt: what came before it is durable
            await device.publish("drover/v1/acme/truck/batch", asking.SerializeToString(), qos=1)
            await anext(device.messages)
        letters = await rig.letters("acme", "")
        stop.set()
    assert sorted(letter.topic for letter in letters) == sorted(MISSPELT)
    assert {letter.reason for letter in letters} == {"unknown_topic"}
    assert {letter.payload for letter in letters} == {b"lost?"}
    # One that names no device still names its tenant, who sees it.
    assert {letter.tenant for letter in letters} == {"acme"}
    assert count(log.readings) == 2
    # MQTT 5 keeps our own receipts from us.
    assert ("drover/v1/acme/truck/ack" in watched.topics) == (version == "3.1.1")


@pytest.mark.server
async def test_under_the_shipped_access_control(tmp_path: pathlib.Path) -> None:
    """Ingest may hear all that it asks for. What a device misspells the broker denies it: test_deny_matrix.py."""
    log = FakeLog()
    async with secured(tmp_path) as at, ingest(tmp_path, log) as rig, asyncio.TaskGroup() as tasks:
        truck = await at.device("acme", "truck")
        at.reload()
        await let_in(at.of(truck.name))
        watched, stop = Watched(rig), Stop()
        broker = Broker(at.broker.host, at.broker.port, INGEST.username, INGEST.password, None)
        source = MqttSource(broker, rig.pipeline.filters, watched, MqttOptions(client_id="secured", drain_s=0.2))
        tasks.create_task(source.run(stop))
        await subscribed(source)
        async with at.ingest() as dispatch:  # commands go out by a session of their own
            await dispatch.publish("drover/v1/acme/truck/cmd", b"reboot", qos=1)
        asking = batch(position())
        asking.batch_id = 7
        async with at.of(truck.name) as device, asyncio.timeout(PATIENCE_S):
            await device.subscribe("drover/v1/acme/truck/ack", qos=1)
            await device.publish("drover/v1/acme/truck/batch", asking.SerializeToString(), qos=1)
            await anext(device.messages)
        letters = await rig.letters("acme", "")
        stop.set()
    assert letters == []
    assert watched.topics == ["drover/v1/acme/truck/cmd", "drover/v1/acme/truck/batch"]
    assert count(log.readings) == 1


@pytest.mark.parametrize(
    ("tail", "meant"), [("positon", "position"), ("sensors", "sensor"), ("batch/jason", "batch/json"), ("x", None)]
)
def test_says_what_was_meant(tail: str, meant: str | None) -> None:
    answer = TopicRules(Decoders([])).match(f"drover/v1/acme/truck/{tail}".encode())
    assert isinstance(answer, Rejection)
    assert answer.detail.endswith(f"; did you mean {meant}?" if meant else "batch/json, json")
