"""JSON of any make, by a mapping; how fields are read is in `test_field_mapping.py`."""

from __future__ import annotations

import json

import pytest

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.json_fields import decoder
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule
from tests.ingest.rig import NOW_US

FIELDS = {
    "latitude_deg": "p.0",
    "longitude_deg": "p.1",
    "observed_at_us": {"path": "t", "scale": 1000},
    "voltage_v": "v",
}


def decoded(message: object, **fields: object) -> ReadingBatch | Rejection:
    rule = {"filter": "a/+", "decoder": "json_fields", "device_levels": (1,), "tenant": "acme", "fields": fields}
    return decoder(TopicRule.model_validate(rule))("a/b", json.dumps(message).encode(), NOW_US)


def test_one_object_and_many() -> None:
    first, second = {"p": [1, 2], "t": 1_699_999_999_000}, {"p": [3, 4], "t": 1_699_999_999_500, "v": 12}
    one = decoded(first, **FIELDS)
    assert isinstance(one, ReadingBatch)
    assert [(fix.observed_at_us, fix.latitude_deg) for fix in one.positions] == [(1_699_999_999_000_000, 1)]
    assert not one.positions[0].HasField("sequence")
    many = decoded([first, second], **FIELDS)
    assert isinstance(many, ReadingBatch)
    assert [fix.longitude_deg for fix in many.positions] == [2, 4]
    assert [(each.value, each.observed_at_us) for each in many.sensors] == [(12, 1_699_999_999_500_000)]


def test_without_a_time_it_was_observed_when_it_was_received() -> None:
    readings = decoded({"v": 12}, voltage_v="v")
    assert isinstance(readings, ReadingBatch)
    assert readings.sensors[0].observed_at_us == NOW_US
    several = decoded([{"v": 12}, {"v": 13}], voltage_v="v")
    assert several == Rejection(Reason.MISSING_FIELD, "the time is missing")
    assert isinstance(decoded([{"voltage_v": 12, "observed_at_us": 1}, {"voltage_v": 13}]), Rejection)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([], Reason.EMPTY),
        ([[]], Reason.MALFORMED),
        ("text", Reason.MALFORMED),
        (5, Reason.MALFORMED),
        ({"p": [1, 2]}, Reason.MISSING_FIELD),
        ({"t": 1}, Reason.UNKNOWN_TYPE),
        ([{"p": [1, 2], "t": 1}, {"t": 1}], Reason.UNKNOWN_TYPE),
        ({"p": [1], "t": 1}, Reason.NO_LOCATION),
    ],
)
def test_reasons(message: object, reason: Reason) -> None:
    answer = decoded(message, **FIELDS)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason
