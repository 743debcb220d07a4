"""The engine's own tables and kernels, with one device and one fence in them.

What a fix, an edit or the time brings about is asked of these, in the order of `fix_folding.fold_fixes` and of
`Engine.define`: there is no second formula of any rule. What is told is forgotten at once, as nothing is repaired here.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final, cast

import numpy as np

from geofence.compiled import NO_TIME, CompiledFences
from geofence.containment import contains_one
from geofence.fence_set import FenceSet
from geofence.passing import WALK_WORDS
from geofence.transitions import OUTSIDE, Fix, Presence
from tracking_core.corrections import tell_news
from tracking_core.definition_stage import DefinitionStage
from tracking_core.definitions import DeleteFence, DeviceIdentity, PutFence, PutRoute
from tracking_core.device_table import NEVER, NOTHING
from tracking_core.engine_state import EngineState
from tracking_core.event_building import EventBuilding
from tracking_core.events import Cause, CoreEvent
from tracking_core.explaining.steps import FenceEdit, RouteEdit, Start, StoredFix
from tracking_core.fixes.motion import derive_motion, motion_rules
from tracking_core.fixes.quality import MeasuredFix, Neighbour, counted_fix
from tracking_core.presence_pool import (
    NO_VISIT,
    Visit,
    add_presence,
    find_presence,
    load_presence,
    load_visit,
    reckon_due,
)
from tracking_core.routes.arrivals import count_expected, expects, follow_arrivals, reckon_arrivals
from tracking_core.routes.expectations import ARRIVED
from tracking_core.routes.following import route_rules
from tracking_core.settings import EngineSettings
from tracking_core.telling.event_rows import EventBuffer
from tracking_core.telling.journal import count_events, forget_changes
from tracking_core.timers import TimerRules, assume, most_timers
from tracking_core.visits.geofencing import MOST_CHANGES, cross_fences
from tracking_core.visits.passages import find_passages, leg_gap, pass_fences, passage_rules
from tracking_core.visits.visits import openings_entered, openings_inside

_ROW: Final = 0
_NO_TIMERS: Final = TimerRules(0, 0)
"""Of signal and trip, which are none of a fence."""


def halved(value: float) -> float:
    """A number in half the digits, as the engine's columns have it: so no kernel is compiled again for this."""
    converted: Any = np.float32(value)
    return cast("float", converted)


