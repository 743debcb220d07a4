"""ChirpStack: an uplink as its integration publishes it, the events beside it, and anything at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import QUANTITY_HUMIDITY_RATIO, QUANTITY_TEMPERATURE_CELSIUS, ReadingBatch
from ingest.decoders.chirpstack import decoder
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule

TOPIC = "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/0101010101010101/event/"
RULE = TopicRule(filter="application/+/device/+/event/+", decoder="chirpstack", device_levels=(3,), tenant="acme")
# ChirpStack v4, "Event types", "up": every field of the documentation's example, and a gateway that knows where it is.
UP = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": "2022-07-18T09:34:15.775023242+00:00",
    "deviceInfo": {
        "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "tenantName": "ChirpStack",
        "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97", "applicationName": "Test application",
        "deviceProfileId": "14855bf7-d10d-4aee-b618-ebfcb64dc7ad", "deviceProfileName": "Test device-profile",
        "deviceName": "Test device", "devEui": "0101010101010101", "tags": {"key": "value"},
    },
    "devAddr": "00189440", "dr": 1, "fCnt": 12, "fPort": 1, "confirmed": True, "data": "qg==",
    "object": {"temperature": 21.5, "humidity": 40, "gps": {"lat": 52.3, "lng": 4.9}},
    "rxInfo": [{
        "gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5, "context": "E3OWOQ==",
        "location": {"latitude": 47.1, "longitude": 8.5, "altitude": 400, "source": "CONFIG"},
        "metadata": {"region_name": "eu868", "region_common_name": "EU868"},
    }],
    "txInfo": {"frequency": 867100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 11}}},
}  # fmt: skip
HEARD_US = 1_658_136_855_775_023


def decoded(
    *, kind: str = "up", fields: dict[str, object] | None = None, **changes: object
) -> ReadingBatch | Rejection:
    message = {name: value for name, value in (UP | changes).items() if value is not None}
    decode = decoder(TopicRule.model_validate(RULE.model_dump() | {"fields": fields or {}}))
    return decode(TOPIC + kind, json.dumps(message).encode(), 0)


def sound(**changes: object) -> ReadingBatch:
    readings = decoded(**changes)  # type: ignore[arg-type]
    assert isinstance(readings, ReadingBatch), readings
    return readings


def test_an_uplink_by_default_names() -> None:
    readings = sound()
    assert [(each.quantity, each.value) for each in readings.sensors] == [
        (QUANTITY_TEMPERATURE_CELSIUS, 21.5),
        (QUANTITY_HUMIDITY_RATIO, 0.4),
    ]
    assert {(each.observed_at_us, each.sequence) for each in readings.sensors} == {(HEARD_US, 12)}


def test_the_gateways_place_is_not_the_devices() -> None:
    assert not sound().positions


def test_mapped_fields() -> None:
    (fix,) = sound(fields={"latitude_deg": "gps.lat", "longitude_deg": "gps.lng"}).positions
    assert (fix.latitude_deg, fix.longitude_deg, fix.observed_at_us, fix.sequence) == (52.3, 4.9, HEARD_US, 12)


def test_a_frame_sent_again_has_the_same_number() -> None:
    first, again = sound(), sound(deduplicationId="another", dr=0)
    assert first == again


def test_the_first_frame_has_the_number_0_though_json_leaves_it_out() -> None:
    for readings in (sound(fCnt=None), sound(fCnt=0)):
        assert readings.sensors[0].HasField("sequence")
        assert readings.sensors[0].sequence == 0


@pytest.mark.parametrize("kind", ["join", "ack", "txack", "log", "status", "location", "integration", "", "new"])
def test_other_events_carry_no_reading(kind: str) -> None:
    assert decoded(kind=kind) == Rejection(Reason.NOT_A_READING, f"event {kind}")


def test_on_a_topic_that_a_bridge_renamed() -> None:
    assert isinstance(decoder(RULE)("lora/0101010101010101", json.dumps(UP).encode(), 0), ReadingBatch)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"object": None}, Reason.MISSING_FIELD),
        ({"object": None, "data": None, "fPort": None}, Reason.NOT_A_READING),
        ({"object": None, "data": ""}, Reason.NOT_A_READING),
        ({"object": {}}, Reason.UNKNOWN_TYPE),
        ({"object": [1]}, Reason.UNKNOWN_TYPE),
        ({"object": {"latitude": 1}}, Reason.NO_LOCATION),
        ({"time": None}, Reason.MISSING_FIELD),
        ({"time": "2022-07-18T09:34:15"}, Reason.MALFORMED),
        ({"time": 1_658_136_855}, Reason.MALFORMED),
        ({"fCnt": -1}, Reason.VALUE_OUT_OF_RANGE),
        ({"fCnt": "12"}, Reason.MALFORMED),
        ({"fields": {"voltage_v": "gps"}}, Reason.MALFORMED),
    ],
)
def test_reasons(changes: dict[str, object], reason: Reason) -> None:
    answer = decoded(**changes)  # type: ignore[arg-type]
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())


@given(
    st.dictionaries(st.sampled_from(["time", "fCnt", "data", "object"]), _ANY),
    st.dictionaries(st.sampled_from(["temperature", "latitude", "longitude", "observed_at_us", "sequence"]), _ANY),
)
def test_any_values_give_readings_or_a_reason(changes: dict[str, object], codec: dict[str, object]) -> None:
    assert isinstance(decoded(**({"object": codec} | changes)), ReadingBatch | Rejection)  # type: ignore[arg-type]
