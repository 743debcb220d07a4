"""The source against a broker that does as it is told: what real brokers do only on bad days."""

from __future__ import annotations

import asyncio
import random
import tracemalloc

import pytest

from ingest.mqtt.source import MqttOptions
from ingest.reasons import Reason, Rejection
from runtime.problems import Unavailable
from tests.ingest.mqtt.naive_mqtt import length_of, publish
from tests.ingest.mqtt.scripted_broker import Gate, running, scripted_broker

PINGREQ = b"\xc0\x00"


def message(number: int, *, qos: int = 1, size: int = 0, is_version_5: bool = True) -> bytes:
    payload = b"%d" % number + bytes(size)
    return publish(
        b"t/%d" % number, payload, qos=qos, packet_id=number % 65_535, properties=b"" if is_version_5 else None
    )


def acks(*numbers: int) -> bytes:
    return b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in numbers)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("gather_s", [0.0, 0.002])
async def test_sliced_into_any_pieces(version: str, gather_s: float) -> None:
    sink = Gate()
    numbers = range(1, 300)
    stream = b"".join(message(n, qos=n % 2, is_version_5=version == "5") for n in numbers)
    slices = random.Random(5)
    async with scripted_broker() as broker, running(broker.port, sink, version=version, gather_s=gather_s):
        peer = await broker.next_peer()
        await peer.serve()
        got = b""
        while stream:
            size = slices.choice([1, 2, 3, 7, 50, 400])
            peer.send(stream[:size])
            stream = stream[size:]
            await peer.writer.drain()
            await asyncio.sleep(slices.choice([0, 0, 0.001]))
        await sink.has(len(numbers))
        got += await peer.silence()
    assert sink.taken == [(b"t/%d" % n, b"%d" % n) for n in numbers]
    assert got == acks(*(n for n in numbers if n % 2))


async def test_many_at_once_are_few_batches_and_few_answers() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, gather_s=0.002):
        peer = await broker.next_peer()
        await peer.serve()
        got = await peer.answers(b"".join(message(n) for n in range(1, 20_001)))
    assert len(sink.taken) == 20_000
    assert got == acks(*range(1, 20_001))
    assert sink.batches < 40


async def test_nothing_is_acknowledged_before_it_is_durable_and_all_in_order() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink):
        peer = await broker.next_peer()
        await peer.serve()
        sink.open.clear()
        first_gate = sink.open
        assert await peer.answers(message(1) + message(2)) == b""
        await sink.has(2)
        sink.open = asyncio.Event()
        sink.open.set()
        assert await peer.answers(message(3) + message(4, qos=0) + message(5)) == b""
        await sink.has(5)
        first_gate.set()
        assert await peer.silence() == acks(1, 2, 3, 5)


async def test_an_acknowledgement_never_crosses_to_another_connection() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink) as run:
        peer = await broker.next_peer()
        await peer.serve()
        sink.open.clear()
        assert await peer.answers(message(7)) == b""
        await sink.has(1)
        await peer.hang_up()
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()
        sink.open.set()
        assert await peer.silence() == b""
        assert await peer.answers(message(7)) == acks(7)  # sent again, as brokers do
        assert len(sink.taken) == 2


async def test_a_full_window_stops_reading_and_room_lets_it_go_on() -> None:
    sink = Gate()
    sink.open.clear()
    count, size = 3000, 10_000
    async with scripted_broker() as broker, running(broker.port, sink, high_water_bytes=1_000_000) as run:
        peer = await broker.next_peer()
        await peer.serve()
        for n in range(1, count + 1):
            peer.send(message(n, size=size))
        await sink.has(50)
        await asyncio.sleep(0.3)
        window = run.source._window
        assert window.is_full
        assert 1_000_000 <= window.bytes < 1_000_000 + 300_000
        assert len(sink.taken) < 200
        sink.open.set()
        await sink.has(count)
        assert await peer.silence() == acks(*range(1, count + 1))
        assert (window.messages, window.bytes, window.is_full) == (0, 0, False)


