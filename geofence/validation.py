"""What makes a fence one that can be watched, and the one reason why another is refused."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final

import numpy as np
import shapely

from geofence.definition import (
    F64,
    ActiveTimes,
    CircleShape,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    MultiPolygonShape,
    Ring,
    Shape,
    VisitRule,
)
from geofence.planar import closed, crosses_antimeridian, is_flat, planar_rings
from geofence.time_zones import zone_names

MOST_VERTICES: Final = 200_000
MOST_LABELS: Final = 64
LONGEST_TEXT: Final = 256
GREATEST_RADIUS_M: Final = 5_000_000.0
GREATEST_HALF_WIDTH_M: Final = 500_000.0
GREATEST_MARGIN_M: Final = 1_000_000.0
MOST_FIXES: Final = 1_000
MOST_WINDOWS: Final = 32
DAY_MINUTES: Final = 1_440
LONGEST_DWELL_US: Final = 366 * 86_400 * 1_000_000
HIGHEST_SPEED_MPS: Final = 1_000.0
LONGEST_CONFIRMATION_US: Final = 30 * 86_400 * 1_000_000
# A ring that runs on over the 180th meridian may reach this far, if it also reaches into [-180, 180].
FARTHEST_LONGITUDE_DEG: Final = 270.0

_FENCE_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# What GEOS calls a fault, and what it is called here.
_FAULTS: Final = (
    ("Hole lies outside shell", "hole_outside", "a hole lies outside its polygon"),
    ("Holes are nested", "holes_overlap", "a hole lies in another hole"),
    ("Duplicate Rings", "holes_overlap", "two rings of a polygon are the same"),
    ("Interior is disconnected", "holes_overlap", "the rings of a polygon cut its inside in two"),
    ("Ring Self-intersection", "self_crossing", "a ring touches itself"),
    ("Self-intersection", "self_crossing", "edges of the polygon cross or overlap"),
    ("Too few", "too_few_points", "a ring has fewer than three different points"),
)


class InvalidFence(Exception):
    """A fence that is refused. `reason` is a slug, `detail` one line for people, `where` the part that is meant."""

    def __init__(self, reason: str, detail: str, where: str = "") -> None:
        super().__init__(f"{where}: {detail}" if where else detail)
        self.reason = reason
        self.detail = detail
        self.where = where


def validate(definition: FenceDefinition) -> None:
    """Returns if the fence can be compiled and means something; raises InvalidFence with the first reason otherwise.

    Reasons: bad_id, bad_name, bad_labels, bad_crossing_rule, bad_visit_rule, bad_active_times, malformed, not_finite,
    coordinate_out_of_range, bad_radius, bad_half_width, too_few_points, too_many_points, zero_area, self_crossing,
    hole_outside, holes_overlap.
    """
    _validate_names(definition)
    _validate_rule(definition.crossing)
    _validate_visit(definition.visit, definition.shape)
    _validate_active(definition.active)
    shape = definition.shape
    if isinstance(shape, CircleShape):
        _validate_circle(shape)
    elif isinstance(shape, CorridorShape):
        _validate_corridor(shape)
    else:
        _validate_polygons(shape)


def _validate_names(definition: FenceDefinition) -> None:
    if not definition.tenant:
        raise InvalidFence("bad_id", "the tenant is empty", "tenant")
    if not _FENCE_ID.fullmatch(definition.fence_id):
        raise InvalidFence("bad_id", "an id is 1 to 128 letters, digits, '_', '-', '.' and ':'", "fence_id")
    if len(definition.name) > LONGEST_TEXT or not _is_text(definition.name):
        raise InvalidFence("bad_name", f"a name is at most {LONGEST_TEXT} printable characters", "name")
    if len(definition.labels) > MOST_LABELS:
        raise InvalidFence("bad_labels", f"a fence has at most {MOST_LABELS} labels", "labels")
    for key, value in definition.labels.items():
        if not key or max(len(key), len(value)) > LONGEST_TEXT or not (_is_text(key) and _is_text(value)):
            raise InvalidFence("bad_labels", f"a label is at most {LONGEST_TEXT} printable characters", "labels")


def _is_text(value: str) -> bool:
    """Whether a string holds no control characters and no halves of surrogate pairs, which UTF-8 cannot carry."""
    return all(ord(letter) >= 32 and not 0xD800 <= ord(letter) <= 0xDFFF for letter in value)


def _validate_rule(rule: CrossingRule) -> None:
    for name in ("enter_fixes", "exit_fixes"):
        if not 1 <= getattr(rule, name) <= MOST_FIXES:
            raise InvalidFence("bad_crossing_rule", f"{name} is from 1 to {MOST_FIXES}", name)
    after_us = rule.confirm_after_us
    if after_us is not None and not 0 < after_us <= LONGEST_CONFIRMATION_US:
        raise InvalidFence("bad_crossing_rule", "confirm_after_us is from 1 to that of 30 days", "confirm_after_us")
    for name in ("exit_margin_m", "accuracy_cap_m"):
        if not 0.0 <= getattr(rule, name) <= GREATEST_MARGIN_M:
            raise InvalidFence("bad_crossing_rule", f"{name} is from 0 to {GREATEST_MARGIN_M:.0f} metres", name)


def _validate_visit(visit: VisitRule, shape: Shape) -> None:
    if visit.dwell_us is not None and not 0 < visit.dwell_us <= LONGEST_DWELL_US:
        raise InvalidFence("bad_visit_rule", "a dwell is more than 0 seconds and at most a year", "dwell_s")
    limit_mps = visit.speed_limit_mps
    if limit_mps is not None and not 0.0 < limit_mps <= HIGHEST_SPEED_MPS:
        most = f"more than 0 and at most {HIGHEST_SPEED_MPS:.0f} m/s"
        raise InvalidFence("bad_visit_rule", f"a speed limit is {most}", "speed_limit_mps")
    if not 0.0 <= visit.speed_tolerance_mps <= HIGHEST_SPEED_MPS:
        most = f"from 0 to {HIGHEST_SPEED_MPS:.0f} m/s"
        raise InvalidFence("bad_visit_rule", f"a tolerance is {most}", "speed_tolerance_mps")
    if visit.watched and not isinstance(shape, CorridorShape):
        raise InvalidFence("bad_visit_rule", "only a corridor is watched", "watched")


def day_of(text: str, where: str) -> dt.date:
    """A day as ISO 8601 writes it, YYYY-MM-DD; raises InvalidFence for what is none."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise InvalidFence("bad_active_times", "a day is written YYYY-MM-DD", where)
    return day


