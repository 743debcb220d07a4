from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.definition import (
    CircleShape,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    MultiPolygonShape,
    same_shape,
)
from geofence.fence_set import FenceSet
from geofence.geojson import from_feature, to_feature
from geofence.validation import InvalidFence, validate
from geofence.wire import from_proto, to_proto

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
HOLE = [[0.2, 0.2], [0.2, 0.4], [0.4, 0.4], [0.2, 0.2]]


def feature(kind="Polygon", coordinates=None, **properties):
    return {
        "type": "Feature",
        "id": "yard",
        "geometry": {"type": kind, "coordinates": [SQUARE] if coordinates is None else coordinates},
        "properties": {"name": "Yard"} | properties,
    }


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


REFUSED = {
    "not an object": (7, "malformed"),
    "null": (None, "malformed"),
    "not a feature": (feature() | {"type": "Polygon"}, "malformed"),
    "no geometry": (without(feature(), "geometry"), "missing"),
    "null geometry": (feature() | {"geometry": None}, "missing"),
    "geometry is a list": (feature() | {"geometry": []}, "malformed"),
    "properties is a list": (feature() | {"properties": []}, "malformed"),
    "no id": (without(feature(), "id"), "missing"),
    "id is a boolean": (feature() | {"id": True}, "bad_id"),
    "id with a slash": (feature() | {"id": "a/b"}, "bad_id"),
    "id is empty": (feature() | {"id": ""}, "bad_id"),
    "id with a newline": (feature() | {"id": "a\n"}, "bad_id"),
    "id too long": (feature() | {"id": "a" * 129}, "bad_id"),
    "id is huge": (feature() | {"id": 10**5000}, "bad_id"),
    "name is a number": (feature(name=3), "malformed"),
    "name with half a surrogate": (feature(name="\ud800"), "bad_name"),
    "labels is a list": (feature(labels=[1]), "malformed"),
    "a label is a number": (feature(labels={"kind": 1}), "malformed"),
    "a label has no key": (feature(labels={"": "x"}), "bad_labels"),
    "a collection": (feature("GeometryCollection"), "unsupported_geometry"),
    "type is a list": (feature([]), "unsupported_geometry"),
    "no coordinates": (feature() | {"geometry": {"type": "Polygon"}}, "missing"),
    "coordinates are a number": (feature(coordinates=5), "malformed"),
    "rings are numbers": (feature(coordinates=[5, 6]), "malformed"),
    "points are numbers": (feature(coordinates=[[1, 2, 3, 4]]), "malformed"),
    "nested too deep": (feature(coordinates=[[SQUARE]]), "malformed"),
    "nested too little": (feature("MultiPolygon", [SQUARE]), "malformed"),
    "one coordinate": (feature(coordinates=[[[0], [1], [1], [0]]]), "malformed"),
    "a coordinate is a string": (feature(coordinates=[[["0", 0], [1, 0], [1, 1], ["0", 0]]]), "malformed"),
    "a coordinate is a boolean": (feature(coordinates=[[[False, 0], [1, 0], [1, 1], [False, 0]]]), "malformed"),
    "a coordinate is null": (feature(coordinates=[[[0, 0], [1, None], [1, 1], [0, 0]]]), "malformed"),
    "NaN": (feature(coordinates=[[[0, 0], [math.nan, 0], [1, 1], [0, 0]]]), "not_finite"),
    "infinite": (feature(coordinates=[[[0, 0], [math.inf, 0], [1, 1], [0, 0]]]), "not_finite"),
    "a huge whole number": (feature(coordinates=[[[0, 0], [10**400, 0], [1, 1], [0, 0]]]), "not_finite"),
    "latitude 91": (feature(coordinates=[[[0, 0], [1, 0], [1, 91], [0, 0]]]), "coordinate_out_of_range"),
    "all beyond 180": (feature(coordinates=[[[200, 0], [201, 0], [201, 1], [200, 0]]]), "coordinate_out_of_range"),
    "longitude 300": (feature(coordinates=[[[0, 0], [300, 0], [1, 1], [0, 0]]]), "coordinate_out_of_range"),
    "metres instead of degrees": (
        feature(coordinates=[[[500000, 4649776], [500001, 4649776], [500001, 4649777], [500000, 4649776]]]),
        "coordinate_out_of_range",
    ),
    "unclosed": (feature(coordinates=[SQUARE[:-1]]), "not_closed"),
    "two points": (feature(coordinates=[[[0, 0], [1, 1], [0, 0]]]), "too_few_points"),
    "no points": (feature(coordinates=[[]]), "too_few_points"),
    "no rings": (feature(coordinates=[]), "too_few_points"),
    "no polygons": (feature("MultiPolygon", []), "too_few_points"),
    "one point four times": (feature(coordinates=[[[1, 1]] * 4]), "zero_area"),
    "on a line": (feature(coordinates=[[[0, 0], [1, 1], [3, 3], [0, 0]]]), "zero_area"),
    "a bow tie": (feature(coordinates=[[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]), "self_crossing"),
    "there and back": (feature(coordinates=[[[0, 0], [2, 0], [1, 0], [1, 1], [0, 0]]]), "self_crossing"),
    "touches itself": (
        feature(coordinates=[[[0, 0], [2, 0], [2, 2], [1, 0], [0, 2], [0, 0]]]),
        "self_crossing",
    ),
    "hole outside": (feature(coordinates=[SQUARE, [[5, 5], [6, 5], [6, 6], [5, 5]]]), "hole_outside"),
    "hole across the border": (
        feature(coordinates=[SQUARE, [[0.5, 0.5], [2, 0.5], [2, 0.6], [0.5, 0.5]]]),
        "self_crossing",
    ),
    "hole twice": (feature(coordinates=[SQUARE, HOLE, HOLE]), "self_crossing"),
    "the hole is the polygon": (feature(coordinates=[SQUARE, SQUARE]), "self_crossing"),
    "no radius": (feature("Point", [1, 2]), "bad_radius"),
    "radius 0": (feature("Point", [1, 2], radius_m=0), "bad_radius"),
    "radius negative": (feature("Point", [1, 2], radius_m=-5), "bad_radius"),
    "radius NaN": (feature("Point", [1, 2], radius_m=math.nan), "not_finite"),
    "radius is a string": (feature("Point", [1, 2], radius_m="5"), "malformed"),
    "radius beyond the earth": (feature("Point", [1, 2], radius_m=1e9), "bad_radius"),
    "centre out of range": (feature("Point", [181, 2], radius_m=5), "coordinate_out_of_range"),
    "no width": (feature("LineString", [[0, 0], [1, 1]]), "bad_half_width"),
    "width 0": (feature("LineString", [[0, 0], [1, 1]], half_width_m=0), "bad_half_width"),
    "a line of one point": (feature("LineString", [[0, 0]], half_width_m=5), "too_few_points"),
    "a line of one point twice": (feature("LineString", [[0, 0], [0, 0]], half_width_m=5), "too_few_points"),
    "no fixes to enter": (feature(enter_fixes=0), "bad_crossing_rule"),
    "half a fix": (feature(exit_fixes=1.5), "bad_crossing_rule"),
    "fixes are a boolean": (feature(exit_fixes=True), "bad_crossing_rule"),
    "fixes are infinite": (feature(exit_fixes=math.inf), "bad_crossing_rule"),
    "confirmation in the past": (feature(confirm_after_us=-1), "bad_crossing_rule"),
    "negative margin": (feature(exit_margin_m=-1), "bad_crossing_rule"),
    "margin NaN": (feature(exit_margin_m=math.nan), "not_finite"),
    "margin is a list": (feature(exit_margin_m=[]), "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_one_clear_reason(name):
    value, reason = REFUSED[name]
    with pytest.raises(InvalidFence) as refusal:
        from_feature(value, "acme")
    assert refusal.value.reason == reason
    assert refusal.value.detail
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


ACCEPTED = {
    "square": feature(),
    "clockwise": feature(coordinates=[SQUARE[::-1]]),
    "hole": feature(coordinates=[SQUARE, HOLE]),
    "hole that touches the border": feature(coordinates=[SQUARE, [[0, 0.5], [0.2, 0.4], [0.2, 0.6], [0, 0.5]]]),
    "repeated points": feature(coordinates=[[[0, 0], [0, 0], [1, 0], [1, 1], [1, 1], [0, 0]]]),
    "altitudes": feature(coordinates=[[[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]]]),
    "over 180": feature(coordinates=[[[170, 0], [190, 0], [190, 5], [170, 0]]]),
    "wrapped at 180": feature(coordinates=[[[170, 0], [-170, 0], [-170, 5], [170, 5], [170, 0]]]),
    "cut at 180": feature(
        "MultiPolygon",
        [
            [[[170, 0], [180, 0], [180, 5], [170, 5], [170, 0]]],
            [[[-180, 0], [-170, 0], [-170, 5], [-180, 5], [-180, 0]]],
        ],
    ),
    "the world": feature(coordinates=[[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]),
    "circle": feature("Point", [1, 2], radius_m=100),
    "circle at a pole": feature("Point", [1, 90], radius_m=1e5),
    "corridor": feature("LineString", [[0, 0], [1, 1], [2, 0]], half_width_m=50.5),
    "null properties": feature() | {"properties": None},
    "id is a number": feature() | {"id": 12},
    "others' properties": feature(zone_id=4, borough="EWR"),
    "every parameter": feature(
        enter_fixes=2,
        exit_fixes=3,
        confirm_after_us=60_000_000,
        exit_margin_m=25,
        accuracy_cap_m=10.5,
        labels={"kind": "port"},
    ),
}


def same(first: FenceDefinition, second: FenceDefinition) -> bool:
    return same_shape(first.shape, second.shape) and all(
        getattr(first, name) == getattr(second, name)
        for name in ("tenant", "fence_id", "name", "crossing", "version", "labels")
    )


@pytest.mark.parametrize("name", ACCEPTED)
def test_is_accepted_and_survives_geojson_and_wire(name):
    fence = from_feature(ACCEPTED[name], "acme", version=7)
    again = from_feature(json.loads(json.dumps(to_feature(fence))), "acme", version=7)
    assert same(fence, again)
    assert same(fence, from_proto(type(to_proto(fence)).FromString(to_proto(fence).SerializeToString())))
    assert FenceSet().put(fence) == 0


def test_every_parameter_arrives():
    fence = from_feature(ACCEPTED["every parameter"], "acme")
    assert fence.crossing == CrossingRule(2, 3, 60_000_000, 25.0, 10.5)
    assert fence.labels == {"kind": "port"}
    assert to_feature(fence)["properties"]["exit_margin_m"] == 25.0


def test_defaults_of_the_rule():
    assert from_feature(feature(), "acme").crossing == CrossingRule(1, 2, None, 0.0, 50.0)
    message = to_proto(from_feature(feature(), "acme"))
    message.ClearField("crossing")
    assert from_proto(message).crossing == CrossingRule(1, 2, None, 0.0, 50.0)


def test_wire_without_geometry_or_with_unequal_lists_is_refused():
    message = to_proto(from_feature(feature(), "acme"))
    message.geometry.multi_polygon.polygons[0].rings[0].latitude_deg.append(5.0)
    with pytest.raises(InvalidFence, match="as many latitudes"):
        from_proto(message)
    message.ClearField("geometry")
    with pytest.raises(InvalidFence, match="no geometry"):
        from_proto(message)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (MultiPolygonShape(((np.zeros((3, 3)),),)), "malformed"),
        (MultiPolygonShape(((np.zeros(6),),)), "malformed"),
        (MultiPolygonShape(((),)), "too_few_points"),
        (MultiPolygonShape(((np.zeros((200_001, 2)),),)), "too_many_points"),
        (CorridorShape(np.zeros((0, 2)), 5.0), "too_few_points"),
        (CircleShape(0.0, math.nan, 5.0), "not_finite"),
        (CircleShape(0.0, 0.0, math.nan), "bad_radius"),
    ],
)
def test_shapes_made_in_code_are_validated_too(shape, reason):
    with pytest.raises(InvalidFence) as refusal:
        validate(FenceDefinition("acme", "x", "x", shape))
    assert refusal.value.reason == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
numbers = st.sampled_from([0, 1, 2, -1, 90, 180, -180, 179.5, 1e-300, math.nan, math.inf, 10**400]) | st.floats()
rings = st.lists(st.lists(numbers, min_size=2, max_size=3) | json_values, max_size=7).map(
    lambda ring: [*ring, ring[0]] if ring else ring
)
features = st.fixed_dictionaries(
    {
        "type": st.just("Feature") | json_values,
        "geometry": st.fixed_dictionaries(
            {
                "type": st.sampled_from(["Polygon", "MultiPolygon", "Point", "LineString"]) | json_values,
                "coordinates": st.lists(rings, max_size=3)
                | st.lists(st.lists(rings, max_size=2), max_size=2)
                | rings
                | json_values,
            }
        )
        | json_values,
        "properties": st.dictionaries(
            st.sampled_from(["name", "labels", "radius_m", "half_width_m", "enter_fixes", "confirm_after_us"]),
            json_values,
        )
        | json_values,
    },
    optional={"id": st.text(max_size=3) | json_values},
)


@settings(max_examples=400, deadline=None)
@given(features | json_values)
@example(
    {"type": "Feature", "id": "a", "geometry": {"type": "Point", "coordinates": [0, 0]}, "properties": {"radius_m": 1}}
)
@example(feature(coordinates=[[[0, 0], [5e-324, 0], [0, 5e-324], [0, 0]]]))
def test_any_json_is_a_fence_or_a_reason(value):
    refusal = None
    try:
        fence = from_feature(value, "acme")
    except InvalidFence as error:
        refusal = error
    if refusal is not None:
        assert refusal.reason
        assert refusal.detail
        return
    fences = FenceSet()
    fences.put(fence)
    assert same(fence, from_feature(to_feature(fence), "acme"))