async def test_messages_fill_the_window_too() -> None:
    sink = Gate()
    sink.open.clear()
    async with scripted_broker() as broker, running(broker.port, sink, high_water_messages=10) as run:
        peer = await broker.next_peer()
        await peer.serve()
        for n in range(1, 31):
            await peer.answers(message(n)) if n < 20 else peer.send(message(n))
            if run.source._window.is_full:
                break
        assert len(sink.taken) == 10
        peer.send(message(11))
        await asyncio.sleep(0.1)
        assert len(sink.taken) == 10
        sink.open.set()
        await sink.has(11)


async def test_a_connection_that_is_not_read_stays_alive_and_one_that_is_silent_does_not() -> None:
    """The broker never answers a ping. While reading is paused the answer could not be seen anyway."""
    sink = Gate()
    sink.open.clear()
    async with scripted_broker() as broker, running(broker.port, sink, high_water_messages=1, keepalive_s=1):
        peer = await broker.next_peer()
        await peer.serve()
        assert await peer.answers(message(1)) == b""
        await asyncio.sleep(4.0)
        assert (await peer.silence()).count(PINGREQ) >= 2
        assert not peer.is_gone
        sink.open.set()
        # Now it is read, and says nothing: dead, and left for a new connection.
        again = await broker.next_peer()
        await again.serve()
        assert await again.answers(message(2)) == acks(2)


async def test_a_busy_connection_needs_no_answer_to_its_pings() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, keepalive_s=1) as run:
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()
        for n in range(1, 45):
            peer.send(message(n, qos=0))
            await asyncio.sleep(0.1)
            assert run.source.wrong is None
        assert PINGREQ in await peer.silence()
        assert len(sink.taken) == 44


@pytest.mark.parametrize("size", [70_000, 300_000, 2_000_000])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_message_that_is_too_large_is_cut_and_acknowledged_when_all_of_it_came(size: int, qos: int) -> None:
    sink = Gate()
    limit = 2000
    big = publish(b"t/big", b"x" * size, qos=qos, packet_id=9, properties=b"")
    async with scripted_broker() as broker, running(broker.port, sink, max_payload_bytes=limit):
        peer = await broker.next_peer()
        await peer.serve()
        for at in (1, 4, len(big) // 2, len(big) - 1):
            assert await peer.answers(message(1) + big[:at]) == acks(1)
            taken = len(sink.taken)
            assert await peer.answers(big[at:] + message(2)) == (acks(9) if qos else b"") + acks(2)
            if size < limit + 128 * 1024:  # within the headroom for topics: whole, for the pipeline to refuse
                assert sink.taken[taken:] == [(b"t/big", b"x" * size), (b"t/2", b"2")]
            else:
                assert sink.taken[taken:] == [(b"t/big", b"x" * (limit + 1)), (b"t/2", b"2")]
                assert sink.refused.pop() == Rejection(Reason.TOO_LARGE, f"{size} bytes", size)
    assert sink.refused == []


async def test_properties_that_are_too_large_are_a_message_that_is_too_large() -> None:
    sink = Gate()
    properties = b"\x26\x00\x01k\xff\xff" + bytes(65_535)
    big = publish(b"t/big", b"payload", qos=1, packet_id=9, properties=properties * 8)
    async with scripted_broker() as broker, running(broker.port, sink, max_payload_bytes=2000):
        peer = await broker.next_peer()
        await peer.serve()
        assert await peer.answers(big + message(2)) == acks(9, 2)
    assert [(name, len(payload)) for name, payload in sink.taken] == [(b"t/big", 2001), (b"t/2", 1)]


async def test_64_megabytes_pass_through_little_memory() -> None:
    sink = Gate()
    size = 64 * 1024 * 1024
    header = b"\x32" + length_of(2 + 5 + 2 + 1 + size) + b"\x00\x05t/big" + b"\x00\x09" + b"\x00"
    async with scripted_broker() as broker, running(broker.port, sink) as run:
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()
        tracemalloc.start()
        try:
            peer.send(header)
            for _ in range(size // 65_536):
                peer.send(bytes(65_536))
                await peer.writer.drain()
            assert await peer.answers(message(1)) == acks(9, 1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert [(name, len(payload)) for name, payload in sink.taken] == [(b"t/big", 1024 * 1024 + 1), (b"t/1", 1)]
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n" * 10, id="another protocol"),
        pytest.param(b"\x30\xff\xff\xff\xff\xff\xff", id="a length without end"),
        pytest.param(publish(b"", b"x", properties=b""), id="no topic"),
        pytest.param(b"\x30" + length_of(3_000_000) + bytes(3_000_000), id="a large one, malformed"),
        pytest.param(b"\xd0" + length_of(3_000_000), id="an impossible length"),
        pytest.param(b"\x00\x00", id="a packet type that does not exist"),
        pytest.param(b"\x20\x00", id="an empty CONNACK"),
    ],
)
async def test_garbage_ends_the_connection_and_not_the_source(garbage: bytes) -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, max_payload_bytes=2000) as run:
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()
        peer.send(message(1) + garbage)
        await peer.silence()
        assert peer.is_gone
        peer = await broker.next_peer()
        await peer.serve()
        assert await peer.answers(message(2)) == acks(2)
    assert sink.taken == [(b"t/1", b"1"), (b"t/2", b"2")]