def _validate_active(active: ActiveTimes) -> None:
    if (active.time_zone or active.are_limited) and active.time_zone not in zone_names():
        raise InvalidFence("bad_active_times", "a time zone is a name like Europe/Berlin", "time_zone")
    if len(active.windows) > MOST_WINDOWS:
        raise InvalidFence("bad_active_times", f"a fence has at most {MOST_WINDOWS} windows", "active_windows")
    for number, window in enumerate(active.windows):
        where = f"active_windows, {number}"
        if not window.days or not all(1 <= day <= 7 for day in window.days):
            raise InvalidFence("bad_active_times", "a window has days, from 1 for Monday to 7", where)
        if not (0 <= window.from_minute < DAY_MINUTES and 0 <= window.to_minute <= DAY_MINUTES):
            raise InvalidFence("bad_active_times", "a window is from 00:00 at the earliest until 24:00", where)
    if active.first_day is not None and active.last_day is not None and active.first_day > active.last_day:
        raise InvalidFence("bad_active_times", "the last day is before the first", "active_until")


def _validate_circle(shape: CircleShape) -> None:
    _validate_vertices(np.array([[shape.longitude_deg, shape.latitude_deg]]), "centre")
    if not 0.0 < shape.radius_m <= GREATEST_RADIUS_M:
        raise InvalidFence(
            "bad_radius", f"a radius is more than 0 and at most {GREATEST_RADIUS_M:.0f} metres", "radius_m"
        )


