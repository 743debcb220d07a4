from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.mqtt.frames import Search, State, ack_of, find_packets, read_publish, room_for
from tests.ingest.mqtt import naive_mqtt
from tests.ingest.mqtt.naive_mqtt import Packet, publish

LIMIT = 10_000
ROOM = room_for(256)

topics = st.binary(min_size=1, max_size=300)
payloads = st.one_of(st.binary(max_size=40), st.integers(100, 600).map(bytes))
others = st.sampled_from([b"\xd0\x00", b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01", b"\x62\x02\x00\x07", b"\xe0\x00"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bool]:
    is_version_5 = draw(st.booleans())
    properties = st.binary(max_size=200) if is_version_5 else st.none()
    one = st.builds(
        publish,
        topics,
        payloads,
        qos=st.integers(0, 2),
        packet_id=st.integers(1, 65_535),
        properties=properties,
        flags=st.sampled_from([0, 1, 8, 9]),
    )
    return b"".join(draw(st.lists(st.one_of(one, others), max_size=12))), is_version_5


def search(data: bytes, *, is_version_5: bool = False, limit: int = LIMIT) -> tuple[Search, list[Packet], bytes]:
    buffer = np.frombuffer(data, np.uint8)
    found = find_packets(buffer, 0, len(buffer), is_version_5, limit, ROOM)
    listed = [
        (
            int(ROOM.topic_start[i]),
            Packet(
                data[ROOM.topic_start[i] : ROOM.topic_end[i]],
                data[ROOM.payload_start[i] : ROOM.payload_end[i]],
            ),
        )
        for i in range(found.publishes)
    ]
    listed += [
        (int(ROOM.other_start[i]), Packet(other=data[ROOM.other_start[i] : ROOM.other_end[i]]))
        for i in range(found.others)
    ]
    return found, [packet for _, packet in sorted(listed)], ROOM.acks[: found.ack_bytes].tobytes()


def without_ids(packets: list[Packet]) -> list[Packet]:
    return [packet._replace(qos=0, packet_id=0) for packet in packets]


@given(streams())
@settings(max_examples=150)
def test_finds_what_the_naive_reader_finds(stream: tuple[bytes, bool]) -> None:
    data, is_version_5 = stream
    expected = naive_mqtt.packets(data, is_version_5=is_version_5)
    found, packets, acks = search(data, is_version_5=is_version_5)
    assert found.state == State.NEEDS_MORE
    assert found.at == len(data)
    assert packets == without_ids(expected)
    assert acks == naive_mqtt.acks(expected)


@given(streams(), st.lists(st.integers(0, 4000), max_size=6))
@settings(max_examples=150)
def test_any_split_gives_the_same_packets(stream: tuple[bytes, bool], cuts: list[int]) -> None:
    data, is_version_5 = stream
    bounds = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pending, packets, acks = b"", [], b""
    for start, end in itertools.pairwise(bounds):
        pending += data[start:end]
        found, more, more_acks = search(pending, is_version_5=is_version_5)
        assert found.state == State.NEEDS_MORE
        packets += more
        acks += more_acks
        pending = pending[found.at :]
    expected = naive_mqtt.packets(data, is_version_5=is_version_5)
    assert (packets, acks, pending) == (without_ids(expected), naive_mqtt.acks(expected), b"")


@given(st.binary(max_size=300), st.booleans())
@example(b"\x30\xff\xff\xff\xff\x01", False)
@example(b"\x36\x05\x00\x01t\x00\x01", False)
@settings(max_examples=300)
def test_any_bytes_end_in_a_state_within_the_buffer(data: bytes, is_version_5: bool) -> None:  # noqa: FBT001
    found, _, _ = search(data, is_version_5=is_version_5)
    assert State(found.state) in State
    assert 0 <= found.at <= len(data)
    for i in range(found.publishes):
        assert 0 < ROOM.topic_start[i] < ROOM.topic_end[i] <= ROOM.payload_start[i] <= ROOM.payload_end[i] <= found.at


@pytest.mark.parametrize(
    ("data", "is_version_5"),
    [
        pytest.param(b"\x30\x80\x80\x80\x80\x01", False, id="a length of five bytes"),
        pytest.param(publish(b"t", b"", qos=3), False, id="QoS 3"),
        pytest.param(publish(b"t", b"", qos=1, packet_id=0), False, id="packet identifier 0"),
        pytest.param(publish(b"", b"x"), False, id="no topic"),
        pytest.param(publish(b"", b"x", properties=b"\x23\x00\x01"), True, id="a topic alias, which we do not allow"),
        pytest.param(b"\x30\x01\x00", False, id="half a topic length"),
        pytest.param(b"\x30\x03\x00\x05t", False, id="a topic longer than the packet"),
        pytest.param(b"\x32\x04\x00\x01t\x00", False, id="half a packet identifier"),
        pytest.param(b"\x30\x04\x00\x01t\x05", True, id="properties longer than the packet"),
        pytest.param(b"\x30\x04\x00\x01t\x80", True, id="half a length of properties"),
        pytest.param(b"\x30\x03\x00\x01t", True, id="no length of properties"),
        pytest.param(b"\xd0" + naive_mqtt.length_of(LIMIT + 1), False, id="another packet over the limit"),
    ],
)
def test_malformed(data: bytes, is_version_5: bool) -> None:  # noqa: FBT001
    before = publish(b"a", b"b", properties=b"" if is_version_5 else None)
    found, packets, _ = search(before + data, is_version_5=is_version_5)
    assert found.state == State.MALFORMED
    assert found.at == len(before)
    assert packets == [Packet(b"a", b"b")]


def test_says_how_much_is_missing() -> None:
    data = publish(b"topic", bytes(500), qos=1)
    assert search(data[:1])[0] == Search(State.NEEDS_MORE, 0, 0, 0, 0, 0)
    assert search(data[:2])[0].packet_end == 0
    assert search(data[:3])[0] == Search(State.NEEDS_MORE, 0, len(data), 0, 0, 0)
    assert search(data[:-1])[0].packet_end == len(data)


def test_a_publish_over_the_limit_is_known_by_its_header() -> None:
    data = publish(b"big", bytes(LIMIT))
    small = publish(b"s", b"")
    found, packets, _ = search(small + data[:4])
    assert found.state == State.TOO_LARGE
    assert (found.at, found.packet_end) == (len(small), len(small) + len(data))
    assert packets == [Packet(b"s", b"")]


def test_a_packet_of_exactly_the_limit_is_found() -> None:
    data = publish(b"big", bytes(1000))
    assert search(data, limit=len(data))[0].publishes == 1
    assert search(data, limit=len(data) - 1)[0].state == State.TOO_LARGE


def test_goes_on_where_room_ran_out() -> None:
    data = b"".join(publish(b"t", b"%d" % i, qos=1, packet_id=i + 1) for i in range(300)) + b"\xd0\x00" * 300
    buffer = np.frombuffer(data, np.uint8)
    at, payloads, acks, pings, rounds = 0, [], b"", 0, 0
    while at < len(data):
        found = find_packets(buffer, at, len(buffer), False, LIMIT, ROOM)
        payloads += [data[ROOM.payload_start[i] : ROOM.payload_end[i]] for i in range(found.publishes)]
        acks += ROOM.acks[: found.ack_bytes].tobytes()
        pings += found.others
        at = found.at
        rounds += 1
        assert found.state == (State.FULL if at < len(data) else State.NEEDS_MORE)
    assert rounds > 2
    assert payloads == [b"%d" % i for i in range(300)]
    assert acks == b"".join(b"\x40\x02" + (i + 1).to_bytes(2, "big") for i in range(300))
    assert pings == 300


def test_reads_the_beginning_of_a_packet_that_is_not_there_yet() -> None:
    data = publish(b"topic", bytes(100_000), qos=1, packet_id=7, properties=bytes(200))
    buffer = np.frombuffer(data[:50], np.uint8)
    found = read_publish(buffer, 0, 4, len(data), True)
    assert (data[found.topic_start : found.topic_end], found.qos, found.packet_id) == (b"topic", 1, 7)
    assert len(data) - found.payload_start == 100_000
    assert ack_of(found) == b"\x40\x02\x00\x07"
