"""SenML: every pack of RFC 8428 against its resolved form, what the RFC asks of receivers, and anything at all."""

from __future__ import annotations

import json
import math
import pathlib
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import Quantity, ReadingBatch
from ingest.decoders.senml import MAX_RECORDS, decode
from ingest.decoders.senml_pack import LABELS, BadPackError, Resolved, resolve, to_records
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule
from tests.ingest.rig import NOW_US, FakeLog, running

NOW_S = NOW_US / 1e6
THING = "urn:dev:ow:10e2073a01080063:"


def sent(*records: dict[str, Any]) -> ReadingBatch | Rejection:
    return decode("any", json.dumps(records).encode(), NOW_US)


def sound(*records: dict[str, Any]) -> ReadingBatch:
    readings = sent(*records)
    assert isinstance(readings, ReadingBatch), readings
    return readings


def resolved(*records: dict[str, Any]) -> list[Resolved]:
    return resolve(to_records(list(records)), NOW_S)


PACKS_WITH_ORACLE = 12
PACKS = 13
RECORDS_COMPARED = 53


def test_the_packs_of_the_rfc(drover_data: pathlib.Path) -> None:
    """`now` is when the oracle resolved the pack: it says so in records that have no time of their own."""
    compared = 0
    oracles = sorted((drover_data / "senml").glob("ex*.gen.resolved.json"))
    assert len(oracles) == PACKS_WITH_ORACLE
    for oracle in oracles:
        pack = json.loads(oracle.with_name(oracle.name.replace(".gen.resolved", "")).read_bytes())
        expected = json.loads(oracle.read_bytes())
        ours = resolve(to_records(pack), expected[0]["t"])
        # The oracle's tool leaves out the record of ex7 whose value is bytes; ours says that it has no value.
        ours = [record for record in ours if record.value is not None]
        assert [
            (record.name, record.unit, pytest.approx(record.time_s, abs=1e-6), record.value) for record in ours
        ] == [
            # ex8 also has `l`, of a draft: a field to be ignored.
            (each["n"], each.get("u"), each["t"], each.get("v", each.get("vs", each.get("vb"))))
            for each in expected
        ], oracle.name
        compared += len(expected)
    assert compared == RECORDS_COMPARED


def test_every_pack_means_the_same_in_cbor(drover_data: pathlib.Path) -> None:
    """The last of them, ex13, has no resolved form of the RFC's authors."""
    paths = [path for path in sorted((drover_data / "senml").glob("ex*.json")) if ".gen." not in path.name]
    assert len(paths) == PACKS
    numbers = {label: number for number, label in LABELS.items()}
    for path in paths:
        pack = json.loads(path.read_bytes())
        binary = cbor2.dumps([{numbers.get(label, label): value for label, value in record.items()} for record in pack])
        assert decode("", binary, NOW_US) == decode("", path.read_bytes(), NOW_US), path.name
        assert decode("", b"\xd9\xd9\xf7" + binary, NOW_US) == decode("", binary, NOW_US)


def test_a_moving_sensor(drover_data: pathlib.Path) -> None:
    """RFC 8428, section 5.1.4: humidity, location and battery under one name."""
    readings = decode("", (drover_data / "senml" / "ex5.json").read_bytes(), NOW_US)
    assert isinstance(readings, ReadingBatch)
    assert [(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg) for fix in readings.positions] == [
        (1_320_067_464_000_000, 60.07965, 24.30621),
        (1_320_067_524_000_000, 60.07965, 24.30622),
        (1_320_067_584_000_000, 60.07966, 24.30623),
        (1_320_067_644_000_000, 60.07967, 24.30628),
    ]
    assert [(each.quantity, pytest.approx(each.value), each.probe) for each in readings.sensors] == [
        (Quantity.QUANTITY_HUMIDITY_RATIO, 0.2, 0),
        (Quantity.QUANTITY_HUMIDITY_RATIO, 0.203, 0),
        (Quantity.QUANTITY_HUMIDITY_RATIO, 0.207, 0),
        (Quantity.QUANTITY_BATTERY_RATIO, 0.98, 0),
        (Quantity.QUANTITY_HUMIDITY_RATIO, 0.212, 0),
    ]


def test_base_fields_hold_until_the_next_of_their_kind() -> None:
    records = resolved(
        {"bn": "a:", "bt": 1_700_000_000, "bu": "V", "bv": 10, "n": "x", "v": 1},
        {"n": "y", "u": "A", "t": -5},
        {"bn": "b:", "bv": 0, "n": "z", "v": 2, "bs": 4, "s": 1},
    )
    assert records == [
        Resolved("a:x", "V", 1_700_000_000, 11, None),
        Resolved("a:y", "A", 1_699_999_995, 10, None),
        Resolved("b:z", "V", 1_700_000_000, 2, 5),
    ]


