"""What two devices did, from all fixes that count at once: slow, obvious, and written without a look at the engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pyproj

from tracking_core.definitions import Proximity

GEOD = pyproj.Geod(ellps="WGS84")

Counted = tuple[int, float, float]
"""Time, latitude, longitude."""


class NaiveEvent(NamedTuple):
    met: bool
    observed_at_us: int
    confirmed_at_us: int
    distance_m: float
    met_at_us: int | None


def _metres(a: Sequence[float], b: Sequence[float]) -> float:
    return GEOD.inv(a[1], a[0], b[1], b[0])[2]


def _place(
    fixes: Sequence[Counted], at_us: int, join_us: int, max_age_us: int
) -> tuple[float, float, bool, float] | None:
    """Latitude, longitude, whether that is known, and how far off it may be."""
    before = [fix for fix in fixes if fix[0] <= at_us]
    after = [fix for fix in fixes if fix[0] > at_us]
    if not before:
        return None
    last = before[-1]
    if last[0] == at_us:
        return last[1], last[2], True, 0.0
    if after and after[0][0] - last[0] <= join_us:
        part = (at_us - last[0]) / (after[0][0] - last[0])
        return last[1] + part * (after[0][1] - last[1]), last[2] + part * (after[0][2] - last[2]), True, 0.0
    if at_us - last[0] > max_age_us:
        return None
    reach_m = 0.0
    if len(before) > 1 and last[0] - before[-2][0] <= join_us:
        reach_m = _metres(before[-2][1:], last[1:]) / (last[0] - before[-2][0]) * (at_us - last[0])
    return last[1], last[2], False, reach_m


def _passed_us(early, late, limit_m: float, *, outward: bool) -> int:
    """By halving: where, on the ways between two moments, the distance is passed."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        here, there = (
            [early[which][axis] + middle * (late[which][axis] - early[which][axis]) for axis in (0, 1)]
            for which in (1, 2)
        )
        if (_metres(here, there) <= limit_m) == outward:
            low = middle
        else:
            high = middle
    return early[0] + round(high * (late[0] - early[0]))


def meetings(
    first: Sequence[Counted], second: Sequence[Counted], rule: Proximity, cross_within_us: int
) -> list[NaiveEvent]:
    """All that there is to tell, in order. No antimeridian here."""
    join_us = min(rule.max_age_us, cross_within_us)
    told: list[NaiveEvent] = []
    together: bool | None = None
    pending: list[tuple[int, int]] = []  # moments that speak against `together`, and when the distance was passed
    noted_us: int | None = None
    met_at_us: int | None = None
    previous = None
    for at_us in sorted({fix[0] for fix in (*first, *second)}):
        a = _place(first, at_us, join_us, rule.max_age_us)
        b = _place(second, at_us, join_us, rule.max_age_us)
        if a is None or b is None:
            previous = None
            continue
        apart_m, reach_m, known = _metres(a, b), a[3] + b[3], a[2] and b[2]
        near = apart_m + reach_m <= rule.distance_m
        apart = apart_m - reach_m > rule.distance_m + rule.margin_m and (known or together is None)
        moment = (at_us, a, b, known)

        def passed_us(outward: bool, moment=moment, previous=previous) -> int:  # noqa: FBT001
            early = previous
            if early is None or moment[0] - early[0] > join_us or (outward and not early[3]):
                return moment[0]
            early_m = _metres(early[1], early[2])
            if (early_m <= rule.distance_m) != outward:
                return moment[0]
            return _passed_us(early, moment, rule.distance_m, outward=outward)

        if together is None:
            together = True if near else False if apart else None
        elif near == together and (near or apart):
            pending, noted_us = [], None
        elif together and known and apart_m > rule.distance_m:
            noted_us = passed_us(True) if noted_us is None else noted_us
            if apart:
                pending.append((at_us, noted_us))
                if len(pending) >= rule.apart_fixes:
                    told.append(NaiveEvent(False, noted_us, at_us, apart_m, met_at_us))
                    together, pending, noted_us, met_at_us = False, [], None, None
        elif not together and near:
            if pending and at_us - pending[-1][0] > rule.max_age_us:
                pending = []
            pending.append((at_us, pending[0][1] if pending else passed_us(False)))
            if len(pending) >= rule.near_fixes and at_us - pending[0][0] >= rule.minimum_duration_us:
                met_at_us = pending[0][1]
                told.append(NaiveEvent(True, met_at_us, at_us, apart_m, None))
                together, pending = True, []
        previous = moment
    return told


def alike(told: Sequence[NaiveEvent], naive: Sequence[NaiveEvent], slack_us: int) -> bool:
    """Whether two accounts are the same but for the last digits."""
    return len(told) == len(naive) and all(
        a.met == b.met
        and a.confirmed_at_us == b.confirmed_at_us
        and abs(a.observed_at_us - b.observed_at_us) <= slack_us
        and math.isclose(a.distance_m, b.distance_m, rel_tol=1e-5, abs_tol=1e-3)
        and (a.met_at_us is None) == (b.met_at_us is None)
        for a, b in zip(told, naive, strict=True)
    )
