"""What a snapshot consists of: columns as raw bytes, rings unrolled, definitions; nothing by slot or node."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from tracking_core.columns import I64
from tracking_core.definitions import Proximity, SensorLimit
from tracking_core.fixes.timeline import KEPT_FIX, SUSPECT, Timeline, places_in_order, roll_timeline
from tracking_core.journey_records import JOURNEY
from tracking_core.memory import Memory, roll, unroll
from tracking_core.pairs.stance import Stance
from tracking_core.pairs.telling import PairEvent

DEVICE_FIELDS: Final = (
    "counted_at_us",
    "received_at_us",
    "latitude_deg",
    "longitude_deg",
    "altitude_m",
    "speed_mps",
    "heading_deg",
    "accuracy_m",
    "suspect_at_us",
    "suspect_latitude_deg",
    "suspect_longitude_deg",
    "reader_at_us",
    "lag_us",
    "due_us",
    "lost_at_us",
    "settled_us",
)
"""The columns of the device table that are state of their own."""


class PackedColumn(msgspec.Struct, array_like=True):
    """An array."""

    dtype: str
    data: bytes


class PackedRings(msgspec.Struct, array_like=True):
    """A `Memory`: how much each ring holds, and all they hold, oldest first, one behind the other."""

    lengths: PackedColumn
    times_us: PackedColumn
    contents: PackedColumn


class PackedTimeline(msgspec.Struct, array_like=True):
    """A `Timeline`: its rings, what stands beside each place, in the same order, and the bases by row: when and what.
    Without repairs all but the rings are empty; where journeys are not followed, the last two.
    """

    rings: PackedRings
    kept: bytes
    base_at_us: PackedColumn
    base: bytes
    base_suspect: bytes
    journeys: bytes
    base_journeys: bytes


class PackedJourneys(msgspec.Struct, array_like=True):
    """`JourneyColumns`: a record a row; empty where journeys are not followed."""

    now: bytes
    trip: bytes


class PackedRoute(msgspec.Struct, array_like=True):
    """A route and how far its device came; `state` is of `route_table.STATE_FIELDS`."""

    tenant: str
    route_id: str
    device: int
    stops: list[tuple[str, float, float, int | None, int, str, int]]
    line: bytes
    expected_speed_mps: float
    version: int
    state: list[float | int]
    expected: list[tuple[str, int, int]]
    """Of each arrival that is waited for the stop, `since_us` and `state`."""


class PackedPair(msgspec.Struct, array_like=True):
    """A `Pair`: what is known of the two devices of a proximity. A track is its three columns."""

    tenant: str
    proximity_id: str
    tracks: list[list[bytes]]
    settled_us: int
    stance: Stance
    changes: list[tuple[int, Stance]]
    told: list[PairEvent]
    withdrawn: list[PairEvent]


class PackedState(msgspec.Struct, array_like=True):
    """All of an `EngineState`."""

    partitions: int
    partition: int
    clock_us: int
    versions: list[tuple[str, str, str, int]]
    rows: int
    tenants: list[str]
    device_ids: list[str]
    devices: list[PackedColumn]
    timeline: PackedTimeline
    journeys: PackedJourneys
    quarantine: PackedRings
    fences: list[bytes]
    presences: list[PackedColumn]
    """Of (row, index in `fences`), ascending: those two, then the fields of a node from `state` on."""
    journal: list[PackedColumn]
    """Of what fixes changed, by row and oldest first: the row, `at_us`, the index in `fences` (what stands in the place
    of a fence stays), then the fields of a node from `version` on."""
    withdrawn: list[PackedColumn]
    """The same for withdrawn events, by row, kind, index in `fences` and name."""
    limits: list[SensorLimit]
    series: list[PackedColumn]
    """Of (row, quantity, probe), ascending: row, quantity, probe, counted_at_us, value."""
    samples: PackedRings
    excursions: list[PackedColumn]
    """Of (index in `series`, index in `limits`), ascending: those two, then the fields of a node from `phase` on."""
    routes: list[PackedRoute]
    tags: list[PackedColumn]
    """Of (row, EPC), ascending: the columns from `row` to `antenna`."""
    reads: PackedRings
    proximities: list[Proximity]
    pairs: list[PackedPair]


def pack_column(column: npt.NDArray[Any]) -> PackedColumn:
    """An array as dtype and bytes."""
    return PackedColumn(column.dtype.newbyteorder("<").str, column.tobytes())


def unpack_column(packed: PackedColumn) -> npt.NDArray[Any]:
    """The array, read-only."""
    return np.frombuffer(packed.data, packed.dtype)


def pack_rings(memory: Memory, owners: I64, capacity: int) -> PackedRings:
    """The rings of these owners, in this order."""
    lengths = memory.length[owners]
    total = int(lengths.sum())
    times_us, contents = np.empty(total, np.int64), np.empty(total, np.uint64)
    unroll(memory, owners, capacity, times_us, contents)
    return PackedRings(pack_column(lengths), pack_column(times_us), pack_column(contents))


def pack_timeline(timeline: Timeline, rows: int, *, journeys: bool) -> PackedTimeline:
    """The timelines of the first rows, with the journeys beside them if those are followed."""
    rings = pack_rings(timeline.ring, np.arange(rows), timeline.places)
    if not timeline.repairs:
        return PackedTimeline(rings, b"", pack_column(np.empty(0, np.int64)), b"", b"", b"", b"")
    places, bases = np.empty(int(timeline.ring.length[:rows].sum()), np.int64), np.empty(rows, np.int64)
    places_in_order(timeline, rows, places, bases)
    return PackedTimeline(
        rings,
        timeline.kept[places].tobytes(),
        pack_column(timeline.ring.times_us[bases]),
        timeline.kept[bases].tobytes(),
        timeline.base_suspect[:rows].tobytes(),
        timeline.journeys[places].tobytes() if journeys else b"",
        timeline.journeys[bases].tobytes() if journeys else b"",
    )


def unpack_timeline(packed: PackedTimeline, timeline: Timeline, *, journeys: bool) -> None:
    """Fills the first rows of an empty timeline; one that repairs nothing takes the rings alone."""
    # Copies, because kernels are compiled for writable arrays here.
    kept, beside = np.empty(0, KEPT_FIX), np.empty(0, JOURNEY)
    if timeline.repairs and packed.base:
        kept = np.frombuffer(packed.kept, KEPT_FIX).copy()
        # The base of an empty ring stands at the end of its places.
        at_us = unpack_column(packed.base_at_us)
        bases = np.arange(1, len(at_us) + 1) * timeline.places - 1
        timeline.ring.times_us[bases] = at_us
        timeline.kept[bases] = np.frombuffer(packed.base, KEPT_FIX)
        suspect = np.frombuffer(packed.base_suspect, SUSPECT)
        timeline.base_suspect[: len(suspect)] = suspect
        timeline.base_suspects[: len(suspect)] = suspect["at_us"] > 0
        if journeys and packed.journeys:
            beside = np.frombuffer(packed.journeys, JOURNEY).copy()
            timeline.journeys[bases] = np.frombuffer(packed.base_journeys, JOURNEY)
    roll_timeline(
        timeline,
        unpack_column(packed.rings.lengths).copy(),
        unpack_column(packed.rings.times_us).copy(),
        unpack_column(packed.rings.contents).copy(),
        kept,
        beside,
    )


def unpack_rings(packed: PackedRings, memory: Memory, capacity: int) -> None:
    """Fills the first rings of an empty memory."""
    # Copies, because kernels are compiled for writable arrays here.
    roll(
        memory,
        unpack_column(packed.lengths).copy(),
        capacity,
        unpack_column(packed.times_us).copy(),
        unpack_column(packed.contents).copy(),
    )
