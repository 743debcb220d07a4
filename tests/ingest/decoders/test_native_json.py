"""Native JSON: every field, every reason, and anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import Quantity, ReadingBatch
from ingest.decoders.native_json import decode
from ingest.reasons import Reason, Rejection
from tests.ingest.readings import EPC, batch, position, sensor, tag
from tests.ingest.rig import NOW_US

FIX = {"observed_at_us": NOW_US, "latitude_deg": 53.5, "longitude_deg": 10.0}


def decoded(message: Any) -> ReadingBatch | Rejection:
    return decode("drover/v1/acme/truck/json", json.dumps(message).encode(), 0)


SAMPLE = {"observed_at_us": NOW_US, "quantity": "temperature_celsius", "value": 4.5}
READ = {"observed_at_us": NOW_US, "epc": EPC.hex()}


@pytest.mark.parametrize(
    ("kind", "message", "wanted"),
    [
        ("position", FIX, batch(position())),
        ("sensor", SAMPLE, batch(sensor())),
        ("tag", READ, batch(tag())),
        ("batch", {"positions": [FIX], "tags": [READ]}, batch(position(), tag())),
    ],
)
def test_the_kind_is_in_the_topic_or_told_by_the_fields(kind: str, message: Any, wanted: ReadingBatch) -> None:
    payload = json.dumps(message).encode()
    for topic in (f"drover/v1/acme/truck/{kind}/json", "drover/v1/acme/truck/json", "vendor/truck", ""):
        assert decode(topic, payload, 0) == wanted


def test_a_topic_holds_what_it_promises() -> None:
    answer = decode("drover/v1/acme/truck/sensor/json", json.dumps(FIX).encode(), 0)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.MISSING_FIELD


def test_every_field() -> None:
    clocks = {"observed_at_us": NOW_US, "sequence": 7, "sent_at_us": NOW_US + 1}
    more = {"altitude_m": 1.5, "speed_mps": 2.5, "heading_deg": 3.5, "accuracy_m": 4.5, "satellites": 9}
    message = {
        "positions": [FIX | clocks | more],
        "sensors": [clocks | {"quantity": "temperature_celsius", "value": 4.5, "probe": 2}],
        "tags": [clocks | {"epc": EPC.hex(), "antenna": 3, "rssi_dbm": -60.5}],
        "comment": "unknown fields are passed over",
    }
    own = {"sequence": 7, "sent_at_us": NOW_US + 1}
    assert decoded(message) == batch(
        position(**more, **own), sensor(probe=2, **own), tag(antenna=3, rssi_dbm=-60.5, **own)
    )


def test_a_time_may_be_written_for_people() -> None:
    at = {"observed_at": "2023-11-14T23:13:20.000001+01:00", "latitude_deg": 53.5, "longitude_deg": 10.0}
    assert decoded(at) == batch(position(NOW_US + 1))


def test_numbers_may_be_strings() -> None:
    assert decoded({name: str(value) for name, value in FIX.items()}) == batch(position())


@pytest.mark.parametrize("name", [name for name, number in Quantity.items() if number])
def test_quantities_by_name(name: str) -> None:
    for text in (name, name.removeprefix("QUANTITY_").lower()):
        answer = decoded({"sensors": [{"observed_at_us": 1, "quantity": text, "value": 1}]})
        assert isinstance(answer, ReadingBatch)
        assert answer.sensors[0].quantity == Quantity.Value(name)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({}, Reason.MISSING_FIELD),
        ([], Reason.MALFORMED),
        ({"positions": []}, Reason.EMPTY),
        ({"positions": None}, Reason.MALFORMED),
        ({"positions": [{"latitude_deg": 1, "longitude_deg": 2}]}, Reason.MISSING_FIELD),
        (FIX | {"latitude_deg": None}, Reason.MALFORMED),
        (FIX | {"sequence": -1}, Reason.VALUE_OUT_OF_RANGE),
        (FIX | {"sequence": 2**63}, Reason.VALUE_OUT_OF_RANGE),
        (FIX | {"satellites": 2**32}, Reason.VALUE_OUT_OF_RANGE),
        ({"observed_at": "2023-11-14T23:13:20", "latitude_deg": 1, "longitude_deg": 2}, Reason.MALFORMED),
        ({"sensors": [{"observed_at_us": 1, "quantity": "mood", "value": 1}]}, Reason.UNKNOWN_TYPE),
        ({"sensors": [{"observed_at_us": 1, "quantity": "unspecified", "value": 1}]}, Reason.UNKNOWN_TYPE),
        ({"tags": [{"observed_at_us": 1, "epc": "xyz"}]}, Reason.BAD_EPC),
        ({"tags": [{"observed_at_us": 1, "epc": "é"}]}, Reason.BAD_EPC),
    ],
)
def test_reasons(message: Any, reason: Reason) -> None:
    answer = decoded(message)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_readings_or_a_reason(payload: bytes) -> None:
    assert isinstance(decode("", payload, 0), ReadingBatch | Rejection)


_NAMES = st.sampled_from(
    [
        "positions",
        "sensors",
        "tags",
        "observed_at_us",
        "observed_at",
        "latitude_deg",
        "longitude_deg",
        "altitude_m",
        "quantity",
        "value",
        "epc",
        "probe",
        "sequence",
        "satellites",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=12,
)


@given(st.dictionaries(_NAMES, _JSON))
def test_any_values_give_readings_or_a_reason(message: dict[str, object]) -> None:
    assert isinstance(decoded(FIX | message), ReadingBatch | Rejection)
    assert isinstance(decoded(message), ReadingBatch | Rejection)
