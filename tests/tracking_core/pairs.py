"""Engines of some partitions and the logs between them, for tests of proximities."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from tests.tracking_core import naive
from tests.tracking_core.readings import HOUR_US, START_US, Position, columns_of
from tracking_core.definitions import Definition, DeviceIdentity, Proximity, PutProximity
from tracking_core.engine import Engine
from tracking_core.events import CoreEvent, EventKind
from tracking_core.pairs.companions import pack_companions, unpack_companions
from tracking_core.settings import EngineSettings
from tracking_core.step_result import StepResult

TENANT = "acme"
TRUCK, TRAILER = 0, 1
NAMES = {TRUCK: "truck", TRAILER: "trailer", 2: "van", 3: "cart"}
METRE_DEG = 1 / 111_319.49079327358
"""Of longitude on the equator."""
QUIET = EngineSettings(partitions=2, follows_journeys=False, signal_lost_after_us=0, jump_slack_m=50.0)
PAIR = Proximity(TENANT, "coupled", TRUCK, "truck", TRAILER, "trailer", 100.0, name="Coupled")


def at(device: int, second: float, east_m: float, north_m: float = 0.0) -> Position:
    """A fix near the origin."""
    longitude_deg, latitude_deg = 10.0 + east_m * METRE_DEG, north_m * METRE_DEG
    return Position(device, START_US + round(second * 1_000_000), latitude_deg, longitude_deg)


class Herd:
    """What is appended for a partition waits in `logs` until `hear` has its engine read it."""

    def __init__(self, rules: EngineSettings = QUIET) -> None:
        self.rules = [dataclasses.replace(rules, partition=number) for number in range(rules.partitions)]
        self.engines = [Engine(each) for each in self.rules]
        self.logs: list[collections.deque[bytes]] = [collections.deque() for _ in self.engines]
        self.events: list[CoreEvent] = []
        self.now_us = START_US + HOUR_US
        for number, name in NAMES.items():
            self.engines[number % len(self.engines)].announce([DeviceIdentity(number, TENANT, name)])

    def define(self, change: Definition) -> Herd:
        for engine in self.engines:
            self._take(engine.define(change, self.now_us))
        return self

    def put(self, proximity: Proximity) -> Herd:
        return self.define(PutProximity(proximity)).hear()

    def send(self, fixes: Sequence[Position]) -> Herd:
        """Each partition gets its own, in this order."""
        for number, engine in enumerate(self.engines):
            mine = [fix for fix in fixes if fix.device % len(self.engines) == number]
            if mine:
                self._take(engine.step(columns_of(mine), self.now_us))
        return self

    def hear(self, entries: int = 1_000_000) -> Herd:
        """Each partition reads so many companions at most."""
        for engine, log in zip(self.engines, self.logs, strict=True):
            for _ in range(min(entries, len(log))):
                self._take(engine.accompany(unpack_companions(log.popleft()), self.now_us))
        return self

    def drive(self, *fixes: Position) -> Herd:
        """One by one."""
        for fix in fixes:
            self.send([fix]).hear()
        return self

    def restart(self, number: int) -> None:
        snapshot = self.engines[number].snapshot()
        self.engines[number] = Engine.restore(snapshot, self.rules[number])
        assert self.engines[number].snapshot() == snapshot

    def _take(self, result: StepResult) -> None:
        self.events += result.events
        for partition, columns in result.companions:
            self.logs[partition].append(pack_companions(columns))

    @property
    def standing(self) -> list[CoreEvent]:
        """What stands, whatever brought it about."""
        return [naive.meaning(event) for event in naive.standing(self.events)]

    def told(self) -> list[tuple[EventKind, float, int]]:
        """Kind, second and revision of all that was told."""
        return [(event.kind, (event.observed_at_us - START_US) / 1e6, event.revision) for event in self.events]
