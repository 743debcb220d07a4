"""Teltonika in bytes: the vendor's own examples, packets built by its tables, and every way to break them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import (
    QUANTITY_BATTERY_RATIO,
    QUANTITY_IGNITION_ON,
    QUANTITY_ODOMETER_M,
    QUANTITY_TEMPERATURE_CELSIUS,
    QUANTITY_VOLTAGE_V,
    ReadingBatch,
)
from ingest.decoders.crc16 import crc16
from ingest.decoders.teltonika_codec import decode
from ingest.decoders.teltonika_record import ELEMENTS
from ingest.reasons import Reason, Rejection

# Teltonika Telematics wiki, "Teltonika Data Sending Protocols": the examples of its sections, in the frame of TCP.
CODEC_8_FIRST = (
    "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000"
    "000000010000C7CF"
)
CODEC_8_SECOND = (
    "000000000000002808010000016B40D9AD80010000000000000000000000000000000103021503010101425E100000010000F22A"
)
CODEC_8_THIRD = (
    "000000000000004308020000016B40D57B480100000000000000000000000000000001010101000000000000016B40D5C1980100000000000000"
    "0000000000000000010101010100000002000025" + "2C"
)
CODEC_8_EXTENDED = (
    "000000000000004A8E010000016B412CEE000100000000000000000000000000000000010005000100010100010011001D00010010015E2C8800"
    "02000B000000003544C87A000E000000001DD7E06A00000100002994"
)
CODEC_16 = (
    "000000000000005F10020000016BDBC7833000000000000000000000000000000000000B05040200010000030002000B00270042563A00000000"
    "016BDBC7871800000000000000000000000000000000000B05040200010000030002000B00260042563A00000200005FB3"
)
CODEC_12 = "000000000000000F0C010500000007676574696E666F0100004312"

T_MS = 1_700_000_000_123
WIDTHS = ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))


def record(
    codec: int, elements: Mapping[int, tuple[int, int]], *, long_values: Sequence[bytes] = (), **gps: int
) -> bytes:
    """A record by the tables of the documentation; `elements` are (width, value) by id, `gps` changes the fix."""
    fix = {
        "longitude": 252_797_000,
        "latitude": 546_938_000,
        "altitude": 120,
        "angle": 270,
        "satellites": 9,
        "speed": 90,
    }
    small = "B" if codec == 0x08 else "H"
    counter = "H" if codec == 0x8E else "B"
    data = struct.pack(">QBiihHBH", T_MS, 1, *(fix | gps).values())
    data += struct.pack(f">{small}", 0) + (b"\x05" if codec == 0x10 else b"")
    data += struct.pack(f">{counter}", len(elements) + len(long_values))
    for width, letter in WIDTHS:
        group = [(avl_id, value) for avl_id, (size, value) in elements.items() if size == width]
        data += struct.pack(f">{counter}", len(group))
        data += b"".join(struct.pack(f">{small}{letter}", avl_id, value) for avl_id, value in group)
    if codec == 0x8E:
        data += struct.pack(">H", len(long_values))
        data += b"".join(struct.pack(">HH", 387, len(each)) + each for each in long_values)
    return data


def packet(codec: int, *records: bytes) -> bytes:
    return bytes([codec, len(records)]) + b"".join(records) + bytes([len(records)])


def framed(data: bytes) -> bytes:
    return struct.pack(">II", 0, len(data)) + data + struct.pack(">I", naive_crc16(data))


def naive_crc16(data: bytes) -> int:
    """Bit by bit, as the documentation's flow chart has it."""
    rest = 0
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ 0xA001 if rest & 1 else rest >> 1
    return rest


def sound(payload: bytes) -> ReadingBatch:
    readings = decode("teltonika/352093081452251", payload, 0)
    assert isinstance(readings, ReadingBatch), readings
    return readings


def samples(readings: ReadingBatch) -> list[tuple[int, int, float]]:
    return [(each.quantity, each.probe, round(each.value, 9)) for each in readings.sensors]


