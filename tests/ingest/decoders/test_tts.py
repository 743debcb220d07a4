"""The Things Stack: an uplink as its MQTT server publishes it, what else there is, and anything at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import QUANTITY_TEMPERATURE_CELSIUS, ReadingBatch
from ingest.decoders.tts import decoder
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule

RULE = TopicRule(filter="v3/+/devices/+/up", decoder="tts", device_levels=(3,), tenant="acme")
# The Things Stack, "Data Formats", "Uplink Messages": the documentation's fields, all of them that bear on readings.
UP = {
    "end_device_ids": {
        "device_id": "dev1", "application_ids": {"application_id": "app1"}, "dev_eui": "0004A30B001C0530",
        "join_eui": "800000000000000C", "dev_addr": "00BCB929",
    },
    "correlation_ids": ["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"],
    "received_at": "2020-02-12T15:15:45.787123456Z",
}  # fmt: skip
UPLINK = {
    "session_key_id": "AXA50fHUCGyuLEjHzLjsmA==", "f_cnt": 12, "f_port": 1, "frm_payload": "gkHe",
    "decoded_payload": {"temperature": 1.0, "gps_0": {"latitude": 52.3, "longitude": 4.9, "altitude": 3.5}},
    "rx_metadata": [{
        "gateway_ids": {"gateway_id": "gtw1", "eui": "9C5C8E00001A05C4"}, "rssi": -35,
        "time": "2020-02-12T15:15:45.787Z",
        "location": {"latitude": 37.97155, "longitude": 23.72678, "altitude": 2, "source": "SOURCE_REGISTRY"},
    }],
    "locations": {
        "user": {"latitude": 37.97155, "longitude": 23.72678, "altitude": 10, "source": "SOURCE_REGISTRY"},
        "frm-payload": {"latitude": 50.1, "longitude": 8.6, "source": "SOURCE_GPS"},
    },
    "settings": {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7}}, "frequency": "868300000"},
    "received_at": "2020-02-12T15:15:45.7Z", "confirmed": True, "consumed_airtime": "0.056576s",
}  # fmt: skip
RECEIVED_US = 1_581_520_545_787_123


def decoded(
    *, fields: dict[str, object] | None = None, outer: dict[str, object] | None = None, **changes: object
) -> ReadingBatch | Rejection:
    uplink = {name: value for name, value in (UPLINK | changes).items() if value is not None}
    message = {
        name: value for name, value in (UP | {"uplink_message": uplink} | (outer or {})).items() if value is not None
    }
    decode = decoder(TopicRule.model_validate(RULE.model_dump() | {"fields": fields or {}}))
    return decode("v3/app1@acme/devices/dev1/up", json.dumps(message).encode(), 0)


def sound(**changes: object) -> ReadingBatch:
    readings = decoded(**changes)  # type: ignore[arg-type]
    assert isinstance(readings, ReadingBatch), readings
    return readings


def test_an_uplink_by_default_names() -> None:
    (sample,) = sound().sensors
    assert (sample.quantity, sample.value) == (QUANTITY_TEMPERATURE_CELSIUS, 1)
    assert (sample.observed_at_us, sample.sequence) == (RECEIVED_US, 12)


def test_neither_pins_nor_stored_locations_nor_gateways_are_fixes() -> None:
    assert not sound().positions


def test_mapped_fields() -> None:
    fields = {"latitude_deg": "gps_0.latitude", "longitude_deg": "gps_0.longitude", "altitude_m": "gps_0.altitude"}
    (fix,) = sound(fields=fields).positions
    assert (fix.latitude_deg, fix.longitude_deg, fix.altitude_m) == (52.3, 4.9, 3.5)
    assert (fix.observed_at_us, fix.sequence) == (RECEIVED_US, 12)


def test_a_frame_sent_again_has_the_same_number() -> None:
    assert sound() == sound(rx_metadata=[], settings={})


def test_the_first_frame_has_the_number_0_though_json_leaves_it_out() -> None:
    (sample,) = sound(f_cnt=None).sensors
    assert sample.HasField("sequence")
    assert sample.sequence == 0


@pytest.mark.parametrize(
    "outer",
    [
        {"uplink_message": None, "join_accept": {"session_key_id": "AXBS"}},
        {"uplink_message": None, "downlink_ack": {"f_cnt": 1}},
        {"uplink_message": None, "location_solved": {"service": "x", "location": {"latitude": 1, "longitude": 2}}},
        {"simulated": True},
    ],
)
def test_other_messages_carry_no_reading(outer: dict[str, object]) -> None:
    answer = decoded(outer=outer)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.NOT_A_READING


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"decoded_payload": None}, Reason.MISSING_FIELD),
        ({"decoded_payload": None, "frm_payload": None}, Reason.NOT_A_READING),
        ({"decoded_payload": {}}, Reason.UNKNOWN_TYPE),
        ({"decoded_payload": {"latitude": 1}}, Reason.NO_LOCATION),
        ({"outer": {"received_at": None}}, Reason.MISSING_FIELD),
        ({"outer": {"received_at": "2020-02-12"}}, Reason.MALFORMED),
        ({"outer": {"uplink_message": None, "end_device_ids": None}}, Reason.MISSING_FIELD),
        ({"outer": {"uplink_message": "x"}}, Reason.MALFORMED),
        ({"f_cnt": 2**32}, Reason.VALUE_OUT_OF_RANGE),
        ({"fields": {"voltage_v": "gps_0"}}, Reason.MALFORMED),
    ],
)
def test_reasons(changes: dict[str, object], reason: Reason) -> None:
    answer = decoded(**changes)  # type: ignore[arg-type]
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())


@given(
    st.dictionaries(st.sampled_from(["f_cnt", "frm_payload", "decoded_payload"]), _ANY),
    st.dictionaries(st.sampled_from(["received_at", "simulated", "uplink_message", "end_device_ids"]), _ANY),
)
def test_any_values_give_readings_or_a_reason(changes: dict[str, object], outer: dict[str, object]) -> None:
    assert isinstance(decoded(outer=outer, **changes), ReadingBatch | Rejection)  # type: ignore[arg-type]
    assert isinstance(decoded(**changes), ReadingBatch | Rejection)  # type: ignore[arg-type]
