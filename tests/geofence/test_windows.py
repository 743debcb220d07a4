"""Active times against `zoneinfo`, at real changes of clocks, and what is refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drover.geofence.v1 import fence_pb2
from geofence.active_times import TimesPool, merged_windows
from geofence.compiled import NEVER, WINDOWED
from geofence.definition import ALWAYS, ActiveTimes, CircleShape, FenceDefinition, WeeklyWindow
from geofence.fence_set import FenceSet
from geofence.geojson import from_feature, to_feature
from geofence.time_zones import offset_changes, zone_names
from geofence.validation import InvalidFence
from geofence.windows import is_active, windows_around
from geofence.wire import from_proto, to_proto
from tests.geofence import naive_windows

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
# Half an hour, a change on Sunday; three in one year; a whole day skipped; a quarter of an hour; none.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/St_Johns",
    "UTC",
)
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


def us(text: str) -> int:
    """A time with its offset."""
    return naive_windows.microseconds(dt.datetime.fromisoformat(text))


def around(times: ActiveTimes, at_us: int) -> tuple[bool, int, int]:
    pool = TimesPool()
    place, _ = pool.put(times)
    return windows_around(pool.words, place, at_us)


def every(zone: str, begin: str, end: str, *days: int) -> ActiveTimes:
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (begin, end)]
    return ActiveTimes(zone, (WeeklyWindow(days or EVERY_DAY, *minutes),))


windows = st.builds(
    WeeklyWindow,
    days=st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True).map(tuple),
    from_minute=st.integers(0, 1439) | st.sampled_from([0, 60, 90, 120, 150, 180]),
    to_minute=st.integers(0, 1440) | st.sampled_from([0, 90, 120, 150, 180, 1440]),
)
days = st.dates(dt.date(2023, 1, 1), dt.date(2026, 12, 31))
times = st.builds(
    ActiveTimes,
    time_zone=st.sampled_from(ZONES),
    windows=st.lists(windows, max_size=4).map(tuple),
    first_day=st.none() | days,
    last_day=st.none() | days,
)
changes = sorted(
    {at_us for zone in ZONES for at_us in offset_changes(zone)[1:, 0].tolist() if at_us > us("2023-01-01T00:00Z")}
)
instants = st.one_of(
    st.integers(us("2023-01-01T00:00Z"), us("2027-01-01T00:00Z")),
    st.builds(
        lambda change, minutes: change + minutes * 60_000_000, st.sampled_from(changes[:60]), st.integers(-3000, 3000)
    ),
)


@pytest.mark.compiled
@settings(max_examples=600, deadline=None)
@given(times, instants)
@example(every("Pacific/Apia", "22:00", "06:00"), us("2011-12-30T12:00Z"))
@example(every("Australia/Lord_Howe", "01:45", "01:50"), us("2026-04-04T15:00Z"))
def test_it_is_what_the_clock_on_the_wall_says(active: ActiveTimes, at_us: int) -> None:
    known = naive_windows.intervals(active, at_us)
    at = naive_windows.instant(at_us)
    found = around(active, at_us)
    holding = [each for each in known if each[0] <= at < each[1]]
    assert found[0] == bool(holding)
    if not active.windows and active.last_day is None:
        assert found[1] == NEVER
    elif holding and holding[0][1] < known[-1][1]:
        assert found[1] == naive_windows.microseconds(holding[0][1])
    following = [opens for opens, _ in known if opens > at]
    if following:
        assert found[2] == naive_windows.microseconds(following[0])
    elif active.first_day is None:
        # Within sixteen days some window opens, if any ever does.
        assert found[2] == NEVER


BERLIN, YORK, HOWE = ZONES[:3]


@pytest.mark.parametrize(
    ("active", "asked", "closes", "opens"),
    [
        # An hour that does not exist: 02:30 is 03:00, the instant of the skip.
        (every(BERLIN, "02:30", "04:00"), "2026-03-29T01:59+01:00", None, "2026-03-29T03:00+02:00"),
        (every(BERLIN, "02:30", "04:00"), "2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00", "2026-03-30T02:30+02:00"),
        (every(BERLIN, "01:00", "02:30"), "2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T01:00+02:00"),
        # All of it skipped: not on that day.
        (every(BERLIN, "02:10", "02:50"), "2026-03-29T00:30+01:00", None, "2026-03-30T02:10+02:00"),
        # An hour that is there twice: from the first 02:10 to the second 02:50.
        (every(BERLIN, "02:10", "02:50"), "2026-10-25T02:05+02:00", None, "2026-10-25T02:10+02:00"),
        (every(BERLIN, "02:10", "02:50"), "2026-10-25T02:05+01:00", "2026-10-25T02:50+01:00", "2026-10-26T02:10+01:00"),
        # A night shift is an hour longer, or shorter.
        (every(YORK, "22:00", "06:00"), "2026-11-01T02:00-05:00", "2026-11-01T06:00-05:00", "2026-11-01T22:00-05:00"),
        (every(YORK, "22:00", "06:00"), "2026-03-08T00:00-05:00", "2026-03-08T06:00-04:00", "2026-03-08T22:00-04:00"),
        # Half an hour.
        (every(HOWE, "01:45", "02:15"), "2026-04-05T01:50+11:00", "2026-04-05T02:15+10:30", "2026-04-06T01:45+10:30"),
        (every(HOWE, "02:00", "02:20"), "2026-10-04T01:00+10:30", None, "2026-10-05T02:00+11:00"),
        # Past midnight at the end of the week; a whole day.
        (every(BERLIN, "22:00", "06:00", 7), "2026-06-01T03:00Z", "2026-06-01T06:00+02:00", "2026-06-07T22:00+02:00"),
        (every("UTC", "08:00", "08:00", 1), "2026-06-02T07:59Z", "2026-06-02T08:00Z", "2026-06-08T08:00Z"),
    ],
)  # fmt: skip
def test_at_real_changes(active: ActiveTimes, asked: str, closes: str | None, opens: str) -> None:
    found = around(active, us(asked))
    assert found[0] == (closes is not None)
    assert closes is None or found[1] == us(closes)
    assert found[2] == us(opens)


def test_days_bound_it() -> None:
    spring = ActiveTimes("Europe/Berlin", (), dt.date(2026, 3, 1), dt.date(2026, 3, 31))
    first, last = us("2026-03-01T00:00+01:00"), us("2026-04-01T00:00+02:00")
    assert around(spring, first - 1) == (False, last, first)
    assert around(spring, first) == (True, last, NEVER)
    assert around(spring, last)[::2] == (False, NEVER)
    mornings = ActiveTimes("Europe/Berlin", (WeeklyWindow((1,), 0, 600),), dt.date(2026, 3, 3))
    # Not on Monday the second.
    assert around(mornings, us("2020-01-01T00:00Z"))[::2] == (False, us("2026-03-09T00:00+01:00"))


def test_what_leaves_no_time_out_never_closes() -> None:
    always = every("Europe/Berlin", "08:00", "08:00")
    assert around(always, us("2026-03-29T08:00Z")) == (True, NEVER, NEVER)
    halves = ActiveTimes("UTC", (WeeklyWindow(EVERY_DAY, 0, 720), WeeklyWindow(EVERY_DAY, 720, 1440)))
    assert len(merged_windows(halves)) == 0
    # One minute a week is left.
    most = ActiveTimes("UTC", (WeeklyWindow((1, 2, 3, 4, 5, 6), 0, 1440), WeeklyWindow((7,), 0, 1439)))
    assert merged_windows(most).tolist() == [[0, 7 * DAY_US - 60_000_000]]


def test_every_zone_has_a_table() -> None:
    assert {"Europe/Berlin", "America/New_York", "Asia/Calcutta"} <= zone_names()
    with pytest.raises(KeyError):
        offset_changes("../../etc/passwd")
    for name in ZONES:
        table = offset_changes(name)
        assert (np.diff(table[:, 0]) > 0).all()
        assert (np.diff(table[:, 1]) != 0).all()


def test_a_set_of_fences_keeps_them_apart() -> None:
    fences = FenceSet()
    shape = CircleShape(0.0, 0.0, 10.0)
    monday, tuesday = every("UTC", "08:00", "09:00", 1), every("UTC", "08:00", "09:00", 2)
    slots = [fences.put(FenceDefinition("t", name, "", shape, active=active)) for name, active in
             (("a", monday), ("b", tuesday), ("c", ALWAYS))]  # fmt: skip
    at_us = us("2026-06-01T08:30Z")
    assert [is_active(fences.compiled, slot, at_us) for slot in slots] == [True, False, True]
    assert [bool(fences.compiled.watches[slot] & WINDOWED) for slot in slots] == [True, True, False]
    fences.put(FenceDefinition("t", "a", "", shape, version=2, active=tuesday))
    fences.put(FenceDefinition("t", "b", "", shape, version=2))
    assert [is_active(fences.compiled, slot, at_us) for slot in slots] == [False, True, True]


def feature(**properties: Any) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [0.0, 0.0]}
    return {"type": "Feature", "id": "f", "geometry": geometry, "properties": {"radius_m": 10.0} | properties}


OFFICE = {"days": ["mon", "fri"], "from": "08:00", "to": "17:30"}
NIGHT = {"from": "22:00", "to": "24:00"}


@pytest.mark.parametrize(
    ("properties", "active"),
    [
        ({}, ALWAYS),
        ({"time_zone": "Europe/Berlin"}, ActiveTimes("Europe/Berlin")),
        (
            {"time_zone": "Europe/Berlin", "active_windows": [OFFICE, NIGHT]},
            ActiveTimes("Europe/Berlin", (WeeklyWindow((1, 5), 480, 1050), WeeklyWindow(EVERY_DAY, 1320, 1440))),
        ),
        (
            {"time_zone": "UTC", "active_from": "2026-03-01", "active_until": "2026-03-01"},
            ActiveTimes("UTC", (), dt.date(2026, 3, 1), dt.date(2026, 3, 1)),
        ),
    ],
)
def test_there_and_back(properties: dict[str, Any], active: ActiveTimes) -> None:
    fence = from_feature(feature(**properties), "t")
    assert fence.active == active
    assert from_feature(to_feature(fence), "t").active == active
    assert from_proto(fence_pb2.Fence.FromString(to_proto(fence).SerializeToString())).active == active


@pytest.mark.parametrize(
    "properties",
    [
        {"active_windows": [OFFICE]},
        {"time_zone": "Berlin"},
        {"time_zone": "../UTC"},
        {"time_zone": 1},
        {"time_zone": "UTC", "active_windows": "mon"},
        {"time_zone": "UTC", "active_windows": [OFFICE] * 33},
        {"time_zone": "UTC", "active_windows": ["mon"]},
        {"time_zone": "UTC", "active_windows": [OFFICE | {"days": []}]},
        {"time_zone": "UTC", "active_windows": [OFFICE | {"days": ["monday"]}]},
        {"time_zone": "UTC", "active_windows": [OFFICE | {"days": [["mon"]]}]},
        {"time_zone": "UTC", "active_windows": [OFFICE | {"to": "24:01"}]},
        {"time_zone": "UTC", "active_windows": [OFFICE | {"from": "24:00"}]},
        {"time_zone": "UTC", "active_windows": [OFFICE | {"from": "8:00"}]},
        {"time_zone": "UTC", "active_windows": [{"from": "08:00"}]},
        {"time_zone": "UTC", "active_from": "2026-2-1"},
        {"time_zone": "UTC", "active_from": "20260201"},
        {"time_zone": "UTC", "active_until": 20260201},
        {"active_until": "2026-01-01"},
        {"time_zone": "UTC", "active_from": "2026-01-02", "active_until": "2026-01-01"},
    ],
)
def test_what_means_nothing_is_refused(properties: dict[str, Any]) -> None:
    with pytest.raises(InvalidFence) as refusal:
        from_feature(feature(**properties), "t")
    assert refusal.value.reason == "bad_active_times"


def test_so_it_is_on_the_wire() -> None:
    message = to_proto(from_feature(feature(), "t"))
    message.active.first_day = "soon"
    with pytest.raises(InvalidFence):
        from_proto(message)
