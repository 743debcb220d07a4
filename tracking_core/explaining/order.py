"""In which order fixes and edits took effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from geofence.definition import FenceDefinition
from geofence.surroundings import Box, surroundings
from tracking_core.explaining.steps import FenceEdit, StoredFix
from tracking_core.verdicts import Verdict


class Place(NamedTuple):
    """Before which fix an edit took effect, and whether the device had come near the fence by then: if so, what was
    told of it stays told (edits.py).
    """

    at: int
    is_near: bool


def places_of(fixes: Sequence[StoredFix], edits: Sequence[FenceEdit]) -> list[Place]:
    """Before which fix each edit took effect: behind all that had come, or before one that came later and counts.

    That one would be `late` had the edit concerned the device (edits.py): so all that was known from there on was far
    from the fence, as it was and as it is, and says the same of both.
    """
    judged = [(at, fix) for at, fix in enumerate(fixes) if fix.verdict in (Verdict.OK, Verdict.IMPLAUSIBLE_JUMP)]
    places: list[Place] = []
    was: FenceDefinition | None = None
    for edit in edits:
        known = [(at, fix) for at, fix in judged if fix.received_at_us < edit.made_at_us]
        near_until = _near_until(known, [each for each in (was, edit.fence) if each])
        begin = max(places[-1].at if places else 0, near_until)
        end = max((at + 1 for at, _ in known), default=0)
        later = (at for at, fix in judged if begin <= at < end and fix.received_at_us >= edit.made_at_us)
        places.append(Place(next(later, max(begin, end)), near_until > 0))
        was = edit.fence
    return places


def place_of_route(fixes: Sequence[StoredFix], made_at_us: int) -> int:
    """Before which fix a route was put: behind all that had come."""
    return max((at + 1 for at, fix in enumerate(fixes) if fix.received_at_us < made_at_us), default=0)


def _near_until(known: Sequence[tuple[int, StoredFix]], fences: Sequence[FenceDefinition]) -> int:
    """Behind the last fix that has to do with one of the fences: near it, on a way near it, or one by which an exit is
    confirmed.
    """
    boxes = [surroundings(fence) for fence in fences]
    most = max((fence.crossing.exit_fixes for fence in fences), default=0)
    until, to_confirm = 0, 0
    before: StoredFix | None = None
    for at, fix in known:
        if any(_touches(before or fix, fix, box) for box in boxes):
            until, to_confirm = at + 1, most
        elif to_confirm:
            until, to_confirm = at + 1, to_confirm - (fix.verdict == Verdict.OK)
        before = fix
    return until


def _touches(first: StoredFix, second: StoredFix, box: Box) -> bool:
    return bool(
        abs(first.longitude_deg - second.longitude_deg) > 180.0
        or (
            max(first.longitude_deg, second.longitude_deg) >= box.west
            and min(first.longitude_deg, second.longitude_deg) <= box.east
            and max(first.latitude_deg, second.latitude_deg) >= box.south
            and min(first.latitude_deg, second.latitude_deg) <= box.north
        )
    )


def arrived_late(fixes: Sequence[StoredFix]) -> list[bool]:
    """Of each fix, whether a counted fix that is newer was received before."""
    late = [False] * len(fixes)
    earliest_us: int | None = None
    for at in range(len(fixes) - 1, -1, -1):
        fix = fixes[at]
        late[at] = earliest_us is not None and fix.received_at_us > earliest_us
        if fix.verdict == Verdict.OK:
            earliest_us = fix.received_at_us if earliest_us is None else min(earliest_us, fix.received_at_us)
    return late