class Machine:
    """One device at one fence."""

    def __init__(self, settings: EngineSettings, tenant: str, fence_id: str) -> None:
        alone = dataclasses.replace(
            settings,
            partitions=1,
            partition=0,
            kept_fixes=1,
            repairs_late=False,
            follows_journeys=False,
            signal_lost_after_us=0,
        )
        self._tenant, self._fence_id = tenant, fence_id
        self._motion, self._passages = motion_rules(alone), passage_rules(alone)
        state = self._state = EngineState(alone)
        state.devices.announce([DeviceIdentity(_ROW, tenant, "device")], state.fences.tenant_number)
        self._events = EventBuffer()
        self._building = EventBuilding(state.devices, state.fences, state.sensors, state.tags, state.expectations)
        self._definitions = DefinitionStage(state, self._events, self._building, route_rules(alone))

    @property
    def fences(self) -> FenceSet:
        """With the fence in it, if there is one."""
        return self._state.fences

    @property
    def compiled(self) -> CompiledFences:
        """The same for kernels."""
        return self._state.fences.compiled

    @property
    def slot(self) -> int | None:
        """Where the fence is; None: nowhere."""
        return self._state.fences.slot_of(self._tenant, self._fence_id)

    @property
    def presence(self) -> Presence:
        """How the device stands to the fence."""
        node = self._node()
        return OUTSIDE if node == NOTHING else load_presence(self._state.presences.columns, node)

    @property
    def visit(self) -> Visit:
        """What is remembered of its stay inside."""
        node = self._node()
        return NO_VISIT if node == NOTHING else load_visit(self._state.presences.columns, node)

    @property
    def speed_mps(self) -> float:
        """Of the newest counted fix, measured or derived; NaN where neither could be."""
        return float(self._state.devices.columns.speed_mps[_ROW])

    def begin(self, start: Start) -> None:
        """Puts the device where it is known to have been."""
        state, devices = self._state, self._state.devices.columns
        if start.counted is not None:
            self._count(start.counted)
        slot = self.slot
        if slot is not None and start.presence.state > OUTSIDE.state:
            state.presences.make_room(1)
            add_presence(state.presences.columns, _ROW, slot, start.presence, start.visit, devices)
            reckon_due(state.presences.columns, _ROW, devices)

    def obey(self, edit: FenceEdit) -> list[CoreEvent]:
        """An edit of the fence."""
        change = DeleteFence(self._tenant, self._fence_id, edit.version) if edit.fence is None else PutFence(edit.fence)
        return self._definitions.obey(change)

    def expect(self, edit: RouteEdit) -> None:
        """Waits for the arrivals of a route at the fence, from its newest fix on."""
        state = self._state
        self._definitions.obey(PutRoute(dataclasses.replace(edit.route, device=_ROW)))
        for each in state.expectations.at_fence(self._tenant, self._fence_id):
            if each.route.route_id == edit.route.route_id and each.stop.stop_id in edit.settled:
                state.expectations.columns.state[each.node] = ARRIVED
        reckon_arrivals(_ROW, state.expectations.columns, state.presences.columns, state.devices.columns)

    def take(self, fix: StoredFix, before: Fix, *, arrived_late: bool) -> list[CoreEvent]:
        """A fix that counts; `before` is the counted one from which the device came, its time NO_TIME for none."""
        state, devices, fences = self._state, self._state.devices.columns, self.compiled
        measured = _measured(fix)
        holding, passing = np.full(1, -1, np.int32), np.full(1, -1, np.int32)
        slot, held = self.slot, 0
        if slot is not None and contains_one(fences, slot, fix.longitude_deg, fix.latitude_deg):
            holding[0], held = slot, 1
        last = counted_fix(_ROW, devices)
        tenant = int(devices.tenant[_ROW])
        walk = np.empty(WALK_WORDS, np.int64)
        passed = find_passages(tenant, last, measured, fences, self._passages, walk, passing)
        at_us = fix.observed_at_us
        openings = openings_inside(_ROW, last.at_us, at_us, state.presences.columns, devices, fences)
        openings += openings_entered(last.at_us, at_us, holding, held, fences)
        state.presences.make_room(1)
        expected = state.expectations.columns
        state.journal.make_room(2 * MOST_CHANGES + passed + 2 * openings + count_expected(_ROW, expected))
        self._count(fix)
        if not arrived_late:
            devices.lag_us[_ROW] = fix.received_at_us - at_us
        came = Neighbour(before.observed_at_us, before.latitude_deg, before.longitude_deg)
        speed_mps, _ = derive_motion(measured, came, halved(math.nan), self._motion)
        devices.speed_mps[_ROW] = speed_mps
        there = Fix(at_us, fix.latitude_deg, fix.longitude_deg, halved(fix.accuracy_m))
        presences, journal = state.presences.columns, state.journal.columns
        if passed > 0 and before.observed_at_us != NO_TIME:
            pass_fences(_ROW, there, before, passing, passed, holding, held, devices, fences, presences, journal)
        cross_fences(_ROW, there, before, last, speed_mps, holding, held, devices, fences, presences, journal)
        if expects(_ROW, expected):
            follow_arrivals(_ROW, at_us, last, presences, devices, expected, journal)
        return self._tell(Cause.MOVEMENT)

    def gap(self, before: Fix, fix: StoredFix) -> int:
        """Whether two fixes are too far apart to tell what lies between them (visits/passages.py)."""
        came = Neighbour(before.observed_at_us, before.latitude_deg, before.longitude_deg)
        return leg_gap(came, _measured(fix), self._passages)

    def wait(self, until_us: int) -> list[CoreEvent]:
        """What nothing but time brings about, by the log's clock."""
        state, devices, fences = self._state, self._state.devices.columns, self.compiled
        presences, expected = state.presences.columns, state.expectations.columns
        state.journal.make_room(most_timers(_ROW, until_us, devices, fences, presences, expected))
        journeys, journal = state.devices.journeys, state.journal.columns
        assume(_ROW, until_us, devices, fences, presences, journeys, expected, journal, _NO_TIMERS)
        return self._tell(Cause.TIMER)

    def _node(self) -> int:
        slot = self.slot
        if slot is None:
            return NOTHING
        return find_presence(self._state.presences.columns, _ROW, slot, self._state.devices.columns)

    def _count(self, fix: StoredFix) -> None:
        devices = self._state.devices.columns
        devices.counted_at_us[_ROW] = fix.observed_at_us
        devices.received_at_us[_ROW] = fix.received_at_us
        devices.latitude_deg[_ROW] = fix.latitude_deg
        devices.longitude_deg[_ROW] = fix.longitude_deg
        devices.accuracy_m[_ROW] = fix.accuracy_m

    def _tell(self, cause: Cause) -> list[CoreEvent]:
        """What the journal has to tell, which is forgotten then."""
        devices, journal = self._state.devices.columns, self._state.journal.columns
        self._events.clear()
        self._events.make_room(count_events(journal, int(devices.first_change[_ROW]), NO_TIME))
        tell_news(journal, _ROW, 0, NO_TIME, False, devices, self._events.rows)
        forget_changes(journal, _ROW, NEVER, devices)
        return self._building.build(self._events.rows, cause)


def _measured(fix: StoredFix) -> MeasuredFix:
    nothing = halved(math.nan)
    return MeasuredFix(
        fix.observed_at_us,
        fix.received_at_us,
        fix.latitude_deg,
        fix.longitude_deg,
        nothing,
        halved(fix.accuracy_m),
        halved(fix.speed_mps),
        nothing,
    )
