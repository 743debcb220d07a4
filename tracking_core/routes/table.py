"""Routes as arrays: the planned lines with the distance along them, the stops on them, and how far each device came."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.geodesy import distance_m
from geofence.kernel import scalar_kernel
from tracking_core.columns import F64, I32, I64, NO_TIME
from tracking_core.definitions import Route
from tracking_core.device_table import DeviceColumns
from tracking_core.growth import longer_columns, next_size
from tracking_core.routes.projection import Line, project


class RouteColumns(NamedTuple):
    """One row a route; those of a device are chained by `following`."""

    following: I32
    first_point: I64
    points: I64
    expected_speed_mps: F64
    progress_m: F64
    """How far along the line the device has come; NaN before it was ever on it."""
    segment: I64
    """The segment of the line where that is."""
    matched_at_us: I64
    """When it was last on the line; NO_TIME if never."""
    offset_m: F64
    """How far from the line (from where the device can have come to) its newest counted fix is; NaN without one."""
    paced_m: F64
    """Distance come along the line while moving, older parts fading, ..."""
    paced_s: F64
    """... and the time that took, fading alike."""


_LAYOUT: Final = ("i4", "i8", "i8", "f8", "f8", "i8", "i8", "f8", "f8", "f8")
STATE_FIELDS: Final = ("progress_m", "segment", "matched_at_us", "offset_m", "paced_m", "paced_s")
_FRESH: Final = (np.nan, 0, NO_TIME, np.nan, 0.0, 0.0)


@scalar_kernel
def measure_line(longitude_deg: F64, latitude_deg: F64, along_m: F64) -> None:
    """Fills `along_m` with the distance from the first point."""
    along_m[0] = 0.0
    for i in range(1, len(along_m)):
        along_m[i] = along_m[i - 1] + distance_m(
            latitude_deg[i - 1], longitude_deg[i - 1], latitude_deg[i], longitude_deg[i]
        )


class RouteTable:
    """The columns, and which routes there are."""

    def __init__(self) -> None:
        self.columns = RouteColumns(*(np.empty(0, dtype) for dtype in _LAYOUT))
        self.line = Line(np.empty(0), np.empty(0), np.empty(0))
        self._points_used = 0
        self._points_alive = 0
        self.definitions: dict[int, Route] = {}
        self.stops_along_m: dict[int, F64] = {}
        """Where each stop of a route is on its line."""
        self._slots: dict[tuple[str, str], int] = {}
        self._unused: list[int] = []

    def slot_of(self, tenant: str, route_id: str) -> int | None:
        """The slot of a route in force."""
        return self._slots.get((tenant, route_id))

    def put(self, route: Route, row: int, devices: DeviceColumns) -> int:
        """Puts a new route in force, its device nowhere on it yet; returns its slot. One of the same id must be deleted
        before.
        """
        slot = self._take_slot()
        self._slots[route.tenant, route.route_id] = slot
        self.definitions[slot] = route
        points = route.line
        if len(points) == 0:
            points = np.array([(stop.longitude_deg, stop.latitude_deg) for stop in route.stops], np.float64)
        if len(points) == 1:
            points = np.repeat(points, 2, axis=0)
        self._add_points(slot, points)
        self.columns.expected_speed_mps[slot] = route.expected_speed_mps
        for name, fresh in zip(STATE_FIELDS, _FRESH, strict=True):
            getattr(self.columns, name)[slot] = fresh
        self.columns.following[slot] = devices.first_route[row]
        devices.first_route[row] = slot
        self.stops_along_m[slot] = self._place_stops(slot, route)
        return slot

    def delete(self, slot: int, row: int, devices: DeviceColumns) -> None:
        """Takes a route out of force."""
        route = self.definitions.pop(slot)
        del self._slots[route.tenant, route.route_id], self.stops_along_m[slot]
        if devices.first_route[row] == slot:
            devices.first_route[row] = self.columns.following[slot]
        else:
            before = devices.first_route[row]
            while self.columns.following[before] != slot:
                before = self.columns.following[before]
            self.columns.following[before] = self.columns.following[slot]
        self._points_alive -= int(self.columns.points[slot])
        self.columns.points[slot] = 0
        self._unused.append(slot)

    def _take_slot(self) -> int:
        if not self._unused:
            held = len(self.columns.points)
            size = next_size(held, held + 1)
            self.columns = RouteColumns(*longer_columns(self.columns, size, [0] * len(_LAYOUT)))
            self._unused.extend(range(size - 1, held - 1, -1))
        return self._unused.pop()

    def _add_points(self, slot: int, points: F64) -> None:
        if self._points_used + len(points) > len(self.line.along_m):
            self._compact(len(points))
        first, last = self._points_used, self._points_used + len(points)
        self.columns.first_point[slot] = first
        self.columns.points[slot] = len(points)
        self.line.longitude_deg[first:last] = points[:, 0]
        self.line.latitude_deg[first:last] = points[:, 1]
        measure_line(*(column[first:last] for column in self.line))
        self._points_used = last
        self._points_alive += len(points)

    def _compact(self, wanted: int) -> None:
        """Drops the points of deleted routes, and makes room for more."""
        line = Line(*(np.empty(next_size(self._points_alive, self._points_alive + wanted)) for _ in self.line))
        used = 0
        for slot in self.definitions:
            first, points = int(self.columns.first_point[slot]), int(self.columns.points[slot])
            for new, old in zip(line, self.line, strict=True):
                new[used : used + points] = old[first : first + points]
            self.columns.first_point[slot] = used
            used += points
        self.line, self._points_used = line, used

    def _place_stops(self, slot: int, route: Route) -> F64:
        """Each stop at the nearest point of the line that is not before the stop before it; without a line, the line's
        own points.
        """
        if len(route.line) == 0:
            first = int(self.columns.first_point[slot])
            return self.line.along_m[first : first + len(route.stops)].copy()
        along_m = np.empty(len(route.stops))
        segment, from_m = 0, 0.0
        for i, stop in enumerate(route.stops):
            from_m, _, segment = project(
                self.line,
                int(self.columns.first_point[slot]),
                int(self.columns.points[slot]),
                segment,
                from_m,
                np.inf,
                float(stop.longitude_deg),
                float(stop.latitude_deg),
            )
            along_m[i] = from_m
        return along_m
