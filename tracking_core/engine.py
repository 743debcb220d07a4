"""The engine of one partition: readings and definitions in, verdicts and events out.

`Engine.step` is the whole pipeline as one ordered list. A stage is a file with a loop over columns; it has state of its
own, and sees what the stages before it wrote about each reading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geofence.passing import WALK_WORDS
from tracking_core.columns import (
    I64,
    NO_TIME,
    U8,
    U32,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
)
from tracking_core.definition_stage import DefinitionStage
from tracking_core.definitions import Definition, DeviceIdentity, PutFence, PutProximity, PutRoute
from tracking_core.device_table import NEVER
from tracking_core.door import let_in
from tracking_core.engine_state import EngineState
from tracking_core.event_building import EventBuilding
from tracking_core.events import Cause, CoreEvent
from tracking_core.fix_folding import FoldingRules, fold_fixes, no_progress
from tracking_core.fixes.folded import ChangeBuffer, FoldedFixes, empty_folded
from tracking_core.fixes.motion import motion_rules, newest_fixes
from tracking_core.fixes.quality import quality_rules
from tracking_core.horizon import settle
from tracking_core.journeys.journeys import journey_rules
from tracking_core.journeys.table import latest_journeys
from tracking_core.live_frame import LiveColumns, empty_live, last_live
from tracking_core.pairs.companions import CompanionColumns
from tracking_core.presence_pool import inside_of
from tracking_core.routes.eta import RouteEta, predict
from tracking_core.routes.following import follow_routes, route_rules
from tracking_core.sensors.limits import check_samples
from tracking_core.sensors.quality import sample_rules
from tracking_core.settings import EngineSettings
from tracking_core.snapshots.snapshot import pack_state, unpack_state
from tracking_core.stages import run_stage
from tracking_core.step_result import LatestColumns, StepResult, VerdictChangeColumns, no_verdict_changes
from tracking_core.tags.presence import expire_tags, read_tags
from tracking_core.telling.event_rows import EventBuffer
from tracking_core.timers import find_first_due, fire_timers, timer_rules
from tracking_core.visits.passages import passage_rules


class Engine:
    """A fold over one partition of the telemetry log. Not thread-safe; does no I/O and reads no clock.

    `now_us` is always the append time of the log entry at hand. It never runs backwards inside: a smaller one than the
    last counts as the last.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self._folding_rules = FoldingRules(
            quality_rules(settings),
            motion_rules(settings),
            journey_rules(settings),
            timer_rules(settings),
            passage_rules(settings),
            settings.repeated_within_us,
        )
        self._route_rules = route_rules(settings)
        self._sample_rules = sample_rules(settings)
        self._events = EventBuffer()
        self._changes = ChangeBuffer()
        self._step = 0
        self._take_up(EngineState(settings))

    @classmethod
    def restore(cls, data: bytes, settings: EngineSettings) -> Engine:
        """An engine that goes on where `snapshot` was taken.

        Raises SnapshotError (tracking_core/snapshots/snapshot.py) when the bytes are damaged, of another version, or of
        another partition or number of partitions.
        """
        engine = cls(settings)
        engine._take_up(unpack_state(data, settings))
        return engine

    def _take_up(self, state: EngineState) -> None:
        self._state = state
        self._building = EventBuilding(state.devices, state.fences, state.sensors, state.tags, state.expectations)
        self._definitions = DefinitionStage(state, self._events, self._building, self._route_rules)

    def announce(self, devices: Sequence[DeviceIdentity]) -> None:
        """Learns who device numbers are; idempotent. Raises WrongPartitionError for a device of another partition."""
        state = self._state
        state.devices.announce(devices, state.fences.tenant_number)
        self._find_first_due()

    def define(self, change: Definition, now_us: int) -> StepResult:
        """Obeys one edit, and evaluates the last fix or sample of the devices concerned, with cause definition.

        A version not above the last one seen for that id, deletions included, changes nothing. What people wrote is
        validated where it comes in (geofence/validation.py, tracking_core/definitions.py), before it is in the log.
        """
        due = self._fire_timers(self._advance(now_us))
        stated = self._definitions.obey(change)
        if isinstance(change, PutFence | PutRoute) and self._definitions.sets_timers(change):
            self._find_first_due()
        told = _only_events(due + stated)
        if isinstance(change, PutProximity) and self._state.pairs.obeys(change.proximity):
            pairs, proximity = self._state.pairs, change.proximity
            return told._replace(companions=pairs.began(proximity, self.latest(pairs.mine(proximity))))
        return told

    def accompany(self, companions: CompanionColumns, now_us: int) -> StepResult:
        """Folds what became of fixes of devices in proximities of this partition, wherever the devices are."""
        due = self._fire_timers(self._advance(now_us))
        return _only_events(due + self._state.pairs.take(companions))

    @property
    def companions_too_late(self) -> int:
        """How many fixes came to a proximity too late to change anything, since this object was made."""
        return self._state.pairs.too_late

    def step(self, readings: Readings, now_us: int) -> StepResult:
        """Folds a batch: due timers first, then every reading in its order, positions before samples before tag reads.

        Raises WrongPartitionError for a device of another partition, before anything changed. A device that was never
        announced gets verdicts, and no events.
        """
        now_us = self._advance(now_us)
        fixes, samples, reads = let_in(readings)
        rows, sample_rows, read_rows = (self._state.devices.place(kind.device) for kind in (fixes, samples, reads))

        due = self._fire_timers(now_us)
        folded, crossings = self._fold_fixes(fixes, rows, now_us)
        self._follow_routes(fixes, rows, folded)
        sensor_verdicts, excursions = self._check_samples(samples, sample_rows, now_us)
        tag_verdicts, presences = self._read_tags(reads, read_rows, now_us)

        verdict_changes = self._verdict_changes()
        return StepResult(
            folded.verdict,
            sensor_verdicts,
            tag_verdicts,
            folded.speed_mps,
            folded.heading_deg,
            verdict_changes,
            self._newest_fixes(fixes, rows, folded),
            (*due, *crossings, *excursions, *presences),
            self._state.pairs.changed(fixes, folded.verdict, verdict_changes),
        )

    def tick(self, now_us: int) -> StepResult:
        """Fires the timers that are due."""
        return _only_events(self._fire_timers(self._advance(now_us)))

    def next_wakeup_us(self) -> int | None:
        """When, by the log's clock, `tick` should be called if no entry comes: never after the first timer is due."""
        first_us = int(self._state.first_due_us[0])
        tags_us = self._state.tags.next_due_us()
        if first_us == NEVER:
            return tags_us
        return first_us if tags_us is None else min(first_us, tags_us)

    def latest(self, numbers: U32 | None = None) -> LatestColumns:
        """The newest counted fixes of these devices, or of all, by ascending number; devices without one are left out.

        Raises WrongPartitionError.
        """
        devices, columns = self._state.devices, self._state.devices.columns
        rows = np.arange(devices.rows) if numbers is None else np.unique(devices.place(numbers))
        rows = rows[columns.counted_at_us[rows] != NO_TIME]
        return LatestColumns(
            (rows * self.settings.partitions + self.settings.partition).astype(np.uint32),
            columns.counted_at_us[rows],
            columns.received_at_us[rows],
            columns.latitude_deg[rows],
            columns.longitude_deg[rows],
            columns.altitude_m[rows],
            columns.speed_mps[rows],
            columns.heading_deg[rows],
            columns.accuracy_m[rows],
            *latest_journeys(devices.journeys, rows, columns.latitude_deg, columns.longitude_deg),
        )

    def inside(self, device: int) -> list[str]:
        """The ids of the fences the device is inside of, sorted; a pending exit is still inside. Raises
        WrongPartitionError.
        """
        row = self._state.devices.row_of(device)
        if row >= self._state.devices.rows:
            return []
        first = int(self._state.devices.columns.first_presence[row])
        slots = np.empty(len(self._state.fences), np.int32)
        count = inside_of(self._state.presences.columns, first, slots)
        return sorted(self._state.fences.definition(slot).fence_id for slot in slots[:count].tolist())

    def eta(self, tenant: str, route_id: str, now_us: int) -> RouteEta | None:
        """Arrival times for the stops of a route; None when there is no such route."""
        state = self._state
        slot = state.routes.slot_of(tenant, route_id)
        if slot is None:
            return None
        row = state.devices.row_of(state.routes.definitions[slot].device)
        _, device_id = state.devices.identity(row)
        return predict(slot, row, device_id, state.routes, state.devices.columns, self.settings, now_us)

    def snapshot(self) -> bytes:
        """The whole state. Equal states give equal bytes."""
        state = self._state
        devices = state.devices
        settle(
            devices.rows,
            devices.columns,
            devices.timeline,
            state.presences.columns,
            state.journal.columns,
            devices.journeys,
            state.edits.columns,
        )
        # As it will be known when it is restored.
        self._find_first_due()
        return pack_state(self._state, self.settings)

    def _find_first_due(self) -> None:
        state = self._state
        devices, rules = state.devices, self._folding_rules.timers
        find_first_due(
            devices.rows, devices.columns, devices.journeys, state.expectations.columns, rules, state.first_due_us
        )

    def _advance(self, now_us: int) -> int:
        self._state.clock_us = max(self._state.clock_us, now_us)
        return self._state.clock_us

    def _fire_timers(self, now_us: int) -> list[CoreEvent]:
        self._events.clear()
        state = self._state

        def kernel(start: int) -> int:
            return fire_timers(
                start,
                state.devices.rows,
                now_us,
                state.devices.columns,
                state.devices.timeline,
                state.fences.compiled,
                state.presences.columns,
                state.devices.journeys,
                state.expectations.columns,
                state.journal.columns,
                state.edits.columns,
                self._folding_rules.timers,
                state.first_due_us,
                self._events.rows,
            )

        if state.devices.rows:
            run_stage(self._events, kernel, state.devices.rows, state.journal.make_room)
        return self._building.build(self._events.rows, Cause.TIMER) + self._expire_tags(now_us)

    def _expire_tags(self, now_us: int) -> list[CoreEvent]:
        self._events.clear()
        silence_us = self.settings.tag_silence_us
        tags, devices = self._state.tags.columns, self._state.devices.columns
        while wanted := expire_tags(now_us, silence_us, tags, devices, self._events.rows):
            self._events.make_room(wanted)
        return self._building.build(self._events.rows, Cause.TIMER)

    def _fold_fixes(self, fixes: PositionColumns, rows: I64, now_us: int) -> tuple[FoldedFixes, list[CoreEvent]]:
        self._events.clear()
        self._changes.clear()
        state = self._state
        folded, progress = empty_folded(len(rows)), no_progress()
        holding, passing = np.empty(0, np.int32), np.empty(0, np.int32)
        walk = np.empty(WALK_WORDS, np.int64)

        def make_room(wanted: int) -> None:
            nonlocal holding, passing
            holding, passing = np.empty(wanted, np.int32), np.empty(wanted, np.int32)
            state.presences.make_room(wanted)
            state.journal.make_room(wanted)
            self._changes.make_room(wanted)

        def kernel(_: int) -> int:
            return fold_fixes(
                fixes,
                rows,
                now_us,
                state.devices.columns,
                state.devices.timeline,
                state.devices.quarantine,
                state.devices.journeys,
                state.expectations.columns,
                state.fences.compiled,
                state.presences.columns,
                state.journal.columns,
                state.edits.columns,
                holding,
                passing,
                walk,
                state.first_due_us,
                self._folding_rules,
                progress,
                folded,
                self._changes.rows,
                self._events.rows,
            )

        if len(rows):
            run_stage(self._events, kernel, len(rows), make_room)
        return folded, self._building.build(self._events.rows, Cause.MOVEMENT)

    def _verdict_changes(self) -> VerdictChangeColumns:
        changes = self._changes.rows
        count = int(changes.filled[0])
        numbers = changes.row[:count] * self.settings.partitions + self.settings.partition
        return VerdictChangeColumns(
            numbers.astype(np.uint32),
            changes.observed_at_us[:count].copy(),
            changes.content[:count].copy(),
            changes.latitude_deg[:count].copy(),
            changes.longitude_deg[:count].copy(),
            changes.before[:count].copy(),
            changes.after[:count].copy(),
        )

    def _follow_routes(self, fixes: PositionColumns, rows: I64, folded: FoldedFixes) -> None:
        routes = self._state.routes
        if routes.definitions:
            follow_routes(
                fixes, rows, folded, self._state.devices.columns, routes.columns, routes.line, self._route_rules
            )

    def _check_samples(self, samples: SensorColumns, rows: I64, now_us: int) -> tuple[U8, list[CoreEvent]]:
        self._events.clear()
        verdicts = np.empty(len(rows), np.uint8)
        sensors, devices = self._state.sensors, self._state.devices.columns

        def make_room(wanted: int) -> None:
            sensors.make_series_room(wanted)
            sensors.make_excursion_room(wanted)

        def kernel(start: int) -> int:
            return check_samples(
                samples,
                rows,
                start,
                now_us,
                devices,
                sensors.series,
                sensors.memory,
                sensors.limits,
                sensors.excursions,
                self._sample_rules,
                verdicts,
                self._events.rows,
            )

        if len(rows):
            run_stage(self._events, kernel, len(rows), make_room)
        return verdicts, self._building.build(self._events.rows, Cause.MOVEMENT)

    def _read_tags(self, reads: TagColumns, rows: I64, now_us: int) -> tuple[U8, list[CoreEvent]]:
        self._events.clear()
        verdicts = np.empty(len(rows), np.uint8)
        tags, devices = self._state.tags, self._state.devices.columns
        built: list[CoreEvent] = []

        def make_room(wanted: int) -> None:
            # A table that is rebuilt renumbers its tags, so the rows that name them become events before.
            built.extend(self._building.build(self._events.rows, Cause.MOVEMENT))
            self._events.clear()
            tags.make_room(wanted, now_us, devices)

        def kernel(start: int) -> int:
            return read_tags(
                reads,
                rows,
                start,
                now_us,
                devices,
                tags.columns,
                tags.memory,
                self._sample_rules,
                verdicts,
                self._events.rows,
            )

        if len(rows):
            run_stage(self._events, kernel, len(rows), make_room)
        return verdicts, built + self._building.build(self._events.rows, Cause.MOVEMENT)

    def _newest_fixes(self, fixes: PositionColumns, rows: I64, folded: FoldedFixes) -> LiveColumns:
        self._step = self._step % (2**32 - 1) + 1
        live = empty_live(len(rows))
        count = newest_fixes(fixes, rows, folded.moved, self._state.devices.columns, self._step, live)
        return last_live(live, count)


def _only_events(events: list[CoreEvent]) -> StepResult:
    """The result of an entry without readings."""
    nothing = np.empty(0, np.uint8)
    unknown = np.empty(0, np.float32)
    return StepResult(nothing, nothing, nothing, unknown, unknown, no_verdict_changes(), empty_live(), tuple(events))