@pytest.mark.parametrize(
    ("time", "expected_s"),
    [
        (0, NOW_S),
        (-60, NOW_S - 60),
        (60, NOW_S + 60),
        (2**28 - 1, NOW_S + 2**28 - 1),
        (2**28, 2**28),
    ],
)
def test_times_below_two_to_the_28_are_relative(time: float, expected_s: float) -> None:
    assert resolved({"n": "a", "t": time, "v": 1})[0].time_s == expected_s
    assert resolved({"n": "a", "bt": time - 1, "t": 1, "v": 1})[0].time_s == expected_s


def test_a_fix_of_several_names() -> None:
    readings = sound(
        {"bn": THING, "bt": 1.7e9, "n": "latitude", "u": "lat", "v": 41.15},
        {"n": "longitude", "u": "lon", "v": -8.61},
        {"n": "altitude", "u": "m", "v": 90},
        {"n": "speed", "u": "m/s", "v": 12.5},
        {"n": "heading", "u": "rad", "v": math.pi / 2},
        {"n": "accuracy", "u": "m", "v": 4},
        {"n": "odometer", "u": "km", "v": 1250},
        {"n": "lat", "u": "lat", "t": 60, "v": 41.16},
    )
    (fix,) = readings.positions
    assert fix.observed_at_us == NOW_US
    assert (fix.latitude_deg, fix.longitude_deg, fix.altitude_m, fix.speed_mps) == (41.15, -8.61, 90, 12.5)
    assert fix.heading_deg == pytest.approx(90)
    assert fix.accuracy_m == 4
    (sample,) = readings.sensors
    assert (sample.quantity, sample.value) == (Quantity.QUANTITY_ODOMETER_M, 1_250_000)


def test_things_of_one_time_are_not_mixed() -> None:
    readings = sound(
        {"n": "a:lat", "u": "lat", "v": 1},
        {"n": "b:lat", "u": "lat", "v": 2},
        {"n": "b:lon", "u": "lon", "v": 3},
        {"n": "a:lon", "u": "lon", "v": 4},
    )
    assert [(fix.latitude_deg, fix.longitude_deg) for fix in readings.positions] == [(1, 4), (2, 3)]


@pytest.mark.parametrize(
    ("record", "quantity", "value", "probe"),
    [
        ({"n": "temp2", "u": "Cel", "v": -18.5}, "TEMPERATURE_CELSIUS", -18.5, 2),
        ({"n": "temp", "u": "K", "v": 273.15}, "TEMPERATURE_CELSIUS", 0, 0),
        ({"n": "10e2073a01080063", "u": "%RH", "v": 50}, "HUMIDITY_RATIO", 0.5, 0),
        ({"n": "air", "u": "Pa", "v": 101_300}, "PRESSURE_PA", 101_300, 0),
        ({"n": "air", "u": "hPa", "v": 1013}, "PRESSURE_PA", 101_300, 0),
        ({"n": "in", "u": "V", "v": 12.6}, "VOLTAGE_V", 12.6, 0),
        ({"n": "in", "u": "mV", "v": 12600}, "VOLTAGE_V", 12.6, 0),
        ({"n": "cargo", "u": "lx", "v": 3}, "ILLUMINANCE_LUX", 3, 0),
        ({"n": "hit", "u": "m/s2", "v": 40}, "SHOCK_MPS2", 40, 0),
        ({"n": "left", "u": "%EL", "v": 98}, "BATTERY_RATIO", 0.98, 0),
        ({"n": "battery", "u": "/", "v": 0.5}, "BATTERY_RATIO", 0.5, 0),
        ({"n": "fuel", "u": "%", "v": 40}, "FUEL_RATIO", 0.4, 0),
        ({"n": "back:door_1", "vb": True}, "DOOR_OPEN", 1, 1),
        ({"n": "ignition", "vb": False}, "IGNITION_ON", 0, 0),
    ],
)
def test_quantities(record: dict[str, Any], quantity: str, value: float, probe: int) -> None:
    (sample,) = sound(record).sensors
    assert sample.quantity == Quantity.Value(f"QUANTITY_{quantity}")
    assert (sample.value, sample.probe) == (pytest.approx(value), probe)


