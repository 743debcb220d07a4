from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import Position, Quantity, ReadingBatch, SensorSample, TagRead
from ingest.decoders.native_protobuf import PayloadKind, decode_bulk
from ingest.reasons import Reason
from tests.ingest.decoders import naive_protobuf
from tracking_core.columns import NO_SATELLITES, NO_SEQUENCE, NO_TIME, Readings

NOW_US = 1_700_000_000_000_000
POSITION, SENSOR, TAG, BATCH = PayloadKind

ABSENT = {"sent_at_us": NO_TIME, "sequence": NO_SEQUENCE, "satellites": NO_SATELLITES}


def decode(payloads: list[bytes], kinds: list[PayloadKind], *, now_us: int = NOW_US) -> tuple[Readings, list[Reason]]:
    # Bytes before, between and after that would be read if an offset were wrong.
    gap = b"\x09\xff\xff"
    buffer = np.frombuffer(gap + gap.join(payloads) + gap, np.uint8)
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    start = np.cumsum(lengths + len(gap)) - lengths
    devices = np.arange(len(payloads), dtype=np.uint32) + 100
    readings, status = decode_bulk(buffer, start, start + lengths, np.array(kinds, np.uint8), devices, now_us)
    return readings, [Reason(int(number)) for number in status]


def rows(readings: Readings) -> list[dict[str, Any]]:
    """As the oracle gives them."""
    found: list[dict[str, Any]] = []
    for columns in readings:
        for index in range(len(columns.device)):
            row = {name: getattr(columns, name)[index].item() for name in columns._fields}
            row.pop("device")
            row.pop("received_at_us")
            if "epc_length" in row:
                whole = row.pop("epc_high") << 64 | row.pop("epc_low")
                row["epc"] = whole.to_bytes(16, "big")[16 - row.pop("epc_length") :]
            for name, value in row.items():
                if value == ABSENT.get(name) or (isinstance(value, float) and math.isnan(value)):
                    row[name] = None
            found.append(row)
    return found


times = st.one_of(st.integers(NOW_US - 10**12, NOW_US), st.integers(-(2**63), 2**63 - 1), st.just(0))
doubles = st.one_of(st.floats(-90, 90), st.floats(), st.just(0.0))
singles = st.none() | st.floats(width=32)
sequences = st.none() | st.integers(0, 2**64 - 1)
positions = st.builds(
    Position,
    observed_at_us=times,
    latitude_deg=doubles,
    longitude_deg=doubles,
    altitude_m=singles,
    speed_mps=singles,
    heading_deg=singles,
    accuracy_m=singles,
    satellites=st.none() | st.integers(0, 2**32 - 1),
    sequence=sequences,
    sent_at_us=st.none() | times,
)
sensors = st.builds(
    SensorSample,
    observed_at_us=times,
    quantity=st.one_of(st.sampled_from(Quantity.values()), st.integers(-(2**31), 2**31 - 1)),
    value=doubles,
    probe=st.integers(0, 2**32 - 1),
    sequence=sequences,
    sent_at_us=st.none() | times,
)
tags = st.builds(
    TagRead,
    observed_at_us=times,
    epc=st.binary(max_size=18),
    antenna=st.integers(0, 2**32 - 1),
    rssi_dbm=singles,
    sequence=sequences,
    sent_at_us=st.none() | times,
)
batches = st.builds(
    ReadingBatch,
    positions=st.lists(positions, max_size=3),
    sensors=st.lists(sensors, max_size=3),
    tags=st.lists(tags, max_size=3),
)
messages = st.one_of(positions, sensors, tags, batches)


def kind_of(message: Any) -> PayloadKind:
    return next(kind for kind, cls in naive_protobuf.CLASSES.items() if isinstance(message, cls))


def check(payloads: list[bytes], kinds: list[PayloadKind]) -> None:
    """What is taken equals what protobuf reads, and what is refused has a reason that protobuf agrees with."""
    readings, statuses = decode(payloads, kinds)
    taken: list[list[dict[str, Any]]] = [[], [], []]
    for payload, kind, status in zip(payloads, kinds, statuses, strict=True):
        expected = naive_protobuf.decode(payload, kind, NOW_US)
        if isinstance(expected, list):
            assert status is Reason.OK
            for row in expected:
                taken[0 if "latitude_deg" in row else 1 if "quantity" in row else 2].append(row)
        elif status is Reason.CLOCK_UNSET:
            assert expected & {Reason.CLOCK_UNSET, Reason.MISSING_FIELD}  # a time of zero, sent
        else:
            assert status in expected
    expected_rows = [
        {name: None if value == ABSENT.get(name) else value for name, value in row.items()}
        for rows_of_kind in taken
        for row in rows_of_kind
    ]
    assert rows(readings) == expected_rows


