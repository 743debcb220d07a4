"""Two devices and one proximity: a fold over the merged fixes of both that count, folded again from where one changes.

A moment is a time at which either was seen. At each the places of both are looked up in their tracks, and the stance
moves. A fix of one device changes what is known of all moments between its neighbours in its own track, so those are
folded again, with all after them: in the usual order of arrival one to three. What a moment changed in the stance is
noted with what was there before; so it can be taken back.

Each track keeps the newest `kept_places` fixes. The second oldest of a full one settles: what is at or before
`settled_us` is folded no more. (The oldest says how fast the device came there.)
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Iterable

from geofence.geodesy import distance_m
from tracking_core.columns import NO_TIME
from tracking_core.definitions import Proximity
from tracking_core.events import Cause, CoreEvent, EventKind, Meeting, Parting
from tracking_core.pairs.companions import BEGINS, GONE, CompanionFix
from tracking_core.pairs.leg import crossing_on
from tracking_core.pairs.stance import (
    APART,
    NEAR,
    SPEAKS_APART,
    SPEAKS_NEAR,
    UNKNOWN,
    Meet,
    Sight,
    Stance,
    evidence,
    update,
)
from tracking_core.pairs.telling import PairEvent, PairMemory, Telling
from tracking_core.pairs.track import CompanionTrack
from tracking_core.settings import EngineSettings


class Pair:
    """What is known of two devices. Events are about the first."""

    def __init__(self, definition: Proximity, settings: EngineSettings) -> None:
        self.definition = definition
        self._kept_places = settings.kept_places
        self._cross_within_us = settings.cross_within_us
        self.tracks = (CompanionTrack(), CompanionTrack())
        self.settled_us = NO_TIME
        self.stance = Stance()
        self.changes: list[tuple[int, Stance]] = []
        """Moments after `settled_us` that changed the stance, with what it was before them."""
        self.memory = PairMemory()

    def take(self, fixes: Iterable[CompanionFix]) -> list[CoreEvent]:
        """Obeys what became of fixes of either device, and tells what that changed: as of late data if one of them is
        not the newest of its device.
        """
        after_us: list[int] = []
        late = False
        for fix in fixes:
            track = self.tracks[fix.device == self.definition.other_device]
            newest_us = track.newest_us
            changed_after_us = self._put(track, fix)
            if changed_after_us is not None:
                after_us.append(changed_after_us)
                late = late or fix.observed_at_us <= newest_us
        if not after_us:
            return []
        again_after_us = max(min(after_us), self.settled_us)
        taken_back = self._rewind(again_after_us)
        news = self._fold(again_after_us)
        events = self._told(self.memory.tell(taken_back, news, Cause.LATE_DATA if late else Cause.MOVEMENT))
        self._let_go()
        return events

    def redefine(self, definition: Proximity) -> list[CoreEvent]:
        """Goes on by another version for the same devices: what was is settled, and the newest moment judged anew."""
        self.definition = definition
        self.stance = self.stance.settled
        self.settled_us = self._newest_us
        self.changes.clear()
        self.memory = PairMemory()
        sight = self._look(self.settled_us)
        if sight is None:
            return []
        speaks = evidence(sight, definition, self.stance.phase)
        if self.stance.phase == UNKNOWN or speaks != (SPEAKS_APART if self.stance.near else SPEAKS_NEAR):
            self.stance, _ = update(self.stance, sight, definition, functools.partial(_here, sight))
            return []
        return self._conclude(sight)

    def close(self) -> list[CoreEvent]:
        """Ends: two that are together part where they were last."""
        sight = self._look(self._newest_us)
        return self._conclude(sight) if self.stance.near and sight is not None else []

    @property
    def _newest_us(self) -> int:
        return max(track.newest_us for track in self.tracks)

    def _put(self, track: CompanionTrack, fix: CompanionFix) -> int | None:
        """Puts a fix into its track; returns the time after which moments are to be folded again, None if nothing
        changed. One from before that is settled still says where the device was at the moments after.
        """
        at_us, latitude_deg, longitude_deg = fix.observed_at_us, fix.latitude_deg, fix.longitude_deg
        if fix.standing == BEGINS and not len(track):
            # Nothing was known before: no stance to take back.
            self.settled_us = max(self.settled_us, at_us - 1)
        before_us = track.before_us(at_us)
        edit = track.remove if fix.standing == GONE else track.put
        return before_us if edit(at_us, latitude_deg, longitude_deg) else None

    def _rewind(self, after_us: int) -> list[PairEvent]:
        """Brings the stance back to what it was after a moment; returns the events that came later."""
        while self.changes and self.changes[-1][0] > after_us:
            _, self.stance = self.changes.pop()
        return self.memory.take_back(after_us)

    def _fold(self, after_us: int) -> list[PairEvent]:
        """Folds all moments after a time; returns what is confirmed by them."""
        news: list[PairEvent] = []
        previous_us = max(track.before_us(after_us + 1) for track in self.tracks)
        for at_us in self._moments(after_us):
            sight = self._look(at_us)
            if sight is not None:
                crossing = functools.partial(self._crossing, previous_us, sight)
                stance, dated = update(self.stance, sight, self.definition, crossing)
                if dated is not None:
                    news.append(_event(stance, self.stance, sight, dated))
                if stance != self.stance:
                    self.changes.append((at_us, self.stance))
                    self.stance = stance
            previous_us = at_us
        return news

    def _moments(self, after_us: int) -> list[int]:
        first, second = (track.times_us[bisect_right(track.times_us, after_us) :] for track in self.tracks)
        return sorted({*first, *second})

    def _look(self, at_us: int) -> Sight | None:
        """Where both are, if anybody knows."""
        max_age_us = self.definition.max_age_us
        join_within_us = min(max_age_us, self._cross_within_us)
        device = self.tracks[0].place_at(at_us, join_within_us, max_age_us)
        other = self.tracks[1].place_at(at_us, join_within_us, max_age_us)
        if device is None or other is None:
            return None
        apart_m = distance_m(device.latitude_deg, device.longitude_deg, other.latitude_deg, other.longitude_deg)
        return Sight(at_us, device, other, apart_m)

    def _crossing(self, previous_us: int, sight: Sight) -> Meet:
        within_us = min(self.definition.max_age_us, self._cross_within_us)
        before = self._look(previous_us)
        return crossing_on(before, sight, self.definition.distance_m, within_us, outward=self.stance.near)

    def _let_go(self) -> None:
        """Keeps the tracks short, and forgets what can change no more."""
        for track in self.tracks:
            while len(track) > self._kept_places:
                track.let_go_of_oldest()
                self.settled_us = max(self.settled_us, track.times_us[1])
        while self.changes and self.changes[0][0] <= self.settled_us:
            del self.changes[0]
        # A crossing that was noted before and is not confirmed yet dates an event still to come.
        noted = (self.changes[0][1] if self.changes else self.stance).crossed
        dated_from_us = self.settled_us if noted is None else min(self.settled_us, noted.at_us)
        self.memory.forget(self.settled_us, dated_from_us)

    def _conclude(self, sight: Sight) -> list[CoreEvent]:
        """They are what they were not, because of an edit."""
        before, here = self.stance, _here(sight)
        self.stance = Stance(APART) if before.near else Stance(NEAR, met_at_us=sight.at_us)
        return self._told(self.memory.tell((), [_event(self.stance, before, sight, here)], Cause.DEFINITION))

    def _told(self, tellings: Iterable[Telling]) -> list[CoreEvent]:
        return [self._core_event(telling) for telling in tellings]

    def _core_event(self, telling: Telling) -> CoreEvent:
        rule, event = self.definition, telling.event
        other = (rule.name, rule.other_device, rule.other_device_id, event.distance_m)
        return CoreEvent(
            event.kind,
            rule.device,
            rule.tenant,
            rule.device_id,
            rule.proximity_id,
            rule.version,
            event.observed_at_us,
            event.confirmed_at_us,
            telling.cause,
            event.revision,
            event.assumed,
            event.latitude_deg,
            event.longitude_deg,
            Meeting(*other) if event.kind is EventKind.DEVICES_MET else Parting(*other, event.met_at_us),
            telling.standing,
            None if event.named_at_us == event.observed_at_us else event.named_at_us,
            telling.told_at_us,
        )


def _here(sight: Sight) -> Meet:
    return Meet(sight.at_us, sight.device.latitude_deg, sight.device.longitude_deg)


def _event(stance: Stance, before: Stance, sight: Sight, dated: Meet) -> PairEvent:
    """What is to be told of a stance that was confirmed."""
    return PairEvent(
        EventKind.DEVICES_MET if stance.near else EventKind.DEVICES_PARTED,
        dated.at_us,
        sight.at_us,
        dated.latitude_deg,
        dated.longitude_deg,
        sight.distance_m,
        before.met_at_us,
        not sight.known,
    )