def test_what_is_no_quantity_of_ours_is_passed_over() -> None:
    assert len(sound({"n": "a", "u": "Cel", "v": 1}, {"n": "b", "u": "A", "v": 2}, {"n": "c", "vs": "x"}).sensors) == 1
    # EL is the time that a battery lasts.
    assert len(sound({"n": "a", "u": "Cel", "v": 1}, {"n": "a", "u": "EL", "v": 3600}).sensors) == 1


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], Reason.NOT_A_READING),
        ([{"bn": THING, "bt": 1.7e9, "bv": 1}], Reason.NOT_A_READING),
        ([{"n": "a", "vd": "aGkgCg"}], Reason.NOT_A_READING),
        ([{"n": "a", "u": "A", "v": 1}], Reason.UNKNOWN_TYPE),
        ([{"n": "a", "u": "lat", "v": 1}], Reason.NO_LOCATION),
        ([{"n": "a", "v": "1"}], Reason.MALFORMED),
        ([{"n": "a", "v": 1, "vb": True}], Reason.MALFORMED),
        ([{"n": "a", "v": 1, "must_": 1}], Reason.MALFORMED),
        ([{"v": 1}], Reason.MALFORMED),
        ([{"n": "_a", "v": 1}], Reason.MALFORMED),
        ([{"n": "a b", "v": 1}], Reason.MALFORMED),
        ([{"bver": 11, "n": "a", "v": 1}], Reason.MALFORMED),
        ([{"bver": 10, "n": "a", "v": 1}, {"bver": 5, "n": "a", "v": 1}], Reason.MALFORMED),
        ([{"n": "a", "u": "Cel", "t": 1e300, "v": 1}], Reason.VALUE_OUT_OF_RANGE),
        ([[]], Reason.MALFORMED),
        ([1], Reason.MALFORMED),
        ([{}] * (MAX_RECORDS + 1), Reason.TOO_LARGE),
    ],
)
def test_reasons(records: list[Any], reason: Reason) -> None:
    answer = sent(*records)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"[",
        b"[" * 100_000,
        b'[{"n":"a","x":' + b"[" * 100_000,
        b"\x81" * 100_000,
        b"\x9b" + b"\xff" * 8,  # an array of 2^64 - 1
        b"\x81\xbb" + b"\xff" * 8,  # a map of so many
        b"\x81\xa1\x00\x5b" + b"\xff" * 8,  # bytes of so many
        b"\x81\xa1\x02\xc4\x82\x1b" + b"\x7f" * 8 + b"\x01",  # 1e9187201950435737471
        b"\x81\xa1\x02\xc5\x82\x1a\x7f\xff\xff\xff\x01",  # 2^2147483647, a bigfloat
        b"\x9f" + b"\xa0" * (MAX_RECORDS - 1) + b"\x01\xff",
        b"\xd8\x1c\x81\xd8\x1d\x00",  # an array that holds itself
        b"\x81\xd8\x23\x64(a+)",  # a regular expression
        b"\x81\xa1\x02\xf9\x7c",  # ends early
        b"\x81\xa1\x06\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",  # an infinite time
        b"\x01",
    ],
)
def test_what_is_no_pack(payload: bytes) -> None:
    answer = decode("", payload, NOW_US)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.MALFORMED


def test_decimal_fractions() -> None:
    """RFC 8428, section 6."""
    readings = decode("", cbor2.dumps([{0: "a", 1: "Cel", 2: Decimal("21.5")}]), NOW_US)
    assert isinstance(readings, ReadingBatch)
    assert readings.sensors[0].value == 21.5


@given(st.binary() | st.text().map(str.encode) | st.binary().map(b"\x81\xa2".__add__))
def test_any_bytes_give_readings_or_a_reason(payload: bytes) -> None:
    assert isinstance(decode("", payload, NOW_US), ReadingBatch | Rejection)


_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
_VALUE = _SCALAR | st.decimals() | st.lists(_SCALAR, max_size=2)
_RECORD = st.dictionaries(
    st.sampled_from(list(LABELS)) | st.integers() | st.text(max_size=3),
    _VALUE | st.sampled_from(["lat", "lon", "m", "Cel", "a", "b:lat", "b:lon"]),
    max_size=6,
)


@given(st.lists(_RECORD, max_size=4))
def test_any_values_give_readings_or_a_reason(records: list[dict[Any, Any]]) -> None:
    assert isinstance(decode("", cbor2.dumps(records), NOW_US), ReadingBatch | Rejection)


_NAMED = st.fixed_dictionaries(
    {"n": st.sampled_from(["a", "b:lat", "b:lon", "speed1"])},
    optional={
        "u": st.sampled_from(["lat", "lon", "m", "m/s", "Cel"]),
        "v": st.floats(),
        "t": st.floats(),
        "bt": st.floats(),
        "bv": st.floats(),
    },
)


@given(st.lists(_NAMED, max_size=6))
def test_any_numbers_give_readings_or_a_reason(records: list[dict[str, Any]]) -> None:
    numbers = {label: number for number, label in LABELS.items()}
    payload = cbor2.dumps([{numbers[label]: value for label, value in record.items()} for record in records])
    assert isinstance(decode("", payload, NOW_US), ReadingBatch | Rejection)


def test_a_bad_pack_says_what_is_wrong() -> None:
    with pytest.raises(BadPackError, match="version 11"):
        resolved({"bver": 11})


async def test_through_the_pipeline(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    rule = TopicRule(filter="senml/+", decoder="senml", device_levels=(1,), tenant="acme")
    pack = [
        {"bn": "truck:", "bt": NOW_S, "n": "lat", "u": "lat", "v": 41.15},
        {"n": "lon", "u": "lon", "v": -8.61},
        {"n": "temp1", "u": "Cel", "v": 4.5},
    ]
    async with running(tmp_path, log, rules=[rule]) as rig:
        await rig.provision("truck")
        await rig.send(("senml/truck", json.dumps(pack).encode()), ("senml/truck", b"["))
        (letter,) = await rig.letters()
    assert letter.reason == "malformed"
    assert log.readings.positions.latitude_deg.tolist() == [41.15]
    assert log.readings.sensors.value.tolist() == [4.5]
    assert log.readings.sensors.probe.tolist() == [1]
