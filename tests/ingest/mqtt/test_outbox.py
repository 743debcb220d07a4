"""The outbox on a way that a test opens, answers and shuts; and on real Mosquitto with traffic in both directions."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest

from ingest.mqtt.outbox import NotConnectedError, Outbox, OutboxFullError, PublishRefusedError
from tests.ingest.mqtt.scripted_broker import PATIENCE_S, Gate, running, scripted_broker
from tests.servers.mosquitto import Mosquitto


class ScriptedWay:
    """Takes what it is given; `answer` confirms the oldest."""

    def __init__(self, window: int = 2) -> None:
        self.window = window
        self.sent: list[str] = []
        self.answers: list[asyncio.Future[int]] = []

    def publish(self, topic: str, _payload: bytes, _qos: int, _expiry_s: int | None) -> asyncio.Future[int]:
        self.sent.append(topic)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    async def answer(self, code: int = 0) -> None:
        self.answers.pop(0).set_result(code)
        await asyncio.sleep(0)


def put(outbox: Outbox, topics: str) -> None:
    for topic in topics:
        outbox.put(topic, b"")


async def test_as_many_as_the_window_are_under_way_and_the_rest_in_order_behind_them() -> None:
    outbox, way = Outbox(10), ScriptedWay()
    put(outbox, "a")
    outbox.open(way)
    put(outbox, "bcd")
    assert way.sent == ["a", "b"]
    assert len(outbox) == 4
    await way.answer()
    assert way.sent == ["a", "b", "c"]
    for _ in "bcd":
        await way.answer()
    assert way.sent == ["a", "b", "c", "d"]
    assert len(outbox) == 0
    await outbox.settle(PATIENCE_S)


async def test_what_was_not_confirmed_goes_out_again_before_the_rest() -> None:
    outbox, first, second = Outbox(10), ScriptedWay(), ScriptedWay(window=10)
    outbox.open(first)
    put(outbox, "abcd")
    await first.answer()
    assert first.sent == ["a", "b", "c"]
    outbox.shut()
    put(outbox, "e")
    outbox.open(second)
    assert second.sent == ["b", "c", "d", "e"]
    first.answers[0].set_result(0)  # too late to count for anything
    await asyncio.sleep(0)
    assert len(outbox) == 4


async def test_a_full_outbox_drops_the_oldest_that_is_not_under_way() -> None:
    outbox, way = Outbox(3), ScriptedWay(window=1)
    outbox.open(way)
    put(outbox, "abcde")
    assert len(outbox) == 3
    for _ in range(3):
        await way.answer()
    assert way.sent == ["a", "d", "e"]


async def test_without_a_way_only_the_newest_are_kept() -> None:
    outbox, way = Outbox(3), ScriptedWay(window=10)
    put(outbox, "abcde")
    outbox.open(way)
    assert way.sent == ["c", "d", "e"]


async def test_who_waits_is_told() -> None:
    outbox, way = Outbox(2), ScriptedWay(window=1)
    with pytest.raises(NotConnectedError):
        await outbox.send("a", b"")
    outbox.open(way)
    heard, dropped, lost = (asyncio.ensure_future(outbox.send(topic, b"")) for topic in "abc")
    await asyncio.sleep(0)
    with pytest.raises(OutboxFullError):
        await dropped  # it was the oldest that waited when c came
    await way.answer()
    assert await heard is True
    assert way.sent == ["a", "c"]
    outbox.shut()
    with pytest.raises(NotConnectedError):
        await lost
    assert len(outbox) == 0


async def test_the_broker_s_answers() -> None:
    outbox, way = Outbox(10), ScriptedWay()
    outbox.open(way)
    nobody, refused = (asyncio.ensure_future(outbox.send(topic, b"")) for topic in ("a", "b/c"))
    await asyncio.sleep(0)
    await way.answer(0x10)
    assert await nobody is False
    await way.answer(0x87)
    with pytest.raises(PublishRefusedError, match=r"published to b/c: reason code 0x87"):
        await refused


async def test_somebody_who_stops_waiting_disturbs_nobody() -> None:
    outbox, way = Outbox(10), ScriptedWay(window=1)
    outbox.open(way)
    gone = asyncio.ensure_future(outbox.send("a", b""))
    await asyncio.sleep(0)
    put(outbox, "b")
    gone.cancel()
    await way.answer()
    await way.answer()
    assert way.sent == ["a", "b"]
    assert len(outbox) == 0


async def test_settling_ends_with_the_connection() -> None:
    outbox = Outbox(10)
    outbox.open(ScriptedWay())
    put(outbox, "a")
    settling = asyncio.ensure_future(outbox.settle(1e6))
    await asyncio.sleep(0)
    assert not settling.done()
    outbox.shut()
    async with asyncio.timeout(PATIENCE_S):
        await settling


@pytest.mark.parametrize(
    ("connack", "window"),
    [(b"\x20\x03\x00\x00\x00", 256), (b"\x20\x06\x00\x00\x03\x21\x00\x07", 7)],
)
async def test_no_more_under_way_than_the_broker_allows(connack: bytes, window: int) -> None:
    async with scripted_broker() as broker, running(broker.port, Gate()) as run:
        peer = await broker.next_peer()
        await peer.packet()
        peer.send(connack)
        subscribe = await peer.packet()
        peer.send(b"\x90\x04" + subscribe[2:4] + b"\x00\x01")
        await run.subscribed()
        for number in range(300):
            run.source.outbox.put("a", b"%d" % number)
        packets = [await peer.packet() for _ in range(window)]
        assert await peer.silence() == b""
        for packet in packets:  # topic length, topic, packet id
            peer.send(b"\x40\x02" + packet[5:7])
        assert (await peer.packet())[8:] == b"%d" % window


async def test_what_the_broker_has_not_confirmed_goes_out_on_the_next_connection() -> None:
    async with scripted_broker() as broker, running(broker.port, Gate()) as run:
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()
        run.source.outbox.put("a", b"1")
        run.source.outbox.put("a", b"2")
        awaited = asyncio.ensure_future(run.source.publish("a", b"3"))
        packets = [await peer.packet() for _ in range(3)]
        peer.send(b"\x40\x02" + packets[0][5:7])
        await peer.hang_up()
        with pytest.raises(NotConnectedError):
            await awaited
        with pytest.raises(NotConnectedError):
            await run.source.publish("a", b"4")
        run.source.outbox.put("a", b"5")
        peer = await broker.next_peer()
        await peer.serve()
        packets = [await peer.packet() for _ in range(2)]
        assert [packet[8:] for packet in packets] == [b"2", b"5"]
        assert await peer.answers(b"".join(b"\x40\x02" + packet[5:7] for packet in packets)) == b""
        assert len(run.source.outbox) == 0


@pytest.mark.server
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_both_directions_at_once(mosquitto: Mosquitto, version: str) -> None:
    """Thousands of messages in while thousands go out: all of both arrive, in order, each once."""
    count, sink, name = 3000, Gate(), f"both/{version}"
    protocol = aiomqtt.ProtocolVersion.V5 if version == "5" else aiomqtt.ProtocolVersion.V311
    options = {"filters": (f"{name}/up",), "client_id": name, "version": version, "gather_s": 0.002}
    heard: list[bytes] = []
    async with (
        running(mosquitto.port, sink, **options) as run,  # type: ignore[arg-type]
        aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=protocol) as device,
    ):
        device.pending_calls_threshold = count
        await device.subscribe(f"{name}/down", qos=1)
        await run.subscribed()

        async def listen() -> None:
            async for message in device.messages:
                heard.append(bytes(message.payload))
                if len(heard) == count:
                    return

        async def answer() -> None:
            for number in range(count):
                if number % 100 == 0:
                    assert await run.source.publish(f"{name}/down", b"%d" % number)
                else:
                    run.source.outbox.put(f"{name}/down", b"%d" % number)

        async def ask() -> None:
            # Not all at once: an aiomqtt client that sends reads its answers a byte at a time.
            for start in range(0, count, 300):
                numbers = range(start, start + 300)
                await asyncio.gather(*(device.publish(f"{name}/up", b"%d" % n, qos=1) for n in numbers))

        async with asyncio.timeout(60.0):
            await asyncio.gather(listen(), answer(), ask())
        await sink.has(count)
        async with asyncio.timeout(PATIENCE_S):
            await run.source.outbox.settle(PATIENCE_S)
    assert heard == [b"%d" % number for number in range(count)]
    assert sink.taken == [(f"{name}/up".encode(), b"%d" % number) for number in range(count)]


@pytest.mark.server
async def test_mosquitto_says_when_nobody_is_subscribed(mosquitto: Mosquitto) -> None:
    async with running(mosquitto.port, Gate(), client_id="nobody") as run:
        await run.subscribed()
        assert await run.source.publish("nobody/at/all", b"") is False
        async with aiomqtt.Client(mosquitto.host, mosquitto.port) as device:
            await device.subscribe("nobody/#")
            assert await run.source.publish("nobody/at/all", b"") is True


@pytest.mark.server
async def test_what_waits_when_it_stops_is_sent_before_it_leaves(mosquitto: Mosquitto) -> None:
    """Though messages keep coming, which are left to whoever comes next."""
    sink = Gate()
    options = {"filters": ("stop/up",), "client_id": "stop", "drain_s": 30.0}
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5) as device:
        device.pending_calls_threshold = 10_000
        await device.subscribe("stop/down", qos=1)
        async with running(mosquitto.port, sink, **options) as run:  # type: ignore[arg-type]
            await run.subscribed()
            sink.open.clear()
            await asyncio.gather(*(device.publish("stop/up", b"%d" % n, qos=1) for n in range(500)))
            for number in range(2000):
                run.source.outbox.put("stop/down", b"%d" % number)
            sink.open.set()
            await run.end()
            assert len(run.source.outbox) == 0
        heard = [bytes((await anext(device.messages)).payload) for _ in range(2000)]
    assert heard == [b"%d" % number for number in range(2000)]
    second = Gate()
    async with running(mosquitto.port, second, filters=("stop/up",), client_id="stop"):
        await second.has(500 - len(sink.taken))
    assert sorted(int(payload) for _, payload in sink.taken + second.taken) == list(range(500))
