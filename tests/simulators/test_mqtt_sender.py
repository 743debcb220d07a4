"""The MQTT sender against a real broker: everything arrives, in order, also over a broken connection."""

from __future__ import annotations

import asyncio
import pathlib

import aiomqtt
import pytest

from drover.telemetry.v1 import reading_pb2
from simulators import mqtt_sender
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server


def batch(number: int) -> reading_pb2.ReadingBatch:
    return reading_pb2.ReadingBatch(
        positions=[reading_pb2.Position(observed_at_us=number, latitude_deg=1, longitude_deg=2)],
        sensors=[reading_pb2.SensorSample(observed_at_us=number, quantity=1, value=4.0)],
    )


async def test_one_message_a_reading_in_order(mosquitto: Mosquitto) -> None:
    got: list[tuple[str, int]] = []
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, max_inflight_messages=1000) as listener:
        await listener.subscribe("drover/v1/acme/#", qos=1)
        url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
        async with mqtt_sender.connected(url, "acme", "sender-order", window=50) as sender:
            for number in range(300):
                await sender.send("truck", batch(number))
            await sender.drain()
            assert (sender.receipts.sent, sender.receipts.acknowledged) == (600, 600)
        async with asyncio.timeout(20):
            async for message in listener.messages:
                kind = str(message.topic).rsplit("/", 1)[1]
                decode = reading_pb2.Position if kind == "position" else reading_pb2.SensorSample
                assert isinstance(message.payload, bytes)
                got.append((kind, decode.FromString(message.payload).observed_at_us))
                if len(got) == 600:
                    break
    assert [number for kind, number in got if kind == "position"] == list(range(300))
    assert [number for kind, number in got if kind == "sensor"] == list(range(300))


async def test_a_broker_that_dies_costs_nothing(tmp_path: pathlib.Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.start()
    url = f"mqtt://{broker.host}:{broker.port}"
    try:
        async with mqtt_sender.connected(url, "acme", "sender-dies", window=20, batched=True) as sender:
            for number in range(200):
                if number == 100:
                    broker.kill()
                    broker.start()
                await asyncio.wait_for(sender.send("truck", batch(number)), 30)
            await asyncio.wait_for(sender.drain(), 30)
            assert sender.receipts.acknowledged == sender.receipts.sent == 400
    finally:
        broker.stop()