async def test_an_older_session_of_quality_two_is_received_too() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink):
        peer = await broker.next_peer()
        await peer.serve()
        assert await peer.answers(message(3, qos=2)) == b"\x50\x02\x00\x03"
        assert await peer.answers(b"\x62\x02\x00\x03") == b"\x70\x02\x00\x03"
    assert sink.taken == [(b"t/3", b"3")]


async def test_packets_of_paho_between_messages() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, keepalive_s=1):
        peer = await broker.next_peer()
        await peer.serve()
        got = b""
        for n in range(1, 30):
            got += await peer.answers(message(n) + b"\xd0\x00" + message(n + 100))
    assert got.replace(PINGREQ, b"") == acks(*(m for n in range(1, 30) for m in (n, n + 100)))
    assert PINGREQ in got


async def test_a_disconnect_from_the_broker() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink) as run:
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()
        peer.send(message(1) + b"\xe0\x02\x8e\x00")  # session taken over
        await sink.has(1)
        peer = await broker.next_peer()
        await peer.serve()
        await run.subscribed()


async def test_a_bug_in_the_sink_ends_the_source() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink) as run:
        peer = await broker.next_peer()
        await peer.serve()
        sink.error = ZeroDivisionError("a bug")
        assert await peer.answers(message(1)) == b""
        assert peer.is_gone
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await run.task


async def test_a_sink_that_stops_leaves_messages_unacknowledged() -> None:
    class Stopping(Unavailable):
        code = "stopping"

    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink) as run:
        peer = await broker.next_peer()
        await peer.serve()
        sink.error = Stopping("ingest is stopping")
        assert await peer.answers(message(1)) == b""
        peer.send(message(2))
        await asyncio.sleep(0.05)
        assert len(sink.taken) == 1
        await run.end()
        await peer.silence()
        assert peer.is_gone


async def test_a_stop_waits_for_what_was_read() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, drain_s=5.0) as run:
        peer = await broker.next_peer()
        await peer.serve()
        sink.open.clear()
        assert await peer.answers(message(1)) == b""
        run.stop.set()
        await asyncio.sleep(0.05)
        peer.send(message(2))
        assert await peer.silence() == b""
        sink.open.set()
        assert await peer.silence() == acks(1) + b"\xe0\x00"
        await run.task
    assert sink.taken == [(b"t/1", b"1")]


async def test_a_stop_does_not_wait_for_ever() -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, drain_s=0.1) as run:
        peer = await broker.next_peer()
        await peer.serve()
        sink.open.clear()
        assert await peer.answers(message(1)) == b""
        await run.end()
        assert await peer.silence() == b"\xe0\x00"


def test_defaults_hold_what_the_settings_promise() -> None:
    assert MqttOptions().high_water_bytes > 4 * MqttOptions().max_payload_bytes
