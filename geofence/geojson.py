"""Fences as GeoJSON features (RFC 7946), in and out.

A Polygon or MultiPolygon is itself; a Point with the property `radius_m` is a circle; a LineString with
`half_width_m` is a corridor. `name`, `labels` (an object of strings), the members of the crossing and the visit rule (a
dwell in seconds) and the active times (geojson_times.py) are properties too; other properties are passed over, so that
files made elsewhere can be read. Altitudes are passed over.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from geofence.definition import (
    F64,
    CircleShape,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    MultiPolygonShape,
    Shape,
    VisitRule,
)
from geofence.geojson_times import active_properties, active_times
from geofence.planar import closed
from geofence.validation import MOST_VERTICES, InvalidFence, validate

_WHOLE: Final = ("enter_fixes", "exit_fixes", "confirm_after_us")
_METRES: Final = ("exit_margin_m", "accuracy_cap_m")
_SPEEDS: Final = ("speed_limit_mps", "speed_tolerance_mps")


def from_feature(feature: object, tenant: str, *, fence_id: str | None = None, version: int = 1) -> FenceDefinition:
    """The valid fence that a parsed GeoJSON feature means; its id is `fence_id` if given, else the feature's `id`.

    Raises InvalidFence, and nothing else, for whatever is not one: the reasons of `validate`, and missing, not_closed,
    unsupported_geometry.
    """
    members = _mapping(feature, "feature")
    if members.get("type") != "Feature":
        raise InvalidFence("malformed", "type is not 'Feature'", "type")
    properties = {} if members.get("properties") is None else _mapping(members["properties"], "properties")
    geometry = _mapping(_member(members, "geometry", "geometry"), "geometry")
    definition = FenceDefinition(
        tenant=tenant,
        fence_id=_fence_id(members.get("id")) if fence_id is None else fence_id,
        name=_text(properties.get("name", ""), "name"),
        shape=_shape(geometry, properties),
        crossing=_rule(properties),
        version=version,
        labels=_labels(properties.get("labels")),
        visit=_visit(properties),
        active=active_times(properties),
    )
    validate(definition)
    return definition


def to_feature(definition: FenceDefinition) -> dict[str, Any]:
    """The feature of a fence, ready for a JSON encoder, every parameter written out. `from_feature` gives it back."""
    properties: dict[str, Any] = {"name": definition.name, "labels": dict(definition.labels)}
    properties |= dataclasses.asdict(definition.crossing) | _visit_properties(definition.visit)
    properties |= active_properties(definition.active)
    properties["version"] = definition.version
    shape = definition.shape
    geometry: dict[str, Any]
    if isinstance(shape, CircleShape):
        geometry = {"type": "Point", "coordinates": [shape.longitude_deg, shape.latitude_deg]}
        properties["radius_m"] = shape.radius_m
    elif isinstance(shape, CorridorShape):
        geometry = {"type": "LineString", "coordinates": shape.line.tolist()}
        properties["half_width_m"] = shape.half_width_m
    else:
        polygons = [[closed(ring).tolist() for ring in polygon] for polygon in shape.polygons]
        geometry = (
            {"type": "Polygon", "coordinates": polygons[0]}
            if len(polygons) == 1
            else {"type": "MultiPolygon", "coordinates": polygons}
        )
    return {"type": "Feature", "id": definition.fence_id, "geometry": geometry, "properties": properties}


def _shape(geometry: Mapping[str, object], properties: Mapping[str, object]) -> Shape:
    kind = _member(geometry, "type", "geometry.type")
    if kind not in ("Polygon", "MultiPolygon", "Point", "LineString"):
        name = kind if isinstance(kind, str) and len(kind) < 40 else type(kind).__name__
        raise InvalidFence(
            "unsupported_geometry", f"{name!r} is no Polygon, MultiPolygon, Point or LineString", "geometry.type"
        )
    coordinates = _member(geometry, "coordinates", "coordinates")
    if kind == "Point":
        longitude_deg, latitude_deg = _point(coordinates, "coordinates")
        return CircleShape(longitude_deg, latitude_deg, _metres(properties.get("radius_m"), "radius_m", "bad_radius"))
    if kind == "LineString":
        half_width_m = _metres(properties.get("half_width_m"), "half_width_m", "bad_half_width")
        return CorridorShape(_points(coordinates, "coordinates"), half_width_m)
    polygons = [coordinates] if kind == "Polygon" else _list(coordinates, "coordinates")
    return MultiPolygonShape(
        tuple(
            tuple(
                _ring(ring, f"polygon {number}, ring {place}")
                for place, ring in enumerate(_list(polygon, f"polygon {number}"))
            )
            for number, polygon in enumerate(polygons)
        )
    )


def _ring(value: object, where: str) -> F64:
    """A ring as the RFC has it: closed by its first position."""
    ring = _points(value, where)
    if len(ring) < 4:
        raise InvalidFence("too_few_points", "a ring has at least three points and the first again", where)
    if not np.array_equal(ring[0], ring[-1], equal_nan=True):
        raise InvalidFence("not_closed", "the last point of a ring is not its first", where)
    return ring


def _points(value: object, where: str) -> F64:
    points = _list(value, where)
    if len(points) > MOST_VERTICES:
        raise InvalidFence("too_many_points", f"a fence has at most {MOST_VERTICES} points", where)
    if not points:
        return np.empty((0, 2))
    return np.array([_point(point, f"{where}, point {index}") for index, point in enumerate(points)], np.float64)


def _point(value: object, where: str) -> tuple[float, float]:
    numbers = _list(value, where)
    if len(numbers) < 2:
        raise InvalidFence("malformed", "a point is longitude and latitude", where)
    return _number(numbers[0], where), _number(numbers[1], where)


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidFence("malformed", f"a number is expected, not {_kind(value)}", where)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidFence("not_finite", "a number is not finite", where)
    return number


def _metres(value: object, name: str, reason: str) -> float:
    if value is None:
        raise InvalidFence(reason, f"the property {name} is missing", name)
    return _number(value, name)


def _rule(properties: Mapping[str, object]) -> CrossingRule:
    given: dict[str, Any] = {}
    for name in _WHOLE:
        value = properties.get(name)
        if value is None:
            continue
        whole = value.is_integer() if isinstance(value, float) else isinstance(value, int)
        if isinstance(value, bool) or not isinstance(value, int | float) or not whole:
            raise InvalidFence("bad_crossing_rule", f"{name} is a whole number", name)
        given[name] = int(value)
    for name in _METRES:
        if properties.get(name) is not None:
            given[name] = _number(properties[name], name)
    return CrossingRule(**given)


def _visit(properties: Mapping[str, object]) -> VisitRule:
    given: dict[str, Any] = {
        name: _number(properties[name], name) for name in _SPEEDS if properties.get(name) is not None
    }
    if properties.get("dwell_s") is not None:
        dwell_s = _number(properties["dwell_s"], "dwell_s")
        # What is out of range stays so, and what is less than a microsecond is nothing: `validate` refuses both.
        given["dwell_us"] = round(min(max(dwell_s, -1.0), 1e12) * 1e6)
    for name in ("watched", "cross"):
        chosen = properties.get(name)
        if chosen is not None:
            if not isinstance(chosen, bool):
                raise InvalidFence("bad_visit_rule", f"true or false is expected, not {_kind(chosen)}", name)
            given[name] = chosen
    return VisitRule(**given)


def _visit_properties(visit: VisitRule) -> dict[str, Any]:
    return {
        "dwell_s": None if visit.dwell_us is None else visit.dwell_us / 1e6,
        "speed_limit_mps": visit.speed_limit_mps,
        "speed_tolerance_mps": visit.speed_tolerance_mps,
        "watched": visit.watched,
        "cross": visit.cross,
    }


def _labels(value: object) -> dict[str, str]:
    if value is None:
        return {}
    return {_text(key, "labels"): _text(text, "labels") for key, text in _mapping(value, "labels").items()}


def _fence_id(value: object) -> str:
    if value is None:
        raise InvalidFence("missing", "the feature has no id", "id")
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) >= 2**63):
        raise InvalidFence("bad_id", "an id is a string or a whole number", "id")
    return str(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidFence("malformed", f"a string is expected, not {_kind(value)}", where)
    return value


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidFence("malformed", f"an object is expected, not {_kind(value)}", where)
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list | tuple):
        raise InvalidFence("malformed", f"an array is expected, not {_kind(value)}", where)
    return list(value)


def _member(members: Mapping[str, object], name: str, where: str) -> object:
    if members.get(name) is None:
        raise InvalidFence("missing", f"there is no {name}", where)
    return members[name]


def _kind(value: object) -> str:
    """What JSON calls the type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list | tuple) else "an object"