@given(st.lists(messages, min_size=1, max_size=6))
@settings(max_examples=200)
def test_reads_what_protobuf_writes(written: list[Any]) -> None:
    check([message.SerializeToString() for message in written], [kind_of(message) for message in written])


@given(st.binary(max_size=80), st.sampled_from(PayloadKind))
@example(b"\x0a\x00", BATCH)
@example(b"\x0b\x13\x14\x0c", POSITION)
@settings(max_examples=300)
def test_any_bytes_give_readings_or_a_reason(data: bytes, kind: PayloadKind) -> None:
    check([data], [kind])


@given(messages, st.data())
@settings(max_examples=200)
def test_any_damage_gives_readings_or_a_reason(message: Any, data: st.DataObject) -> None:
    """Cut, changed, repeated and extended messages come closer to the edges than random bytes do."""
    payload = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload)))
        how = data.draw(st.sampled_from(["cut", "change", "insert", "repeat"]))
        if how == "cut":
            del payload[at:]
        elif how == "change" and at < len(payload):
            payload[at] = data.draw(st.integers(0, 255))
        elif how == "insert":
            payload[at:at] = data.draw(st.binary(max_size=12))
        else:
            payload += payload[at:]
    check([bytes(payload)], [kind_of(message)])


fields = st.one_of(
    st.tuples(st.integers(12, 2**29 - 1), st.just(0), st.integers(0, 2**64 - 1)),
    st.tuples(st.integers(12, 2**29 - 1), st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(st.integers(12, 2**29 - 1), st.just(2), st.binary(max_size=20)),
    st.tuples(st.integers(12, 2**29 - 1), st.just(5), st.binary(min_size=4, max_size=4)),
    st.tuples(st.integers(12, 2**29 - 1), st.just(3), st.binary(max_size=0)),
)


def varint(number: int) -> bytes:
    encoded = bytearray()
    while True:
        encoded.append(number & 127 | (128 if number > 127 else 0))
        number >>= 7
        if not number:
            return bytes(encoded)


def field(number: int, wire_type: int, value: Any) -> bytes:
    tag = varint(number << 3 | wire_type)
    if wire_type == 0:
        return tag + varint(value)
    if wire_type == 2:
        return tag + varint(len(value)) + value
    if wire_type == 3:
        return tag + value + varint(number << 3 | 4)
    return tag + value


SOUND = Position(observed_at_us=NOW_US, latitude_deg=1.0, longitude_deg=2.0, sequence=3).SerializeToString()


@given(st.lists(fields, max_size=5), st.booleans())
@settings(max_examples=100)
def test_unknown_fields_are_passed_over(unknown: list[tuple[int, int, Any]], in_group: bool) -> None:  # noqa: FBT001
    extra = b"".join(field(*each) for each in unknown)
    if in_group:
        extra = field(1000, 3, field(1001, 3, extra) + extra)
    for payload, kind in (
        (extra + SOUND + extra, POSITION),
        (extra + b"\x0a" + varint(len(SOUND)) + SOUND + extra, BATCH),
    ):
        readings, statuses = decode([payload], [kind])
        assert statuses == [Reason.OK]
        assert (readings.positions.latitude_deg[0], readings.positions.sequence[0]) == (1.0, 3)


def test_the_last_of_a_field_sent_twice_counts() -> None:
    bad = Position(latitude_deg=float("nan"), altitude_m=float("inf"), satellites=2**32 - 1, sequence=2**64 - 1)
    good = Position(
        observed_at_us=NOW_US, latitude_deg=1.0, longitude_deg=2.0, altitude_m=3.0, satellites=4, sequence=5
    )
    readings, statuses = decode([bad.SerializeToString() + good.SerializeToString()], [POSITION])
    assert statuses == [Reason.OK]
    assert rows(readings)[0] | {"observed_at_us": 0} == {
        "observed_at_us": 0, "latitude_deg": 1.0, "longitude_deg": 2.0, "altitude_m": 3.0, "speed_mps": None,
        "heading_deg": None, "accuracy_m": None, "satellites": 4, "sequence": 5, "sent_at_us": None,
        "is_historical": False,
    }  # fmt: skip
    assert decode([good.SerializeToString() + bad.SerializeToString()], [POSITION])[1] == [Reason.NOT_FINITE]


def made(cls: Any = Position, **fields: Any) -> bytes:
    base: dict[str, Any] = {"observed_at_us": NOW_US}
    if cls is SensorSample:
        base |= {"quantity": Quantity.QUANTITY_TEMPERATURE_CELSIUS, "value": -20.0}
    elif cls is TagRead:
        base |= {"epc": bytes(12)}
    return bytes(cls(**(base | fields)).SerializeToString())


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("payload", "kind", "reason"),
    [
        (b"", POSITION, Reason.EMPTY),
        (b"", BATCH, Reason.EMPTY),
        (field(99, 0, 1), BATCH, Reason.EMPTY),
        (field(99, 0, 1), POSITION, Reason.MISSING_FIELD),
        (made(), POSITION, Reason.OK),  # 0, 0 is a fix: what it is worth is not for the decoder to say
        (made(observed_at_us=0, latitude_deg=1.0), POSITION, Reason.MISSING_FIELD),
        (b"\x09" + bytes(8) + b"\x11" + bytes(8), POSITION, Reason.CLOCK_UNSET),
        (made(observed_at_us=1_000_000), POSITION, Reason.CLOCK_UNSET),
        (made(observed_at_us=naive_protobuf.YEAR_2000_US - 1), POSITION, Reason.CLOCK_UNSET),
        (made(observed_at_us=naive_protobuf.YEAR_2000_US), POSITION, Reason.OK),
        (made(observed_at_us=NOW_US + naive_protobuf.DAY_US), POSITION, Reason.OK),
        (made(observed_at_us=NOW_US + naive_protobuf.DAY_US + 1), POSITION, Reason.CLOCK_FUTURE),
        (made(latitude_deg=1.0), SENSOR, Reason.MALFORMED),  # a position under a sensor's topic
        (made(latitude_deg=NAN), POSITION, Reason.NOT_FINITE),
        (made(longitude_deg=-INF), POSITION, Reason.NOT_FINITE),
        (made(speed_mps=NAN), POSITION, Reason.NOT_FINITE),
        (made(latitude_deg=90.0, longitude_deg=-180.0), POSITION, Reason.OK),
        (made(latitude_deg=np.nextafter(90.0, 91.0)), POSITION, Reason.COORDINATE_OUT_OF_RANGE),
        (made(latitude_deg=-90.1), POSITION, Reason.COORDINATE_OUT_OF_RANGE),
        (made(longitude_deg=180.1), POSITION, Reason.COORDINATE_OUT_OF_RANGE),
        (made(sequence=2**63 - 1), POSITION, Reason.OK),
        (made(sequence=2**63), POSITION, Reason.VALUE_OUT_OF_RANGE),
        (made(satellites=2**31), POSITION, Reason.VALUE_OUT_OF_RANGE),
        (made(latitude_deg=1.0)[:-1], POSITION, Reason.TRUNCATED),
        (made() + b"\x48", POSITION, Reason.TRUNCATED),
        (made() + b"\x48" + b"\xff" * 9 + b"\x7f", POSITION, Reason.VALUE_OUT_OF_RANGE),  # ten bytes
        (made() + b"\x48" + b"\xff" * 10 + b"\x01", POSITION, Reason.MALFORMED),  # eleven bytes
        (made() + b"\x10\x01", POSITION, Reason.MALFORMED),  # latitude as a varint
        (made() + b"\x00\x01", POSITION, Reason.MALFORMED),  # field number 0
        (made() + b"\x7e", POSITION, Reason.MALFORMED),  # wire type 6
        (made() + b"\x7c", POSITION, Reason.MALFORMED),  # the end of a group that was not begun
        (made() + b"\x7b\x84\x01", POSITION, Reason.MALFORMED),  # a group that ends as another
        (made() + b"\x7b", POSITION, Reason.TRUNCATED),  # a group that does not end
        (made() + b"\x7b" * 99 + b"\x7c" * 99, POSITION, Reason.OK),
        (made() + b"\x7b" * 101 + b"\x7c" * 101, POSITION, Reason.MALFORMED),  # nested too deep
        (made() + b"\x7a\xff\xff\xff\xff\x0f", POSITION, Reason.MALFORMED),  # a length of -1
        (made() + b"\x7a" + b"\xff" * 9 + b"\x01", POSITION, Reason.MALFORMED),  # the same in ten bytes
        (made() + b"\x7a\x05abcd", POSITION, Reason.TRUNCATED),
        (b"\x0a\x05" + made(), BATCH, Reason.TRUNCATED),  # a reading cut by its own length
        (b"\x0a\x00", BATCH, Reason.MISSING_FIELD),
        (b"\x08\x01", BATCH, Reason.MALFORMED),
        (ReadingBatch(tags=[TagRead(observed_at_us=NOW_US)]).SerializeToString(), BATCH, Reason.MISSING_FIELD),
        (made(SensorSample), SENSOR, Reason.OK),
        (made(SensorSample, quantity=0), SENSOR, Reason.MISSING_FIELD),
        (made(SensorSample, quantity=99), SENSOR, Reason.UNKNOWN_TYPE),
        (made(SensorSample, quantity=-1), SENSOR, Reason.UNKNOWN_TYPE),
        (made(SensorSample, value=NAN), SENSOR, Reason.NOT_FINITE),
        (made(SensorSample, value=0.0), SENSOR, Reason.OK),
        (made(TagRead), TAG, Reason.OK),
        (made(TagRead, epc=b""), TAG, Reason.MISSING_FIELD),
        (made(TagRead, epc=bytes(16)), TAG, Reason.OK),
        (made(TagRead, epc=bytes(17)), TAG, Reason.BAD_EPC),
        (made(TagRead, rssi_dbm=INF), TAG, Reason.NOT_FINITE),
    ],
)
def test_reasons(payload: bytes, kind: PayloadKind, reason: Reason) -> None:
    _, statuses = decode([payload], [kind])
    assert statuses == [reason]


