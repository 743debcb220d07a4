"""Places on a line against shapely, progress along it, and arrival times."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.tracking_core.readings import MINUTE_US, NAN, SECOND_US, START_US, Position, columns_of
from tracking_core.definitions import (
    DeleteRoute,
    DeviceIdentity,
    InvalidDefinitionError,
    PutRoute,
    Route,
    RouteStop,
)
from tracking_core.device_table import DeviceTable
from tracking_core.engine import Engine
from tracking_core.routes.projection import project
from tracking_core.routes.table import RouteTable
from tracking_core.settings import EngineSettings

GEOD = pyproj.Geod(ellps="WGS84")
EAST = np.array([(8.0 + n * 0.01, 50.0) for n in range(21)])
CELL_M = GEOD.inv(8.0, 50.0, 8.01, 50.0)[2]


def route(line: np.ndarray = EAST, *stops: RouteStop, version: int = 1, **rest) -> Route:
    stops = stops or (RouteStop("a", 8.1, 50.0, service_time_us=5 * MINUTE_US), RouteStop("b", 8.2, 50.0, 77))
    return Route("t", "r", 0, tuple(stops), line, version=version, **rest)


class Trip:
    def __init__(self, planned: Route | None = None) -> None:
        self.engine = Engine(EngineSettings())
        self.engine.announce([DeviceIdentity(0, "t", "truck")])
        self.engine.define(PutRoute(planned or route()), START_US)

    def at(self, seconds: float, cells: float, north_deg: float = 0.0, **rest) -> None:
        at_us = START_US + int(seconds * SECOND_US)
        fix = Position(0, at_us, 50.0 + north_deg, 8.0 + cells * 0.01, **rest)
        self.engine.step(columns_of([fix]), at_us)

    def eta(self, seconds: float):
        return self.engine.eta("t", "r", START_US + int(seconds * SECOND_US))


lines = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=8)


@settings(max_examples=200, deadline=None)
@given(lines, st.integers(-5, 25), st.integers(-5, 25))
@example([(0, 0), (16, 17)], 6, 8)
def test_the_nearest_place_is_shapely_s(points, x: int, y: int) -> None:
    degrees = np.array(points) * 0.001 + (8.0, 50.0)
    longitude, latitude = 8.0 + x * 0.001, 50.0 + y * 0.001
    table, devices = RouteTable(), DeviceTable(EngineSettings())
    devices.cover(1)
    table.put(route(degrees, RouteStop("s", 8.0, 50.0)), 0, devices.columns)
    along_m, offset_m, segment = project(table.line, 0, len(points), 0, 0.0, math.inf, longitude, latitude)
    plane = pyproj.Proj(proj="aeqd", lat_0=latitude, lon_0=longitude, ellps="WGS84")
    line = shapely.LineString([plane(*point) for point in degrees])
    # What is straight in longitude and latitude bends in this plane: by 0.16 m over the longest line here.
    assert offset_m == pytest.approx(line.distance(shapely.Point(0, 0)), rel=1e-3, abs=0.2)
    place = line.interpolate(along_m * line.length / max(table.line.along_m[len(points) - 1], 1e-9))
    assert math.hypot(place.x, place.y) == pytest.approx(offset_m, rel=5e-3, abs=5.0)
    assert table.line.along_m[segment] <= along_m <= table.line.along_m[segment + 1]


def test_the_place_is_looked_for_only_in_the_window() -> None:
    table, devices = RouteTable(), DeviceTable(EngineSettings())
    devices.cover(1)
    table.put(route(), 0, devices.columns)
    for from_m, until_m, expected_m in ((0.0, 1e9, 5 * CELL_M), (4000.0, 1e9, 4000.0), (0.0, 3000.0, 3000.0)):
        along_m, _, _ = project(table.line, 0, 21, 0, from_m, until_m, 8.05, 50.0)
        assert along_m == pytest.approx(expected_m, abs=0.1)


def test_across_the_antimeridian() -> None:
    table, devices = RouteTable(), DeviceTable(EngineSettings())
    devices.cover(1)
    table.put(route(np.array([(179.9, 0.0), (-179.9, 0.0)])), 0, devices.columns)
    along_m, offset_m, _ = project(table.line, 0, 2, 0, 0.0, math.inf, 180.0, 0.001)
    assert along_m == pytest.approx(GEOD.inv(179.9, 0, 180, 0)[2], rel=1e-6)
    assert offset_m == pytest.approx(110.6, abs=0.1)


def test_on_the_way() -> None:
    trip = Trip()
    # A cell in 71.7 s: 10 m/s, for half an hour.
    for n in range(26):
        trip.at(n * CELL_M / 40, n / 4, speed_mps=10.0)
    last_s = 25 * CELL_M / 40
    eta = trip.eta(last_s)
    assert (eta.method, eta.reasons, eta.device_id) == ("route_pace", (), "truck")
    assert eta.based_on_us == START_US + int(last_s * SECOND_US)
    first, second = eta.stops
    assert first.remaining_m == pytest.approx(3.75 * CELL_M, rel=1e-3)
    # Between the 10 m/s it drove and the 13.9 m/s expected, nearer to the former the longer it drove.
    pace = first.remaining_m / ((first.p50_us - eta.based_on_us) / 1e6)
    assert 10.0 < pace < 13.0
    assert second.remaining_m == pytest.approx(13.75 * CELL_M, rel=1e-3)
    travelled_s = (second.p50_us - eta.based_on_us) / 1e6 - 300
    assert travelled_s == pytest.approx(second.remaining_m / pace, rel=1e-3)
    assert second.planned_arrival_us == 77
    for stop in eta.stops:
        assert eta.based_on_us < stop.p10_us < stop.p50_us < stop.p90_us
        assert not stop.passed


def test_bounds_narrow_as_the_pace_becomes_known() -> None:
    trip = Trip()
    trip.at(0, 0)
    early = trip.eta(0)
    assert early.method == "expected_speed"
    for n in range(1, 20):
        trip.at(n * 60, n * 0.4)
    late = trip.eta(19 * 60)

    def spread(eta) -> float:
        stop = eta.stops[0]
        return (stop.p90_us - eta.based_on_us) / (stop.p50_us - eta.based_on_us)

    assert spread(late) < spread(early)


def test_stops_are_passed_in_order_and_progress_never_goes_back() -> None:
    trip = Trip()
    trip.at(0, 8)
    assert [stop.passed for stop in trip.eta(0).stops] == [False, False]
    trip.at(200, 10)
    passed, ahead = trip.eta(200).stops
    assert (passed.passed, passed.p50_us, passed.remaining_m) == (True, None, 0.0)
    assert not ahead.passed
    remaining_m = ahead.remaining_m
    trip.at(300, 9.9)
    assert trip.eta(300).stops[1].remaining_m == remaining_m
    trip.at(1200, 20)
    assert all(stop.passed for stop in trip.eta(1200).stops)


def test_out_and_back_is_followed_in_order() -> None:
    there_and_back = np.vstack([EAST, EAST[::-1]])
    stops = (RouteStop("turn", 8.2, 50.0), RouteStop("home", 8.0, 50.0))
    trip = Trip(route(there_and_back, *stops))
    for n in range(41):
        trip.at(n * 60, 20 - abs(20 - n), north_deg=1e-4 * (-1) ** n)
        turn, home = trip.eta(n * 60).stops
        assert home.remaining_m == pytest.approx((40 - n) * CELL_M, abs=0.5 * CELL_M) or home.passed
        assert turn.passed == (n >= 20)
        assert home.passed == (n >= 40)


def test_straight_legs_where_no_line_is_planned() -> None:
    trip = Trip(route(np.empty((0, 2)), RouteStop("a", 8.1, 50.0), RouteStop("b", 8.1, 50.1)))
    trip.at(0, 10)
    trip.at(400, 10, north_deg=0.05)
    first, second = trip.eta(400).stops
    assert first.passed
    assert second.remaining_m == pytest.approx(GEOD.inv(8.1, 50.05, 8.1, 50.1)[2], rel=1e-3)


def test_a_single_stop_is_a_route() -> None:
    trip = Trip(route(np.empty((0, 2)), RouteStop("a", 8.1, 50.0)))
    trip.at(0, 0)
    (stop,) = trip.eta(0).stops
    assert trip.eta(0).method == "straight_line"
    assert stop.remaining_m == pytest.approx(1.3 * 10 * CELL_M, rel=1e-6)
    trip.at(600, 10)
    assert trip.eta(600).stops[0].passed


def test_reasons() -> None:
    trip = Trip()
    unknown = trip.eta(0)
    assert (unknown.method, unknown.reasons, unknown.based_on_us) == ("none", ("no_fix",), 0)
    assert [(stop.p50_us, stop.passed) for stop in unknown.stops] == [(None, False)] * 2
    assert math.isnan(unknown.stops[0].remaining_m)
    trip.at(0, 5)
    trip.at(60, 5.5, north_deg=0.01, speed_mps=0.2)
    eta = trip.eta(60)
    assert (eta.method, eta.reasons) == ("straight_line", ("off_route", "stopped"))
    straight_m = GEOD.inv(8.055, 50.01, 8.1, 50.0)[2]
    assert eta.stops[0].remaining_m == pytest.approx(1.3 * straight_m, rel=1e-6)
    assert eta.stops[1].remaining_m == pytest.approx(1.3 * straight_m + 10 * CELL_M, rel=1e-4)
    assert trip.eta(60 + 15 * 60 + 1).reasons == ("stale", "off_route", "stopped")
    trip.at(120, 6, speed_mps=NAN)
    assert trip.eta(120).reasons == ()


def test_no_arrival_is_in_the_past_unless_the_fix_is_stale() -> None:
    trip = Trip()
    trip.at(0, 9.8)
    assert trip.eta(800).stops[0].p10_us == START_US + 800 * SECOND_US
    assert trip.eta(1000).stops[0].p50_us < START_US + 800 * SECOND_US


def test_standing_does_not_slow_the_pace() -> None:
    moving, standing = Trip(), Trip()
    for trip in (moving, standing):
        trip.at(0, 0)
        trip.at(100, 1)
    for n in range(50):
        standing.at(200 + n * 60, 1.0)
    assert standing.eta(3140).stops[0].p50_us - standing.eta(3140).based_on_us == (
        moving.eta(100).stops[0].p50_us - moving.eta(100).based_on_us
    )


def test_an_edited_route_starts_from_the_last_fix_and_a_deleted_one_is_gone() -> None:
    trip = Trip()
    trip.at(0, 5)
    trip.engine.define(PutRoute(route(EAST[::-1], RouteStop("back", 8.0, 50.0), version=2)), START_US)
    (stop,) = trip.eta(0).stops
    assert stop.remaining_m == pytest.approx(5 * CELL_M, rel=1e-6)
    trip.engine.define(PutRoute(route(version=2)), START_US)
    assert len(trip.eta(0).stops) == 1
    trip.engine.define(DeleteRoute("t", "r", 3), START_US)
    assert trip.eta(0) is None
    assert trip.engine.eta("other", "r", START_US) is None


def test_many_routes_come_and_go() -> None:
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(n, "t", f"d{n}") for n in range(10)])
    for n in range(300):
        line = EAST[: 2 + n % 19]
        stops = (RouteStop("end", *line[-1].tolist()),)
        engine.define(PutRoute(Route("t", f"r{n}", n % 10, stops, line)), START_US)
        if n >= 20:
            engine.define(DeleteRoute("t", f"r{n - 20}", 2), START_US)
    engine.step(columns_of([Position(n, START_US, 50.0, 8.0) for n in range(10)]), START_US)
    for n in range(300):
        eta = engine.eta("t", f"r{n}", START_US)
        assert (eta is None) == (n < 280)
        if eta is not None:
            assert eta.device == n % 10
            assert eta.stops[0].remaining_m == pytest.approx((1 + n % 19) * CELL_M, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"line": np.array([(8.0, 50.0)])},
        {"line": np.array([(8.0, NAN), (8.0, 50.0)])},
        {"line": np.array([(8.0, 91.0), (8.0, 50.0)])},
        {"line": np.zeros((2, 3))},
        {"stops": ()},
        {"stops": (RouteStop("s", 181.0, 0.0),)},
        {"stops": (RouteStop("s", 1.0, 0.0, service_time_us=-1),)},
        {"expected_speed_mps": 0.0},
        {"expected_speed_mps": NAN},
    ],
)
def test_routes_that_mean_nothing_are_refused(wrong) -> None:
    with pytest.raises(InvalidDefinitionError, match="route r"):
        Route(**{"tenant": "t", "route_id": "r", "device": 0, "stops": (RouteStop("s", 8.0, 50.0),), **wrong})
