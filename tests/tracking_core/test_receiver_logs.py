"""What real receivers say while they lie still: drift of up to 17 m, through the engine and through the oracle."""

from __future__ import annotations

import itertools
import pathlib

import numpy as np
import pytest

from geofence.geodesy import distance_m
from ingest.decoders.nmea import NmeaDecoder
from tests.tracking_core import naive
from tests.tracking_core.readings import NAN, Position, columns_of
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine
from tracking_core.events import EventKind
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

READ_AT_US = 1_800_000_000_000_000
ROUNDS = 6
"""A log lasts half a minute to three: played again and again it is a receiver on a desk."""


def parked(path: pathlib.Path) -> list[Position]:
    """The fixes of a log, ROUNDS times one after the other."""
    batch = NmeaDecoder().decode("gps/desk", path.read_bytes(), READ_AT_US)
    fixes = [
        Position(
            0,
            fix.observed_at_us,
            fix.latitude_deg,
            fix.longitude_deg,
            speed_mps=fix.speed_mps if fix.HasField("speed_mps") else NAN,
            heading_deg=fix.heading_deg if fix.HasField("heading_deg") else NAN,
            received_at_us=READ_AT_US,
        )
        for fix in batch.positions
    ]
    lasts_us = fixes[-1].observed_at_us - fixes[0].observed_at_us + 1_000_000
    return [
        Position(**{**vars(fix), "observed_at_us": fix.observed_at_us + number * lasts_us})
        for number in range(ROUNDS)
        for fix in fixes
    ]


def rounds_of(fixes: list[Position], kept: int) -> list[list[Position]]:
    """Cut into as many as are kept of a device, each in any order."""
    random = np.random.default_rng(3)
    return [
        [fixes[start + at] for at in random.permutation(len(fixes[start : start + kept]))]
        for start in range(0, len(fixes), kept)
    ]


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["ublox-8.log", "quectel-l76k-nmea.log", "ais-nmea.log"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_receiver_that_lies_still_makes_no_trip(drover_data: pathlib.Path, name: str, shuffled: bool) -> None:  # noqa: FBT001
    fixes = parked(drover_data / "nmea" / name)
    way_m = sum(
        distance_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)
        for a, b in itertools.pairwise(fixes)
    )
    assert way_m > 3.0  # it drifts
    settings = EngineSettings()
    engine = Engine(settings)
    engine.announce([DeviceIdentity(0, "tenant", "device-0")])
    events, verdicts = [], set()
    for batch in rounds_of(fixes, settings.kept_fixes) if shuffled else [fixes]:
        result = engine.step(columns_of(batch), READ_AT_US)
        events += result.events
        verdicts.update(result.position_verdicts.tolist())
    assert Verdict.LATE not in verdicts
    told = [naive.meaning(event) for event in naive.standing(events)]
    expected = [naive.meaning(event) for event in naive.standing(naive.events_of(fixes, []))]
    assert naive.differences(expected, told) == []
    assert EventKind.TRIP_STARTED not in {event.kind for event in told}
    assert EventKind.STOP_BEGAN in {event.kind for event in told}
    # Until it is known to stand, what it drifts from its first place counts.
    assert engine.latest().travelled_m[0] < 0.1 * way_m