@pytest.mark.parametrize(
    ("text", "times_ms", "expected"),
    [
        # "Codec 8", examples 1 to 3: element 66 is 0x5E0F, then 0x5E10.
        (CODEC_8_FIRST, [1_560_161_086_000], [(QUANTITY_VOLTAGE_V, 0, 24.079)]),
        (CODEC_8_SECOND, [1_560_161_136_000], [(QUANTITY_VOLTAGE_V, 0, 24.080)]),
        (CODEC_8_THIRD, [1_560_160_861_000, 1_560_160_879_000], []),
        # "Codec 8 Extended": element 16 is 0x015E2C88.
        (CODEC_8_EXTENDED, [1_560_166_592_000], [(QUANTITY_ODOMETER_M, 0, 22_949_000)]),
        # "Codec 16": element 66 is 0x563A in both records.
        (CODEC_16, [1_562_760_414_000, 1_562_760_415_000], [(QUANTITY_VOLTAGE_V, 0, 22.074)] * 2),
    ],
)
def test_the_documentations_examples(text: str, times_ms: list[int], expected: list[tuple[int, int, float]]) -> None:
    frame = bytes.fromhex(text)
    readings = sound(frame)
    assert [fix.observed_at_us for fix in readings.positions] == [time_ms * 1000 for time_ms in times_ms]
    assert samples(readings) == expected
    for fix in readings.positions:
        # All of them are without a fix: speed 0 and angle 0 are no measurements.
        assert (fix.latitude_deg, fix.longitude_deg, fix.satellites) == (0, 0, 0)
        assert fix.HasField("satellites")
        assert not any(fix.HasField(name) for name in ("speed_mps", "heading_deg", "altitude_m"))
    assert sound(frame[8:-4]) == readings, "the same without the frame"


@pytest.mark.parametrize("codec", [0x08, 0x8E, 0x10])
def test_every_field(codec: int) -> None:
    elements = {
        239: (1, 1),
        240: (1, 1),
        113: (1, 87),
        66: (2, 12_600),
        67: (2, 4_096),
        72: (2, 45),
        73: (2, 0x10000 - 181),
        74: (2, 850),
        75: (2, 3_000),
        16: (4, 15_056_000),
        78: (8, 2**63),
    }
    readings = sound(packet(codec, record(codec, elements), record(codec, {})))
    first, second = readings.positions
    assert first.observed_at_us == T_MS * 1000
    assert (first.latitude_deg, first.longitude_deg) == (54.6938, 25.2797)
    assert (first.altitude_m, first.heading_deg, first.satellites) == (120, 270, 9)
    assert first.speed_mps == pytest.approx(25)
    assert not any(first.HasField(name) for name in ("accuracy_m", "sequence", "sent_at_us"))
    assert second == first
    # By width, then in the order sent. 240 is no quantity; 85.0 degrees and 300.0 degrees are codes of the probe.
    assert samples(readings) == [
        (QUANTITY_IGNITION_ON, 0, 1),
        (QUANTITY_BATTERY_RATIO, 0, 0.87),
        (QUANTITY_VOLTAGE_V, 0, 12.6),
        (QUANTITY_VOLTAGE_V, 1, 4.096),
        (QUANTITY_TEMPERATURE_CELSIUS, 0, 4.5),
        (QUANTITY_TEMPERATURE_CELSIUS, 1, -18.1),
        (QUANTITY_ODOMETER_M, 0, 15_056_000),
    ]


@pytest.mark.parametrize(("latitude", "longitude"), [(-339_797_530, 184_890_300), (514_773_880, -14_000), (-1, -1)])
def test_negative_coordinates_are_twos_complement(latitude: int, longitude: int) -> None:
    (fix,) = sound(packet(8, record(8, {}, latitude=latitude, longitude=longitude, altitude=-12))).positions
    assert (fix.latitude_deg, fix.longitude_deg, fix.altitude_m) == (latitude / 1e7, longitude / 1e7, -12)


def test_values_with_a_length_are_passed_over() -> None:
    data = packet(0x8E, record(0x8E, {66: (2, 12_000)}, long_values=[b"", b"VIN-4711", bytes(300)]))
    assert samples(sound(framed(data))) == [(QUANTITY_VOLTAGE_V, 0, 12.0)]


