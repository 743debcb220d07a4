"""What there is to tell when a pair was folded again: the difference to what was told before.

As `corrections.py` does for fences: what is as it was told is not told again; an event that moved is amended; what is
not true any more is withdrawn, and remembered, so that its revisions go on should it be true after all; the rest is
new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tracking_core.columns import NO_TIME
from tracking_core.events import Cause, EventKind, Standing


class PairEvent(NamedTuple):
    """A meeting or a parting. `named_at_us` is the time under which it was first told, NO_TIME before that."""

    kind: EventKind
    observed_at_us: int
    confirmed_at_us: int
    latitude_deg: float
    longitude_deg: float
    distance_m: float
    met_at_us: int | None
    assumed: bool
    named_at_us: int = NO_TIME
    revision: int = 0

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but what it is called, and whether it was shown."""
        return self[:7]


class Telling(NamedTuple):
    """One event as it goes out; `told_at_us` is what its time was in the revision before, None in the first."""

    event: PairEvent
    standing: Standing
    cause: Cause
    told_at_us: int | None


class PairMemory:
    """The events of a pair that a fix may still change, and those it took back."""

    def __init__(self) -> None:
        self.told: list[PairEvent] = []
        """In the order in which they were confirmed."""
        self.withdrawn: list[PairEvent] = []

    def take_back(self, after_us: int) -> list[PairEvent]:
        """Takes out the events confirmed after a time."""
        first = len(self.told)
        while first and self.told[first - 1].confirmed_at_us > after_us:
            first -= 1
        taken_back = self.told[first:]
        del self.told[first:]
        return taken_back

    def tell(self, taken_back: Iterable[PairEvent], news: Iterable[PairEvent], cause: Cause) -> list[Telling]:
        """Takes in what holds now in the place of what was taken back; returns withdrawals, then the rest by time."""
        old = list(taken_back)
        kept: list[PairEvent] = []
        fresh: list[PairEvent] = []
        for event in news:
            same = next((each for each in old if each.meaning == event.meaning), None)
            if same is None:
                fresh.append(event)
            else:
                old.remove(same)
                kept.append(same)
        tellings: list[Telling] = []
        # Those of the same time first: nobody should read that it moved to where another one was withdrawn.
        for within_us in (0, None):
            for before in list(old):
                after = _nearest(before, fresh, within_us)
                if after is not None:
                    old.remove(before)
                    fresh.remove(after)
                    amended = after._replace(named_at_us=before.named_at_us, revision=before.revision + 1)
                    kept.append(amended)
                    tellings.append(Telling(amended, Standing.AMENDED, cause, before.observed_at_us))
        withdrawals: list[Telling] = []
        for before in old:
            gone = before._replace(revision=before.revision + 1)
            self.withdrawn.append(gone)
            withdrawals.append(Telling(gone, Standing.WITHDRAWN, Cause.LATE_DATA, before.observed_at_us))
        for event in fresh:
            telling = self._first(event, kept, cause)
            kept.append(telling.event)
            tellings.append(telling)
        self.told += sorted(kept, key=_confirmed)
        return withdrawals + sorted(tellings, key=lambda telling: telling.event.confirmed_at_us)

    def _first(self, event: PairEvent, kept: Iterable[PairEvent], cause: Cause) -> Telling:
        """Names an event by its time, or the first microsecond after it that names no other."""
        names = {each.named_at_us for each in (*self.told, *kept) if each.kind == event.kind}
        name_us = event.observed_at_us
        while name_us in names:
            name_us += 1
        for gone in self.withdrawn:
            if gone.kind == event.kind and gone.named_at_us == name_us:
                self.withdrawn.remove(gone)
                again = event._replace(named_at_us=name_us, revision=gone.revision + 1)
                return Telling(again, Standing.AMENDED, cause, gone.observed_at_us)
        return Telling(event._replace(named_at_us=name_us), Standing.TOLD, cause, None)

    def forget(self, settled_us: int, dated_from_us: int) -> None:
        """Forgets what can change no more, and names that no event can have any more: those before `dated_from_us`."""
        self.told = [
            each for each in self.told if each.confirmed_at_us > settled_us or each.named_at_us >= dated_from_us
        ]
        self.withdrawn = [each for each in self.withdrawn if each.named_at_us >= dated_from_us]


def _nearest(before: PairEvent, fresh: Iterable[PairEvent], within_us: int | None) -> PairEvent | None:
    alike = [
        each
        for each in fresh
        if each.kind == before.kind
        and (within_us is None or abs(each.observed_at_us - before.observed_at_us) <= within_us)
    ]
    return min(alike, key=lambda each: abs(each.observed_at_us - before.observed_at_us), default=None)


def _confirmed(event: PairEvent) -> int:
    return event.confirmed_at_us
