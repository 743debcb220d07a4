"""The proximities that concern one partition: those folded here, and the devices whose fixes others wait for.

A proximity is folded in the partition of its first device. Both its devices send their fixes there, the first one too:
one way for all, and an engine without proximities looks at nothing.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from tracking_core.columns import U8, U32, PositionColumns
from tracking_core.definitions import Proximity
from tracking_core.events import CoreEvent
from tracking_core.pairs.companions import (
    BEGINS,
    CompanionColumns,
    CompanionFix,
    Companions,
    companion_columns,
    companion_fixes,
)
from tracking_core.pairs.counted_changes import counted_changes
from tracking_core.pairs.pair import Pair
from tracking_core.settings import EngineSettings
from tracking_core.step_result import LatestColumns, VerdictChangeColumns

Key = tuple[str, str]


class PairTable:
    """Definitions by (tenant, proximity_id), and a pair for each that is folded here."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.definitions: dict[Key, Proximity] = {}
        self.pairs: dict[Key, Pair] = {}
        # Ascending, whatever the history: what comes of one entry is told in one order.
        self._keys_of: dict[int, list[Key]] = {}
        self._homes_of: dict[int, Counter[int]] = {}
        """How many proximities of a device of this partition are folded where."""
        self._watched: U32 | None = None
        self.too_late = 0
        """Fixes that changed nothing as they came after what a pair remembers; not part of the state."""

    def __len__(self) -> int:
        return len(self.definitions)

    def __iter__(self) -> Iterator[Pair]:
        return (self.pairs[key] for key in sorted(self.pairs))

    def put(self, definition: Proximity) -> list[CoreEvent]:
        """Takes a definition in, in the place of an earlier version; returns what it makes happen."""
        key = definition.tenant, definition.proximity_id
        pair = self.pairs.get(key)
        if pair is not None and _devices(pair.definition) == _devices(definition):
            self.definitions[key] = definition
            return pair.redefine(definition)
        events = self.delete(*key)
        if len(self.mine(definition)):
            self.definitions[key] = definition
            self._watch(definition, 1)
        if self._home(definition) == self._settings.partition:
            self.pairs[key] = Pair(definition, self._settings)
            for number in _devices(definition):
                bisect.insort(self._keys_of.setdefault(number, []), key)
        return events

    def delete(self, tenant: str, proximity_id: str) -> list[CoreEvent]:
        """Ends a proximity; returns what that makes happen."""
        key = tenant, proximity_id
        definition, pair = self.definitions.pop(key, None), self.pairs.pop(key, None)
        if definition is not None:
            self._watch(definition, -1)
        if pair is None:
            return []
        for number in _devices(pair.definition):
            self._keys_of[number].remove(key)
        return pair.close()

    def obeys(self, definition: Proximity) -> bool:
        """Whether this one, rather than another version, or it told again, was taken in last."""
        return self.definitions.get((definition.tenant, definition.proximity_id)) is definition

    def take(self, columns: CompanionColumns) -> list[CoreEvent]:
        """Obeys what became of fixes; returns what it makes happen, pair by pair."""
        taken: dict[Key, list[CompanionFix]] = {}
        for fix in companion_fixes(columns):
            for key in self._keys_of.get(fix.device, ()):
                taken.setdefault(key, []).append(fix)
        events: list[CoreEvent] = []
        for key, fixes in taken.items():
            pair = self.pairs[key]
            self.too_late += sum(fix.observed_at_us < pair.settled_us for fix in fixes)
            events += pair.take(fixes)
        return events

    def changed(
        self, positions: PositionColumns, verdicts: U8, changes: VerdictChangeColumns
    ) -> tuple[Companions, ...]:
        """What the partitions of proximities are to be told of a step."""
        if not self._homes_of:
            return ()
        if self._watched is None:
            self._watched = np.array(sorted(self._homes_of), np.uint32)
        return self._sent(counted_changes(positions, verdicts, changes, self._watched))

    def mine(self, definition: Proximity) -> U32:
        """Which devices of a proximity are of this partition."""
        partitions = self._settings.partitions
        mine = [number for number in _devices(definition) if number % partitions == self._settings.partition]
        return np.array(mine, np.uint32)

    def began(self, definition: Proximity, latest: LatestColumns) -> tuple[Companions, ...]:
        """The first that a proximity is told: the newest counted fixes of its devices."""
        columns = (latest.device, latest.observed_at_us, latest.latitude_deg, latest.longitude_deg)
        fixes = [
            CompanionFix(device, at_us, latitude_deg, longitude_deg, BEGINS)
            for device, at_us, latitude_deg, longitude_deg in zip(*(each.tolist() for each in columns), strict=True)
        ]
        return (Companions(self._home(definition), companion_columns(fixes)),) if fixes else ()

    def _sent(self, fixes: Iterable[CompanionFix]) -> tuple[Companions, ...]:
        by_home: dict[int, list[CompanionFix]] = {}
        for fix in fixes:
            for home in self._homes_of[fix.device]:
                by_home.setdefault(home, []).append(fix)
        return tuple(Companions(home, companion_columns(by_home[home])) for home in sorted(by_home))

    def _home(self, definition: Proximity) -> int:
        return definition.device % self._settings.partitions

    def _watch(self, definition: Proximity, more: int) -> None:
        self._watched = None
        home = self._home(definition)
        for number in self.mine(definition).tolist():
            homes = self._homes_of.setdefault(number, Counter())
            homes[home] += more
            if not homes[home]:
                del homes[home]
            if not homes:
                del self._homes_of[number]


def _devices(definition: Proximity) -> tuple[int, int]:
    return definition.device, definition.other_device