def test_an_element_said_again_and_again_is_one_sample() -> None:
    start = record(8, {})[:-6]
    groups = b"\x00\xff\xff" + struct.pack(">BB", 113, 1) * 254 + struct.pack(">BB", 113, 50) + bytes(3)
    assert samples(sound(packet(8, start + groups))) == [(QUANTITY_BATTERY_RATIO, 0, 0.5)]


SOUND = packet(8, record(8, {66: (2, 12_000), 239: (1, 0)}))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x08", Reason.TRUNCATED),
        (SOUND[:20], Reason.TRUNCATED),
        (SOUND[:-3], Reason.TRUNCATED),
        (SOUND[:-1], Reason.TRUNCATED),
        (SOUND + b"\x00", Reason.MALFORMED),
        (SOUND[:-1] + b"\x02", Reason.MALFORMED),
        (b"\x08\x02" + SOUND[2:], Reason.TRUNCATED),
        (SOUND.replace(b"\x00\x02\x01\xef", b"\x00\x03\x01\xef"), Reason.MALFORMED),  # three elements said, two there
        (b"\x08\x00\x00", Reason.EMPTY),
        (b"\x09" + SOUND[1:], Reason.UNKNOWN_TYPE),
        (bytes.fromhex(CODEC_12), Reason.NOT_A_READING),
        (bytes.fromhex(CODEC_12)[8:-4], Reason.NOT_A_READING),
        (SOUND[:2] + b"\xff" * 8 + SOUND[10:], Reason.VALUE_OUT_OF_RANGE),
        (packet(0x8E, record(0x8E, {}, long_values=[b"x" * 9]))[:-4], Reason.TRUNCATED),
        (framed(SOUND)[:6], Reason.TRUNCATED),
        (framed(SOUND)[:-1], Reason.TRUNCATED),
        (framed(SOUND) + b"\x00", Reason.MALFORMED),
        (framed(SOUND)[:-1] + b"\x00", Reason.MALFORMED),
        (framed(SOUND)[:-4] + b"\x00\x01" + framed(SOUND)[-2:], Reason.MALFORMED),  # the upper half of the sum
        (framed(b""), Reason.TRUNCATED),
        (struct.pack(">II", 0, 2**32 - 1) + SOUND, Reason.TRUNCATED),
    ],
)
def test_reasons(payload: bytes, reason: Reason) -> None:
    answer = decode("", payload, 0)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


@pytest.mark.parametrize("text", [CODEC_8_FIRST, CODEC_8_EXTENDED, CODEC_16])
def test_no_beginning_of_a_packet_is_one(text: str) -> None:
    frame = bytes.fromhex(text)
    for end in range(len(frame)):
        assert isinstance(decode("", frame[:end], 0), Rejection)
    for end in range(9, len(frame) - 4):
        assert isinstance(decode("", frame[8:end], 0), Rejection)


@given(st.data())
def test_no_broken_bit_gets_through_a_frame(data: st.DataObject) -> None:
    frame = bytearray.fromhex(CODEC_8_FIRST)
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    assert isinstance(decode("", bytes(frame), 0), Rejection)


@given(st.binary())
def test_the_check_sum(data: bytes) -> None:
    assert crc16(np.frombuffer(data, np.uint8)) == naive_crc16(data)
    assert crc16(np.frombuffer(b"123456789", np.uint8)) == 0xBB3D


_IO = st.sampled_from([*ELEMENTS, 240])


@given(
    st.sampled_from([0x08, 0x8E, 0x10]),
    st.lists(st.dictionaries(_IO, st.sampled_from([1, 2, 4, 8]).flatmap(
        lambda width: st.tuples(st.just(width), st.integers(0, 256**width - 1))
    )), max_size=5),
    st.binary(max_size=40),
)  # fmt: skip
def test_any_values_give_readings(codec: int, records: list[dict[int, tuple[int, int]]], noise: bytes) -> None:
    data = packet(codec, *(record(codec, elements) for elements in records))
    answer = decode("", data, 0)
    if records:
        assert isinstance(answer, ReadingBatch)
        assert len(answer.positions) == len(records)
    for start in (b"\x08\x01", b"\x8e\x01", b"\x10\x01"):
        assert isinstance(decode("", start + data[2:] + noise, 0), ReadingBatch | Rejection)
