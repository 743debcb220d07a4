"""OwnTracks: what a phone really sent, the habits of the field, and anything at all."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import QUANTITY_BATTERY_RATIO, QUANTITY_PRESSURE_PA, ReadingBatch
from ingest.decoders.owntracks import decode
from ingest.reasons import Reason, Rejection

LOCATION = {"_type": "location", "lat": 51.5, "lon": -0.12, "tst": 1_440_403_798}


def decoded(**fields: object) -> ReadingBatch | Rejection:
    message = {name: value for name, value in (LOCATION | fields).items() if value is not None}
    return decode("owntracks/jane/phone", json.dumps(message).encode(), 0)


def sound(**fields: object) -> ReadingBatch:
    readings = decoded(**fields)
    assert isinstance(readings, ReadingBatch)
    return readings


def test_a_captured_recording(drover_data: pathlib.Path) -> None:
    lines = (drover_data / "owntracks" / "demo-iphone.rec").read_text().splitlines()
    answers = [(json.loads(line.split("\t")[2]), decode("", line.split("\t")[2].encode(), 0)) for line in lines]
    assert len(answers) == 25
    last_wills = 0
    for sent, answer in answers:
        if sent["_type"] == "lwt":
            last_wills += 1
            assert answer == Rejection(Reason.NOT_A_READING, "lwt")
            continue
        assert isinstance(answer, ReadingBatch)
        (fix,) = answer.positions
        assert fix.observed_at_us == sent["tst"] * 1_000_000
        assert (fix.latitude_deg, fix.longitude_deg) == (sent["lat"], sent["lon"])
        assert (fix.altitude_m, fix.accuracy_m) == (sent["alt"], sent["acc"])
        assert fix.HasField("speed_mps") == (sent["vel"] >= 0)
        assert fix.HasField("heading_deg") == (sent["cog"] >= 0)
        if sent["vel"] >= 0:
            assert fix.speed_mps == pytest.approx(sent["vel"] / 3.6)
        (charge,) = answer.sensors
        assert charge.quantity == QUANTITY_BATTERY_RATIO
        assert charge.value == pytest.approx(sent["batt"] / 100)
    assert last_wills == 2


def test_what_is_left_out_is_unknown_not_zero() -> None:
    (fix,) = sound().positions
    assert not any(
        fix.HasField(name) for name in ("altitude_m", "speed_mps", "heading_deg", "accuracy_m", "sent_at_us")
    )
    assert not sound().sensors


@pytest.mark.parametrize(("name", "field"), [("vel", "speed_mps"), ("cog", "heading_deg"), ("acc", "accuracy_m")])
def test_minus_one_is_unknown_and_zero_is_zero(name: str, field: str) -> None:
    assert not sound(**{name: -1}).positions[0].HasField(field)
    zero = sound(**{name: 0}).positions[0]
    assert zero.HasField(field)
    assert getattr(zero, field) == 0


def test_every_number_may_be_a_string() -> None:
    plain = sound(vel=35, cog=118, acc=5, alt=166, batt=88, p=101.3, created_at=1_440_404_000)
    texts = {"lat": "51.5", "lon": "-0.12", "tst": "1440403798", "vel": "35", "cog": "118", "acc": "5", "alt": "166",
             "batt": "88", "p": "101.3", "created_at": "1440404000"}  # fmt: skip
    assert sound(**texts) == plain
    assert plain.positions[0].sent_at_us == 1_440_404_000_000_000
    assert plain.sensors[1].quantity == QUANTITY_PRESSURE_PA
    assert plain.sensors[1].value == pytest.approx(101_300)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lat": None}, Reason.NO_LOCATION),
        ({"lon": None}, Reason.NO_LOCATION),
        ({"tst": None}, Reason.MISSING_FIELD),
        ({"tst": "nan"}, Reason.NOT_FINITE),
        ({"tst": 1e300}, Reason.VALUE_OUT_OF_RANGE),
        ({"lat": "north"}, Reason.MALFORMED),
        ({"_type": None}, Reason.MISSING_FIELD),
        ({"_type": "encrypted", "data": "x"}, Reason.UNKNOWN_TYPE),
        ({"_type": "lwt"}, Reason.NOT_A_READING),
        ({"_type": "waypoint", "lat": [1]}, Reason.NOT_A_READING),
        ({"_type": "transition", "lat": None}, Reason.NOT_A_READING),
    ],
)
def test_reasons(fields: dict[str, object], reason: Reason) -> None:
    answer = decoded(**fields)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


def test_a_transition_carries_the_fix_it_was_seen_at() -> None:
    readings = sound(_type="transition", event="enter", desc="home", wtst=1_440_000_000, acc=12)
    assert readings.positions[0].observed_at_us == LOCATION["tst"] * 1_000_000  # type: ignore[operator]
    assert readings.positions[0].accuracy_m == 12


@given(st.binary() | st.text().map(str.encode) | st.from_regex(rb'\{"_type":"location",.*\}'))
def test_any_bytes_give_readings_or_a_reason(payload: bytes) -> None:
    assert isinstance(decode("owntracks/a/b", payload, 0), ReadingBatch | Rejection)


_NUMBERISH = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(
    st.dictionaries(
        st.sampled_from(["tst", "lat", "lon", "acc", "alt", "vel", "cog", "batt", "p", "created_at"]), _NUMBERISH
    )
)
def test_any_values_give_readings_or_a_reason(fields: dict[str, object]) -> None:
    payload = json.dumps({**LOCATION, **fields}).encode()
    assert isinstance(decode("owntracks/a/b", payload, 0), ReadingBatch | Rejection)
