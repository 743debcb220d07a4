"""The oracle: an engine of the same meaning, one reading at a time, slow and obvious.

Nothing of it is shared with the engine but the vocabulary (settings, definitions, events), and the box around a fence
outside of which edits concern nobody. Containment is shapely's and pyproj's. `events_of(readings, fences)` is the short
way in; `NaiveEngine` the long one. Times of crossings are found by other arithmetic than the engine's, so compare with
`differences`, which allows them a millisecond.
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyproj
import shapely

from geofence.definition import CircleShape, CorridorShape, FenceDefinition, MultiPolygonShape
from geofence.surroundings import surroundings
from tests.geofence import naive_windows
from tests.tracking_core.naive_journeys import NaiveJourney, Told
from tests.tracking_core.readings import NAN, Position, Reading, Sample, TagRead
from tracking_core.columns import NO_SEQUENCE
from tracking_core.content_hash import SEED, mix_integer, mix_number
from tracking_core.definitions import (
    Definition,
    DeleteFence,
    DeleteLimit,
    DeleteRoute,
    DeviceIdentity,
    PutFence,
    PutLimit,
    PutRoute,
    Route,
    RouteStop,
    SensorLimit,
)
from tracking_core.events import (
    ArrivalMissed,
    Cause,
    CoreEvent,
    Direction,
    EventKind,
    ExcursionClosing,
    ExcursionOpening,
    FenceCrossing,
    FenceDwell,
    FencePassage,
    FenceSpeeding,
    SignalChange,
    Standing,
    StopBeginning,
    StopEnding,
    TagPresence,
    TripEnd,
    TripStart,
)
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

GEOD = pyproj.Geod(ellps="WGS84")
YEAR_2000_US = 946_684_800_000_000
DAY_US = 86_400_000_000
RESTATED_WITHIN_US = 8 * DAY_US


def metres(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> float:
    return float(GEOD.inv(longitude1, latitude1, longitude2, latitude2)[2])


class NaiveFence:
    """A fence in the plane of longitude and latitude. Not across the antimeridian."""

    def __init__(self, definition: FenceDefinition) -> None:
        self.definition = definition
        self._windows: list[tuple[int, int]] = []
        self._around_us = 0
        shape = definition.shape
        if isinstance(shape, MultiPolygonShape):
            self.area = shapely.union_all([shapely.Polygon(rings[0], rings[1:]) for rings in shape.polygons])
            shapely.prepare(self.area)

    def windows(self, around_us: int) -> list[tuple[int, int]]:
        """When it tells of anything, from before until two weeks after a time."""
        if not self.definition.active.are_limited:
            return [(-(2**62), 2**62)]
        if not self._windows or not self._around_us <= around_us < self._around_us + DAY_US:
            self._around_us = around_us // DAY_US * DAY_US
            found = naive_windows.intervals(self.definition.active, self._around_us, days=17)
            self._windows = [tuple(map(naive_windows.microseconds, each)) for each in found]
        return self._windows

    def tells(self, at_us: int) -> bool:
        return any(opens <= at_us < closes for opens, closes in self.windows(at_us))

    def holds(self, latitude: float, longitude: float) -> bool:
        shape = self.definition.shape
        if isinstance(shape, CircleShape):
            return metres(shape.latitude_deg, shape.longitude_deg, latitude, longitude) <= shape.radius_m
        if isinstance(shape, CorridorShape):
            return self._line_metres(shape.line, latitude, longitude) <= shape.half_width_m
        return bool(shapely.intersects_xy(self.area, longitude, latitude))

    def envelope(self) -> shapely.Polygon:
        """A box that holds the fence and some more."""
        shape = self.definition.shape
        if isinstance(shape, MultiPolygonShape):
            bounds, margin_m = self.area.bounds, 0.0
        elif isinstance(shape, CircleShape):
            bounds, margin_m = (shape.longitude_deg, shape.latitude_deg) * 2, shape.radius_m
        else:
            bounds, margin_m = (*shape.line.min(axis=0), *shape.line.max(axis=0)), shape.half_width_m
        margin_deg = margin_m / 100_000 / math.cos(math.radians(max(abs(bounds[1]), abs(bounds[3]))))
        return shapely.box(
            bounds[0] - margin_deg, bounds[1] - margin_deg, bounds[2] + margin_deg, bounds[3] + margin_deg
        )

    def metres_outside(self, latitude: float, longitude: float) -> float:
        """To the boundary, for a point outside."""
        shape = self.definition.shape
        if isinstance(shape, CircleShape):
            return metres(shape.latitude_deg, shape.longitude_deg, latitude, longitude) - shape.radius_m
        if isinstance(shape, CorridorShape):
            return self._line_metres(shape.line, latitude, longitude) - shape.half_width_m
        rings = itertools.chain.from_iterable(shape.polygons)
        return min(self._line_metres(np.vstack([ring, ring[:1]]), latitude, longitude) for ring in rings)

    @staticmethod
    def _line_metres(line: np.ndarray, latitude: float, longitude: float) -> float:
        plane = pyproj.Proj(proj="aeqd", lat_0=latitude, lon_0=longitude, ellps="WGS84")
        points = []
        for (x0, y0), (x1, y1) in itertools.pairwise(line):
            # Straight in degrees is not straight in the plane: many short pieces.
            points += [plane(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in np.linspace(0.0, 1.0, 101)]
        return float(shapely.LineString(points).distance(shapely.Point(0.0, 0.0)))

    def passage(self, before: Position, after: Position) -> tuple[float, float] | None:
        """From where to where on the leg between two positions outside the fence is met."""
        shape = self.definition.shape
        if isinstance(shape, MultiPolygonShape):
            start = (before.longitude_deg, before.latitude_deg)
            leg = shapely.LineString([start, (after.longitude_deg, after.latitude_deg)])
            if not leg.intersects(self.area):
                return None
            met = shapely.get_coordinates(leg.intersection(self.area.boundary))
            along = [shapely.Point(start).distance(shapely.Point(point)) / leg.length for point in met]
            return min(along), max(along)
        low, high = 0.0, 1.0
        for _ in range(80):
            first, second = low + (high - low) / 3, high - (high - low) / 3
            if self.metres_outside(*_between(before, after, first)) < self.metres_outside(
                *_between(before, after, second)
            ):
                high = second
            else:
                low = first
        if not self.holds(*_between(before, after, low)):
            return None
        ends = []
        for end in (0.0, 1.0):
            out, inside = end, low
            for _ in range(50):
                middle = (out + inside) / 2
                if self.holds(*_between(before, after, middle)):
                    inside = middle
                else:
                    out = middle
            ends.append(inside)
        return ends[0], ends[1]

    def crossing(self, before: Position, after: Position) -> tuple[int, float, float]:
        """Time and place where the leg first meets the boundary; those of the later fix if it does not."""
        shape = self.definition.shape
        fraction = 1.0
        if isinstance(shape, MultiPolygonShape):
            start = (before.longitude_deg, before.latitude_deg)
            leg = shapely.LineString([start, (after.longitude_deg, after.latitude_deg)])
            # Boundaries of the single polygons: where two share a border the leg meets it too.
            met = [leg.intersection(shapely.Polygon(rings[0], rings[1:]).boundary) for rings in shape.polygons]
            nearest = [shapely.Point(start).distance(part) for part in met if not part.is_empty]
            if nearest and leg.length > 0:
                fraction = min(nearest) / leg.length
        else:
            was = self.holds(before.latitude_deg, before.longitude_deg)
            if was != self.holds(after.latitude_deg, after.longitude_deg):
                low, high = 0.0, 1.0
                for _ in range(60):
                    middle = (low + high) / 2
                    if self.holds(*_between(before, after, middle)) == was:
                        low = middle
                    else:
                        high = middle
                fraction = high
            elif not was and (met := self.passage(before, after)) is not None:
                # It was kept inside by an edit, though the fix is outside by less than the margin.
                fraction = met[0]
        return _along(before, after, fraction)


def _along(before: Position, after: Position, fraction: float) -> tuple[int, float, float]:
    """Time and place on a leg: to a microsecond, and a billionth of a degree."""
    at_us = before.observed_at_us + round(fraction * (after.observed_at_us - before.observed_at_us))
    latitude, longitude = _between(before, after, fraction)
    return at_us, round(latitude, 9), round(longitude, 9)


def _between(before: Position, after: Position, fraction: float) -> tuple[float, float]:
    return (
        before.latitude_deg + fraction * (after.latitude_deg - before.latitude_deg),
        before.longitude_deg + fraction * (after.longitude_deg - before.longitude_deg),
    )


@dataclasses.dataclass
class NaivePresence:
    """One device and one fence."""

    inside: bool
    against: int = 0
    since_us: int = 0
    crossing: tuple[int, float, float] | None = None
    entered_us: int = 0
    """When it came in, or was restated."""
    came_us: int = 0
    """When it came in, ..."""
    shown_us: int = 0
    """... and the fix that showed it."""
    settled_us: int | None = None
    """What was due of the visit up to then, and then itself, is told."""
    dwelt: bool = False
    speeding: bool = False

    def settled(self) -> NaivePresence:
        """Nothing is pending."""
        return dataclasses.replace(self, against=0, since_us=0, crossing=None)


@dataclasses.dataclass
class NaiveExpectation:
    """An arrival that is waited for."""

    route: Route
    stop: RouteStop
    since_us: int
    state: str = "waiting"

    @property
    def open(self) -> bool:
        return self.state == "waiting"

    @property
    def key(self) -> tuple[str, str]:
        return self.route.tenant, self.stop.fence_id

    @property
    def due_us(self) -> int:
        planned_us = self.stop.planned_arrival_us
        return 2**62 if planned_us is None else planned_us + self.stop.arrival_grace_us

    @property
    def comes_back(self) -> bool:
        earlier = self.route.stops[: self.route.stops.index(self.stop)]
        return any(each.fence_id == self.stop.fence_id for each in earlier)


@dataclasses.dataclass
class NaiveState:
    """What a fold over fixes knows."""

    counted: Position | None = None
    suspect: Position | None = None
    presences: dict[tuple[str, str], NaivePresence] = dataclasses.field(default_factory=dict)
    lost: bool = False
    journey: NaiveJourney | None = None
    expected: dict[str, list[NaiveExpectation]] = dataclasses.field(default_factory=dict)
    """By route."""

    def copy(self) -> NaiveState:
        presences = {key: dataclasses.replace(presence) for key, presence in self.presences.items()}
        expected = {name: [dataclasses.replace(each) for each in kept] for name, kept in self.expected.items()}
        return NaiveState(self.counted, self.suspect, presences, self.lost, copy.deepcopy(self.journey), expected)

    def visited(self) -> set[tuple[str, str]]:
        """Where it is inside, or may be."""
        return {key for key, presence in self.presences.items() if presence.inside or presence.against}

    @property
    def last_us(self) -> int:
        """The newest that was counted or suspected."""
        return max((fix.observed_at_us for fix in (self.counted, self.suspect) if fix is not None), default=-(2**63))


@dataclasses.dataclass
class NaiveKept:
    """A stored fix. One that is `folded` is folded again when an earlier one comes late."""

    at_us: int
    number: int
    content: tuple
    fix: Position
    verdict: Verdict
    folded: bool = False


@dataclasses.dataclass
class NaiveDevice:
    identity: DeviceIdentity | None = None
    state: NaiveState = dataclasses.field(default_factory=NaiveState)
    base: NaiveState = dataclasses.field(default_factory=NaiveState)
    settled_us: int = -(2**63)
    kept: list[NaiveKept] = dataclasses.field(default_factory=list)
    told: list[tuple[int, CoreEvent]] = dataclasses.field(default_factory=list)
    """What fixes decided, each with the time of the fix."""
    assumed: list[CoreEvent] = dataclasses.field(default_factory=list)
    """What was due since the newest fix."""
    lag_us: int = 0
    quarantined: list[tuple[int, tuple]] = dataclasses.field(default_factory=list)
    reader_us: int | None = None

    def was_near(self, fence: NaiveFence) -> bool:
        """Whether late fixes could change what was told of a fence."""
        key = (fence.definition.tenant, fence.definition.fence_id)
        if key in self.state.visited() or key in self.base.visited():
            return True
        counted = [] if self.base.counted is None else [self.base.counted]
        counted += [
            kept.fix
            for kept in self.kept
            if kept.at_us > self.base.last_us
            and kept.verdict in (Verdict.OK, Verdict.IMPLAUSIBLE_JUMP, Verdict.CONFLICTING)
        ]
        west, south, east, north = surroundings(fence.definition)
        return any(
            abs(a.longitude_deg - b.longitude_deg) > 180
            or (
                max(a.longitude_deg, b.longitude_deg) >= west
                and min(a.longitude_deg, b.longitude_deg) <= east
                and max(a.latitude_deg, b.latitude_deg) >= south
                and min(a.latitude_deg, b.latitude_deg) <= north
            )
            for a, b in itertools.pairwise([*counted[:1], *counted])
        )

    def knows_of_arrival_at(self, key: tuple[str, str]) -> bool:
        """Whether it is known of a stop at a fence if the device came in time."""
        missed = [event for event in self.assumed if event.kind == EventKind.MISSED_ARRIVAL]
        stops = {(event.subject_id, event.details.stop_id) for event in missed}
        expected = itertools.chain.from_iterable(self.state.expected.values())
        return any(
            each.key == key and (not each.open or (each.route.route_id, each.stop.stop_id) in stops)
            for each in expected
        )

    def settle(self) -> None:
        """What was told stays told: late fixes are put only behind what is known now."""
        self.settled_us = self.state.last_us
        for event in self.assumed:
            if event.kind == EventKind.SIGNAL_LOST:
                self.state.lost = True
            elif event.kind == EventKind.MISSED_ARRIVAL:
                for each in self.state.expected[event.subject_id]:
                    if each.stop.stop_id == event.details.stop_id:
                        each.state = "missed"
            elif event.kind == EventKind.TRIP_ENDED:
                assert self.state.journey is not None
                self.state.journey.on_trip, self.state.journey.departure = False, None
            else:
                presence = self.state.presences.get((event.tenant, event.subject_id))
                if presence is not None:
                    _settle_visit(presence, event)
        self.base = self.state.copy()
        self.told, self.assumed = [], []
        for kept in self.kept:
            kept.folded = False


@dataclasses.dataclass
class NaiveSeries:
    kept: list[tuple[int, tuple]] = dataclasses.field(default_factory=list)
    last: Sample | None = None
    excursions: dict[tuple[str, str], NaiveExcursion] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class NaiveExcursion:
    above: bool
    since_us: int
    worst: float
    open: bool = False


@dataclasses.dataclass
class NaiveTag:
    state: str = "absent"
    reads: list[int] = dataclasses.field(default_factory=list)
    last_us: int | None = None
    last_now_us: int = 0
    antenna: int = 0
    kept: list[tuple[int, tuple]] = dataclasses.field(default_factory=list)


def _as_columns_hold_it(reading: Reading) -> Reading:
    """With every float32 column rounded to one."""
    names = {Position: ("altitude_m", "speed_mps", "heading_deg", "accuracy_m"), TagRead: ("rssi_dbm",)}
    rounded = {name: float(np.float32(getattr(reading, name))) for name in names.get(type(reading), ())}
    return dataclasses.replace(reading, **rounded)


def _same(value: float) -> float | None:
    """NaN equals itself here."""
    return None if math.isnan(value) else value


def _recall(kept: list[tuple[int, tuple]], at_us: int, content: tuple) -> str:
    same_time = [known for time, known in kept if time == at_us]
    if content in same_time:
        return "same"
    return "contradicting" if same_time else "new"


def _keep(kept: list[tuple[int, tuple]], at_us: int, content: tuple, most: int) -> None:
    if len(kept) == most and at_us < kept[0][0]:
        return
    kept.insert(bisect.bisect_right([time for time, _ in kept], at_us), (at_us, content))
    if len(kept) > most:
        del kept[0]


def content_number(fix: Position) -> int:
    """Of fixes with one time the one with the lower number is judged."""
    state = SEED
    for value in (fix.latitude_deg, fix.longitude_deg, fix.altitude_m, fix.speed_mps, fix.heading_deg, fix.accuracy_m):
        state = np.uint64(mix_number(state, value))
    return int(mix_integer(state, fix.satellites))


def meaning(event: CoreEvent) -> CoreEvent:
    """An event whatever brought it about, and whether or not it was seen."""
    return event._replace(cause=Cause.UNSPECIFIED, assumed=False)


def standing(events: Iterable[CoreEvent]) -> list[CoreEvent]:
    """What stands after all corrections, device by device by when it was confirmed. Each event is as it was told last,
    without its history.
    """
    told: dict[str, CoreEvent] = {}
    for event in events:
        name = event.amends_event_id or event.event_id
        if event.standing == Standing.WITHDRAWN:
            del told[name]
        else:
            told[name] = event
    bare = [
        event._replace(revision=0, standing=Standing.TOLD, first_observed_at_us=None, told_at_us=None)
        for event in told.values()
    ]
    return sorted(bare, key=lambda event: (event.device, event.confirmed_at_us, event.kind, event.subject_id))


def _named_apart(event: CoreEvent, later_us: int) -> CoreEvent:
    """What an edit closes of what the last sample opened has another name than what that sample closed."""
    if isinstance(event.details, ExcursionClosing) and event.details.opened_at_us == event.observed_at_us:
        return event._replace(first_observed_at_us=event.observed_at_us + later_us)
    return event


def _settle_visit(presence: NaivePresence, event: CoreEvent) -> None:
    """What time brought about in a visit was told."""
    presence.settled_us = event.observed_at_us
    if event.kind == EventKind.GEOFENCE_DWELT:
        presence.dwelt = True
    else:
        presence.entered_us, presence.dwelt, presence.speeding = event.observed_at_us, False, False


def _kind(fence: NaiveFence, *, enters: bool) -> EventKind:
    if fence.definition.visit.watched:
        return EventKind.CORRIDOR_RETURNED if enters else EventKind.CORRIDOR_LEFT
    return EventKind.GEOFENCE_ENTERED if enters else EventKind.GEOFENCE_EXITED


def _difference(known: Sequence[CoreEvent], true: Sequence[CoreEvent]) -> list[CoreEvent]:
    """Of what was told, what is not true; then what is true and was not told."""
    was, now = {meaning(event) for event in known}, {meaning(event) for event in true}
    gone = [event for event in known if meaning(event) not in now]
    withdrawn = [event._replace(cause=Cause.LATE_DATA, standing=Standing.WITHDRAWN) for event in gone]
    return withdrawn + [event for event in true if meaning(event) not in was]


def _settle(devices: dict[int, NaiveDevice]) -> None:
    for device in devices.values():
        device.settle()


class NaiveEngine:
    """One reading at a time: `read` gives its verdict and its events."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self.devices: dict[int, NaiveDevice] = defaultdict(NaiveDevice)
        self.fences: dict[tuple[str, str], NaiveFence] = {}
        self.limits: dict[tuple[str, str], SensorLimit] = {}
        self.series: dict[tuple[int, int, int], NaiveSeries] = defaultdict(NaiveSeries)
        self.tags: dict[tuple[int, bytes], NaiveTag] = {}
        self.versions: dict[tuple[str, str, str], int] = {}
        self.now_us = 0
        self._looked_us: int | None = None
        """When the timers of all devices were last looked at; None: they may have changed since."""
        self._changed: set[int] = set()
        """Of these alone they may have changed."""
        self._index: shapely.STRtree | None = None
        self._indexed: list[tuple[str, str]] = []
        self._passable: list[tuple[tuple[str, str], NaiveFence]] | None = None
        """Those that passages are told of."""

    def announce(self, identities: Iterable[DeviceIdentity]) -> None:
        for identity in identities:
            device = self.devices[identity.number]
            if device.identity != identity:
                device.settle()
            device.identity = identity
            self._changed.add(identity.number)

    def read(self, reading: Reading, now_us: int) -> tuple[Verdict, list[CoreEvent]]:
        """What `Engine.step` says of a batch of one."""
        departed = self.tick(now_us)
        reading = _as_columns_hold_it(reading)
        if isinstance(reading, Position):
            verdict, events = self._fix(reading)
        elif isinstance(reading, Sample):
            verdict, events = self._sample(reading)
        else:
            verdict, events = self._tag_read(reading)
        return verdict, departed + events

    def tick(self, now_us: int) -> list[CoreEvent]:
        self.now_us = max(self.now_us, now_us)
        silence_us = self.settings.tag_silence_us
        due = [
            (tag.last_us + silence_us, device, epc)
            for (device, epc), tag in self.tags.items()
            if tag.state == "present" and tag.last_us is not None and tag.last_now_us + silence_us <= self.now_us
        ]
        if self.now_us != self._looked_us:
            self._looked_us, self._changed = self.now_us, set(self.devices)
        silent = [event for number in sorted(self._changed) for event in self._assume_anew(self.devices[number])]
        self._changed.clear()
        return silent + [event for _, device, epc in sorted(due) for event in self._depart(device, epc)]

    def _assume_anew(self, device: NaiveDevice) -> list[CoreEvent]:
        """What is due by now and was not told."""
        before = {meaning(event) for event in device.assumed}
        device.assumed = self._due(device)
        return [event for event in device.assumed if meaning(event) not in before]

    def _due(self, device: NaiveDevice) -> list[CoreEvent]:
        """What happens from the newest fix until now if nothing more is heard."""
        last, after_us = device.state.counted, self.settings.signal_lost_after_us
        if device.identity is None:
            return []
        until_us = self.now_us - device.lag_us
        if last is None:
            nowhere = Position(device.identity.number, 0, NAN, NAN)
            return [self._missed(each, nowhere, assumed=True) for each in self._overdue(device.state, until_us)]
        events = []
        for key, presence in sorted(device.state.presences.items()):
            left_us = math.inf if presence.crossing is None else presence.crossing[0]
            told, _ = self._timed(self.fences[key], presence, last, until_us, left_us)
            events += [event._replace(assumed=True) for event in told]
        events += [self._missed(each, last, assumed=True) for each in self._overdue(device.state, until_us)]
        due_us = last.observed_at_us + after_us
        if after_us and not device.state.lost and due_us <= until_us:
            events.append(self._signal(EventKind.SIGNAL_LOST, last, last, due_us, assumed=True))
        if device.state.journey is not None and device.state.journey.on_trip:
            due_us = last.observed_at_us + self.settings.trip_silence_us
            if due_us <= until_us:
                told = copy.deepcopy(device.state.journey).fall_silent(due_us)
                events.append(self._journey_event(last.device, told)._replace(assumed=True))
        return events

    def _timed(
        self, fence: NaiveFence, presence: NaivePresence, last: Position, until_us: int, left_us: float
    ) -> tuple[list[CoreEvent], bool]:
        """What time alone brings about in a visit, up to a time, if it ends then: openings restate it, and it dwells;
        and whether it was silent for so long that what came after that is not known.
        """
        if not presence.inside:
            return [], False
        known_us = presence.entered_us if presence.settled_us is None else presence.settled_us
        dwell_us = fence.definition.visit.dwell_us
        windows = fence.windows(presence.entered_us)
        if fence.definition.active.are_limited:
            windows = [*windows, *(each for each in fence.windows(known_us) if each not in windows)]
        end_us = min(until_us, left_us)
        events: list[CoreEvent] = []
        # Each stretch of the visit that is within a window.
        for opens_us, closes_us in windows:
            begins_us = max(opens_us, presence.entered_us)
            if begins_us >= closes_us or begins_us > end_us:
                continue
            if opens_us > known_us:
                if opens_us > last.observed_at_us + RESTATED_WITHIN_US:
                    return events, True
                events.append(self._by_time(_kind(fence, enters=True), fence, last, opens_us))
                events[-1] = events[-1]._replace(details=FenceCrossing(fence.definition.name, restated=True))
            dwelt = presence.dwelt and begins_us == presence.entered_us
            if dwell_us is not None and not dwelt and begins_us + dwell_us < closes_us:
                due_us = begins_us + dwell_us
                if due_us <= end_us:
                    events.append(self._by_time(EventKind.GEOFENCE_DWELT, fence, last, due_us))
                    events[-1] = events[-1]._replace(details=FenceDwell(fence.definition.name, begins_us))
        return events, False

    @staticmethod
    def _is_next(state: NaiveState, each: NaiveExpectation) -> bool:
        """Whether the device was at all stops before it, of those at the same fence that are waited for."""
        before = itertools.takewhile(lambda other: other is not each, state.expected[each.route.route_id])
        return all(other.state in ("arrived", "late") for other in before if other.key == each.key)

    def _overdue(self, state: NaiveState, until_us: int) -> list[NaiveExpectation]:
        """What was due, and is not held by an entry that is pending."""
        found = []
        for each in itertools.chain.from_iterable(state.expected.values()):
            presence = state.presences.get(each.key)
            held = presence is not None and not presence.inside and presence.against > 0 and self._is_next(state, each)
            held = held and presence.crossing[0] <= each.due_us
            if each.open and each.key in self.fences and each.due_us <= until_us and not held:
                found.append(each)
        return found

    def _missed(self, each: NaiveExpectation, last: Position, *, assumed: bool) -> CoreEvent:
        details = ArrivalMissed(each.stop.stop_id, each.stop.fence_id, each.stop.planned_arrival_us or 0)
        event = self._signal(EventKind.MISSED_ARRIVAL, last, last, each.due_us, assumed=assumed)
        return event._replace(
            cause=Cause.TIMER, subject_id=each.route.route_id, subject_version=each.route.version, details=details
        )

    def _arrivals(self, state: NaiveState, last: Position, fix: Position, entered: Iterable[str]) -> list[CoreEvent]:
        """What a fix says of all that is waited for; with the fences that it shows to have been entered."""
        expected = [
            each
            for each in itertools.chain.from_iterable(state.expected.values())
            if each.key in self.fences and fix.observed_at_us > each.since_us
        ]
        came = []
        for each in expected:
            presence = state.presences.get(each.key)
            inside = presence is not None and presence.inside
            if inside and (not each.comes_back or each.stop.fence_id in entered) and self._is_next(state, each):
                came.append(each)
        in_time = [each for each in came if each.open and state.presences[each.key].came_us <= each.due_us]
        overdue = [
            each for each in self._overdue(state, fix.observed_at_us) if each in expected and each not in in_time
        ]
        for each in overdue:
            each.state = "missed"
        for each in came:
            if each in in_time:
                each.state = "arrived"
            elif each.state == "missed":
                each.state = "late"
        return [self._missed(each, last, assumed=False) for each in overdue]

    def _by_time(self, kind: EventKind, fence: NaiveFence, last: Position, at_us: int) -> CoreEvent:
        event = self._crossed(kind, last.device, fence, last, None, Cause.TIMER)
        return event._replace(observed_at_us=at_us, confirmed_at_us=at_us)

    def _signal(self, kind: EventKind, last: Position, there: Position, at_us: int, *, assumed: bool) -> CoreEvent:
        return CoreEvent(
            kind,
            last.device,
            *self._names(last.device),
            "",
            0,
            at_us,
            at_us,
            Cause.TIMER if kind == EventKind.SIGNAL_LOST else Cause.MOVEMENT,
            0,
            assumed=assumed,
            latitude_deg=there.latitude_deg,
            longitude_deg=there.longitude_deg,
            details=SignalChange(last.observed_at_us),
        )

    # Definitions

    def define(self, change: Definition, now_us: int) -> list[CoreEvent]:
        departed = self.tick(now_us)
        return departed + self._obey(change)

    def _obey(self, change: Definition) -> list[CoreEvent]:
        self._index = self._passable = None
        match change:
            case PutFence(fence) if self._news("fence", fence.tenant, fence.fence_id, fence.version):
                return self._put_fence(fence)
            case DeleteFence(tenant, fence_id, version) if self._news("fence", tenant, fence_id, version):
                return self._delete_fence((tenant, fence_id))
            case PutRoute(route) if self._news("route", route.tenant, route.route_id, route.version):
                self._put_route(route)
            case DeleteRoute(tenant, route_id, version) if self._news("route", tenant, route_id, version):
                self._forget_route(tenant, route_id)
            case PutLimit(limit) if self._news("limit", limit.tenant, limit.limit_id, limit.version):
                return self._put_limit(limit)
            case DeleteLimit(tenant, limit_id, version) if self._news("limit", tenant, limit_id, version):
                return self._delete_limit((tenant, limit_id))
        return []

    def _news(self, kind: str, tenant: str, name: str, version: int) -> bool:
        if version <= self.versions.get((kind, tenant, name), 0):
            return False
        self.versions[kind, tenant, name] = version
        return True

    def _put_route(self, route: Route) -> None:
        device = self.devices[route.device]
        known = {each.stop: each.state for each in device.state.expected.get(route.route_id, [])}
        for event in device.assumed:
            for stop in known:
                if (event.subject_id, getattr(event.details, "stop_id", "")) == (route.route_id, stop.stop_id):
                    known[stop] = "missed"
        self._forget_route(route.tenant, route.route_id)
        fix = device.state.counted
        expected = []
        for number, stop in enumerate(route.stops):
            later = [each.fence_id for each in route.stops[number + 1 :] if each.planned_arrival_us is not None]
            each = NaiveExpectation(route, stop, -(2**63) if fix is None else fix.observed_at_us)
            planned = stop.planned_arrival_us is not None or stop.fence_id in later
            if not stop.fence_id or not planned or (fix is not None and each.due_us <= fix.observed_at_us):
                continue
            each.state = known.get(stop, "waiting")
            presence = device.state.presences.get(each.key)
            inside = fix is not None and presence is not None and presence.inside
            if each.open and inside and not each.comes_back:
                each.state = "arrived" if each.key in self.fences else "waiting"
            expected.append(each)
        for state in (device.state, device.base):
            state.expected[route.route_id] = [dataclasses.replace(each) for each in expected]
        self._looked_us = None

    def _forget_route(self, tenant: str, route_id: str) -> None:
        for device in self.devices.values():
            if device.identity is not None and device.identity.tenant == tenant:
                for state in (device.state, device.base):
                    state.expected.pop(route_id, None)
                device.told = [(at, event) for at, event in device.told if event.subject_id != route_id]
                device.assumed = [event for event in device.assumed if event.subject_id != route_id]

    def _put_fence(self, definition: FenceDefinition) -> list[CoreEvent]:
        key = (definition.tenant, definition.fence_id)
        old, fence = self.fences.get(key), NaiveFence(definition)
        concerned = self._concerned(fence) if old is None else self._concerned(old, fence)
        self.fences[key] = fence
        self._looked_us = None
        moved = old is None or repr(old.definition.shape) != repr(definition.shape)
        events = []
        for number, device in sorted(self.devices.items()):
            fix = device.state.counted
            if fix is None or device.identity is None or device.identity.tenant != definition.tenant:
                continue
            tells = fence.tells(fix.observed_at_us)
            presence = device.state.presences.get(key)
            if presence is not None and presence.inside:
                for event in device.assumed:
                    if event.subject_id == definition.fence_id:
                        _settle_visit(presence, event)
                device.assumed = [each for each in device.assumed if each.subject_id != definition.fence_id]
                if old is not None and old.definition.active != definition.active:
                    stays = not moved or fence.holds(fix.latitude_deg, fix.longitude_deg)
                    if stays and tells and not old.tells(fix.observed_at_us):
                        kind = _kind(fence, enters=True)
                        events.append(self._crossed(kind, number, fence, fix, None, Cause.DEFINITION))
                    presence.entered_us, presence.settled_us = fix.observed_at_us, None
            if not moved:
                continue
            presence = device.state.presences.setdefault(key, NaivePresence(inside=False))
            if fence.holds(fix.latitude_deg, fix.longitude_deg):
                if not presence.inside:
                    if tells:
                        kind = _kind(fence, enters=True)
                        events.append(self._crossed(kind, number, fence, fix, None, Cause.DEFINITION))
                    presence = NaivePresence(inside=True, entered_us=fix.observed_at_us)
                device.state.presences[key] = presence.settled()
            elif self._speaks_out(fence, fix):
                if presence.inside and tells:
                    events.append(self._crossed(_kind(fence, enters=False), number, fence, fix, None, Cause.DEFINITION))
                device.state.presences[key] = NaivePresence(inside=False)
        _settle(concerned)
        for device in self.devices.values():
            self._see_arrivals(device, key)
        return sorted(events, key=lambda event: (event.kind == EventKind.GEOFENCE_ENTERED, event.confirmed_at_us))

    def _see_arrivals(self, device: NaiveDevice, key: tuple[str, str]) -> None:
        """After an edit of a fence where an arrival may be waited for."""
        state, fix = device.state, device.state.counted
        presence = state.presences.get(key)
        for each in itertools.chain.from_iterable(state.expected.values()):
            if each.key == key and fix is not None and each.open:
                there = presence is not None and presence.inside and not each.comes_back
                if each in self._overdue(state, fix.observed_at_us):
                    each.state = "missed"
                elif there and fix.observed_at_us < each.due_us:
                    each.state = "arrived"
                for other in device.base.expected[each.route.route_id]:
                    if other.stop == each.stop:
                        other.state = each.state

    def _delete_fence(self, key: tuple[str, str]) -> list[CoreEvent]:
        fence = self.fences.pop(key, None)
        if fence is None:
            return []
        concerned = self._concerned(fence)
        concerned |= {number: device for number, device in self.devices.items() if device.knows_of_arrival_at(key)}
        events = []
        for number, device in sorted(self.devices.items()):
            presence = device.state.presences.pop(key, None)
            if number not in concerned:  # then it was out
                device.base.presences.pop(key, None)
            fix = device.state.counted
            if presence is not None and presence.inside and fix is not None and fence.tells(fix.observed_at_us):
                kind = _kind(fence, enters=False)
                events.append(self._crossed(kind, number, fence, fix, None, Cause.DEFINITION))
        _settle(concerned)
        return sorted(events, key=lambda event: event.confirmed_at_us)

    def _concerned(self, *fences: NaiveFence) -> dict[int, NaiveDevice]:
        """The devices that an edit concerns, by number: by what they know before it."""
        return {
            number: device
            for number, device in self.devices.items()
            if device.identity is not None
            and device.identity.tenant == fences[0].definition.tenant
            and (not self.settings.repairs_late or any(map(device.was_near, fences)))
        }

    def _put_limit(self, limit: SensorLimit) -> list[CoreEvent]:
        key = (limit.tenant, limit.limit_id)
        events = []
        old = self.limits.get(key)
        if old is not None and (old.device, old.quantity) != (limit.device, limit.quantity):
            events = self._delete_limit(key)
        self.limits[key] = limit
        stated = [
            _named_apart(event, 1)
            for (device, quantity, _), series in sorted(self.series.items())
            if (device, quantity) == (limit.device, limit.quantity) and series.last is not None
            for event in self._apply(limit, series, series.last, Cause.DEFINITION)
        ]
        return events + sorted(stated, key=lambda e: (e.kind == EventKind.EXCURSION_OPENED, e.confirmed_at_us))

    def _delete_limit(self, key: tuple[str, str]) -> list[CoreEvent]:
        limit = self.limits.pop(key, None)
        if limit is None:
            return []
        events = []
        for (device, quantity, _), series in sorted(self.series.items()):
            if (device, quantity) != (limit.device, limit.quantity) or series.last is None:
                continue
            excursion = series.excursions.pop(key, None)
            if excursion is not None and excursion.open:
                events.append(_named_apart(self._closed(limit, excursion, series.last, Cause.DEFINITION), 2))
        return sorted(events, key=lambda event: event.confirmed_at_us)

    # Positions

    def _fix(self, fix: Position) -> tuple[Verdict, list[CoreEvent]]:
        device, settings = self.devices[fix.device], self.settings
        measured = (fix.altitude_m, fix.speed_mps, fix.heading_deg, fix.accuracy_m)
        content = (*map(_same, (fix.latitude_deg, fix.longitude_deg, *measured)), fix.satellites)
        at_us = fix.observed_at_us
        future = at_us > self.now_us + settings.future_tolerance_us
        stale = (
            at_us < YEAR_2000_US
            or (len(device.kept) == settings.kept_fixes and at_us < device.kept[0].at_us)
            or (device.state.counted is not None and at_us < device.state.counted.observed_at_us - settings.horizon_us)
        )
        if future or stale:
            if (at_us, content) in device.quarantined:
                return Verdict.DUPLICATE, []
            device.quarantined = [*device.quarantined, (at_us, content)][-settings.kept_quarantined :]
            return (Verdict.FUTURE_CLOCK if future else Verdict.STALE), []
        for kept in device.kept:
            if kept.at_us == at_us and kept.content == content:
                if not fix.is_historical and kept in self._waiting(device, at_us):
                    return Verdict.DUPLICATE, self._fold_newest(device, at_us)
                return Verdict.DUPLICATE, []
        if len(device.kept) == settings.kept_fixes:
            self._forget_oldest(device)
        kept = NaiveKept(at_us, content_number(fix), content, fix, self._own_verdict(fix))
        same_time = any(other.at_us == at_us for other in device.kept)
        bisect.insort(device.kept, kept, key=lambda kept: (kept.at_us, kept.number))
        if kept.verdict != Verdict.OK:
            return kept.verdict, []
        is_newest = at_us > device.state.last_us
        after_us = max(device.settled_us, device.base.last_us) if settings.repairs_late else device.state.last_us
        if not is_newest and at_us <= after_us:
            kept.verdict = Verdict.CONFLICTING if same_time or at_us == after_us else Verdict.LATE
        fewer_count = False
        if settings.repairs_late and kept.verdict != Verdict.LATE:
            if self._repeats(device, kept):
                kept.verdict = Verdict.REPEATED
            fewer_count = self._find_repetitions(device, after_us)
        if kept.verdict == Verdict.OK and is_newest and fix.is_historical:
            kept.verdict = Verdict.HISTORICAL
            if settings.repairs_late:
                self._let_first_wait(device, at_us)
        kept.folded = kept.verdict == Verdict.OK
        if fewer_count or (kept.folded and not is_newest):
            events = self._fold_again(device)
            return kept.verdict, events
        events = self._fold_newest(device, at_us) if kept.folded else []
        return kept.verdict, events

    def _repeats(self, device: NaiveDevice, later: NaiveKept) -> bool:
        """Whether any earlier fix said the same under the same number; 16,381 farther is the same."""
        return later.fix.sequence != NO_SEQUENCE and any(
            earlier.content == later.content
            and earlier.fix.sequence != NO_SEQUENCE
            and (later.fix.sequence - earlier.fix.sequence) % 16_381 == 0
            and 0 < later.at_us - earlier.at_us <= self.settings.repeated_within_us
            and earlier.verdict != Verdict.LATE
            for earlier in device.kept
        )

    def _find_repetitions(self, device: NaiveDevice, after_us: int) -> bool:
        """Lets none count, nor wait, that repeats another, of those whose history can be told anew. Whether any did
        count.
        """
        could_count = (Verdict.OK, Verdict.IMPLAUSIBLE_JUMP, Verdict.CONFLICTING, Verdict.HISTORICAL)
        did_count = False
        for later in device.kept:
            if later.at_us > after_us and later.verdict in could_count and self._repeats(device, later):
                did_count = did_count or later.folded
                waited = later.verdict == Verdict.HISTORICAL
                later.verdict, later.folded = Verdict.REPEATED, False
                if waited:
                    self._let_first_wait(device, later.at_us)
        return did_count

    def _let_first_wait(self, device: NaiveDevice, at_us: int) -> None:
        """Of the history of one time."""
        of_its_time = [each for each in self._waiting(device, at_us) if each.at_us == at_us]
        for nth, each in enumerate(of_its_time):
            each.verdict = Verdict.CONFLICTING if nth else Verdict.HISTORICAL

    def _fold_newest(self, device: NaiveDevice, at_us: int) -> list[CoreEvent]:
        """What waits up to a time, and what has come of it that is no history, in order."""
        events = []
        waiting = self._waiting(device, at_us)
        for each in waiting:
            each.folded = True
            each.verdict, told = self._fold(device.state, each.fix)
            device.told += [(each.at_us, event) for event in told]
            events += told
        if any(each.verdict == Verdict.OK for each in waiting):
            device.lag_us = self.now_us - at_us
        known, device.assumed = device.assumed, self._due(device)
        return _difference(known, [*events, *device.assumed])

    def _waiting(self, device: NaiveDevice, until_us: int) -> list[NaiveKept]:
        """History that no fix has come after, and what contradicts it; and a fix that has come just now."""
        waits = (Verdict.HISTORICAL, Verdict.CONFLICTING) if self.settings.repairs_late else ()
        return [
            each
            for each in device.kept
            if device.state.last_us < each.at_us <= until_us and (each.verdict in waits or each.folded)
        ]

    def _own_verdict(self, fix: Position) -> Verdict:
        """By the fix alone."""
        if fix.satellites == 0 or (fix.latitude_deg == 0 and fix.longitude_deg == 0):
            return Verdict.NO_FIX
        if not (abs(fix.latitude_deg) <= 90 and abs(fix.longitude_deg) <= 180):
            return Verdict.OUT_OF_RANGE
        if not math.isnan(fix.speed_mps) and not 0 <= fix.speed_mps <= self.settings.highest_speed_mps:
            return Verdict.OUT_OF_RANGE
        if not math.isnan(fix.heading_deg) and not 0 <= fix.heading_deg <= 360:
            return Verdict.OUT_OF_RANGE
        return Verdict.IMPRECISE if fix.accuracy_m > self.settings.imprecise_m else Verdict.OK

    def _forget_oldest(self, device: NaiveDevice) -> None:
        oldest = device.kept.pop(0)
        if oldest.folded:
            self._fold(device.base, oldest.fix)
            device.told = [(decided_us, event) for decided_us, event in device.told if decided_us > oldest.at_us]

    def _fold_again(self, device: NaiveDevice) -> list[CoreEvent]:
        """Everything from the base on, in order; the difference to what was told."""
        known = [event for _, event in device.told] + device.assumed
        device.state = device.base.copy()
        device.told = []
        for kept in device.kept:
            if kept.folded:
                kept.verdict, events = self._fold(device.state, kept.fix)
                device.told += [(kept.at_us, event) for event in events]
        device.assumed = self._due(device)
        true = [event for _, event in device.told] + device.assumed
        return [event._replace(cause=Cause.LATE_DATA) for event in _difference(known, true)]

    def _fold(self, state: NaiveState, fix: Position) -> tuple[Verdict, list[CoreEvent]]:
        """One fix, not older than any that the state knows."""
        if state.counted is None:
            state.counted = fix
            told = []
            for key, fence in self._fences_near(state, fix):
                inside = fence.holds(fix.latitude_deg, fix.longitude_deg)
                at_us = fix.observed_at_us
                presence = state.presences[key] = NaivePresence(inside, entered_us=at_us, came_us=at_us)
                told += self._speed(presence, fence, inside, None, fix)
            nowhere = dataclasses.replace(fix, latitude_deg=NAN, longitude_deg=NAN)
            told += self._arrivals(state, nowhere, fix, [])
            return Verdict.OK, self._travel(state, fix, connected=False) + told
        if fix.observed_at_us == state.last_us:
            return Verdict.CONFLICTING, []
        last = state.counted
        before: Position | None = last
        if not self._reachable(state.counted, fix):
            if state.suspect is None or not self._reachable(state.suspect, fix):
                state.suspect = fix
                return Verdict.IMPLAUSIBLE_JUMP, []
            before = None
        state.suspect = None
        state.counted = fix
        events = self._silence(state, last, fix)
        state.lost = False
        events += self._passages(state, before, fix)
        events += self._travel(state, fix, connected=before is not None)
        near = self._fences_near(state, fix)
        crossings = [event for _, fence in near for event in self._visit(state, fence, before, last, fix)]
        crossings.sort(key=lambda event: (event.kind == EventKind.GEOFENCE_ENTERED, event.subject_id))
        entered = [
            key[1]
            for key, presence in state.presences.items()
            if presence.inside and presence.shown_us == fix.observed_at_us
        ]
        return Verdict.OK, events + crossings + self._arrivals(state, last, fix, entered)

    def _silence(self, state: NaiveState, last: Position, fix: Position) -> list[CoreEvent]:
        """What a gap says."""
        if self.devices[fix.device].identity is None:
            return []
        after_us = self.settings.signal_lost_after_us
        due_us = last.observed_at_us + after_us
        if state.lost:
            events = []
        elif after_us and fix.observed_at_us >= due_us:
            events = [self._signal(EventKind.SIGNAL_LOST, last, last, due_us, assumed=False)]
        else:
            return []
        return [*events, self._signal(EventKind.SIGNAL_RESTORED, last, fix, fix.observed_at_us, assumed=False)]

    def _travel(self, state: NaiveState, fix: Position, *, connected: bool) -> list[CoreEvent]:
        """What happens on the journey."""
        identity = self.devices[fix.device].identity
        if identity is None or not self.settings.follows_journeys:
            return []
        if state.journey is None:
            state.journey = NaiveJourney(self.settings)
        state.journey.read(fix, connected=connected)
        events = [self._journey_event(fix.device, told) for told in state.journey.told]
        state.journey.told.clear()
        return events

    def _journey_event(self, device: int, told: Told) -> CoreEvent:
        """As precise as it is told: a late fix that changes less changes nothing."""
        details: StopBeginning | StopEnding | TripStart | TripEnd = TripStart()
        if told.kind == "trip_ended":
            began, length_m = (round(degrees, 7) for degrees in told.began), round(told.length_m, 1)
            details = TripEnd(told.began_at_us, *began, length_m, round(told.fastest_mps, 2), told.by_silence)
        elif told.kind == "stop_began":
            details = StopBeginning()
        elif told.kind == "stop_ended":
            details = StopEnding(told.began_at_us)
        return CoreEvent(
            EventKind(told.kind),
            device,
            *self._names(device),
            "",
            0,
            told.observed_at_us,
            told.confirmed_at_us,
            Cause.TIMER if told.by_silence else Cause.MOVEMENT,
            0,
            assumed=False,
            latitude_deg=round(told.place[0], 7),
            longitude_deg=round(told.place[1], 7),
            details=details,
        )

    def _reachable(self, before: Position, fix: Position) -> bool:
        allowed_m = self.settings.highest_speed_mps * abs(fix.observed_at_us - before.observed_at_us) / 1e6
        allowed_m += self.settings.jump_slack_m + (max(0, fix.accuracy_m))
        return metres(before.latitude_deg, before.longitude_deg, fix.latitude_deg, fix.longitude_deg) <= allowed_m

    def _fences_near(self, state: NaiveState, fix: Position) -> list[tuple[tuple[str, str], NaiveFence]]:
        """Fences of the device's tenant that may hold the fix, and those it was near before: for all others it was out
        and is out. Without this the oracle would take a second for a hundred fixes among ten thousand fences.
        """
        identity = self.devices[fix.device].identity
        if identity is None:
            return []
        if self._index is None:
            self._indexed = list(self.fences)
            self._index = shapely.STRtree([self.fences[key].envelope() for key in self._indexed])
        near = [self._indexed[at] for at in self._index.query(shapely.Point(fix.longitude_deg, fix.latitude_deg))]
        keys = sorted(key for key in {*near, *state.presences} if key[0] == identity.tenant)
        return [(key, self.fences[key]) for key in keys]

    def _speaks_out(self, fence: NaiveFence, fix: Position) -> bool:
        rule = fence.definition.crossing
        doubt_m = min(fix.accuracy_m, rule.accuracy_cap_m) if fix.accuracy_m > 0 else 0.0
        if doubt_m == 0 and rule.exit_margin_m == 0:
            return True
        return fence.metres_outside(fix.latitude_deg, fix.longitude_deg) - doubt_m > rule.exit_margin_m

    def _passages(self, state: NaiveState, before: Position | None, fix: Position) -> list[CoreEvent]:
        """Fences between two fixes outside."""
        identity, settings = self.devices[fix.device].identity, self.settings
        if before is None or identity is None or fix.observed_at_us - before.observed_at_us > settings.cross_within_us:
            return []
        places = (before.latitude_deg, before.longitude_deg, fix.latitude_deg, fix.longitude_deg)
        if metres(*places) > settings.cross_within_m:
            return []
        if self._passable is None:
            self._passable = [(key, self.fences[key]) for key in sorted(self.fences)]
            self._passable = [each for each in self._passable if each[1].definition.visit.cross]
        events = []
        for key, fence in self._passable:
            presence = state.presences.get(key)
            near = presence is not None and (presence.inside or presence.against)
            if key[0] != identity.tenant or near or fence.holds(*places[2:]):
                continue
            met = fence.passage(before, fix)
            if met is not None:
                there, left = (_along(before, fix, fraction) for fraction in met)
                if not fence.tells(there[0]):
                    continue
                event = self._crossed(EventKind.GEOFENCE_CROSSED, fix.device, fence, fix, there, Cause.MOVEMENT)
                details = FencePassage(fence.definition.name, left[0], Direction.UNSPECIFIED)
                events.append(event._replace(details=details))
        return events

    def _visit(
        self, state: NaiveState, fence: NaiveFence, before: Position | None, last: Position, fix: Position
    ) -> list[CoreEvent]:
        """Entry and exit, and what happens in between."""
        key = (fence.definition.tenant, fence.definition.fence_id)
        was = state.presences.get(key)
        events = self._observe(state, fence, before, fix)
        presence = state.presences.get(key)
        left_us = math.inf
        if events and not presence.inside:
            left_us = events[0].observed_at_us
        elif events:
            was = presence
            presence.entered_us = presence.came_us = events[0].observed_at_us
            presence.shown_us = fix.observed_at_us
        elif presence is not None and presence.crossing is not None:
            left_us = presence.crossing[0]
        events = [event for event in events if fence.tells(event.observed_at_us)]
        # Of a visit that ended with this fix what it was before says whether it was long enough.
        if was is not None:
            timed, silent = self._timed(fence, was, last, fix.observed_at_us, left_us)
            events = [*events, *timed]
            for event in timed:
                _settle_visit(presence, event)
            if silent:
                presence.entered_us, presence.settled_us, presence.dwelt = fix.observed_at_us, None, False
        if presence is not None:
            holds = fence.holds(fix.latitude_deg, fix.longitude_deg)
            events += self._speed(presence, fence, holds and presence.inside, before, fix)
        return events

    def _speed(
        self,
        presence: NaivePresence,
        fence: NaiveFence,
        inside: bool,  # noqa: FBT001 - as the engine has it
        before: Position | None,
        fix: Position,
    ) -> list[CoreEvent]:
        rule, speed_mps = fence.definition.visit, fix.speed_mps
        if math.isnan(speed_mps) and before is not None:
            apart_us = fix.observed_at_us - before.observed_at_us
            if apart_us <= self.settings.derive_within_us:
                moved_m = metres(before.latitude_deg, before.longitude_deg, fix.latitude_deg, fix.longitude_deg)
                speed_mps = moved_m / (apart_us / 1e6)
        if not presence.inside:
            presence.speeding = False
        if not inside or rule.speed_limit_mps is None:
            return []
        was, limit_mps = presence.speeding, rule.speed_limit_mps
        if was:
            presence.speeding = not speed_mps <= limit_mps
        elif speed_mps > limit_mps + rule.speed_tolerance_mps and fence.tells(fix.observed_at_us):
            presence.speeding = True
        if was or not presence.speeding:
            return []
        event = self._crossed(EventKind.GEOFENCE_SPEEDING, fix.device, fence, fix, None, Cause.MOVEMENT)
        return [event._replace(details=FenceSpeeding(fence.definition.name, round(speed_mps, 3), limit_mps))]

    def _observe(self, state: NaiveState, fence: NaiveFence, before: Position | None, fix: Position) -> list[CoreEvent]:
        rule = fence.definition.crossing
        key = (fence.definition.tenant, fence.definition.fence_id)
        presence = state.presences.setdefault(key, NaivePresence(inside=False))
        holds = fence.holds(fix.latitude_deg, fix.longitude_deg)
        if not holds and not presence.inside and not presence.against:
            del state.presences[key]
            return []
        if holds != presence.inside and presence.crossing is None:
            presence.crossing = _along(fix, fix, 0.0) if before is None else fence.crossing(before, fix)
        if not holds and not self._speaks_out(fence, fix):
            return []
        if holds == presence.inside:
            state.presences[key] = presence.settled()
            return []
        if presence.against == 0:
            presence.since_us = fix.observed_at_us
        presence.against += 1
        needed = rule.exit_fixes if presence.inside else rule.enter_fixes
        waited_us = fix.observed_at_us - presence.since_us
        lasted = rule.confirm_after_us is not None and presence.against > 1 and waited_us >= rule.confirm_after_us
        if presence.against < needed and not lasted:
            return []
        state.presences[key] = NaivePresence(holds)
        kind = _kind(fence, enters=holds)
        return [self._crossed(kind, fix.device, fence, fix, presence.crossing, Cause.MOVEMENT)]

    def _crossed(
        self,
        kind: EventKind,
        number: int,
        fence: NaiveFence,
        fix: Position,
        crossing: tuple[int, float, float] | None,
        cause: Cause,
    ) -> CoreEvent:
        definition = fence.definition
        at_us, latitude, longitude = crossing or (fix.observed_at_us, fix.latitude_deg, fix.longitude_deg)
        return CoreEvent(
            kind,
            number,
            *self._names(number),
            definition.fence_id,
            definition.version,
            at_us,
            fix.observed_at_us,
            cause,
            0,
            assumed=False,
            latitude_deg=latitude,
            longitude_deg=longitude,
            details=FenceCrossing(definition.name),
        )

    def _names(self, number: int) -> tuple[str, str]:
        identity = self.devices[number].identity
        assert identity is not None
        return identity.tenant, identity.device_id

    def _place(self, number: int) -> dict[str, float]:
        fix = self.devices[number].state.counted
        return {
            "latitude_deg": NAN if fix is None else fix.latitude_deg,
            "longitude_deg": NAN if fix is None else fix.longitude_deg,
        }

    # Sensor samples

    def _sample(self, sample: Sample) -> tuple[Verdict, list[CoreEvent]]:
        settings, at_us = self.settings, sample.observed_at_us
        series = self.series[sample.device, sample.quantity, sample.probe]
        if at_us > self.now_us + settings.future_tolerance_us:
            return Verdict.FUTURE_CLOCK, []
        if (
            at_us < YEAR_2000_US
            or (len(series.kept) == settings.kept_samples and at_us < series.kept[0][0])
            or (series.last is not None and at_us < series.last.observed_at_us - settings.horizon_us)
        ):
            return Verdict.STALE, []
        content = (_same(sample.value),)
        seen = _recall(series.kept, at_us, content)
        if seen == "same":
            return Verdict.DUPLICATE, []
        _keep(series.kept, at_us, content, settings.kept_samples)
        if seen == "contradicting":
            return Verdict.CONFLICTING, []
        if not math.isfinite(sample.value):
            return Verdict.OUT_OF_RANGE, []
        if series.last is not None and at_us < series.last.observed_at_us:
            return Verdict.LATE, []
        series.last = sample
        events = [
            event
            for _, limit in sorted(self.limits.items())
            if (limit.device, limit.quantity) == (sample.device, sample.quantity)
            for event in self._apply(limit, series, sample, Cause.MOVEMENT)
        ]
        events.sort(key=lambda event: event.kind == EventKind.EXCURSION_OPENED)
        return Verdict.OK, events

    def _apply(self, limit: SensorLimit, series: NaiveSeries, sample: Sample, cause: Cause) -> list[CoreEvent]:
        key, events = (limit.tenant, limit.limit_id), []
        value, at_us = sample.value, sample.observed_at_us
        low = -math.inf if limit.minimum is None else limit.minimum
        high = math.inf if limit.maximum is None else limit.maximum
        excursion = series.excursions.get(key)
        if excursion is not None and excursion.open:
            out = value > high - limit.hysteresis if excursion.above else value < low + limit.hysteresis
            if out:
                excursion.worst = max(excursion.worst, value) if excursion.above else min(excursion.worst, value)
                return []
            events.append(self._closed(limit, excursion, sample, cause))
            del series.excursions[key]
            excursion = None
        if low <= value <= high:
            series.excursions.pop(key, None)
            return events
        above = value > high
        if excursion is None or excursion.above != above:
            excursion = series.excursions[key] = NaiveExcursion(above, at_us, value)
        excursion.worst = max(excursion.worst, value) if above else min(excursion.worst, value)
        if at_us - excursion.since_us >= limit.minimum_duration_us:
            excursion.open = True
            details = ExcursionOpening(sample.quantity, sample.probe, value, high if above else low)
            opened = self._excursion_event(EventKind.EXCURSION_OPENED, limit, excursion.since_us, at_us, cause, details)
            events.append(opened)
        return events

    def _closed(self, limit: SensorLimit, excursion: NaiveExcursion, sample: Sample, cause: Cause) -> CoreEvent:
        details = ExcursionClosing(sample.quantity, sample.probe, sample.value, excursion.worst, excursion.since_us)
        at_us = sample.observed_at_us
        return self._excursion_event(EventKind.EXCURSION_CLOSED, limit, at_us, at_us, cause, details)

    def _excursion_event(
        self,
        kind: EventKind,
        limit: SensorLimit,
        observed_at_us: int,
        confirmed_at_us: int,
        cause: Cause,
        details: ExcursionOpening | ExcursionClosing,
    ) -> CoreEvent:
        return CoreEvent(
            kind,
            limit.device,
            *self._names(limit.device),
            limit.limit_id,
            limit.version,
            observed_at_us,
            confirmed_at_us,
            cause,
            0,
            assumed=False,
            **self._place(limit.device),
            details=details,
        )

    # Tags

    def _tag_read(self, read: TagRead) -> tuple[Verdict, list[CoreEvent]]:
        settings, at_us = self.settings, read.observed_at_us
        reader = self.devices[read.device]
        events = []
        believed = YEAR_2000_US <= at_us <= self.now_us + settings.future_tolerance_us
        if believed:
            silent = [
                ((tag.last_us or 0) + settings.tag_silence_us, epc)
                for (device, epc), tag in self.tags.items()
                if device == read.device and tag.state == "present"
            ]
            events = [e for due, epc in sorted(silent) if due <= at_us for e in self._depart(read.device, epc)]
        key = (read.device, read.epc)
        tag = self.tags.get(key)
        if tag is None or (tag.state == "absent" and tag.last_now_us <= self.now_us - settings.horizon_us):
            tag = self.tags[key] = NaiveTag(last_now_us=self.now_us)
        verdict = self._judge_read(read, reader, tag)
        if verdict != Verdict.OK:
            return verdict, events
        reader.reader_us = max(reader.reader_us or 0, at_us)
        if tag.last_us == at_us:
            return verdict, events
        tag.last_us, tag.last_now_us, tag.antenna = at_us, self.now_us, read.antenna
        if tag.state == "present":
            return verdict, events
        if tag.state == "absent" or at_us - tag.reads[0] > settings.tag_reads_within_us:
            tag.state, tag.reads = "pending", []
        tag.reads.append(at_us)
        if len(tag.reads) >= settings.tag_reads:
            tag.state = "present"
            events.append(self._tag_event(EventKind.TAG_ARRIVED, read.device, read.epc, tag.reads[0], at_us))
        return verdict, events

    def _judge_read(self, read: TagRead, reader: NaiveDevice, tag: NaiveTag) -> Verdict:
        settings, at_us = self.settings, read.observed_at_us
        if at_us > self.now_us + settings.future_tolerance_us:
            return Verdict.FUTURE_CLOCK
        if at_us < YEAR_2000_US:
            return Verdict.STALE
        if reader.reader_us is not None and at_us < reader.reader_us - settings.horizon_us:
            return Verdict.STALE
        content = (_same(read.rssi_dbm), read.antenna)
        if _recall(tag.kept, at_us, content) == "same":
            return Verdict.DUPLICATE
        _keep(tag.kept, at_us, content, settings.kept_samples)
        if reader.reader_us is not None and at_us + settings.tag_silence_us <= reader.reader_us:
            return Verdict.LATE
        if tag.last_us is not None and at_us < tag.last_us:
            return Verdict.LATE
        return Verdict.OK

    def _depart(self, device: int, epc: bytes) -> list[CoreEvent]:
        tag = self.tags[device, epc]
        tag.state, tag.reads = "absent", []
        assert tag.last_us is not None
        due_us = tag.last_us + self.settings.tag_silence_us
        return [self._tag_event(EventKind.TAG_DEPARTED, device, epc, tag.last_us, due_us)]

    def _tag_event(
        self, kind: EventKind, device: int, epc: bytes, observed_at_us: int, confirmed_at_us: int
    ) -> CoreEvent:
        silence = kind == EventKind.TAG_DEPARTED
        return CoreEvent(
            kind,
            device,
            *self._names(device),
            epc.hex(),
            0,
            observed_at_us,
            confirmed_at_us,
            Cause.TIMER if silence else Cause.MOVEMENT,
            0,
            assumed=silence,
            **self._place(device),
            details=TagPresence(epc, self.tags[device, epc].antenna),
        )


