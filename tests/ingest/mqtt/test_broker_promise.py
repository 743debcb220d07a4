"""What an acknowledgement of Mosquitto with our configuration is worth: what it has saved survives kill -9."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from tests.chaos import readings
from tests.chaos.mqtt_sender import MqttSender, connect_packet, read_packet
from tests.chaos.verdict import SAVE_S
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server

MESSAGES = readings.messages("d", 1, 300, 1)
_SUBSCRIBE = b"\x82\x0e\x00\x01\x00\x00\x08drover/#\x01"


async def _session(broker: Mosquitto, *, subscribe: bool = False, expect: int = 0) -> int:
    """Connects as ingest does, perhaps subscribes, and counts different messages until there are `expect`."""
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    found: set[bytes] = set()
    try:
        async with asyncio.timeout(60):
            writer.write(connect_packet("ingest", clean_start=False, expiry_s=3600))
            await read_packet(reader)
            if subscribe:
                writer.write(_SUBSCRIBE)
                first, _ = await read_packet(reader)
                assert first == 0x90
            while len(found) < expect:
                first, body = await read_packet(reader)
                if first & 0xF0 == 0x30:
                    found.add(body[-40:])
    finally:
        writer.close()
        await writer.wait_closed()
    return len(found)


async def test_what_is_saved_waits_for_ingest_over_a_death(tmp_path: pathlib.Path) -> None:
    broker = Mosquitto.as_shipped(tmp_path)
    broker.start()
    try:
        await _session(broker, subscribe=True)
        sender = MqttSender(broker.port, "sender", "acme", MESSAGES)
        await asyncio.wait_for(sender.run(), 60)
        last_s = max(sender.acknowledged_at_s.values())
        async with asyncio.timeout(30):  # it takes about two seconds
            while not broker.saved.is_file() or broker.saved.stat().st_mtime < last_s + SAVE_S:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        broker.kill()
        broker.start()
        assert await _session(broker, expect=len(MESSAGES)) == len(MESSAGES)
    finally:
        broker.kill()
    assert sender.unheard == 0
