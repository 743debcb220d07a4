"""The option `fields`: what settings refuse, and how objects are read by it and without it."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import (
    QUANTITY_BATTERY_RATIO,
    QUANTITY_DOOR_OPEN,
    QUANTITY_HUMIDITY_RATIO,
    QUANTITY_TEMPERATURE_CELSIUS,
    QUANTITY_VOLTAGE_V,
    Position,
    ReadingBatch,
)
from ingest.decoders import Decoders
from ingest.decoders.mapped_fields import MappedFields
from ingest.field_mapping import DEFAULTS, QUANTITY_FIELDS
from ingest.reasons import Reason, Rejection
from ingest.settings import IngestSettings, TopicRule
from runtime.problems import FatalError
from runtime.settings import SettingsError, load

RULE = {"filter": "a/+", "decoder": "json_fields", "device_levels": (1,), "tenant": "acme"}
AT_US = 1_700_000_000_000_000


def rule(**fields: object) -> TopicRule:
    return TopicRule.model_validate(RULE | {"fields": fields})


def read(found: object, **fields: object) -> ReadingBatch | Rejection:
    return MappedFields(rule(**fields).fields).readings([found], AT_US, 7)


def sound(found: object, **fields: object) -> ReadingBatch:
    readings = read(found, **fields)
    assert isinstance(readings, ReadingBatch), readings
    return readings


def samples(readings: ReadingBatch) -> list[tuple[int, int, float]]:
    return [(each.quantity, each.probe, round(each.value, 9)) for each in readings.sensors]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lattitude_deg": "a", "longitude_deg": "b"}, "unknown field 'lattitude_deg'; did you mean latitude_deg"),
        ({"temperature": "a"}, "unknown field 'temperature'; did you mean temperature_celsius"),
        ({"xyz": "a"}, "unknown field 'xyz'; known are accuracy_m, altitude_m, "),
        ({"latitude_deg": "a"}, "field 'latitude_deg' without 'longitude_deg'"),
        ({"latitude_deg": ["a", "b"], "longitude_deg": "c"}, "field 'latitude_deg' has 2 sources"),
        ({"observed_at_us": ["a", "b"]}, "field 'observed_at_us' has 2 sources"),
        ({"voltage_v": []}, "field 'voltage_v' has 0 sources"),
        ({"voltage_v": ""}, "at least 1 character"),
        ({"voltage_v": "a..b"}, "path 'a..b' has an empty name"),
        ({"voltage_v": {"path": "a", "scale": 0}}, "a scale of 0 leaves nothing"),
        ({"voltage_v": {"path": "a", "scale": float("nan")}}, "finite number"),
        ({"voltage_v": {"path": "a", "factor": 2}}, "Extra inputs are not permitted"),
        ({"voltage_v": 5}, "voltage_v"),
    ],
)
def test_settings_refuse_what_makes_no_sense(fields: dict[str, object], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message.replace("(", "\\(")):
        rule(**fields)
    topics = json.dumps([RULE | {"fields": fields}])
    with pytest.raises(SettingsError, match=r"setting ingest\.topics"):
        load({"ingest": IngestSettings}, environ={"DROVER_INGEST_TOPICS": topics})


def test_a_decoder_that_takes_no_fields_says_so() -> None:
    with pytest.raises(FatalError, match=r"topic rule a/\+: owntracks takes no fields; those that do: chirpstack, "):
        Decoders([TopicRule.model_validate(RULE | {"decoder": "owntracks", "fields": {"voltage_v": "a"}})])


def test_paths_scales_and_probes() -> None:
    found = {
        "gps": {"lat": 54.5, "lng": "-8.25", "kmh": 36, "course": 90, "list": [{"alt": 12.5}]},
        "probes": [{"t": 215}, {"t": None}, {"t": -181}],
        "vbat": 3_600,
        "open": True,
        "f": 68,
    }
    readings = sound(
        found,
        latitude_deg="gps.lat",
        longitude_deg="gps.lng",
        altitude_m="gps.list.0.alt",
        speed_mps={"path": "gps.kmh", "scale": 1 / 3.6},
        heading_deg="gps.course",
        temperature_celsius=[
            *({"path": f"probes.{number}.t", "scale": 0.1} for number in range(4)),
            {"path": "f", "scale": 5 / 9, "offset": -160 / 9},
        ],
        voltage_v={"path": "vbat", "scale": 0.001},
        door_open="open",
    )
    clocks: dict[str, Any] = {"observed_at_us": AT_US, "sequence": 7}
    (fix,) = readings.positions
    assert fix == Position(
        **clocks, latitude_deg=54.5, longitude_deg=-8.25, altitude_m=12.5, speed_mps=10, heading_deg=90
    )
    assert samples(readings) == [
        (QUANTITY_TEMPERATURE_CELSIUS, 0, 21.5),
        (QUANTITY_TEMPERATURE_CELSIUS, 2, -18.1),
        (QUANTITY_TEMPERATURE_CELSIUS, 4, 20),
        (QUANTITY_DOOR_OPEN, 0, 1),
        (QUANTITY_VOLTAGE_V, 0, 3.6),
    ]
    assert {(each.observed_at_us, each.sequence) for each in readings.sensors} == {(AT_US, 7)}


def test_only_what_is_mapped_is_read() -> None:
    readings = sound({"latitude": 1, "longitude": 2, "temperature": 3, "v": 4}, voltage_v="v")
    assert not readings.positions
    assert samples(readings) == [(QUANTITY_VOLTAGE_V, 0, 4)]


@pytest.mark.parametrize(
    ("value", "observed_at_us"),
    [
        ("2023-11-14T22:13:21Z", AT_US + 1_000_000),
        ("2023-11-14T23:13:21.5+01:00", AT_US + 1_500_000),
        (AT_US + 1, AT_US + 1),
        (str(AT_US + 1), AT_US + 1),
    ],
)
def test_a_time_of_its_own(value: object, observed_at_us: int) -> None:
    readings = sound({"t": value, "v": 1, "n": 12}, observed_at_us="t", voltage_v="v", sequence="n")
    assert (readings.sensors[0].observed_at_us, readings.sensors[0].sequence) == (observed_at_us, 12)


def test_a_time_in_seconds() -> None:
    seconds = {"path": "t", "scale": 1_000_000}
    assert sound({"t": 1_700_000_001.5, "v": 1}, observed_at_us=seconds, voltage_v="v").sensors[0].observed_at_us == (
        AT_US + 1_500_000
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            {"latitude": 1.5, "longitude": 2.5, "altitude": 3},
            {"latitude_deg": 1.5, "longitude_deg": 2.5, "altitude_m": 3},
        ),
        ({"lat": 1.5, "lon": 2.5, "satellites": 0}, {"latitude_deg": 1.5, "longitude_deg": 2.5, "satellites": 0}),
        ({"lat": 1.5, "lng": 2.5, "speed_kmh": 36}, {"latitude_deg": 1.5, "longitude_deg": 2.5, "speed_mps": 10}),
        ({"latitude_deg": 1.5, "longitude_deg": 2.5, "speed": 9}, {"latitude_deg": 1.5, "longitude_deg": 2.5}),
    ],
)
def test_default_names_of_a_fix(found: dict[str, object], expected: dict[str, Any]) -> None:
    assert list(sound(found).positions) == [Position(observed_at_us=AT_US, sequence=7, **expected)]


def test_default_names_of_samples() -> None:
    found = {"temperature": 4.5, "humidity": 55, "battery_percent": 80, "battery": 3.6, "voltage_v": 3.6, "co2": 400}
    assert samples(sound(found)) == [
        (QUANTITY_TEMPERATURE_CELSIUS, 0, 4.5),
        (QUANTITY_HUMIDITY_RATIO, 0, 0.55),
        (QUANTITY_BATTERY_RATIO, 0, 0.8),
        (QUANTITY_VOLTAGE_V, 0, 3.6),
    ]


def test_every_quantity_can_be_mapped_and_has_its_own_name_by_default() -> None:
    for name, quantity in QUANTITY_FIELDS.items():
        assert samples(sound({name: 1}, **{name: name})) == [(quantity, 0, 1)]
        assert samples(sound({name: 1})) == [(quantity, 0, 1)]
        assert DEFAULTS[name][0].path == name


def test_by_default_what_is_no_number_is_another_codecs_and_passed_over() -> None:
    assert samples(sound({"temperature": "n/a", "humidity": {"value": 1}, "voltage_v": 3})) == [
        (QUANTITY_VOLTAGE_V, 0, 3)
    ]


@pytest.mark.parametrize(
    ("found", "fields", "reason"),
    [
        ({}, {}, Reason.UNKNOWN_TYPE),
        ([], {}, Reason.UNKNOWN_TYPE),
        ("text", {}, Reason.UNKNOWN_TYPE),
        ({"v": None}, {"voltage_v": "v"}, Reason.UNKNOWN_TYPE),
        ({"v": {"x": 1}}, {"voltage_v": "v.y"}, Reason.UNKNOWN_TYPE),
        ({"v": [1]}, {"voltage_v": "v.1"}, Reason.UNKNOWN_TYPE),
        ({"v": [1]}, {"voltage_v": "v.x"}, Reason.UNKNOWN_TYPE),
        ({"latitude": 1}, {}, Reason.NO_LOCATION),
        ({"a": 1}, {"latitude_deg": "a", "longitude_deg": "o"}, Reason.NO_LOCATION),
        ({"v": "low"}, {"voltage_v": "v"}, Reason.MALFORMED),
        ({"v": "1_0"}, {"voltage_v": "v"}, Reason.MALFORMED),
        ({"v": "nan"}, {"voltage_v": "v"}, Reason.MALFORMED),
        ({"v": [1]}, {"voltage_v": "v"}, Reason.MALFORMED),
        ({"v": 1}, {"voltage_v": "v", "observed_at_us": "t"}, Reason.MISSING_FIELD),
        ({"v": 1, "t": "yesterday"}, {"voltage_v": "v", "observed_at_us": "t"}, Reason.MALFORMED),
        ({"v": 1, "t": "2023-11-14T22:13:21"}, {"voltage_v": "v", "observed_at_us": "t"}, Reason.MALFORMED),
        ({"v": 1, "t": 2**63}, {"voltage_v": "v", "observed_at_us": "t"}, Reason.VALUE_OUT_OF_RANGE),
        ({"v": 1, "n": -1}, {"voltage_v": "v", "sequence": "n"}, Reason.VALUE_OUT_OF_RANGE),
        ({"lat": 1, "lon": 2, "satellites": -1}, {}, Reason.VALUE_OUT_OF_RANGE),
    ],
)
def test_reasons(found: object, fields: dict[str, object], reason: Reason) -> None:
    answer = read(found, **fields)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([source.path for sources in DEFAULTS.values() for source in sources]), _JSON))
def test_any_values_by_default(found: dict[str, object]) -> None:
    assert isinstance(read(found), ReadingBatch | Rejection)


_MAPPED = rule(
    latitude_deg="a", longitude_deg="b.a", altitude_m={"path": "c", "scale": 1e300}, satellites="a",
    observed_at_us={"path": "b", "scale": 1e6}, sequence="c",
    voltage_v=["a.0", "b.1.c", {"path": "c", "offset": 1e308}],
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from("abc"), _JSON), max_size=3))
def test_any_values_as_configured(found: list[object]) -> None:
    answer = MappedFields(_MAPPED.fields).readings(found, AT_US, None)
    assert isinstance(answer, ReadingBatch | Rejection)
    if isinstance(answer, ReadingBatch):
        answer.SerializeToString()
