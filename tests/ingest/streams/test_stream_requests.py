"""The outer layer of gRPC requests: as protobuf reads it, whatever the bytes."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from drover.api.ingest.v1.ingest_service_pb2 import DeviceReadings, StreamRequest
from ingest.streams.requests import take_apart
from tests.ingest.readings import batch, position


def found_in(requests: list[bytes]) -> list[list[tuple[bytes, bytes]] | None]:
    """(id, readings) of each request; None for one that is not sound."""
    parts = take_apart(requests)
    found: list[list[tuple[bytes, bytes]] | None] = [[] if sound else None for sound in parts.is_sound]
    for row, request in enumerate(parts.request.tolist()):
        devices = found[request]
        assert devices is not None
        device_id = parts.buffer[parts.id_start[row] : parts.id_end[row]].tobytes()
        devices.append((device_id, parts.buffer[parts.readings_start[row] : parts.readings_end[row]].tobytes()))
    return found


_DEVICE = st.builds(
    lambda name, count: DeviceReadings(device_id=name, readings=batch(*(position() for _ in range(count)))),
    st.text(max_size=8),
    st.integers(0, 3),
)
_REQUEST = st.builds(
    lambda number, devices: StreamRequest(batch_number=number, devices=devices),
    st.integers(0, 2**64 - 1),
    st.lists(_DEVICE, max_size=4),
)


@given(st.lists(_REQUEST, max_size=5))
def test_sound_requests_are_read_as_protobuf_reads_them(requests: list[StreamRequest]) -> None:
    raw = [request.SerializeToString() for request in requests]
    assert take_apart(raw).batch_number.tolist() == [request.batch_number for request in requests]
    assert found_in(raw) == [
        [(device.device_id.encode(), device.readings.SerializeToString()) for device in request.devices]
        for request in requests
    ]


@given(_REQUEST.map(StreamRequest.SerializeToString), st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_request_is_found_and_does_no_harm_to_its_neighbours(raw: bytes, at: int, byte: int) -> None:
    sound = StreamRequest(batch_number=5, devices=[DeviceReadings(device_id="a")]).SerializeToString()
    damaged = bytearray(raw)
    if damaged:
        damaged[at % len(damaged)] = byte
    for victim in (bytes(damaged), raw[: at % (len(raw) + 1)]):
        before, between, after = found_in([sound, victim, sound])
        assert before == after == [(b"a", b"")]
        if between is not None:
            StreamRequest.FromString(_without_texts(victim, between))


def _without_texts(raw: bytes, devices: list[tuple[bytes, bytes]]) -> bytes:
    """What is sound to us is sound to protobuf, but for what stands inside ids (UTF-8) and readings."""
    for text in (*(device for device, _ in devices), *(readings for _, readings in devices)):
        raw = raw.replace(text, b"\x08" * len(text)) if len(text) > 3 else raw
    try:
        StreamRequest.FromString(raw)
    except DecodeError:
        return b""  # an id or readings too short to be told from the frame around them
    return raw


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_do_no_harm(requests: list[bytes]) -> None:
    assert len(found_in(requests)) == len(requests)


@pytest.mark.parametrize("twice", [b"\x0a\x01a", b"\x12\x00"])
def test_a_field_given_twice_is_malformed(twice: bytes) -> None:
    device = b"\x0a\x01b\x12\x00" + twice
    assert found_in([b"\x12" + bytes([len(device)]) + device]) == [None]


def test_unknown_fields_are_passed_over() -> None:
    device = b"\x0a\x01b\x1a\x02zz"
    assert found_in([b"\x7a\x01x\x12" + bytes([len(device)]) + device]) == [[(b"b", b"")]]
