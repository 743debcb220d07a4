"""Edits: what changes in the tables, and what the last fix or sample of the devices concerned says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from geofence.active_times import TimesPool
from geofence.definition import ALWAYS, ActiveTimes, FenceDefinition, same_shape
from tracking_core.columns import NO_TIME
from tracking_core.definitions import (
    Definition,
    DeleteFence,
    DeleteLimit,
    DeleteProximity,
    DeleteRoute,
    PutFence,
    PutLimit,
    PutProximity,
    PutRoute,
    Route,
    RouteStop,
    SensorLimit,
)
from tracking_core.device_table import NOTHING
from tracking_core.engine_state import EngineState
from tracking_core.event_building import EventBuilding
from tracking_core.events import Cause, CoreEvent, ExcursionClosing
from tracking_core.routes.arrivals import reckon_arrivals, resolve_arrival
from tracking_core.routes.expectations import WAITING, is_expected
from tracking_core.routes.following import RouteRules, follow
from tracking_core.sensors import limits as sensor_limits
from tracking_core.stages import run_stage
from tracking_core.telling.event_rows import EventBuffer
from tracking_core.telling.journal import forget_fence
from tracking_core.visits import geofencing, opening


class DefinitionStage:
    """Obeys edits; every event of it has the cause DEFINITION."""

    def __init__(
        self, state: EngineState, events: EventBuffer, building: EventBuilding, route_rules: RouteRules
    ) -> None:
        self._state = state
        self._events = events
        self._building = building
        self._route_rules = route_rules

    def obey(self, change: Definition) -> list[CoreEvent]:
        """The events of one edit; none, and no change, if its version is not above the last one seen for its id."""
        self._events.clear()
        match change:
            case PutFence(fence):
                if self._is_news("fence", fence.tenant, fence.fence_id, fence.version):
                    self._put_fence(fence)
            case DeleteFence(tenant, fence_id, version):
                if self._is_news("fence", tenant, fence_id, version):
                    return self._delete_fence(tenant, fence_id)
            case PutLimit(limit):
                if self._is_news("limit", limit.tenant, limit.limit_id, limit.version):
                    return self._put_limit(limit)
            case DeleteLimit(tenant, limit_id, version):
                if self._is_news("limit", tenant, limit_id, version):
                    return self._delete_limit(tenant, limit_id)
            case PutRoute(route):
                if self._is_news("route", route.tenant, route.route_id, route.version):
                    self._put_route(route)
            case DeleteRoute(tenant, route_id, version):
                if self._is_news("route", tenant, route_id, version):
                    self._delete_route(tenant, route_id)
            case PutProximity(proximity):
                if self._is_news("proximity", proximity.tenant, proximity.proximity_id, proximity.version):
                    return self._state.pairs.put(proximity)
            case DeleteProximity(tenant, proximity_id, version):
                if self._is_news("proximity", tenant, proximity_id, version):
                    return self._state.pairs.delete(tenant, proximity_id)
        return self._build()

    def sets_timers(self, change: PutFence | PutRoute) -> bool:
        """Whether a timer may be due earlier after an edit."""
        waited_for = len(self._state.expectations.columns.first) > 0
        return waited_for or (isinstance(change, PutFence) and has_timers(change.fence))

    def _is_news(self, kind: str, tenant: str, subject: str, version: int) -> bool:
        if version <= self._state.versions.get((kind, tenant, subject), 0):
            return False
        self._state.versions[kind, tenant, subject] = version
        return True

    def _build(self) -> list[CoreEvent]:
        return self._building.build(self._events.rows, Cause.DEFINITION)

    def _run(self, kernel: Callable[[int], int], end: int, make_room: Callable[[int], None]) -> None:
        run_stage(self._events, kernel, end, make_room)

    def _put_fence(self, fence: FenceDefinition) -> None:
        state = self._state
        old = state.fences.slot_of(fence.tenant, fence.fence_id)
        known = None if old is None else state.fences.definition(old)
        if old is not None:
            state.end_version(old)
        unmoved = known is not None and same_shape(known.shape, fence.shape)
        was_active = ALWAYS if known is None else known.active
        slot = state.fences.put(fence)
        state.begin_version(slot)
        devices = state.devices.columns
        if was_active.are_limited and was_active != fence.active:
            self._open(slot, was_active, moved=not unmoved)
        if not unmoved:
            self._restate(slot)
        # Most fences have no dwell and no windows: a look at every device is saved.
        if has_timers(fence) or (known is not None and has_timers(known)):
            anew = known is not None and was_active != fence.active
            geofencing.time_visits(slot, anew, devices, state.fences.compiled, state.presences.columns)
        self._resolve(fence.tenant, fence.fence_id, slot)

    def _resolve(self, tenant: str, fence_id: str, slot: int) -> None:
        """Says to what is expected at a fence where that stands now; NOTHING: nowhere."""
        state, devices = self._state, self._state.devices.columns
        for each in state.expectations.at_fence(tenant, fence_id):
            resolve_arrival(each.row, each.node, slot, state.expectations.columns, state.presences.columns, devices)

    def _open(self, slot: int, was_active: ActiveTimes, *, moved: bool) -> None:
        """An edit of the active times, from some that were limited, and perhaps of the shape too."""
        state, devices = self._state, self._state.devices.columns
        before = TimesPool()
        place, _ = before.put(was_active)
        self._run(
            lambda start: opening.open_fence(
                slot, start, before.words, place, moved, devices, state.fences.compiled, state.presences.columns,
                self._events.rows,
            ),
            len(devices.tenant),
            lambda _: None,
        )  # fmt: skip

    def _restate(self, slot: int) -> None:
        state, devices = self._state, self._state.devices.columns
        self._run(
            lambda start: geofencing.restate_fence(
                slot, start, devices, state.fences.compiled, state.presences.columns, self._events.rows
            ),
            len(devices.tenant),
            state.presences.make_room,
        )

    def _delete_fence(self, tenant: str, fence_id: str) -> list[CoreEvent]:
        state = self._state
        slot = state.fences.slot_of(tenant, fence_id)
        if slot is None:
            return []
        devices = state.devices.columns
        for each in state.expectations.at_fence(tenant, fence_id):
            # Whether it came in time is known: that stays told.
            if state.expectations.columns.state[each.node] != WAITING:
                devices.edit_seen[each.row] = -1
        state.end_version(slot)
        forget_fence(state.journal.columns, slot, state.devices.rows, devices)
        self._run(
            lambda start: geofencing.vacate_fence(
                slot, start, devices, state.fences.compiled, state.presences.columns, self._events.rows
            ),
            len(devices.tenant),
            state.presences.make_room,
        )
        built = self._build()
        self._resolve(tenant, fence_id, NOTHING)
        state.fences.delete(tenant, fence_id)
        return built

    def _put_limit(self, limit: SensorLimit) -> list[CoreEvent]:
        state, sensors = self._state, self._state.sensors
        row = state.devices.row_of(limit.device)
        state.devices.cover(row + 1)
        devices = state.devices.columns
        before: list[CoreEvent] = []
        old = sensors.slot_of(limit.tenant, limit.limit_id)
        if old is not None:
            known = sensors.definitions[old]
            if (known.device, known.quantity) != (limit.device, limit.quantity):
                before = self._delete_limit(limit.tenant, limit.limit_id)
                self._events.clear()
        slot = sensors.put(limit, row, devices)
        self._run(
            lambda start: sensor_limits.restate_limit(
                slot, row, start, devices, sensors.series, sensors.limits, sensors.excursions, self._events.rows
            ),
            int(sensors.series.filled[0]),
            sensors.make_excursion_room,
        )
        return before + _named_apart(self._build(), 1)

    def _delete_limit(self, tenant: str, limit_id: str) -> list[CoreEvent]:
        state, sensors = self._state, self._state.sensors
        slot = sensors.slot_of(tenant, limit_id)
        if slot is None:
            return []
        row = state.devices.row_of(sensors.definitions[slot].device)
        devices = state.devices.columns
        self._run(
            lambda start: sensor_limits.close_limit(
                slot, row, start, devices, sensors.series, sensors.excursions, self._events.rows
            ),
            int(sensors.series.filled[0]),
            sensors.make_excursion_room,
        )
        built = _named_apart(self._build(), 2)
        sensors.delete(slot, row, devices)
        return built

    def _put_route(self, route: Route) -> None:
        state = self._state
        row = state.devices.row_of(route.device)
        state.devices.cover(row + 1)
        old = state.routes.slot_of(route.tenant, route.route_id)
        known = None if old is None else state.routes.definitions[old]
        # A stop that stays as it was goes on as it was: a route may be put again, because of another stop or a crash.
        states = state.expectations.states(known) if known is not None and known.device == route.device else {}
        self._delete_route(route.tenant, route.route_id)
        devices = state.devices.columns
        slot = state.routes.put(route, row, devices)
        at_us = int(devices.counted_at_us[row])
        self._expect(route, row, at_us, states)
        if at_us != NO_TIME:
            follow(
                slot,
                at_us,
                float(devices.longitude_deg[row]),
                float(devices.latitude_deg[row]),
                state.routes.columns,
                state.routes.line,
                self._route_rules,
            )

    def _expect(self, route: Route, row: int, at_us: int, states: Mapping[RouteStop, int]) -> None:
        """Waits for the arrivals of a route from now on, which is `at_us` by the device's clock; of some stops it is
        known how it stands.
        """
        state, devices = self._state, self._state.devices.columns
        for stop in route.stops:
            if is_expected(route, stop, at_us):
                arrival = states.get(stop, WAITING)
                node = state.expectations.put(row, len(devices.tenant), route, stop, NOTHING, at_us, arrival)
                slot = state.fences.slot_of(route.tenant, stop.fence_id)
                place = NOTHING if slot is None else slot
                resolve_arrival(row, node, place, state.expectations.columns, state.presences.columns, devices)

    def _delete_route(self, tenant: str, route_id: str) -> None:
        state = self._state
        slot = state.routes.slot_of(tenant, route_id)
        if slot is not None:
            route = state.routes.definitions[slot]
            row = state.devices.row_of(route.device)
            state.expectations.forget(route)
            if row < len(state.expectations.columns.first):
                reckon_arrivals(row, state.expectations.columns, state.presences.columns, state.devices.columns)
            state.routes.delete(slot, row, state.devices.columns)


def _named_apart(events: Iterable[CoreEvent], later_us: int) -> list[CoreEvent]:
    """Events of an edit of a limit, of which one that closes what the last sample opened is named a little later: that
    sample may have closed an excursion too, to the other side, and so may an edit before.
    """
    return [
        event._replace(first_observed_at_us=event.observed_at_us + later_us)
        if isinstance(event.details, ExcursionClosing) and event.details.opened_at_us == event.observed_at_us
        else event
        for event in events
    ]


def has_timers(fence: FenceDefinition) -> bool:
    """Whether time alone may bring about anything at a fence."""
    return fence.visit.dwell_us is not None or fence.active.are_limited