def events_of(
    readings_in_order: Iterable[Reading],
    fences: Sequence[FenceDefinition],
    settings: EngineSettings | None = None,
    *,
    identities: Mapping[int, DeviceIdentity] | None = None,
    limits: Sequence[SensorLimit] = (),
) -> list[CoreEvent]:
    """All events of readings that come one by one, each at its `received_at_us`; the definitions came before them.

    Without identities every device is of the first fence's tenant, and called `device-NUMBER`.
    """
    engine = NaiveEngine(settings)
    tenant = fences[0].tenant if fences else "tenant"
    events: list[CoreEvent] = []
    for change in (*map(PutFence, fences), *map(PutLimit, limits)):
        events += engine.define(change, 0)
    for reading in readings_in_order:
        if engine.devices[reading.device].identity is None:
            named = (identities or {}).get(reading.device)
            engine.announce([named or DeviceIdentity(reading.device, tenant, f"device-{reading.device}")])
        events += engine.read(reading, reading.received_at_us)[1]
    return events


def differences(expected: Sequence[CoreEvent], actual: Sequence[CoreEvent], *, within_us: int = 1000) -> list[str]:
    """What differs between two lists of events, device by device in order; nothing if they mean the same.

    The time and place of a fence crossing may differ by `within_us` and a ten-millionth of a degree, as they are
    interpolated; the place of other events is not looked at, as it depends on what else came in the same batch.
    """
    found: list[str] = []
    for number in sorted({event.device for event in (*expected, *actual)}):
        ours = [event for event in actual if event.device == number]
        theirs = [event for event in expected if event.device == number]
        for at, (theirs_one, ours_one) in enumerate(itertools.zip_longest(theirs, ours)):
            if theirs_one is None or ours_one is None or not _means_the_same(theirs_one, ours_one, within_us):
                found.append(f"device {number}, event {at}: expected {theirs_one}, got {ours_one}")
                break
    return found