def _validate_corridor(shape: CorridorShape) -> None:
    line = _vertices(shape.line, "line")
    if len(line) > MOST_VERTICES:
        raise InvalidFence("too_many_points", f"a fence has at most {MOST_VERTICES} points", "line")
    _validate_vertices(line, "line")
    if len(line) < 2 or bool((line == line[0]).all()):
        raise InvalidFence("too_few_points", "a line has at least two different points", "line")
    if not 0.0 < shape.half_width_m <= GREATEST_HALF_WIDTH_M:
        raise InvalidFence(
            "bad_half_width",
            f"a half width is more than 0 and at most {GREATEST_HALF_WIDTH_M:.0f} metres",
            "half_width_m",
        )


def _validate_polygons(shape: MultiPolygonShape) -> None:
    if not shape.polygons:
        raise InvalidFence("too_few_points", "there is no polygon", "polygons")
    count = 0
    for number, polygon in enumerate(shape.polygons):
        where = f"polygon {number}"
        if not polygon:
            raise InvalidFence("too_few_points", "a polygon has at least one ring", where)
        rings = [_vertices(ring, f"{where}, ring {place}") for place, ring in enumerate(polygon)]
        count += sum(map(len, rings))
        if count > MOST_VERTICES:
            raise InvalidFence("too_many_points", f"a fence has at most {MOST_VERTICES} points", where)
        for place, ring in enumerate(rings):
            _validate_ring(ring, f"{where}, ring {place}")
        _validate_polygon(tuple(rings), where)


def _vertices(ring: Ring, where: str) -> F64:
    """The ring as float64 (n, 2); InvalidFence if it is no such thing."""
    if ring.ndim != 2 or ring.shape[1] != 2 or ring.dtype.kind not in "fiu":
        raise InvalidFence("malformed", "points are pairs of longitude and latitude", where)
    return np.ascontiguousarray(ring, np.float64)


def _validate_vertices(vertices: F64, where: str) -> None:
    """Finite, latitude within [-90, 90], longitude within [-180, 180] or running on from there over 180."""
    unfit = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(unfit):
        raise InvalidFence("not_finite", "a coordinate is not a finite number", f"{where}, point {unfit[0]}")
    magnitude = np.abs(vertices[:, 0])
    farthest_deg = FARTHEST_LONGITUDE_DEG if len(vertices) > 1 and magnitude.min() <= 180.0 else 180.0
    unfit = np.flatnonzero((np.abs(vertices[:, 1]) > 90.0) | (magnitude > farthest_deg))
    if len(unfit):
        longitude_deg, latitude_deg = vertices[unfit[0]]
        raise InvalidFence(
            "coordinate_out_of_range",
            f"longitude {longitude_deg:g}, latitude {latitude_deg:g} is not on the globe",
            f"{where}, point {unfit[0]}",
        )


def _validate_ring(ring: F64, where: str) -> None:
    _validate_vertices(ring, where)
    if len(closed(ring)) < 4:
        raise InvalidFence("too_few_points", "a ring has at least three points", where)
    if is_flat(ring):
        raise InvalidFence("zero_area", "all points of a ring lie on one line", where)


def _validate_polygon(rings: tuple[F64, ...], where: str) -> None:
    """Against GEOS: rings that neither cross nor overlap, holes inside."""
    turn = crosses_antimeridian(rings[0][:, 0])
    for place, ring in enumerate(rings[1:], start=1):
        if turn and not (np.abs(ring[:, 0]) >= 90.0).all():
            raise InvalidFence("hole_outside", "a hole lies outside its polygon", f"{where}, ring {place}")
    planar = planar_rings(rings)
    extent_deg = float(planar[0][:, 0].max() - planar[0][:, 0].min())
    if extent_deg > 360.0 or not math.isfinite(extent_deg):
        raise InvalidFence("coordinate_out_of_range", "a ring spans more than 360 degrees of longitude", where)
    polygon = shapely.Polygon(planar[0], planar[1:])
    if shapely.is_valid(polygon):
        return
    said = str(shapely.is_valid_reason(polygon))
    near = said[said.find("[") :] if "[" in said else ""
    for start, reason, detail in _FAULTS:
        if said.startswith(start):
            raise InvalidFence(reason, f"{detail}, near {near}" if near else detail, where)
    raise InvalidFence("malformed", said, where)