def test_a_batch_is_taken_whole_or_not_at_all() -> None:
    good = ReadingBatch(
        positions=[Position(observed_at_us=NOW_US, latitude_deg=float(n)) for n in range(3)],
        sensors=[SensorSample(observed_at_us=NOW_US, quantity=Quantity.QUANTITY_DOOR_OPEN, value=1.0)],
    ).SerializeToString()
    one_bad = good + ReadingBatch(positions=[Position(observed_at_us=NOW_US, latitude_deg=91.0)]).SerializeToString()
    readings, statuses = decode([good, one_bad, good], [BATCH] * 3)
    assert statuses == [Reason.OK, Reason.COORDINATE_OUT_OF_RANGE, Reason.OK]
    assert readings.positions.latitude_deg.tolist() == [0.0, 1.0, 2.0] * 2
    assert readings.positions.device.tolist() == [100] * 3 + [102] * 3
    assert readings.sensors.device.tolist() == [100, 102]


def test_epcs_keep_their_leading_zeros() -> None:
    epcs = [b"\x00", bytes(11) + b"\x01", bytes(range(1, 17)), b"\x30\x74\x25\x7b\xf7\x19\x4e\x40\x00\x00\x1a\x85"]
    readings, _ = decode([made(TagRead, epc=epc) for epc in epcs], [TAG] * len(epcs))
    assert [row["epc"] for row in rows(readings)] == epcs


