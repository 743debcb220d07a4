"""A broker that has lost our session counts its packet ids anew: a late answer must not be one for another message."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.mqtt_sender import connect_packet, read_packet
from tests.ingest.mqtt.scripted_broker import Gate, running
from tests.ingest.mqtt.test_mqtt_source import VERSIONS, send
from tests.servers.fault_proxy import FaultProxy
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server


class Gates(Gate):
    """One gate for each batch, in order of arrival; all closed at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[asyncio.Event] = []

    async def accept(self, messages) -> None:  # type: ignore[no-untyped-def]
        self.open = asyncio.Event()
        self.gates.append(self.open)
        await super().accept(messages)


async def _forget_session(mosquitto: Mosquitto, client_id: str) -> None:
    """As a broker without persistence does when it starts again."""
    reader, writer = await asyncio.open_connection(mosquitto.host, mosquitto.port)
    writer.write(connect_packet(client_id, clean_start=True))
    async with asyncio.timeout(30):
        first, _ = await read_packet(reader)
    assert first == 0x20
    writer.write(b"\xe0\x00")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_message_of_a_new_session_is_not_acknowledged_for_one_of_the_old(
    mosquitto: Mosquitto, version: str
) -> None:
    name = f"lost/{version}"
    options = {"filters": (name,), "version": version, "client_id": name}
    sink, heir = Gates(), Gate()
    async with FaultProxy(mosquitto.port).serving() as proxy:
        async with running(proxy.port, sink, **options) as run:  # type: ignore[arg-type]
            await run.subscribed()
            await send(mosquitto, name, [b"of the old session"])
            await sink.has(1)
            await _forget_session(mosquitto, name)  # which ends our connection, too
            async with asyncio.timeout(30):
                while run.source.wrong is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            await run.subscribed()
            await send(mosquitto, name, [b"of the new session"])  # under the packet id of the other
            await sink.has(2)
            sink.gates[0].set()  # durable only now: its answer would be this one's
            async with asyncio.timeout(30):
                while run.source._window.messages > 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            proxy.cut(is_reset=False)  # not by RST: what was sent arrives
            run.task.cancel()
            await asyncio.wait({run.task})
        async with running(proxy.port, heir, **options) as run:  # type: ignore[arg-type]
            await heir.has(1)
    assert heir.taken == [(name.encode(), b"of the new session")]
