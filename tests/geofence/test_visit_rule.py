"""What is watched of visits: through GeoJSON and proto and back, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drover.geofence.v1 import fence_pb2
from geofence.compiled import CORRIDOR_WATCHED, DWELL, NEVER, SPEED
from geofence.definition import CircleShape, CorridorShape, FenceDefinition, VisitRule
from geofence.fence_set import FenceSet
from geofence.geojson import from_feature, to_feature
from geofence.validation import InvalidFence
from geofence.wire import from_proto, to_proto

ROAD = {"type": "LineString", "coordinates": [[0.0, 0.0], [1.0, 1.0]]}
YARD = {"type": "Point", "coordinates": [0.0, 0.0]}


def feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    size = {"radius_m": 10.0} if geometry is YARD else {"half_width_m": 10.0}
    return {"type": "Feature", "id": "f", "geometry": geometry, "properties": size | properties}


def test_nothing_is_watched_by_default() -> None:
    fence = from_feature(feature(YARD), "t")
    assert fence.visit == VisitRule(None, None, 0.0, watched=False)
    assert from_proto(fence_pb2.Fence.FromString(to_proto(fence).SerializeToString())).visit == VisitRule()


@pytest.mark.parametrize(
    ("geometry", "properties", "rule"),
    [
        (YARD, {"dwell_s": 600}, VisitRule(600_000_000)),
        (YARD, {"dwell_s": 0.25, "speed_limit_mps": 13.9}, VisitRule(250_000, 13.9)),
        (YARD, {"speed_limit_mps": 8, "speed_tolerance_mps": 1.5}, VisitRule(None, 8.0, 1.5)),
        (ROAD, {"watched": True}, VisitRule(watched=True)),
        (YARD, {"cross": True}, VisitRule(cross=True)),
        (YARD, {"watched": False, "dwell_s": None, "speed_limit_mps": None}, VisitRule()),
    ],
)
def test_there_and_back(geometry: dict[str, Any], properties: dict[str, Any], rule: VisitRule) -> None:
    fence = from_feature(feature(geometry, **properties), "t")
    assert fence.visit == rule
    assert from_feature(to_feature(fence), "t").visit == rule
    assert from_proto(fence_pb2.Fence.FromString(to_proto(fence).SerializeToString())).visit == rule


@pytest.mark.parametrize(
    ("properties", "where"),
    [
        ({"dwell_s": 0}, "dwell_s"),
        ({"dwell_s": -5}, "dwell_s"),
        ({"dwell_s": 1e300}, "dwell_s"),
        ({"dwell_s": 1e-9}, "dwell_s"),
        ({"speed_limit_mps": 0.0}, "speed_limit_mps"),
        ({"speed_limit_mps": 1001.0}, "speed_limit_mps"),
        ({"speed_tolerance_mps": -1}, "speed_tolerance_mps"),
        ({"watched": True}, "watched"),
        ({"watched": "yes"}, "watched"),
        ({"cross": 1}, "cross"),
    ],
)
def test_what_means_nothing_is_refused(properties: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidFence) as refusal:
        from_feature(feature(YARD, **properties), "t")
    assert (refusal.value.reason, refusal.value.where) == ("bad_visit_rule", where)


@pytest.mark.parametrize(("value", "reason"), [("ten", "malformed"), (float("nan"), "not_finite"), (True, "malformed")])
def test_what_is_no_number_is_refused(value: object, reason: str) -> None:
    for name in ("dwell_s", "speed_limit_mps", "speed_tolerance_mps"):
        with pytest.raises(InvalidFence) as refusal:
            from_feature(feature(YARD, **{name: value}), "t")
        assert refusal.value.reason == reason


def test_it_is_compiled_and_a_later_fence_in_the_slot_has_none_of_it() -> None:
    fences = FenceSet()
    road = CorridorShape(np.array([(0.0, 0.0), (1.0, 1.0)]), 10.0)
    slot = fences.put(FenceDefinition("t", "a", "", road, visit=VisitRule(5, 6.0, 7.0, watched=True)))
    compiled = fences.compiled
    assert compiled.watches[slot] == DWELL | SPEED | CORRIDOR_WATCHED
    rule = (compiled.dwell_us[slot], compiled.speed_limit_mps[slot], compiled.speed_tolerance_mps[slot])
    assert rule == (5, 6.0, 7.0)
    fences.delete("t", "a")
    assert fences.put(FenceDefinition("t", "b", "", CircleShape(0.0, 0.0, 5.0))) == slot
    compiled = fences.compiled
    assert compiled.watches[slot] == 0
    assert (compiled.dwell_us[slot], compiled.speed_limit_mps[slot]) == (NEVER, np.inf)