def test_a_kind_that_does_not_exist_is_refused() -> None:
    one = np.zeros(1, np.int64)
    for kind in (0, 5, 255):
        _, status = decode_bulk(
            np.frombuffer(SOUND, np.uint8), one, one + len(SOUND), np.array([kind], np.uint8), np.zeros(1, np.uint32), 0
        )
        assert Reason(int(status[0])) is Reason.UNKNOWN_TYPE


@pytest.mark.compiled
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x0a\x00" * 500_000, id="readings of no bytes"),
        pytest.param((b"\x0a\x09\x09" + NOW_US.to_bytes(8, "little")) * 90_000, id="the smallest readings"),
        pytest.param(b"\x7b" * 1_000_000, id="groups"),
        pytest.param(b"\x7b\x7c" * 500_000, id="empty groups"),
        pytest.param(b"\xff" * 1_000_000, id="ones"),
        pytest.param(b"\x80" * 1_000_000, id="a varint without end"),
    ],
)
def test_a_million_bytes_of_anything_take_bounded_time_and_memory(payload: bytes) -> None:
    decode([b"\x0a\x00"], [BATCH])  # compiled outside the clock
    start_s = time.perf_counter()
    readings, _ = decode([payload], [BATCH])
    assert time.perf_counter() - start_s < 1.0
    held = sum(column.base.nbytes if column.base is not None else column.nbytes for part in readings for column in part)
    assert held < 10 * len(payload) + 10_000
