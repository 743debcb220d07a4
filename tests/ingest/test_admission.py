"""Batches with something bad in them: the sound part is taken, the rest is told, nothing is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.admission import admit_singly, pieces, size
from ingest.reasons import Reason
from tests.ingest.readings import batch, position, sensor, tag
from tests.ingest.rig import NOW_US
from tracking_core.columns import count

DAY_US = 86_400_000_000

SOUND: list[Any] = [position(), sensor(), tag(), position(NOW_US + DAY_US), position(latitude_deg=0, longitude_deg=0)]
BAD: list[tuple[Reason, Any]] = [
    (Reason.CLOCK_UNSET, position(1)),
    (Reason.CLOCK_UNSET, sensor(86_400_000_000)),
    (Reason.CLOCK_FUTURE, position(4_102_444_800_000_000)),
    (Reason.CLOCK_FUTURE, tag(NOW_US + DAY_US + 1)),
    (Reason.NOT_FINITE, position(latitude_deg=float("nan"))),
    (Reason.NOT_FINITE, sensor(value=float("inf"))),
    (Reason.COORDINATE_OUT_OF_RANGE, position(latitude_deg=90.0001)),
    (Reason.COORDINATE_OUT_OF_RANGE, position(longitude_deg=181)),
    (Reason.BAD_EPC, tag(epc=bytes(17))),
    (Reason.MISSING_FIELD, tag(epc=b"")),
    (Reason.MISSING_FIELD, position(0)),
    (Reason.MISSING_FIELD, sensor(quantity=0)),
    (Reason.UNKNOWN_TYPE, sensor(quantity=200)),
]


@given(st.lists(st.sampled_from(SOUND), max_size=6), st.lists(st.sampled_from(BAD), max_size=6))
def test_sound_readings_are_taken_and_the_others_told(sound: list[Any], bad: list[tuple[Reason, Any]]) -> None:
    whole = batch(*sound, *(reading for _, reading in bad))
    admitted = admit_singly(whole.SerializeToString(), 7, NOW_US)
    reasons = {reason for reason, _ in bad}
    if not bad or (not sound and len(reasons) == 1):
        assert admitted is None
        return
    assert admitted is not None
    assert count(admitted.readings) == len(sound)
    assert admitted.refused == {
        reason: batch(*(reading for each, reading in bad if each is reason)) for reason in reasons
    }


def test_what_is_no_batch_is_left_alone() -> None:
    assert admit_singly(b"\xff\xff", 7, NOW_US) is None


@given(
    st.lists(st.sampled_from([position(), position(altitude_m=1), sensor(), tag()]), max_size=40),
    st.integers(1, 500),
)
def test_pieces_hold_the_same_readings(readings: list[Any], max_bytes: int) -> None:
    whole = batch(*readings)
    parts = pieces(whole, max_bytes)
    assert all(part.ByteSize() <= max_bytes or size(part) <= 1 for part in parts)
    together = ReadingBatch()
    for part in parts:
        together.MergeFrom(part)
    for kind in ("positions", "sensors", "tags"):
        found = sorted(each.SerializeToString() for each in getattr(together, kind))
        assert found == sorted(each.SerializeToString() for each in getattr(whole, kind))