def _means_the_same(first: CoreEvent, second: CoreEvent, within_us: int) -> bool:
    bare = functools.partial(CoreEvent._replace, observed_at_us=0, latitude_deg=0.0, longitude_deg=0.0, assumed=False)
    if isinstance(first.details, TripEnd) and isinstance(second.details, TripEnd):
        pairs = list(zip(first.details, second.details, strict=True))
        if not all(math.isclose(one, other, rel_tol=1e-3, abs_tol=0.1) for one, other in pairs):
            return False
        first, second = first._replace(details=TripStart()), second._replace(details=TripStart())
    if _closely(bare(first), within_us) != _closely(bare(second), within_us):
        return False
    if isinstance(first.details, StopBeginning | StopEnding | TripStart) and not _are_near(first, second, 1e-5):
        return False
    if not isinstance(first.details, FenceCrossing | FenceDwell | FencePassage):
        return first.observed_at_us == second.observed_at_us
    return abs(first.observed_at_us - second.observed_at_us) <= within_us and _are_near(first, second, 1e-6)


def _are_near(first: CoreEvent, second: CoreEvent, within_deg: float) -> bool:
    apart_deg = max(abs(first.latitude_deg - second.latitude_deg), abs(first.longitude_deg - second.longitude_deg))
    return apart_deg <= within_deg


def _closely(event: CoreEvent, within_us: int) -> CoreEvent:
    """What rests on an interpolated time, or on a distance by other arithmetic, is rounded; see `differences`."""
    details = event.details
    if isinstance(details, FenceDwell):
        details = details._replace(entered_at_us=round(details.entered_at_us / within_us / 100))
        return event._replace(details=details, confirmed_at_us=round(event.confirmed_at_us / within_us / 100))
    if isinstance(details, FencePassage):
        return event._replace(details=details._replace(left_at_us=round(details.left_at_us / within_us / 100)))
    if isinstance(details, FenceSpeeding):
        return event._replace(details=details._replace(speed_mps=round(details.speed_mps, 3)))
    return event
