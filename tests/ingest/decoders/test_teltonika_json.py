"""Teltonika JSON: a record as a tracker sent it, its habits, and anything at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import (
    QUANTITY_IGNITION_ON,
    QUANTITY_ODOMETER_M,
    QUANTITY_TEMPERATURE_CELSIUS,
    QUANTITY_VOLTAGE_V,
    ReadingBatch,
)
from ingest.decoders import teltonika_json
from ingest.decoders.teltonika_json import decode
from ingest.decoders.teltonika_record import ELEMENTS
from ingest.reasons import Reason, Rejection

# Fields, their order and their types are those of a tracker of the FMC130 family.
REPORTED: dict[str, object] = {
    "ts": 1_700_000_000_000, "pr": 0, "latlng": "-25.279700,54.693800", "alt": 3, "ang": 45, "sat": 18, "sp": 36,
    "evt": 0, "239": 0, "240": 0, "21": 5, "200": 0, "69": 1, "1": 0, "179": 1, "181": 11, "182": 5, "66": 15_118,
    "67": 4_096, "68": 0, "241": 24_602, "16": 15_056, "76": "0x0000000000000000", "78": "0x0000000000000000",
}  # fmt: skip


def decoded(**fields: object) -> ReadingBatch | Rejection:
    reported = {name: value for name, value in (REPORTED | fields).items() if value is not None}
    return decode("teltonika/352093081452251", json.dumps({"state": {"reported": reported}}).encode(), 0)


def sound(**fields: object) -> ReadingBatch:
    readings = decoded(**fields)
    assert isinstance(readings, ReadingBatch), readings
    return readings


def test_every_field() -> None:
    readings = sound()
    (fix,) = readings.positions
    assert fix.observed_at_us == 1_700_000_000_000_000
    assert (fix.latitude_deg, fix.longitude_deg) == (-25.2797, 54.6938)
    assert (fix.altitude_m, fix.heading_deg, fix.satellites) == (3, 45, 18)
    assert fix.speed_mps == pytest.approx(10)
    assert not any(fix.HasField(name) for name in ("accuracy_m", "sequence", "sent_at_us"))
    assert [(each.quantity, each.probe, round(each.value, 6)) for each in readings.sensors] == [
        (QUANTITY_ODOMETER_M, 0, 15_056),
        (QUANTITY_VOLTAGE_V, 0, 15.118),
        (QUANTITY_VOLTAGE_V, 1, 4.096),
        (QUANTITY_IGNITION_ON, 0, 0),
    ]
    assert {each.observed_at_us for each in readings.sensors} == {fix.observed_at_us}


def test_all_elements_that_are_known_are_read() -> None:
    assert {avl_id for _, avl_id in teltonika_json._IO} == set(ELEMENTS)


def test_no_fix_is_sent_on_as_one_of_no_satellites() -> None:
    (fix,) = sound(latlng="0.000000,0.000000", sat=0, sp=0, ang=0, alt=0).positions
    assert (fix.latitude_deg, fix.longitude_deg) == (0, 0)
    assert fix.HasField("satellites")
    assert fix.satellites == 0
    assert not any(fix.HasField(name) for name in ("speed_mps", "heading_deg", "altitude_m"))


def test_what_is_left_out_is_unknown_not_zero() -> None:
    (fix,) = sound(alt=None, ang=None, sat=None, sp=None).positions
    assert not any(fix.HasField(name) for name in ("speed_mps", "heading_deg", "altitude_m", "satellites"))


@pytest.mark.parametrize(
    ("sent", "value"),
    [(45, 4.5), (-181, -18.1), (65_355, -18.1), (-550, -55), (1150, 115), ("45", 4.5)]
    + [(code, None) for code in (850, 2_000, 3_000, 4_000, 5_000, 32_767, "0x28FF641E", "", "nan", "1_0")],
)
def test_dallas_temperatures_and_their_codes(sent: object, value: float | None) -> None:
    for number, avl_id in enumerate(("72", "73", "74", "75")):
        found = [each for each in sound(**{avl_id: sent}).sensors if each.quantity == QUANTITY_TEMPERATURE_CELSIUS]
        assert [(each.probe, round(each.value, 6)) for each in found] == ([] if value is None else [(number, value)])


def test_a_record_without_a_place_still_carries_samples() -> None:
    readings = sound(latlng=None)
    assert not readings.positions
    assert len(readings.sensors) == 4


def test_every_number_may_be_a_string() -> None:
    texts = {name: str(REPORTED[name]) for name in ("ts", "alt", "ang", "sat", "sp", "66", "67", "16", "239")}
    assert sound(**texts) == sound()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ts": None}, Reason.MISSING_FIELD),
        ({"ts": -1}, Reason.VALUE_OUT_OF_RANGE),
        ({"ts": 10**17}, Reason.VALUE_OUT_OF_RANGE),
        ({"ts": "now"}, Reason.MALFORMED),
        ({"sat": -1}, Reason.VALUE_OUT_OF_RANGE),
        ({"latlng": ""}, Reason.MALFORMED),
        ({"latlng": "1.5"}, Reason.MALFORMED),
        ({"latlng": "1.5,2.5,3.5"}, Reason.MALFORMED),
        ({"latlng": "1_0,2_0"}, Reason.MALFORMED),
        ({"latlng": "north,east"}, Reason.MALFORMED),
        ({"latlng": [1, 2]}, Reason.MALFORMED),
        ({"latlng": None, "66": None, "67": None, "16": None, "239": None}, Reason.NO_LOCATION),
    ],
)
def test_reasons(fields: dict[str, object], reason: Reason) -> None:
    answer = decoded(**fields)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"RSP": "Ver:03.28.07"}', Reason.NOT_A_READING),
        (b'{"state": {"desired": {"101": 1}}}', Reason.MISSING_FIELD),
        (b"{}", Reason.MISSING_FIELD),
        (b"[]", Reason.MALFORMED),
        (b"{", Reason.MALFORMED),
    ],
)
def test_other_messages(payload: bytes, reason: Reason) -> None:
    answer = decode("", payload, 0)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


_NUMBERISH = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())
_NAMES = st.sampled_from(["ts", "latlng", "alt", "ang", "sat", "sp", *map(str, ELEMENTS)])


@given(st.dictionaries(_NAMES, _NUMBERISH))
def test_any_values_give_readings_or_a_reason(fields: dict[str, object]) -> None:
    assert isinstance(decoded(**fields), ReadingBatch | Rejection)
